//! One run: a scenario's work under one order, from the first arrival to the last end, and what
//! became of every job.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use prorata_core::{Event, Job, JobId, Order, Placement, Reason, Resources, Time};

use crate::scenario::Scenario;
use crate::workload::Drawn;
use crate::world::{Change, Happening, Record, Work, World};

/// What happened.
#[derive(Clone, Debug)]
pub struct Run {
    /// Under which order.
    pub order: Order,
    /// What became of each job, stream by stream.
    pub jobs: Vec<Fate>,
    /// How things stood between the tenants, from each moment at which something changed.
    pub timeline: Vec<Moment>,
    /// When it ended: with the last event, or at the scenario's `until`.
    pub end: Time,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub struct Fate {
    /// What it asked for.
    pub job: Job,
    /// How long it runs, as drawn.
    pub runtime: Duration,
    /// When it started, if it did.
    pub started: Option<Time>,
    /// When it ended, if it did.
    pub finished: Option<Time>,
    /// Where it ran.
    pub placement: Option<Placement>,
    /// Why it waited, as told last.
    pub reason: Option<Reason>,
}

/// How things stand from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// From when.
    pub at: Time,
    /// Each tenant, in the scenario's order.
    pub tenants: Vec<Standing>,
}

/// What a tenant has and wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What its running jobs hold.
    pub held: Resources,
    /// What its running and waiting jobs ask for, those left out that can never start.
    pub wanted: Resources,
    /// How many of its jobs wait and could start some day.
    pub waiting: u32,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Jobs that have ended.
    pub finished: usize,
    /// All jobs.
    pub jobs: usize,
}

/// The run was told to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Whether to check the core's invariants after every cycle. A debug build always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// In debug builds only.
    #[default]
    Debug,
    /// In every build.
    Always,
}

impl Fate {
    /// How long it waited to start, or has waited until `end`.
    #[must_use]
    pub fn wait(&self, end: Time) -> Duration {
        self.started.unwrap_or(end).since(self.job.submitted)
    }

    /// How long it took from submission to its end.
    #[must_use]
    pub fn completion(&self) -> Option<Duration> {
        Some(self.finished?.since(self.job.submitted))
    }

    /// Whether it waits for something that will never come.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.started.is_none() && self.reason.as_ref().is_some_and(Reason::is_final)
    }

    /// What the whole gang asks for; nothing when no cluster could run it.
    #[must_use]
    pub fn request(&self) -> Resources {
        self.job.shape().request().unwrap_or_default()
    }
}

