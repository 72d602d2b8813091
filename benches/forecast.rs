//! What foretelling costs: `cargo bench -p prorata-simulator`.
//!
//! | benchmark | what |
//! |---|---|
//! | `forecast` | 50 runs for 1,000 waiting jobs on a full cluster, with others arriving meanwhile and without; where jobs leave for equal shares, as the policy has it where nobody says otherwise, and where they do not |
//! | `what-if` | the same 50 runs for one more job |
//!
//! 5,000 GPUs on 625 nodes, 20 tenants of which half are guaranteed something, gangs of 1 to 16
//! pods of 1 to 8 GPUs, two priorities. The run times of 500 jobs are known. The work is drawn from a
//! fixed seed. The runs share all processors.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use prorata_core::{
    Decision, Event, Job, JobId, Node, Policy, Preemption, Resource, Resources, Scheduler,
    Snapshot, TaskId, Tenant, Time,
};
use prorata_simulator::forecast::{History, Question, forecast, what_if};

/// As in the binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODES: u64 = 625;
const TENANTS: u64 = 20;
const WAITING: usize = 1_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    let question = Question::default();
    for (shares, fair_share) in [("equal shares", true), ("guarantees alone", false)] {
        let cluster = Cluster::full(fair_share);
        for (others, arrive) in [("nobody arrives", false), ("others arrive", true)] {
            let history = cluster.history(arrive);
            let name = format!("forecast, {shares}, {others}/1000 waiting, 50 runs");
            criterion.bench_function(&name, |bench| {
                bench.iter(|| {
                    let told = forecast(&cluster.snapshot, cluster.now, &history, &question);
                    black_box(told)
                });
            });
        }
    }
    let cluster = Cluster::full(true);
    let history = cluster.history(true);
    let job = job(&mut Draw(9), "asked", cluster.now);
    criterion.bench_function("what-if/1000 waiting, 50 runs", |bench| {
        bench.iter(|| {
            let job = job.clone();
            black_box(what_if(
                &cluster.snapshot,
                cluster.now,
                job,
                &history,
                &question,
            ))
        });
    });
    criterion.final_summary();
}

/// A full cluster with a queue before it.
struct Cluster {
    snapshot: Snapshot,
    now: Time,
}

impl Cluster {
    fn full(fair_share: bool) -> Self {
        let preemption = Preemption {
            fair_share,
            ..Preemption::default()
        };
        let mut core = Scheduler::new(Policy {
            reserve_after: Some(Duration::from_secs(900)),
            preemption,
            ..Policy::default()
        });
        for node in 0..NODES {
            let allocatable = Resources::gpus(8).with(Resource::Cpu, 96_000);
            let node = Node {
                allocatable,
                ..Node::new(&format!("node-{node:03}"))
            };
            core.observe(Time::ZERO, Event::NodeSeen(node));
        }
        for tenant in 0..TENANTS {
            let guaranteed = Resources::gpus(if tenant % 2 == 0 { 200 } else { 0 });
            let tenant = Tenant {
                guaranteed,
                ..Tenant::new(&format!("team-{tenant:02}"))
            };
            core.observe(Time::ZERO, Event::TenantChanged(tenant));
        }
        let mut draw = Draw(7);
        let mut now = Time::ZERO;
        for number in 0.. {
            now = now + Duration::from_secs(10);
            let job = job(&mut draw, &format!("job-{number:05}"), now);
            core.observe(now, Event::JobSubmitted(job));
            settle(&mut core, now);
            let snapshot = core.snapshot();
            let waits = |job: &&Job| !snapshot.holds_places(&job.id);
            if snapshot.jobs().filter(waits).count() >= WAITING {
                break;
            }
        }
        Self {
            snapshot: core.snapshot(),
            now,
        }
    }

    fn history(&self, others_arrive: bool) -> History {
        let mut history = History::default();
        let mut draw = Draw(11);
        for number in 0..500 {
            let job = job(&mut draw, &format!("past-{number}"), Time::ZERO);
            history.ended(&job, Duration::from_secs(60 + draw.below(36_000)));
        }
        for number in (0..500).filter(|_| others_arrive) {
            let at = Time::ZERO + Duration::from_secs(number * 60);
            history.arrived(&job(&mut draw, "past", at));
        }
        history
    }
}

fn settle(core: &mut Scheduler, now: Time) {
    loop {
        let decisions = core.cycle(now).decisions;
        if decisions.is_empty() {
            return;
        }
        for decision in decisions {
            match decision {
                Decision::Admit(job, placement) => {
                    for (index, slot) in (0..).zip(placement.slots()) {
                        let job = job.clone();
                        let bound = Event::TaskBound(TaskId { job, index }, slot.node.clone());
                        core.observe(now, bound);
                    }
                }
                Decision::Evict { victim, .. } => {
                    let gang = core.snapshot().job(&victim).map_or(0, |job| job.gang);
                    for index in 0..gang {
                        let job = victim.clone();
                        core.observe(now, Event::TaskFinished(TaskId { job, index }));
                    }
                }
            }
        }
    }
}

fn job(draw: &mut Draw, name: &str, at: Time) -> Job {
    let tenant = format!("team-{:02}", draw.below(TENANTS));
    let gpus = 1 << draw.below(4);
    let gang = match draw.below(10) {
        0..=6 => 1,
        7 | 8 => 4,
        _ => 16,
    };
    let task = Resources::gpus(gpus).with(Resource::Cpu, gpus * 4_000);
    let priority = if draw.below(10) == 0 { 100 } else { 0 };
    Job {
        submitted: at,
        priority,
        ..Job::new(
            JobId::new(&tenant, name, ""),
            tenant.as_str().into(),
            gang,
            task,
        )
    }
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
