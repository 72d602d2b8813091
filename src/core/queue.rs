//! Who waits and who runs, tenant by tenant, in the order in which they are looked at.
//!
//! It follows from the cluster's jobs, and can be dropped and made again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::cmp::Reverse;
use core::time::Duration;

use crate::cluster::Cluster;
use crate::id::{JobId, TenantId};
use crate::job::{Job, Kind};
use crate::policy::Order;
use crate::preemption;
use crate::rooms::{BoardId, Rooms};
use crate::standing::{Since, Standing};
use crate::time::Time;

/// A job's place in its tenant's queue.
// The order of the fields is the order of the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// What an order other than by share goes by.
    pub(crate) rank: u64,
    pub(crate) priority: Reverse<i32>,
    pub(crate) submitted: Time,
    pub(crate) job: JobId,
    /// Its priority counts across tenants. It stands last, where it decides nothing here.
    pub(crate) cluster_wide: bool,
}

/// A running job among those of its tenant that may have to leave. The least goes first: lowest
/// priority, least work lost, newest, name.
// The order of the fields is the order of the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Victim {
    pub(crate) priority: i32,
    /// Its work up to then is safe.
    safe: Reverse<Time>,
    submitted: Reverse<Time>,
    pub(crate) job: JobId,
}

/// What decides whether a running job may be made to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    since: Since,
    milli_gpu: u64,
    /// It may, once it has run for long enough.
    pub(crate) is_open: bool,
}

impl Stay {
    fn new(job: &Job, since: Since) -> Self {
        Self {
            since,
            milli_gpu: job.milli_gpu(),
            is_open: job.preemptible && !job.protected,
        }
    }

    /// Whether it has run for so long, and for as long as it is spared.
    pub(crate) fn is_ripe(&self, now: Time, min_runtime: Duration) -> bool {
        now.since(self.since.started) >= min_runtime && now >= self.since.spared_until
    }

    /// GPU-milliseconds of work that are lost when it leaves now.
    pub(crate) fn loss(&self, now: Time) -> u64 {
        preemption::loss(self.milli_gpu, self.since.safe, now)
    }
}

/// The jobs of one tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Waiting jobs by kind: those of one kind start or fail together, so that a cycle costs
    /// what differs, not what waits.
    waiting: BTreeMap<Kind, Group>,
    /// The first job of each kind, in the order in which they are looked at.
    pub(crate) heads: BTreeMap<Turn, Head>,
    pub(crate) running: BTreeMap<Victim, Stay>,
    /// Milli-GPU that running jobs hold, by their priority.
    held: BTreeMap<i32, u64>,
}

impl Line {
    /// Milli-GPU that running jobs hold, by their priority.
    pub(crate) fn held(&self) -> impl Iterator<Item = (i32, u64)> {
        let held = self.held.iter().filter(|(_, held)| **held > 0);
        held.map(|(priority, held)| (*priority, *held))
    }

    fn start(&mut self, job: &Job, since: Since) {
        let stay = Stay::new(job, since);
        self.running.insert(Victim::new(job, since.safe), stay);
        *self.held.entry(job.priority).or_default() += job.milli_gpu();
    }

    fn stop(&mut self, job: &Job, since: Since) {
        self.running.remove(&Victim::new(job, since.safe));
        if let Some(held) = self.held.get_mut(&job.priority) {
            *held -= job.milli_gpu();
        }
    }
}

/// What the first job of a kind stands for. A cycle goes through all of them, so they are small.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Arc<Kind>,
    pub(crate) gang: u32,
    /// Where room for them is counted; `None` where no cluster could run them.
    pub(crate) board: Option<BoardId>,
}

/// The waiting jobs of one kind.
#[derive(Clone, Debug, Default)]
struct Group {
    board: Option<BoardId>,
    turns: BTreeSet<Turn>,
}

/// All jobs that wait or run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) lines: BTreeMap<TenantId, Line>,
    pub(crate) waiting: usize,
    /// Running jobs by when they started.
    pub(crate) running_since: BTreeSet<(Time, JobId)>,
    /// Those that have had to leave so often that they need not for a while, by until when.
    spared: BTreeSet<(Time, JobId)>,
    /// Those that have said when they end at the latest, by that, and then by when they started.
    ending: BTreeSet<(Time, Time, JobId)>,
}

impl Queue {
    /// A job stands elsewhere than before.
    pub(crate) fn update(
        &mut self,
        cluster: &Cluster,
        rooms: &mut Rooms,
        before: Standing,
        after: Standing,
    ) {
        match before {
            Standing::Away => {}
            Standing::Waits(job, ran) => {
                self.remove_waiting(cluster.policy.order, rooms, &job, ran);
            }
            Standing::Runs(job, since) => {
                self.running_since.remove(&(since.started, job.id.clone()));
                self.spared.remove(&(since.spared_until, job.id.clone()));
                if let Some(ending) = ending(&job, since) {
                    self.ending.remove(&ending);
                }
                self.line(&job).stop(&job, since);
            }
        }
        match after {
            Standing::Away => {}
            Standing::Waits(job, ran) => self.insert_waiting(cluster, rooms, &job, ran),
            Standing::Runs(job, since) => {
                self.running_since.insert((since.started, job.id.clone()));
                if since.spared_until > since.started {
                    self.spared.insert((since.spared_until, job.id.clone()));
                }
                self.ending.extend(ending(&job, since));
                self.line(&job).start(&job, since);
            }
        }
    }