/// Runs `work` under `order`. `progress` is told after every step, and may stop the run.
///
/// # Errors
/// When `progress` stopped it.
///
/// # Panics
/// When the core breaks one of its own invariants.
pub fn run(
    scenario: &Scenario,
    order: Order,
    work: &[Drawn],
    check: Check,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Run, Interrupted> {
    let mut world = world(scenario, order, work);
    let until = scenario
        .until
        .map_or(Time::from_millis(u64::MAX), |u| Time::ZERO + u);
    let mut ledger = Ledger::new(scenario, work);
    while let Some(records) = world.step(until) {
        if check == Check::Always || cfg!(debug_assertions) {
            let violations = world.snapshot().violations();
            assert!(violations.is_empty(), "at {}: {violations:?}", world.now());
        }
        ledger.enter(world.now(), records);
        if progress(ledger.progress()).is_break() {
            return Err(Interrupted);
        }
    }
    let cut = world.outstanding() > 0;
    let end = if cut { until } else { world.now() };
    Ok(ledger.close(order, end))
}

/// The scenario's cluster with all of its work still to come.
#[must_use]
pub fn world(scenario: &Scenario, order: Order, work: &[Drawn]) -> World {
    let mut world = World::new(scenario.policy_under(order, work));
    for node in scenario.nodes() {
        world.observe(Event::NodeSeen(node));
    }
    for tenant in &scenario.tenants {
        world.observe(Event::TenantChanged(tenant.clone()));
    }
    for drawn in work {
        world.plan(
            drawn.job.submitted,
            Happening::Arrival(Work {
                job: drawn.job.clone(),
                runtime: Some(drawn.runtime),
                checkpoint: drawn.checkpoint,
            }),
        );
    }
    world
}

/// Keeps the books of a run: what became of whom, and how things stand.
struct Ledger {
    jobs: Vec<Fate>,
    by_id: BTreeMap<JobId, usize>,
    /// Of each job, the position of its tenant in the scenario.
    tenant: Vec<usize>,
    /// Jobs that have not arrived yet, the next one last.
    to_come: Vec<usize>,
    standings: Vec<Standing>,
    timeline: Vec<Moment>,
    finished: usize,
}

impl Ledger {
    fn new(scenario: &Scenario, work: &[Drawn]) -> Self {
        let jobs: Vec<Fate> = work.iter().map(unborn).collect();
        let tenant = |fate: &Fate| {
            let position = scenario
                .tenants
                .iter()
                .position(|t| t.id == fate.job.tenant);
            position.expect("a checked scenario knows the tenant of every stream")
        };
        let mut to_come: Vec<usize> = (0..jobs.len()).collect();
        to_come.sort_by_key(|i| std::cmp::Reverse(jobs[*i].job.submitted));
        Self {
            by_id: jobs
                .iter()
                .enumerate()
                .map(|(i, fate)| (fate.job.id.clone(), i))
                .collect(),
            tenant: jobs.iter().map(tenant).collect(),
            to_come,
            standings: vec![Standing::default(); scenario.tenants.len()],
            timeline: Vec::new(),
            finished: 0,
            jobs,
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            finished: self.finished,
            jobs: self.jobs.len(),
        }
    }

    /// Enters all that one step brought.
    fn enter(&mut self, now: Time, records: Vec<Record>) {
        while let Some(job) = self.to_come.pop_if(|i| self.jobs[*i].job.submitted <= now) {
            self.wants(job);
        }
        for record in records {
            let job = self.by_id[&record.job];
            self.happened(job, record);
        }
        let tenants = self.standings.clone();
        self.timeline.pop_if(|last| last.at == now);
        if self
            .timeline
            .last()
            .is_none_or(|last| last.tenants != tenants)
        {
            self.timeline.push(Moment { at: now, tenants });
        }
    }

    fn happened(&mut self, job: usize, record: Record) {
        match record.what {
            Change::Admitted(placement) => {
                self.jobs[job].started = Some(record.time);
                self.jobs[job].placement = Some(placement);
                let request = self.jobs[job].request();
                let standing = &mut self.standings[self.tenant[job]];
                standing.held = plus(&standing.held, &request);
                standing.waiting -= 1;
            }
            Change::Evicted(..) => {
                let request = self.jobs[job].request();
                let standing = &mut self.standings[self.tenant[job]];
                standing.held = standing.held.beyond(&request);
                standing.waiting += 1;
            }
            Change::Waiting(reason) => {
                let before = self.jobs[job].is_hopeless();
                self.jobs[job].reason = Some(reason);
                match (before, self.jobs[job].is_hopeless()) {
                    (false, true) => self.wants_no_more(job),
                    (true, false) => self.wants(job),
                    _ => {}
                }
            }
            Change::Finished => {
                self.finished += 1;
                self.jobs[job].finished = Some(record.time);
                let request = self.jobs[job].request();
                let standing = &mut self.standings[self.tenant[job]];
                standing.held = standing.held.beyond(&request);
                standing.wanted = standing.wanted.beyond(&request);
            }
        }
    }

    fn wants(&mut self, job: usize) {
        let request = self.jobs[job].request();
        let standing = &mut self.standings[self.tenant[job]];
        standing.wanted = plus(&standing.wanted, &request);
        standing.waiting += 1;
    }

    fn wants_no_more(&mut self, job: usize) {
        let request = self.jobs[job].request();
        let standing = &mut self.standings[self.tenant[job]];
        standing.wanted = standing.wanted.beyond(&request);
        standing.waiting -= 1;
    }

    fn close(self, order: Order, end: Time) -> Run {
        Run {
            order,
            jobs: self.jobs,
            timeline: self.timeline,
            end,
        }
    }
}

fn unborn(drawn: &Drawn) -> Fate {
    Fate {
        job: drawn.job.clone(),
        runtime: drawn.runtime,
        started: None,
        finished: None,
        placement: None,
        reason: None,
    }
}

fn plus(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_add(by)
        .expect("a checked scenario asks for less than 2^64 in all")
}
