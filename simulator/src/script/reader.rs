//! Reads a script line by line, and knows what has been said so far.

use std::collections::BTreeSet;

use prorata_core::{Event, JobId, PodId, Resource, TenantId, Time};

use super::nodes::Nodes;
use super::policy::Rules;
use super::settings::{Settings, duration, job_id};
use super::wrong::Wrong;
use super::{Step, jobs, tenants};

/// The verbs that there are, as the remedy for a wrong one lists them.
const VERBS: &str = "node, node-down, node-up, device-down, device-up, tenant, policy, pod, \
                     pod-gone, submit, finish, withdraw, hold, resume, fail or at";

/// What has been said so far, as far as later lines depend on it.
pub(super) struct Reader {
    pub(super) policy: Rules,
    /// Resources that some node names. The others are not limited, so nothing of them is asked.
    named: BTreeSet<Resource>,
    nodes: Nodes,
    tenants: BTreeSet<TenantId>,
    jobs: BTreeSet<JobId>,
    pods: BTreeSet<PodId>,
    now: Time,
}

impl Reader {
    /// A reader of these lines, which has read none of them yet.
    pub(super) fn new<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let node_lines: Vec<&str> = lines.filter(|line| line.starts_with("node ")).collect();
        let names = |resource: &Resource| {
            let key = format!(" {resource}=");
            node_lines.iter().any(|line| line.contains(&key))
        };
        Self {
            policy: Rules::default(),
            named: Resource::ALL.into_iter().filter(names).collect(),
            nodes: Nodes::default(),
            tenants: BTreeSet::new(),
            jobs: BTreeSet::new(),
            pods: BTreeSet::new(),
            now: Time::ZERO,
        }
    }

    /// Reads one line; `None` where it says nothing that is to be played.
    pub(super) fn step(&mut self, line: &str) -> Result<Option<Step>, Wrong> {
        let mut words = line.split_whitespace();
        let Some(verb) = words.next() else {
            return Ok(None);
        };
        if verb == "policy" {
            let settings = Settings::read(words)?;
            self.policy(&settings)?;
            return Ok(settings.duration("grace")?.map(Step::Grace));
        }
        let usage = format!("write: {verb} NAME [key=value …]");
        let missing = || Wrong::new(verb, "names nothing", usage);
        let subject = words.next().ok_or_else(missing)?;
        let settings = Settings::read(words)?;
        let step = match verb {
            "node" => Step::Nodes(self.nodes.describe(subject, &settings)?),
            "node-down" => Step::Nodes(self.nodes.switch(subject, false, &settings)?),
            "node-up" => Step::Nodes(self.nodes.switch(subject, true, &settings)?),
            "device-down" => self.device(subject, false, &settings)?,
            "device-up" => self.device(subject, true, &settings)?,
            "tenant" => {
                let known = &mut self.tenants;
                Step::Tenants(tenants::describe(subject, &settings, &self.named, known)?)
            }
            "pod" => self.pod(subject, &settings)?,
            "pod-gone" => self.pod_gone(subject, &settings)?,
            "submit" => self.submit(subject, &settings)?,
            "at" => self.at(subject, &settings)?,
            _ => self.about_job(verb, subject, &settings)?,
        };
        Ok(Some(step))
    }

    fn policy(&mut self, settings: &Settings<'_>) -> Result<(), Wrong> {
        self.policy.read(settings)?;
        if self.nodes.is_empty() && self.jobs.is_empty() {
            return Ok(());
        }
        let what = "holds for the whole script";
        Err(Wrong::new(
            "policy",
            what,
            "write it above all nodes and jobs",
        ))
    }

    fn device(
        &mut self,
        subject: &str,
        works: bool,
        settings: &Settings<'_>,
    ) -> Result<Step, Wrong> {
        let (node, index) = self.nodes.device(subject, works, settings)?;
        Ok(Step::Device(node, index, works))
    }

    /// `pod NAME on=NODE gpu=1`: a pod that is no task of a job.
    fn pod(&mut self, name: &str, settings: &Settings<'_>) -> Result<Step, Wrong> {
        settings.only(&["on", "gpu", "cpu", "memory", "other:"])?;
        let missing = || Wrong::new("on", "is not said", "name the pod's node: on=a");
        let node = self.nodes.known(settings.get("on").ok_or_else(missing)?)?;
        self.pods.insert(name.into());
        let (takes, others) = (settings.resources()?, settings.others()?);
        let bound = Event::PodBound(name.into(), node.id.clone(), takes, others);
        Ok(Step::Pod(bound))
    }

    fn pod_gone(&mut self, name: &str, settings: &Settings<'_>) -> Result<Step, Wrong> {
        settings.only(&[])?;
        if !self.pods.remove(&PodId::from(name)) {
            let what = format!("no pod is called {name}");
            return Err(Wrong::new("pod-gone", what, "name it in a pod line above"));
        }
        Ok(Step::Pod(Event::PodGone(name.into())))
    }

    fn submit(&mut self, subject: &str, settings: &Settings<'_>) -> Result<Step, Wrong> {
        let work = jobs::submit(subject, settings, &self.policy, &self.named, self.now)?;
        if !self.jobs.insert(work.job.id.clone()) {
            let what = format!("{subject} has been submitted before");
            return Err(Wrong::new("submit", what, "give it another name"));
        }
        Ok(Step::Submit(work))
    }

    fn at(&mut self, text: &str, settings: &Settings<'_>) -> Result<Step, Wrong> {
        settings.only(&[])?;
        let time = Time::ZERO + duration("at", text)?;
        if time < self.now {
            let what = format!("{time} is before {}, which has been reached", self.now);
            return Err(Wrong::new("at", what, "time only moves on"));
        }
        self.now = time;
        Ok(Step::At(time))
    }

    fn about_job(&self, verb: &str, subject: &str, settings: &Settings<'_>) -> Result<Step, Wrong> {
        let step = match verb {
            "finish" => Step::Finish,
            "withdraw" => Step::Withdraw,
            "fail" => Step::Fail,
            "hold" => |job| Step::Hold(job, true),
            "resume" => |job| Step::Hold(job, false),
            _ => return Err(Wrong::new(verb, "is no verb", format!("use {VERBS}"))),
        };
        settings.only(&[])?;
        let id = job_id(subject)?;
        if !self.jobs.contains(&id) {
            let what = format!("no job is called {id}");
            return Err(Wrong::new(verb, what, "submit it in a line above"));
        }
        Ok(step(id))
    }
}
