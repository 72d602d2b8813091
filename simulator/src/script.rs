//! Golden scripts: a few lines of facts, and below `----` what the core makes of them.
//!
//! ```text
//! # An 8-GPU gang waits whole, then starts whole.
//! node a,b gpu=4
//! tenant red,blue
//! submit blue/small gpu=1
//! submit red/train gang=8 gpu=1
//! at 0s
//! finish blue/small
//! at 5s
//! ```
//!
//! This file reads them; [`crate::play`] plays them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prorata_core::{
    Job, JobId, Limits, Node, NodeId, Order, Policy, Resource, Resources, Tenant, Time,
};

use crate::problem::Problem;
use crate::quantity::{self, QuantityError};
use crate::world::Work;

/// The line that divides facts from the expected outcome.
pub const DIVIDER: &str = "----";

/// As many nodes as the core's sums are made for.
const NODES_MAX: usize = 65_536;

/// A script, read.
#[derive(Clone, Debug)]
pub struct Script {
    /// The policy that it is played under.
    pub policy: Policy,
    /// What it says, each with the number of its line.
    pub steps: Vec<(usize, Step)>,
    /// What it expects; `None` without a [`DIVIDER`] or with nothing below it.
    pub expected: Option<String>,
}

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `node`, `node-down`, `node-up`: nodes are like this from now on.
    Nodes(Vec<Node>),
    /// `tenant`: tenants are like this from now on.
    Tenants(Vec<Tenant>),
    /// `submit`: a job arrives. Its time of submission is that of the last `at`.
    Submit(Work),
    /// `finish`: a running job completes.
    Finish(JobId),
    /// `withdraw`: a job is deleted.
    Withdraw(JobId),
    /// `hold` and `resume`: a job's user holds it or lets it go.
    Hold(JobId, bool),
    /// `fail`: the job's last admission could not be carried out.
    Fail(JobId),
    /// `at`: time moves on, and the core decides.
    At(Time),
}

impl Script {
    /// Reads a script. `file` is only for the messages.
    ///
    /// # Errors
    /// One [`Problem`] for each line that cannot be understood.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let text = unmarked(text);
        let lines = numbered(text);
        let facts = lines.iter().take_while(|(_, line)| *line != DIVIDER);
        let mut reader = Reader::new(facts.clone().map(|(_, line)| *line));
        let mut steps = Vec::new();
        let mut problems = Vec::new();
        for (number, line) in facts {
            let words = line.split('#').next().unwrap_or_default();
            match reader.step(words) {
                Ok(Some(step)) => steps.push((*number, step)),
                Ok(None) => {}
                Err(wrong) => problems.push(wrong.at(file, *number)),
            }
        }
        if problems.is_empty() {
            let expected = expected(text);
            let policy = reader.policy;
            Ok(Self {
                policy,
                steps,
                expected,
            })
        } else {
            Err(problems)
        }
    }
}

/// The text without the byte order mark that some editors put before it.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn numbered(text: &str) -> Vec<(usize, &str)> {
    (1..).zip(text.lines().map(str::trim)).collect()
}

/// What stands below the divider, without comments and blank lines.
fn expected(text: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != DIVIDER);
    lines.next()?;
    let told = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let outcome: Vec<&str> = lines.filter(told).collect();
    (!outcome.is_empty()).then(|| outcome.join("\n") + "\n")
}

/// What is wrong with a line, before it is known where it stands.
#[derive(Debug)]
struct Wrong {
    field: String,
    what: String,
    remedy: String,
}

impl Wrong {
    fn new(field: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    fn quantity(key: &str, error: &QuantityError) -> Self {
        Self::new(key, error.to_string(), format!("for example: {key}=2"))
    }

    fn at(self, file: &str, line: usize) -> Problem {
        Problem::new(file, &self.field, self.what, self.remedy).at_line(line)
    }
}

/// What has been said so far, as far as later lines depend on it.
struct Reader {
    policy: Policy,
    /// Resources that some node names. The others are not limited, so nothing of them is asked.
    named: BTreeSet<Resource>,
    nodes: BTreeMap<NodeId, Node>,
    jobs: BTreeSet<JobId>,
    now: Time,
}

impl Reader {
    fn new<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let node_lines: Vec<&str> = lines.filter(|line| line.starts_with("node ")).collect();
        let names = |resource: &Resource| {
            let key = format!(" {resource}=");
            node_lines.iter().any(|line| line.contains(&key))
        };
        Self {
            policy: Policy::default(),
            named: Resource::ALL.into_iter().filter(names).collect(),
            nodes: BTreeMap::new(),
            jobs: BTreeSet::new(),
            now: Time::ZERO,
        }
    }

