//! A public trace as the work of a scenario: its jobs on the scenario's machines, for the
//! scenario's tenants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prorata_core::{Job, JobId, Needs, Resource, Resources, Tenant, TenantId, Time};

use super::{Conduct, Drawn};
use crate::problem::{Problem, suggest};
use crate::trace::{self, Oddities, Source, TraceJob};

/// No trace may have more jobs than streams may.
const JOBS_MAX: usize = 1_000_000;

/// The longest name of a tenant.
const NAME_MAX: usize = 63;

/// How a trace becomes work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Tenants of the trace that the scenario does not describe are added to it, with equal
    /// weights, under their names made valid. Otherwise they are mistakes.
    pub tenants_from_trace: bool,
    /// Only what is submitted before.
    pub before: Option<Duration>,
    /// Only so many jobs, the first ones.
    pub jobs: Option<u32>,
    /// The most GPUs that one task asks for; if it is not said, as many as the largest node has.
    /// A job of n GPUs is tasks of the greatest divisor of n that is no more than this.
    pub gpus_per_task: Option<u32>,
    /// Thousandths of a core beside each GPU, where the trace tells no CPUs.
    pub cpu_per_gpu: u64,
    /// Bytes beside each GPU, where the trace tells no memory.
    pub memory_per_gpu: u64,
    /// Thousandths of what the trace says that each job runs.
    pub runtime: u32,
    /// How its jobs behave. What the trace tells of them itself stands.
    pub conduct: Conduct,
    /// The same of tenants whose jobs have a priority of their own, by the tenant's name.
    pub conducts: BTreeMap<String, Conduct>,
}

/// A trace that has been read.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Which.
    pub source: Source,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// What was odd about its rows.
    pub oddities: Oddities,
    /// What was odd about it, as the scenario's warnings tell it.
    pub warnings: Vec<Problem>,
    /// How many tenants it added to the scenario's, at their end.
    pub tenants_added: usize,
    /// Its jobs, in order of submission.
    pub work: Arc<[Drawn]>,
}

/// What of a scenario matters to how a trace becomes work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    /// GPUs of the largest node.
    pub(crate) cards_max: u32,
    /// Whether any pool says which GPUs it has.
    pub(crate) has_models: bool,
    /// What all nodes offer together. What none offers is not limited, and not asked for.
    pub(crate) capacity: Resources,
}

impl Default for Replay {
    /// All of the trace as it stands, for tenants that are described.
    fn default() -> Self {
        Self {
            tenants_from_trace: false,
            before: None,
            jobs: None,
            gpus_per_task: None,
            cpu_per_gpu: 0,
            memory_per_gpu: 0,
            runtime: 1000,
            conduct: Conduct::default(),
            conducts: BTreeMap::new(),
        }
    }
}

impl Replay {
    /// Reads a trace, and adds its tenants to these if it is to.
    pub(crate) fn read(
        &self,
        source: &Source,
        fleet: &Fleet,
        tenants: &mut Vec<Tenant>,
    ) -> Result<Trace, Vec<Problem>> {
        let file = source.file();
        let hash = trace::hash(&file).map_err(|problem| vec![problem])?;
        let mut jobs = Vec::new();
        let mut take = |job: TraceJob| {
            if self.before.is_none_or(|before| job.submitted < before) {
                jobs.push(job);
            }
        };
        let oddities = trace::read(source, &mut take).map_err(|problem| vec![problem])?;
        // Stable, so that what is submitted together stays in the order of the file.
        jobs.sort_by_key(|job| job.submitted);
        jobs.truncate(self.jobs.map_or(jobs.len(), |most| most as usize));
        let file = file.display().to_string();
        let before = tenants.len();
        let owners = self.owners(&file, &jobs, tenants)?;
        let work = self.work(&jobs, &owners, fleet);
        let mut warnings = oddities.problems(&file);
        warnings.extend(left_out(&file, jobs.len(), work.len()));
        countable(&file, &work)?;
        Ok(Trace {
            source: source.clone(),
            hash,
            oddities,
            warnings,
            tenants_added: tenants.len() - before,
            work: work.into(),
        })
    }

