//! What a decision costs: `cargo bench -p prorata-core`.
//!
//! | benchmark | from | to |
//! |---|---|---|
//! | `fill` | 1,000 empty nodes of 8 GPUs, 10 tenants, 320,000 waiting jobs of 200 kinds each | a full cluster |
//! | `event` | 5,000 full nodes, 100,000 waiting jobs | the cycle after one job has ended, with preemption and without |
//! | `snapshot` | the same | a snapshot, and the first change after it |
//!
//! The work is drawn from a fixed seed: gangs of 1 to 64 tasks of 1, 2, 4 or 8 GPUs, a quarter
//! of the kinds with a node selector, five priorities. At the end the peak of memory is printed.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use prorata_core::{
    Decision, Event, Job, JobId, Needs, Node, Policy, Preemption, Resource, Resources, Scheduler,
    TaskId, Tenant, Time,
};

const TENANTS: u64 = 10;
const KINDS: u64 = 200;
const GIB: u64 = 1 << 30;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .configure_from_args();
    fill(&mut criterion);
    println!("peak of memory: {} MiB", peak_mib());
    event(&mut criterion);
    snapshot(&mut criterion);
    criterion.final_summary();
}

fn fill(criterion: &mut Criterion) {
    let waiting = prepared(1_000, 320_000, true);
    println!("prepared: {} MiB", peak_mib());
    criterion.bench_function("fill/1000 nodes, 320000 jobs", |bench| {
        bench.iter_batched_ref(
            || waiting.clone(),
            |scheduler| black_box(scheduler.cycle(Time::ZERO)),
            BatchSize::PerIteration,
        );
    });
}

fn event(criterion: &mut Criterion) {
    for (name, preempts) in [("event", true), ("event, nobody leaves", false)] {
        let mut full = Full::new(5_000, 100_000, preempts);
        criterion.bench_function(&format!("{name}/5000 nodes, 100000 jobs"), |bench| {
            bench.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    full.end_one();
                    let begin = std::time::Instant::now();
                    let decisions = black_box(full.scheduler.cycle(full.now)).decisions;
                    spent += begin.elapsed();
                    full.carry_out(decisions);
                }
                spent
            });
        });
    }
}

fn snapshot(criterion: &mut Criterion) {
    let mut full = Full::new(5_000, 100_000, true);
    criterion.bench_function("snapshot/5000 nodes, 100000 jobs", |bench| {
        bench.iter(|| black_box(full.scheduler.snapshot()));
    });
    criterion.bench_function("snapshot and change/5000 nodes, 100000 jobs", |bench| {
        bench.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                let begin = std::time::Instant::now();
                let snapshot = full.scheduler.snapshot();
                full.end_one();
                spent += begin.elapsed();
                let decisions = full.scheduler.cycle(full.now).decisions;
                full.carry_out(decisions);
                drop(black_box(snapshot));
            }
            spent
        });
    });
}

/// A full cluster whose jobs end one after the other.
struct Full {
    scheduler: Scheduler,
    running: Vec<(JobId, u32)>,
    draw: Draw,
    now: Time,
}

impl Full {
    fn new(nodes: u64, jobs: u64, preempts: bool) -> Self {
        let mut full = Self {
            scheduler: prepared(nodes, jobs, preempts),
            running: Vec::new(),
            draw: Draw(1),
            now: Time::ZERO,
        };
        full.settle();
        full.now = full.now + Duration::from_secs(3600);
        full.settle();
        full
    }

    /// Cycles until nothing is left to decide, or for long enough to be near it.
    fn settle(&mut self) {
        for _ in 0..200 {
            let decisions = self.scheduler.cycle(self.now).decisions;
            let is_done = decisions.is_empty();
            self.carry_out(decisions);
            let due = self
                .scheduler
                .next_wakeup()
                .filter(|due| since(*due, self.now) < 2);
            match due {
                Some(due) => self.now = self.now.max(due),
                None if is_done => break,
                None => {}
            }
        }
    }

    /// One running job ends, and one like it arrives.
    fn end_one(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let index = self.draw.below(self.running.len() as u64) as usize;
        let (id, gang) = self.running.swap_remove(index);
        let ended = self.scheduler.snapshot().job(&id).cloned();
        self.leave(&id, gang);
        if let Some(job) = ended {
            let again = Job {
                id: JobId::new(id.namespace(), &format!("{}+", id.name()), ""),
                submitted: self.now,
                ..job
            };
            self.scheduler.observe(self.now, Event::JobSubmitted(again));
        }
    }