    fn step(&mut self, line: &str) -> Result<Option<Step>, Wrong> {
        let mut words = line.split_whitespace();
        let Some(verb) = words.next() else {
            return Ok(None);
        };
        if verb == "policy" {
            self.policy(&Settings::read(words)?)?;
            if !self.nodes.is_empty() || !self.jobs.is_empty() {
                let what = "holds for the whole script";
                return Err(Wrong::new(
                    "policy",
                    what,
                    "write it above all nodes and jobs",
                ));
            }
            return Ok(None);
        }
        let usage = format!("write: {verb} NAME [key=value …]");
        let missing = || Wrong::new(verb, "names nothing", usage);
        let subject = words.next().ok_or_else(missing)?;
        let settings = Settings::read(words)?;
        let step = match verb {
            "node" => Step::Nodes(self.nodes(subject, &settings)?),
            "node-down" => Step::Nodes(self.switch(subject, false, &settings)?),
            "node-up" => Step::Nodes(self.switch(subject, true, &settings)?),
            "tenant" => Step::Tenants(self.tenants(subject, &settings)?),
            "submit" => self.submit(subject, &settings)?,
            "at" => self.at(subject, &settings)?,
            _ => self.about_job(verb, subject, &settings)?,
        };
        Ok(Some(step))
    }

    fn policy(&mut self, settings: &Settings) -> Result<(), Wrong> {
        settings.only(&["order"])?;
        match settings.get("order") {
            Some("drf") => self.policy.order = Order::Drf,
            Some("fifo") => self.policy.order = Order::Fifo,
            other => {
                let what = match other {
                    Some(other) => format!("`{other}` is no order"),
                    None => "is not said".to_owned(),
                };
                return Err(Wrong::new("order", what, "use order=drf or order=fifo"));
            }
        }
        Ok(())
    }

    fn nodes(&mut self, names: &str, settings: &Settings) -> Result<Vec<Node>, Wrong> {
        settings.only(&["gpu", "cpu", "memory"])?;
        let allocatable = settings.resources()?;
        let node = |name: &str| Node {
            allocatable,
            ..Node::new(name)
        };
        let nodes: Vec<Node> = split("node", names)?.into_iter().map(node).collect();
        let before = self.nodes.len();
        let named = nodes.iter().map(|node| (node.id.clone(), node.clone()));
        self.nodes.extend(named);
        // Told where the limit is passed, and not again in every line below.
        if before <= NODES_MAX && self.nodes.len() > NODES_MAX {
            let what = format!("makes {} nodes in all", self.nodes.len());
            let remedy = format!("name at most {NODES_MAX} in a script");
            return Err(Wrong::new("node", what, remedy));
        }
        Ok(nodes)
    }

    fn switch(&self, names: &str, up: bool, settings: &Settings) -> Result<Vec<Node>, Wrong> {
        settings.only(&[])?;
        let known = |name: &str| {
            let id = NodeId::from(name);
            let node = self.nodes.get(&id).cloned();
            let what = format!("no node is called {name}");
            let node =
                node.ok_or_else(|| Wrong::new("node", what, "name it in a node line above"))?;
            Ok(Node {
                schedulable: up,
                ..node
            })
        };
        split("node", names)?.into_iter().map(known).collect()
    }

    fn tenants(&self, names: &str, settings: &Settings) -> Result<Vec<Tenant>, Wrong> {
        settings.only(&["weight", "guaranteed", "limit"])?;
        let mut tenant = Tenant::new("");
        if let Some(text) = settings.get("weight") {
            let weight = quantity::parse_weight(text);
            tenant.weight = weight.map_err(|e| Wrong::quantity("weight", &e))?;
        }
        for (resource, amount) in settings.amounts("guaranteed")? {
            tenant.guaranteed = tenant.guaranteed.with(resource, amount);
        }
        for (resource, amount) in settings.amounts("limit")? {
            if !self.named.contains(&resource) {
                let what = format!("no node names {resource}, so this limit could never bind");
                return Err(Wrong::new(
                    "limit",
                    what,
                    format!("add {resource}= to a node line"),
                ));
            }
            tenant.limit = Limits::with(tenant.limit, resource, amount);
        }
        let named = |name: &str| Tenant {
            id: name.into(),
            ..tenant.clone()
        };
        Ok(split("tenant", names)?.into_iter().map(named).collect())
    }

    fn submit(&mut self, subject: &str, settings: &Settings) -> Result<Step, Wrong> {
        settings.only(&["gang", "gpu", "cpu", "memory", "priority", "for"])?;
        let id = job_id(subject)?;
        let asked = settings.resources()?;
        let limited = asked.iter().filter(|(r, _)| self.named.contains(r));
        let task = limited.fold(Resources::ZERO, |task, (r, amount)| task.with(r, amount));
        if task.is_zero() && !asked.is_zero() {
            let what = "asks only for what no node names, so it would never wait";
            return Err(Wrong::new(
                "submit",
                what,
                "name the resource in a node line",
            ));
        }
        let runtime = settings
            .get("for")
            .map(|text| duration("for", text))
            .transpose()?;
        if !self.jobs.insert(id.clone()) {
            let what = format!("{id} has been submitted before");
            return Err(Wrong::new("submit", what, "give it another name"));
        }
        let tenant = id.namespace().into();
        let job = Job {
            priority: settings.number("priority", 0)?,
            submitted: self.now,
            ..Job::new(id, tenant, settings.number("gang", 1)?, task)
        };
        Ok(Step::Submit(Work::new(job, runtime)))
    }