    /// Which tenant of the scenario each tenant of the trace is.
    fn owners(
        &self,
        file: &str,
        jobs: &[TraceJob],
        tenants: &mut Vec<Tenant>,
    ) -> Result<BTreeMap<String, TenantId>, Vec<Problem>> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for job in jobs {
            *counts.entry(&job.tenant).or_default() += 1;
        }
        let (mut owners, mut problems) = (BTreeMap::new(), Vec::new());
        let described: Vec<TenantId> = leaves(tenants);
        let is_described = |name: &str| described.iter().find(|id| id.as_str() == name);
        let mut unknown = Vec::new();
        for (name, jobs) in counts {
            match is_described(name).or_else(|| is_described(&valid(name))) {
                Some(id) => {
                    owners.insert(name.to_owned(), id.clone());
                }
                None if self.tenants_from_trace => unknown.push(name),
                None => problems.push(unknown_tenant(file, name, jobs, &described)),
            }
        }
        // After those that are described, and those whose names are valid before those whose
        // names are made so: nobody loses a name to another.
        unknown.sort_by_key(|name| valid(name) != **name);
        for name in unknown {
            let tenant = Tenant::new(&unused(&valid(name), tenants));
            owners.insert(name.to_owned(), tenant.id.clone());
            tenants.push(tenant);
        }
        let names = || tenants.iter().map(|tenant| tenant.id.as_str());
        for name in self.conducts.keys() {
            if names().all(|known| known != name) {
                let field = format!("trace.priorities.{name}");
                let remedy = suggest(name, names());
                problems.push(Problem::new(file, &field, "is no tenant's", remedy));
            }
        }
        if problems.is_empty() {
            Ok(owners)
        } else {
            Err(problems)
        }
    }

    fn work(
        &self,
        jobs: &[TraceJob],
        owners: &BTreeMap<String, TenantId>,
        fleet: &Fleet,
    ) -> Vec<Drawn> {
        // Jobs ask for few different things; those that ask for the same share it.
        let mut needs: BTreeMap<&[String], Arc<Needs>> = BTreeMap::new();
        let mut work = Vec::new();
        for job in jobs {
            let (gang, task) = self.tasks(job, fleet);
            if task.is_zero() {
                continue;
            }
            let models = if fleet.has_models { &*job.models } else { &[] };
            let needs = needs
                .entry(models)
                .or_insert_with(|| Arc::new(of_models(models)));
            let tenant = owners[&job.tenant].clone();
            let id = JobId::new(tenant.as_str(), &job.name, "");
            let known = Job {
                submitted: Time::ZERO + job.submitted,
                max_duration: job.max_runtime,
                needs: needs.clone(),
                ..Job::new(id, tenant, gang, task)
            };
            let own = self.conducts.get(known.tenant.as_str());
            work.push(own.unwrap_or(&self.conduct).drawn(known, self.runs(job)));
        }
        work
    }

    /// How long a job runs, in whole milliseconds.
    fn runs(&self, job: &TraceJob) -> Duration {
        let millis = job.runtime.as_millis() * u128::from(self.runtime) / 1000;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).max(1))
    }

    /// How many tasks a job is, and what each asks for.
    fn tasks(&self, job: &TraceJob, fleet: &Fleet) -> (u32, Resources) {
        let most = self.gpus_per_task.unwrap_or(fleet.cards_max).max(1);
        let each = divisor(job.gpus, most);
        let tasks = job.gpus.checked_div(each).unwrap_or(1);
        let milli = u64::from(each) * 1000 + if each == 0 { job.milli } else { 0 };
        let beside = |told: u64, per_gpu: u64| match told {
            0 => per_gpu.saturating_mul(milli) / 1000,
            told => told.div_ceil(u64::from(tasks)),
        };
        let task = Resources::ZERO
            .with(Resource::Gpu, milli)
            .with(Resource::Cpu, beside(job.cpu_milli, self.cpu_per_gpu))
            .with(
                Resource::Memory,
                beside(job.memory_bytes, self.memory_per_gpu),
            );
        let offered = |task: Resources, r| match fleet.capacity.get(r) {
            0 if r != Resource::Gpu => task.with(r, 0),
            _ => task,
        };
        (tasks, Resource::ALL.into_iter().fold(task, offered))
    }
}

