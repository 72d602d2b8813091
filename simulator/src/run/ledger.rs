//! The books of a run: what became of whom, and how things stand between the tenants.

use std::collections::{BTreeMap, HashMap};

use prorata_core::{JobId, NodeId, Order, Reason, Resource, Resources, Time};

use super::fate::{Eviction, Fate};
use super::{Progress, Run};
use crate::fairness::Integral;
use crate::scenario::Scenario;
use crate::timeline::{Moment, Obstacle, Standing, Timeline};
use crate::workload::Drawn;
use crate::world::{Change, Record, Spell};

/// Keeps the books of a run.
pub(super) struct Ledger {
    jobs: Vec<Fate>,
    open: Vec<Open>,
    /// Looked up only, so its order tells nothing.
    by_id: HashMap<JobId, usize>,
    /// Jobs that have not arrived yet, the next one last.
    to_come: Vec<usize>,
    prices: BTreeMap<NodeId, f64>,
    now: Moment,
    /// Whether anything has arrived.
    has_begun: bool,
    integral: Integral,
    timeline: Timeline,
    records: Vec<Record>,
    finished: usize,
}

/// How a job stands.
struct Open {
    /// The position of its tenant in the scenario.
    tenant: usize,
    phase: Phase,
    /// Since when it waits for the reason that is known, or for one that is not known yet.
    reason_since: Time,
    /// What it contributes to the standing of its tenant.
    counted: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has not arrived.
    ToCome,
    Waits,
    Holds,
    Ended,
}

/// The code of a wait that ended before anybody asked for its reason.
const NOT_SAMPLED: &str = "NotSampled";

impl Ledger {
    pub(super) fn new(scenario: &Scenario, work: &[Drawn]) -> Self {
        let jobs: Vec<Fate> = work.iter().map(Fate::new).collect();
        let positions: BTreeMap<_, usize> = scenario
            .tenants
            .iter()
            .enumerate()
            .map(|(i, tenant)| (tenant.id.clone(), i))
            .collect();
        let open = |fate: &Fate| Open {
            tenant: positions[&fate.job.tenant],
            phase: Phase::ToCome,
            reason_since: Time::ZERO,
            counted: Standing::default(),
        };
        let mut to_come: Vec<usize> = (0..jobs.len()).collect();
        to_come.sort_by_key(|i| std::cmp::Reverse(jobs[*i].job.submitted));
        let ids = jobs.iter().enumerate();
        let priced = scenario.pools.iter().flat_map(|pool| {
            let price = pool.price.unwrap_or_default();
            pool.nodes().map(move |node| (node.id, price))
        });
        Self {
            open: jobs.iter().map(open).collect(),
            by_id: ids.map(|(i, fate)| (fate.job.id.clone(), i)).collect(),
            to_come,
            prices: priced.collect(),
            now: Moment::new(scenario.tenants.len()),
            has_begun: false,
            integral: Integral::new(scenario),
            timeline: Timeline::default(),
            records: Vec::new(),
            finished: 0,
            jobs,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            finished: self.finished,
            jobs: self.jobs.len(),
        }
    }

    /// Whether every job has arrived and ended.
    pub(super) fn is_complete(&self) -> bool {
        self.finished == self.jobs.len()
    }

    /// Enters all that one step brought.
    pub(super) fn enter(&mut self, at: Time, records: Vec<Record>, capacity: &Resources) {
        self.pass(at);
        self.now.capacity = *capacity;
        while let Some(job) = self.to_come.pop_if(|i| self.jobs[*i].job.submitted <= at) {
            self.has_begun = true;
            self.pend(job, self.jobs[job].job.submitted);
        }
        for record in records {
            self.happened(record);
        }
        self.integral.entitle(&mut self.now);
        if self.has_begun {
            self.timeline.push(&self.now);
        }
    }

    /// Notes how many millionths of a milli-GPU are lost to fragmentation.
    pub(super) fn fragments(&mut self, millionths: u64) {
        self.now.fragments = Some(millionths / 1_000_000);
        if self.has_begun {
            self.timeline.push(&self.now);
        }
    }

    /// Time goes on, with all as it stands.
    fn pass(&mut self, to: Time) {
        if self.has_begun {
            self.integral.add(to.since(self.now.at), &self.now);
        }
        self.now.at = to;
    }