    fn leave(&mut self, job: &JobId, gang: u32) {
        for index in 0..gang {
            let job = job.clone();
            let finished = Event::TaskFinished(TaskId { job, index });
            self.scheduler.observe(self.now, finished);
        }
    }

    fn carry_out(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Admit(job, placement) => {
                    self.running
                        .push((job.clone(), placement.slots().len() as u32));
                    for (index, slot) in (0..).zip(placement.slots()) {
                        let job = job.clone();
                        let bound = Event::TaskBound(TaskId { job, index }, slot.node.clone());
                        self.scheduler.observe(self.now, bound);
                    }
                }
                Decision::Evict { victim, .. } => {
                    let position = self.running.iter().position(|(job, _)| *job == victim);
                    if let Some(position) = position {
                        let (job, gang) = self.running.swap_remove(position);
                        self.leave(&job, gang);
                    }
                }
            }
        }
    }
}

/// Seconds from one moment to a later one.
const fn since(later: Time, earlier: Time) -> u64 {
    later.since(earlier).as_secs()
}

/// A cluster of empty nodes with waiting jobs.
fn prepared(nodes: u64, jobs: u64, preempts: bool) -> Scheduler {
    let mut scheduler = Scheduler::new(Policy {
        preemption: Preemption {
            enabled: preempts,
            min_runtime: Duration::from_secs(600),
            ..Preemption::default()
        },
        ..Policy::default()
    });
    for number in 0..nodes {
        scheduler.observe(Time::ZERO, Event::NodeSeen(node(number)));
    }
    for number in 0..TENANTS {
        let tenant = Tenant {
            guaranteed: Resources::gpus(nodes * 8 / TENANTS / 2),
            ..Tenant::new(&format!("tenant-{number}"))
        };
        scheduler.observe(Time::ZERO, Event::TenantChanged(tenant));
    }
    let mut draw = Draw(42);
    let kinds: Vec<Kind> = (0..TENANTS * KINDS)
        .map(|_| Kind::drawn(&mut draw))
        .collect();
    for number in 0..jobs {
        let tenant = draw.below(TENANTS);
        let kind = &kinds[(tenant * KINDS + draw.below(KINDS)) as usize];
        let submitted = Event::JobSubmitted(kind.job(tenant, number));
        scheduler.observe(Time::ZERO, submitted);
    }
    scheduler
}

fn node(number: u64) -> Node {
    let zone = format!("zone-{}", number % 4);
    let labels = [("zone".into(), zone.as_str().into())];
    Node {
        allocatable: Resources::gpus(8)
            .with(Resource::Cpu, 96_000)
            .with(Resource::Memory, 768 * GIB),
        labels: Arc::new(labels.into_iter().collect()),
        ..Node::new(&format!("node-{number:05}"))
    }
}

/// A kind of job.
struct Kind {
    gang: u32,
    task: Resources,
    needs: Arc<Needs>,
    priority: i32,
}

impl Kind {
    fn drawn(draw: &mut Draw) -> Self {
        let gpus = 1 << draw.below(4);
        let gang = 1 << draw.below(7);
        let mut needs = Needs::default();
        if draw.below(4) == 0 {
            let zone = format!("zone-{}", draw.below(4));
            needs.selector.push(("zone".into(), zone.as_str().into()));
        }
        Self {
            gang: (gang / gpus).max(1) as u32,
            task: Resources::gpus(gpus)
                .with(Resource::Cpu, gpus * (4 + 4 * draw.below(3)) * 1000)
                .with(Resource::Memory, gpus * (32 + 32 * draw.below(3)) * GIB),
            needs: Arc::new(needs),
            priority: 100 * draw.below(5) as i32,
        }
    }

    fn job(&self, tenant: u64, number: u64) -> Job {
        let tenant = format!("tenant-{tenant}");
        let id = JobId::new(&tenant, &format!("job-{number:06}"), "");
        Job {
            priority: self.priority,
            submitted: Time::from_millis(number),
            needs: self.needs.clone(),
            ..Job::new(id, tenant.as_str().into(), self.gang, self.task)
        }
    }
}

/// Numbers that look random (Marsaglia, *Xorshift RNGs*, 2003).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The most memory that this process has had at once, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