/// The greatest number that divides `gpus` and is at most `most`; 0 of 0.
fn divisor(gpus: u32, most: u32) -> u32 {
    let mut candidates = (1..=most.min(gpus)).rev();
    candidates.find(|n| gpus.is_multiple_of(*n)).unwrap_or(0)
}

fn of_models(models: &[String]) -> Needs {
    Needs {
        models: models.iter().map(|model| model.as_str().into()).collect(),
        ..Needs::default()
    }
}

/// Tenants that may have jobs: those that are nobody's parent.
fn leaves(tenants: &[Tenant]) -> Vec<TenantId> {
    let is_leaf = |tenant: &&Tenant| {
        tenants
            .iter()
            .all(|t| t.parent.as_ref() != Some(&tenant.id))
    };
    let leaves = tenants.iter().filter(is_leaf);
    leaves.map(|tenant| tenant.id.clone()).collect()
}

/// The name as Kubernetes would take it.
fn valid(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).take(NAME_MAX).collect();
    match name.trim_matches('-') {
        "" => "tenant".to_owned(),
        name => name.to_owned(),
    }
}

/// The name, or if it is taken, the first of `NAME-2`, `NAME-3`, … that is not.
fn unused(name: &str, tenants: &[Tenant]) -> String {
    let is_free = |name: &String| tenants.iter().all(|t| t.id.as_str() != name);
    let numbered = (2..).map(|number: u32| {
        let end = format!("-{number}");
        let head = &name[..name.len().min(NAME_MAX - end.len())];
        format!("{}{end}", head.trim_end_matches('-'))
    });
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(is_free).unwrap_or_default()
}

fn unknown_tenant(file: &str, name: &str, jobs: u64, known: &[TenantId]) -> Problem {
    let what =
        format!("{jobs} of its jobs are of tenant `{name}`, which the scenario does not describe");
    let mean = suggest(name, known.iter().map(TenantId::as_str));
    let remedy = format!(
        "describe it under tenants ({mean}), or write `trace: {{tenants: fromTrace}}` there"
    );
    Problem::new(file, "trace.tenants", what, remedy)
}

fn left_out(file: &str, jobs: usize, taken: usize) -> Option<Problem> {
    let left = jobs - taken;
    let what = format!(
        "{left} of {jobs} jobs are left out: they ask for nothing that the pools say they have"
    );
    let remedy = "say cpu and memory of the pools to have jobs without GPUs run too";
    (left > 0).then(|| Problem::new(file, "trace", what, remedy).as_warning())
}

/// Whether there is work, and no more than can be added up.
fn countable(file: &str, work: &[Drawn]) -> Result<(), Vec<Problem>> {
    let asked = |r: Resource| -> u128 {
        let of = |d: &Drawn| u128::from(d.job.gang) * u128::from(d.job.task.get(r));
        work.iter().map(of).sum()
    };
    let uncountable = Resource::ALL
        .into_iter()
        .find(|r| asked(*r) > u128::from(u64::MAX));
    let (what, remedy) = match uncountable {
        Some(r) => (
            format!("all jobs together ask for more {r} than can be counted"),
            "take fewer of them with `trace: {jobs: …}`",
        ),
        None if work.len() > JOBS_MAX => (
            format!("has {} jobs", work.len()),
            "take at most 1000000 of them with `trace: {jobs: 1000000}`",
        ),
        None if work.is_empty() => (
            "none of its jobs is left".to_owned(),
            "take more of them: raise days or jobs below `trace`",
        ),
        None => return Ok(()),
    };
    Err(vec![Problem::new(file, "trace", what, remedy)])
}