    fn happened(&mut self, record: Record) {
        let (job, at) = (self.by_id[&record.job], record.time);
        match &record.what {
            Change::Admitted(placement) => {
                self.end_wait(job, at);
                let fate = &mut self.jobs[job];
                fate.started.get_or_insert(at);
                fate.resumed = Some(at);
                fate.starts += 1;
                fate.placement = Some(placement.clone());
                self.stand(job, Phase::Holds);
            }
            Change::Evicted(by, rule) => self.jobs[job].evictions.push(Eviction {
                at,
                by: by.clone(),
                rule: *rule,
            }),
            Change::Failed(_) => self.jobs[job].failures += 1,
            Change::Waiting(reason) => self.waits_for(job, at, reason.clone()),
            Change::Finished => {
                self.finished += 1;
                self.jobs[job].finished = Some(at);
            }
            Change::Left(spell) => self.left(job, at, spell),
        }
        self.records.push(record);
    }

    fn left(&mut self, job: usize, at: Time, spell: &Spell) {
        self.spell(job, spell);
        if self.jobs[job].finished.is_some() {
            self.stand(job, Phase::Ended);
        } else {
            self.pend(job, at);
        }
    }

    fn spell(&mut self, job: usize, spell: &Spell) {
        let prices = &self.prices;
        let price = |node: &NodeId| prices.get(node).copied().unwrap_or_default();
        self.jobs[job].enter(spell, price);
    }

    fn pend(&mut self, job: usize, since: Time) {
        self.jobs[job].pending = Some(since);
        self.jobs[job].reason = None;
        self.open[job].reason_since = since;
        self.stand(job, Phase::Waits);
    }

    /// The job waits for this from now on; until a first reason is known, it has been waiting
    /// for that one all the time.
    fn waits_for(&mut self, job: usize, at: Time, reason: Reason) {
        if self.jobs[job].reason.is_some() {
            self.end_reason(job, at);
        }
        self.jobs[job].reason = Some(reason);
        self.stand(job, self.open[job].phase);
    }

    fn end_reason(&mut self, job: usize, at: Time) {
        let code = self.jobs[job].reason.as_ref().map(Reason::code);
        let span = at.since(self.open[job].reason_since);
        self.jobs[job].waited_for(code.unwrap_or(NOT_SAMPLED), span);
        self.open[job].reason_since = at;
    }

    fn end_wait(&mut self, job: usize, at: Time) {
        self.end_reason(job, at);
        if let Some(since) = self.jobs[job].pending.take() {
            self.jobs[job].waited += at.since(since);
        }
    }

    /// Counts a job in its tenant's standing as it stands now.
    fn stand(&mut self, job: usize, phase: Phase) {
        let open = &mut self.open[job];
        open.phase = phase;
        let counted = counted(&self.jobs[job], phase);
        let standing = &mut self.now.tenants[open.tenant];
        *standing = standing.less(&open.counted).plus(&counted);
        open.counted = counted;
    }

    /// The run ends here; `last` says why the rest waits, and how far it has come.
    pub(super) fn close(mut self, order: Order, end: Time, last: Vec<Record>) -> Run {
        for record in last {
            match &record.what {
                Change::Left(spell) => {
                    let job = self.by_id[&record.job];
                    self.spell(job, spell);
                }
                _ => self.happened(record),
            }
        }
        self.pass(end);
        for job in 0..self.jobs.len() {
            if self.jobs[job].pending.is_some() {
                self.end_reason(job, end);
            }
        }
        Run {
            pairs: (0, 0),
            order,
            jobs: self.jobs,
            timeline: self.timeline.rows(),
            sums: self.integral.close(),
            records: self.records,
            end,
        }
    }
}

/// What a job contributes to the standing of its tenant. One that can never start wants nothing.
fn counted(fate: &Fate, phase: Phase) -> Standing {
    match phase {
        Phase::Waits if !fate.is_hopeless() => {
            let wanted = fate.request();
            let mut standing = Standing {
                wanted,
                waiting: 1,
                ..Standing::default()
            };
            let gpu = wanted.get(Resource::Gpu);
            if let Some(obstacle) = Obstacle::of(fate.reason.as_ref()) {
                standing.obstructed[obstacle as usize] = gpu;
            }
            standing
        }
        Phase::Holds => Standing {
            held: fate.takes(),
            wanted: fate.takes(),
            ..Standing::default()
        },
        Phase::ToCome | Phase::Waits | Phase::Ended => Standing::default(),
    }
}

pub(super) fn plus(sum: &Resources, by: &Resources) -> Resources {
    sum.checked_add(by)
        .expect("a checked scenario asks for less than 2^64 in all")
}
