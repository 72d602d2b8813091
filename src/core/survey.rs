//! What the nodes have for a gang, counted one by one, and what they are short of.

use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::NodeId;
use crate::job::{Ask, Shape};
use crate::needs::Text;
use crate::node::{NodeState, Spec};
use crate::others::Others;
use crate::reason::Reason;
use crate::resource::Resource;
use crate::trial::Found;

/// Whether the nodes could run it if nothing else ran.
pub(crate) fn possible(cluster: &Cluster, shape: &Shape) -> Result<(), Reason> {
    let Some(ask) = Ask::of(&shape.task, &shape.needs) else {
        return Err(Reason::InvalidRequest);
    };
    let request = shape.task.get(Resource::Gpu);
    let (mut nodes, mut allowed, mut largest) = (0, 0, 0);
    let (mut best, mut anywhere) = (0_u32, 0_u32);
    let homeless = shape.needs.homeless();
    for spec in cluster.nodes.values().filter_map(NodeState::open) {
        nodes += 1;
        if !shape.needs.suits(&spec.node) {
            continue;
        }
        // An instance counts as the GPU that a task asks for, whatever part of a card it is.
        largest = match shape.needs.profile {
            Some(_) => request,
            None => largest.max(spec.offer.get(Resource::Gpu)),
        };
        let others = shape.needs.times_in(&spec.node.others);
        let times = spec.room.times(&shape.task, &ask).min(others);
        if spec.allows(&shape.needs) {
            allowed += 1;
            best = best.saturating_add(times);
        }
        if homeless.allow(&spec.node) {
            anywhere = anywhere.saturating_add(times);
        }
    }
    let gang = shape.gang;
    match best.min(gang) {
        _ if request > largest => Err(Reason::NoSuchGpu { request, largest }),
        here if here < gang && here < anywhere => Err(Reason::NodesDedicated {
            pool: cluster.pools.of_home(&shape.needs.home).cloned(),
            gang,
            best: here,
        }),
        _ if allowed == 0 => Err(Reason::NoSuchNode { nodes }),
        best if best < gang => {
            let lacked = lacked(cluster, shape);
            Err(lacked.unwrap_or(Reason::ExceedsCapacity { gang, best }))
        }
        _ => Ok(()),
    }
}

/// What no node that the gang may use offers enough of for one task, of what is charged to nobody.
fn lacked(cluster: &Cluster, shape: &Shape) -> Option<Reason> {
    let open = cluster.nodes.values().filter_map(NodeState::open);
    let allowed: Vec<&Spec> = open.filter(|spec| spec.allows(&shape.needs)).collect();
    let largest = |name: &Text| {
        let offers = allowed.iter().map(|spec| spec.node.others.get(name));
        offers.max().unwrap_or_default()
    };
    let mut all = shape.needs.others.iter();
    all.find_map(|(name, request)| {
        let largest = largest(name);
        (largest < request).then(|| Reason::NoSuchResource {
            resource: name.clone(),
            request,
            largest,
        })
    })
}

/// What too little is free of, of what is charged to nobody, where there would be room otherwise.
pub(crate) fn short(cluster: &Cluster, shape: &Shape) -> Option<Reason> {
    let ask = Ask::of(&shape.task, &shape.needs)?;
    let open = |node: &&NodeState| node.open().is_some_and(|spec| spec.allows(&shape.needs));
    let room = |node: &NodeState| node.room().map_or(0, |room| room.times(&shape.task, &ask));
    let nodes = cluster.nodes.values().filter(open);
    let nodes: Vec<(u32, Others)> = nodes.map(|node| (room(node), node.others())).collect();
    let gang = u64::from(shape.gang);
    let all = nodes.iter().map(|(room, _)| u64::from(*room)).sum::<u64>();
    let best = |name: &Text, request| {
        let here =
            |(room, others): &(u32, Others)| u64::from(*room).min(others.get(name) / request);
        nodes.iter().map(here).sum::<u64>()
    };
    let of_each = shape.needs.others.iter().filter(|_| all >= gang);
    let each = of_each.map(|(name, request)| (best(name, request), name, request));
    let (best, name, request) = each.min_by_key(|(best, ..)| *best)?;
    Some(Reason::ResourceFull {
        resource: name.clone(),
        request,
        gang: shape.gang,
        best: u32::try_from(best.min(gang)).unwrap_or(shape.gang),
    })
}

/// What there is for a gang, counted node by node.
pub(crate) struct Survey {
    /// Tasks that could start on what nobody else is promised.
    pub(crate) best: u64,
    /// Tasks that could start if nothing were reserved or promised.
    pub(crate) unpromised: u64,
    /// Milli-GPU that are free on nodes that it may use.
    pub(crate) free: u64,
    pub(crate) found: Found,
}

/// Looks at every node that the gang may use; `reserved`: at those that are reserved too.
pub(crate) fn survey(cluster: &Cluster, shape: &Shape, reserved: bool) -> Survey {
    let mut survey = Survey {
        best: 0,
        unpromised: 0,
        free: 0,
        found: Found::new(),
    };
    let Some(ask) = Ask::of(&shape.task, &shape.needs) else {
        return survey;
    };
    for (id, node) in &cluster.nodes {
        let Some(spec) = node.open().filter(|spec| spec.allows(&shape.needs)) else {
            continue;
        };
        let count = u64::from(node.times_of(&shape.task, &shape.needs, &ask));
        let is_open = !is_reserved(cluster, id);
        survey.unpromised += if node.is_promised() {
            let room = node.room_unclaimed();
            let room = room.map_or(0, |room| room.times(&shape.task, &ask));
            room.min(node.others_unclaimed(&shape.needs)).into()
        } else {
            count
        };
        survey.free += node.free().map_or(0, |free| free.get(Resource::Gpu));
        survey.best += if is_open || reserved { count } else { 0 };
        if count > 0 {
            let milli = spec.room.milli_for(&ask);
            let charge = cluster.policy.charge(&spec.node.gpus.model, milli);
            let slots = survey.found.entry(charge).or_default();
            slots.all += count;
            slots.open += if is_open { count } else { 0 };
        }
    }
    survey
}

fn is_reserved(cluster: &Cluster, node: &NodeId) -> bool {
    cluster
        .reservation
        .as_ref()
        .is_some_and(|r| r.nodes.contains(node))
}