    fn at(&mut self, text: &str, settings: &Settings) -> Result<Step, Wrong> {
        settings.only(&[])?;
        let time = Time::ZERO + duration("at", text)?;
        if time < self.now {
            let what = format!("{time} is before {}, which has been reached", self.now);
            return Err(Wrong::new("at", what, "time only moves on"));
        }
        self.now = time;
        Ok(Step::At(time))
    }

    fn about_job(&self, verb: &str, subject: &str, settings: &Settings) -> Result<Step, Wrong> {
        let step = match verb {
            "finish" => Step::Finish,
            "withdraw" => Step::Withdraw,
            "fail" => Step::Fail,
            "hold" => |job| Step::Hold(job, true),
            "resume" => |job| Step::Hold(job, false),
            _ => {
                let known = "node, node-down, node-up, tenant, policy, submit, finish, withdraw, \
                             hold, resume, fail or at";
                return Err(Wrong::new(verb, "is no verb", format!("use {known}")));
            }
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

/// Names between commas.
fn split<'a>(field: &str, names: &'a str) -> Result<Vec<&'a str>, Wrong> {
    let names: Vec<&str> = names.split(',').collect();
    let mut seen = BTreeSet::new();
    let wrong = names
        .iter()
        .find(|name| name.is_empty() || !seen.insert(**name));
    match wrong {
        None => Ok(names),
        Some(&"") => Err(Wrong::new(
            field,
            "a name is empty",
            "write names with single commas between them",
        )),
        Some(name) => Err(Wrong::new(
            field,
            format!("{name} is named twice"),
            "name it once",
        )),
    }
}

fn job_id(text: &str) -> Result<JobId, Wrong> {
    match text.split_once('/') {
        Some((tenant, job)) if !tenant.is_empty() && !job.is_empty() && !job.contains('/') => {
            Ok(JobId::new(tenant, job, ""))
        }
        _ => {
            let what = format!("`{text}` names no job");
            Err(Wrong::new(
                "job",
                what,
                "write TENANT/JOB, for example red/train",
            ))
        }
    }
}

fn duration(key: &str, text: &str) -> Result<Duration, Wrong> {
    humantime::parse_duration(text).map_err(|error| {
        let what = format!("`{text}` is no time: {error}");
        Wrong::new(key, what, "write for example 90s, 1h30m or 250ms")
    })
}

/// The `key=value` words of a line.
struct Settings<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Settings<'a> {
    fn read(words: impl Iterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut settings: Vec<(&str, &str)> = Vec::new();
        for word in words {
            let pair = word.split_once('=');
            let (key, value) = pair
                .ok_or_else(|| Wrong::new(word, "has no value", format!("write {word}=VALUE")))?;
            if settings.iter().any(|(seen, _)| *seen == key) {
                return Err(Wrong::new(key, "is set twice", "keep one of the two"));
            }
            settings.push((key, value));
        }
        Ok(Self(settings))
    }

    fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        let Some((key, _)) = self.0.iter().find(|(key, _)| !known.contains(key)) else {
            return Ok(());
        };
        let remedy = match known {
            [] => "this line takes no settings".to_owned(),
            _ => format!("use {}", known.join(", ")),
        };
        Err(Wrong::new(key, "is not known here", remedy))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(k, _)| *k == key);
        found.map(|(_, value)| *value)
    }

    fn number<N: std::str::FromStr>(&self, key: &str, default: N) -> Result<N, Wrong> {
        let Some(text) = self.get(key) else {
            return Ok(default);
        };
        let what = || format!("`{text}` is no whole number in range");
        text.parse()
            .map_err(|_| Wrong::new(key, what(), format!("for example: {key}=8")))
    }

    /// `gpu=4 cpu=8 memory=64Gi`.
    fn resources(&self) -> Result<Resources, Wrong> {
        let mut resources = Resources::ZERO;
        for resource in Resource::ALL {
            if let Some(text) = self.get(resource.name()) {
                let amount = quantity::parse(resource, text);
                let amount = amount.map_err(|e| Wrong::quantity(resource.name(), &e))?;
                resources = resources.with(resource, amount);
            }
        }
        Ok(resources)
    }

    /// `gpu:2,cpu:4`.
    fn amounts(&self, key: &str) -> Result<Vec<(Resource, u64)>, Wrong> {
        let Some(text) = self.get(key) else {
            return Ok(Vec::new());
        };
        let amount = |part: &str| {
            let named = part.split_once(':').and_then(|(name, amount)| {
                Some((
                    Resource::ALL.into_iter().find(|r| r.name() == name)?,
                    amount,
                ))
            });
            let example = format!("for example: {key}=gpu:2,cpu:4");
            let (resource, text) =
                named.ok_or_else(|| Wrong::new(key, format!("`{part}` is no amount"), example))?;
            let amount = quantity::parse(resource, text);
            Ok((resource, amount.map_err(|e| Wrong::quantity(key, &e))?))
        };
        text.split(',').map(amount).collect()
    }
}
