//! Worlds for tests: drawn from a seed, and run until nothing is decided any more.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod draw;
pub(crate) mod model;

use std::collections::{BTreeMap, BTreeSet};

use prorata_core::{
    Decision, Event, Job, JobId, Node, Placement, Policy, Resource, Scheduler, Snapshot, TaskId,
    Tenant, Time,
};

/// What exists at the beginning of a world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) nodes: Vec<Node>,
    pub(crate) tenants: Vec<Tenant>,
    /// Jobs that run, where.
    pub(crate) running: Vec<(Job, Placement)>,
    pub(crate) waiting: Vec<Job>,
}

/// A cluster in which what is admitted starts at once, and what is evicted is gone at once.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Time,
    pub(crate) jobs: usize,
    pub(crate) evictions: usize,
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            scheduler: Scheduler::new(policy),
            now: Time::ZERO,
            jobs: 0,
            evictions: 0,
        }
    }

    /// The world of a setting; nothing is decided yet.
    pub(crate) fn of(policy: Policy, setting: &Setting) -> Self {
        let mut world = Self::new(policy);
        let nodes = setting.nodes.iter().cloned();
        nodes.for_each(|node| world.observe(Event::NodeSeen(node)));
        let tenants = setting.tenants.iter().cloned();
        tenants.for_each(|tenant| world.observe(Event::TenantChanged(tenant)));
        for (job, placement) in &setting.running {
            world.submit(job.clone());
            let id = job.id.clone();
            world.observe(Event::JobAdmitted(id, placement.clone(), Time::ZERO));
            world.bind(&job.id, placement);
        }
        let waiting = setting.waiting.iter().cloned();
        waiting.for_each(|job| world.submit(job));
        world
    }

    pub(crate) fn observe(&mut self, event: Event) {
        self.scheduler.observe(self.now, event);
    }

    pub(crate) fn submit(&mut self, job: Job) {
        self.jobs += 1;
        self.observe(Event::JobSubmitted(job));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    /// One cycle, carried out.
    pub(crate) fn step(&mut self) -> Vec<Decision> {
        let decisions = self.scheduler.cycle(self.now).decisions;
        for decision in &decisions {
            match decision {
                Decision::Admit(job, placement) => self.bind(job, placement),
                Decision::Evict { victim, .. } => {
                    self.evictions += 1;
                    self.end(victim);
                }
            }
        }
        decisions
    }

    /// Cycles until nothing is decided any more; what was decided. Panics where that takes more
    /// evictions than the square of the number of jobs.
    pub(crate) fn settle(&mut self) -> Vec<Decision> {
        let mut all = Vec::new();
        loop {
            let decisions = self.step();
            if decisions.is_empty() {
                return all;
            }
            all.extend(decisions);
            let most = self.jobs * self.jobs;
            assert!(
                self.evictions <= most,
                "{} jobs, and still they evict",
                self.jobs
            );
        }
    }

    pub(crate) fn bind(&mut self, job: &JobId, placement: &Placement) {
        for (index, slot) in (0..).zip(placement.slots()) {
            let task = TaskId {
                job: job.clone(),
                index,
            };
            self.observe(Event::TaskBound(task, slot.node.clone()));
        }
    }

    /// All tasks of a job end.
    pub(crate) fn end(&mut self, job: &JobId) {
        let gang = self.snapshot().job(job).map_or(0, |job| job.gang);
        for index in 0..gang {
            let job = job.clone();
            self.observe(Event::TaskFinished(TaskId { job, index }));
        }
    }
}

/// Jobs that have a place.
pub(crate) fn placed(snapshot: &Snapshot) -> BTreeSet<JobId> {
    let placed = snapshot
        .jobs()
        .filter(|job| snapshot.placement(&job.id).is_some());
    placed.map(|job| job.id.clone()).collect()
}

/// How many jobs of each tenant have a place.
pub(crate) fn counts(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for id in placed(snapshot) {
        *counts.entry(id.namespace().to_owned()).or_default() += 1;
    }
    counts
}

/// Runs `check` on as many seeds as the variable says, or on `usual` many, and names the seed
/// where it fails.
pub(crate) fn for_seeds(variable: &str, usual: u64, check: impl Fn(u64)) {
    let many = std::env::var(variable).ok().and_then(|n| n.parse().ok());
    let first = std::env::var("PRORATA_SEED")
        .ok()
        .and_then(|n| n.parse().ok());
    let seeds = first.map_or(0..many.unwrap_or(usual), |seed: u64| seed..seed + 1);
    for seed in seeds {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(seed)));
        assert!(failed.is_ok(), "failed with PRORATA_SEED={seed}");
    }
}

/// How much of GPUs something is, in whole ones.
pub(crate) fn gpus(amounts: &prorata_core::Resources) -> u64 {
    amounts.get(Resource::Gpu) / 1000
}

impl std::fmt::Display for Setting {
    /// In the words of a golden script, as far as it has them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |amounts: &prorata_core::Resources| {
            let named = amounts.iter().filter(|(_, amount)| *amount > 0);
            let words = named.map(|(r, amount)| format!("{r}:{}", amount / r.scale()));
            words.collect::<Vec<_>>().join(",")
        };
        writeln!(f)?;
        for node in &self.nodes {
            writeln!(f, "node {} {}", node.id, told(&node.allocatable))?;
        }
        for tenant in &self.tenants {
            let caps = |limits: &prorata_core::Limits| {
                let named = Resource::ALL.into_iter();
                let named =
                    named.filter_map(|r| Some(format!("{r}:{}", limits.get(r)? / r.scale())));
                named.collect::<Vec<_>>().join(",")
            };
            let parent = tenant.parent.as_ref().map_or("", |parent| parent.as_str());
            let (above, below) = (tenant.weight.numerator(), tenant.weight.denominator());
            write!(
                f,
                "tenant {} parent={parent} weight={above}/{below}",
                tenant.id
            )?;
            let (limit, lend) = (caps(&tenant.limit), caps(&tenant.lending_limit));
            writeln!(
                f,
                " guaranteed={} limit={limit} lend={lend}",
                told(&tenant.guaranteed)
            )?;
        }
        let running = self.running.iter().map(|(job, at)| (job, at.to_string()));
        let waiting = self.waiting.iter().map(|job| (job, String::new()));
        for (job, at) in running.chain(waiting) {
            write!(f, "submit {} gang={} {}", job.id, job.gang, told(&job.task))?;
            write!(
                f,
                " priority={} preemptible={}",
                job.priority, job.preemptible
            )?;
            writeln!(f, " {} {at}", job.submitted)?;
        }
        Ok(())
    }
}
