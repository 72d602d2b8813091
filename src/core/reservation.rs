//! Nodes that are kept for a job that has waited too long for room, as in EASY backfilling
//! (Lifka, *The ANL/IBM SP Scheduling System*, 1995): others may use them only if they are sure
//! to be gone in time.

use alloc::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::drf::{Arena, Entry};
use crate::id::{JobId, NodeId};
use crate::job::{Ask, Job};
use crate::placement::{self, Bounds};
use crate::queue::{Head, Queue, Turn};
use crate::resource::Resources;
use crate::rooms::{BoardId, Rooms};
use crate::standing::JobState;
use crate::time::Time;
use crate::tree::Seat;
use crate::trial;

/// Nodes that are kept for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) job: JobId,
    pub(crate) nodes: BTreeSet<NodeId>,
    /// When it can start at the latest, as far as what runs there has said when it ends.
    pub(crate) until: Option<Time>,
}

impl Reservation {
    /// Whether it still serves its purpose: the job waits and lacks nothing but room, and the
    /// nodes take new work.
    pub(crate) fn is_good(&self, cluster: &Cluster, rooms: &Rooms, now: Time) -> bool {
        let waits = |state: &JobState| {
            let may_hold = state.tasks.is_none() && !trial::is_deferred(cluster, state);
            let board = rooms.find(&state.job.shape());
            may_hold && board.is_some_and(|board| trial::lacks_only_room(cluster, state, board))
        };
        let open = |id: &NodeId| {
            cluster
                .nodes
                .get(id)
                .is_some_and(|node| node.open().is_some())
        };
        cluster.jobs.get(&self.job).is_some_and(waits)
            && self.nodes.iter().all(open)
            && self.until.is_none_or(|until| now <= until)
    }
}

/// Who may get a reservation: those that have waited too long, and lack nothing but room. Who comes
/// after all others gets none.
pub(crate) struct Overdue;

impl Entry for Overdue {
    fn enter(&self, arena: &Arena<'_>, seat: Seat, head: &Head, first: &Turn) -> Option<Resources> {
        let kind = &head.kind;
        let Arena { cluster, now, .. } = arena;
        let after = cluster.policy.reserve_after?;
        let board = head.board.filter(|_| kind.hold.is_none())?;
        if now.since(first.submitted) < after {
            return None;
        }
        let tenant = cluster
            .tenants
            .get(cluster.tree.id(seat))?
            .spec
            .as_deref()?;
        let request = kind.shape.request()?;
        let board = arena.rooms.at(board);
        let is_deferred = cluster.tree.defers(seat, &request, &kind.shape.task);
        let wanted = !tenant.exhausted && !is_deferred && cluster.tree.is_leaf(seat);
        let could = board.slots_when_empty() >= u64::from(kind.shape.gang);
        let allowed = trial::quota(cluster, tenant, seat, kind, &request).is_ok();
        (wanted && could && allowed).then_some(request)
    }
}

/// The nodes on which a job can start first: those that it would get when what runs has left in
/// the order in which it ends; what has not said when it ends leaves last, the oldest first.
pub(crate) fn reserve(
    cluster: &Cluster,
    rooms: &mut Rooms,
    queue: &Queue,
    job: &Job,
    board: BoardId,
) -> Option<Reservation> {
    let ask = Ask::of(&job.task, &job.needs)?;
    let mut then = cluster.clone();
    let mut slots = rooms.at(board).total().all;
    let mut until = Some(Time::ZERO);
    let mut touched: BTreeSet<NodeId> = BTreeSet::new();
    let mut endings = queue.endings(cluster);
    while slots < u64::from(job.gang) {
        let Some((end, id)) = endings.next() else {
            break;
        };
        until = end;
        let Some((other, tasks)) = cluster.running(id) else {
            continue;
        };
        let nodes = tasks.nodes();
        let before = slots_on(&then, job, &ask, &nodes);
        then.vacate(other, tasks);
        slots = slots + slots_on(&then, job, &ask, &nodes) - before;
        touched.extend(nodes.into_iter().cloned());
    }
    rooms.show(board, &then, &touched);
    let bounds = Bounds {
        reserved: true,
        charge_max: u64::MAX,
    };
    let placement = placement::place(&then, rooms, board, job.gang, bounds);
    rooms.show(board, cluster, &touched);
    let nodes = placement?.slots().map(|slot| slot.node.clone()).collect();
    Some(Reservation {
        job: job.id.clone(),
        nodes,
        until: until.filter(|until| *until > Time::ZERO),
    })
}

fn slots_on(cluster: &Cluster, job: &Job, ask: &Ask, nodes: &[&NodeId]) -> u64 {
    let count = |id: &&NodeId| Some(cluster.nodes.get(*id)?.times(job, ask));
    nodes.iter().filter_map(count).map(u64::from).sum()
}