    /// Until when running jobs are spared, those from this moment on, the first first.
    pub(crate) fn spared_after(&self, at: Time) -> impl Iterator<Item = Time> {
        let later = self.spared.range((at, JobId::default())..);
        later.map(|(until, _)| *until)
    }

    /// The running jobs in the order in which they end at the latest, with when that is. Those that
    /// have not said come last, the oldest first.
    pub(crate) fn endings<'q>(
        &'q self,
        cluster: &'q Cluster,
    ) -> impl Iterator<Item = (Option<Time>, &'q JobId)> {
        let told = self.ending.iter().map(|(end, _, id)| (Some(*end), id));
        let has_not_said = |id: &&JobId| {
            let state = cluster.jobs.get(*id);
            state.is_some_and(|state| state.job.max_duration.is_none())
        };
        let untold = self.running_since.iter().map(|(_, id)| id);
        told.chain(untold.filter(has_not_said).map(|id| (None, id)))
    }

    /// Looks all boards up anew.
    pub(crate) fn seat_all(&mut self, cluster: &Cluster, rooms: &mut Rooms) {
        for line in self.lines.values_mut() {
            for (kind, group) in &mut line.waiting {
                group.board = seated(cluster, rooms, kind);
            }
            for head in line.heads.values_mut() {
                head.board = line.waiting.get(&*head.kind).and_then(|group| group.board);
            }
        }
    }

    fn insert_waiting(&mut self, cluster: &Cluster, rooms: &mut Rooms, job: &Job, ran: Duration) {
        self.waiting += 1;
        let kind = job.kind();
        let Line { waiting, heads, .. } = self.line(job);
        if !waiting.contains_key(&kind) {
            let board = seated(cluster, rooms, &kind);
            let turns = BTreeSet::new();
            waiting.insert(kind.clone(), Group { board, turns });
        }
        let Some(group) = waiting.get_mut(&kind) else {
            return;
        };
        let turn = Turn::new(cluster.policy.order, job, ran);
        let first = group.turns.first();
        if first.is_none_or(|first| turn < *first) {
            first.and_then(|first| heads.remove(first));
            let board = group.board;
            let (kind, gang) = (Arc::new(kind), job.gang);
            heads.insert(turn.clone(), Head { kind, gang, board });
        }
        group.turns.insert(turn);
    }

    fn remove_waiting(&mut self, order: Order, rooms: &mut Rooms, job: &Job, ran: Duration) {
        self.waiting -= 1;
        let kind = job.kind();
        let Line { waiting, heads, .. } = self.line(job);
        let Some(group) = waiting.get_mut(&kind) else {
            return;
        };
        let turn = Turn::new(order, job, ran);
        group.turns.remove(&turn);
        let head = heads.remove(&turn);
        match group.turns.first() {
            Some(first) => heads.extend(head.map(|head| (first.clone(), head))),
            None => {
                if let Some(board) = group.board {
                    rooms.attend(board, false);
                }
                waiting.remove(&kind);
            }
        }
    }

    fn line(&mut self, job: &Job) -> &mut Line {
        self.lines.entry(job.tenant.clone()).or_default()
    }
}

/// Where a running job stands among those that have said when they end; `None` where it has not.
fn ending(job: &Job, since: Since) -> Option<(Time, Time, JobId)> {
    let end = since.started + job.max_duration?;
    Some((end, since.started, job.id.clone()))
}

/// The board of a kind, with one more that waits at it.
fn seated(cluster: &Cluster, rooms: &mut Rooms, kind: &Kind) -> Option<BoardId> {
    kind.shape.request()?;
    let board = rooms.board(cluster, &kind.shape)?;
    rooms.attend(board, true);
    Some(board)
}

impl Turn {
    /// The turn of a job as it stands.
    pub(crate) fn of(cluster: &Cluster, job: &Job) -> Self {
        let ran = cluster
            .jobs
            .get(&job.id)
            .map_or(Duration::ZERO, |state| state.ran);
        Self::new(cluster.policy.order, job, ran)
    }

    pub(crate) fn new(order: Order, job: &Job, ran: Duration) -> Self {
        let priority = match order {
            Order::Drf | Order::Priority => job.priority,
            Order::Fifo | Order::Srtf | Order::Srsf | Order::Las => 0,
        };
        Self {
            rank: rank(order, job, ran),
            priority: Reverse(priority),
            submitted: job.submitted,
            job: job.id.clone(),
            cluster_wide: job.cluster_wide,
        }
    }
}

impl Victim {
    fn new(job: &Job, safe: Time) -> Self {
        Self {
            priority: job.priority,
            safe: Reverse(safe),
            submitted: Reverse(job.submitted),
            job: job.id.clone(),
        }
    }
}

/// GPU-seconds after which a job is in the second queue of least attained service: one hour of
/// one GPU.
const LAS_FIRST_QUEUE_GPU_SECONDS: u64 = 3600;

/// What an order other than by share goes by, of a job that has run for `ran`. The least goes
/// first.
pub(crate) fn rank(order: Order, job: &Job, ran: Duration) -> u64 {
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let remaining = || {
        job.expected
            .map_or(u64::MAX, |all| ms(all.saturating_sub(ran)))
    };
    let gpus = || (job.milli_gpu() / 1000).max(1);
    match order {
        Order::Drf | Order::Fifo | Order::Priority => 0,
        Order::Srtf => remaining(),
        Order::Srsf => remaining().saturating_mul(gpus()),
        Order::Las => {
            let attained = ms(ran).saturating_mul(gpus()) / 1000;
            u64::from(attained >= LAS_FIRST_QUEUE_GPU_SECONDS)
        }
    }
}
