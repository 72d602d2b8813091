//! Where a gang runs: best fit, then name; whole or not at all.

use alloc::vec::Vec;

use rpds::RedBlackTreeSetSync;

use crate::id::NodeId;
use crate::job::Shape;
use crate::resource::{Resource, Resources};

/// What a node has free. Ordered from the tightest to the roomiest, GPUs before CPU before
/// memory because GPUs are what is scarce; then by name.
// The order of the fields is the order of preference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Room {
    gpu: u64,
    cpu: u64,
    memory: u64,
    node: NodeId,
}

impl Room {
    fn new(node: &NodeId, free: &Resources) -> Self {
        Self {
            gpu: free.get(Resource::Gpu),
            cpu: free.get(Resource::Cpu),
            memory: free.get(Resource::Memory),
            node: node.clone(),
        }
    }

    fn free(&self) -> Resources {
        Resources::ZERO
            .with(Resource::Gpu, self.gpu)
            .with(Resource::Cpu, self.cpu)
            .with(Resource::Memory, self.memory)
    }
}

/// The nodes that take new work, from the tightest to the roomiest.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Rooms(RedBlackTreeSetSync<Room>);

/// Too little room for a gang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// As many of its tasks as could start.
    pub(crate) best: u32,
}

impl Rooms {
    pub(crate) fn insert(&mut self, node: &NodeId, free: &Resources) {
        self.0.insert_mut(Room::new(node, free));
    }

    pub(crate) fn remove(&mut self, node: &NodeId, free: &Resources) {
        self.0.remove_mut(&Room::new(node, free));
    }

    /// The node of each task, in order of task index.
    ///
    /// Each task goes to the tightest node that still takes it. That node is then tighter still,
    /// so it also gets the next task, until it is full: one walk over the nodes is enough. As
    /// the tasks are equal, this fails only where every placement fails.
    pub(crate) fn place(&self, shape: &Shape) -> Result<Vec<NodeId>, Shortage> {
        let mut nodes = Vec::new();
        let mut missing = shape.gang;
        for room in self.with_gpus(shape.task.get(Resource::Gpu)) {
            let here = shape.task.times_in(&room.free()).min(missing);
            nodes.extend((0..here).map(|_| room.node.clone()));
            missing -= here;
            if missing == 0 {
                return Ok(nodes);
            }
        }
        let best = shape.gang - missing;
        Err(Shortage { best })
    }

    /// What is free in all, per resource.
    pub(crate) fn total(&self) -> Resources {
        sum(self.0.iter().map(Room::free))
    }

    /// The nodes with at least `milli` milli-GPU free, from the tightest.
    fn with_gpus(&self, milli: u64) -> impl Iterator<Item = &Room> {
        let least = Room {
            gpu: milli,
            cpu: 0,
            memory: 0,
            node: "".into(),
        };
        self.0.range(least..)
    }
}

/// How many of a gang's tasks the nodes could run if each offered all that is given here.
pub(crate) fn best(shape: &Shape, offers: impl Iterator<Item = Resources>) -> u32 {
    let add = |best: u32, offer| best.saturating_add(shape.task.times_in(&offer));
    offers.fold(0, add).min(shape.gang)
}

/// The sum over nodes.
///
/// # Panics
/// Beyond 2⁶⁴, which 65,536 nodes of the largest size do not reach.
pub(crate) fn sum(amounts: impl Iterator<Item = Resources>) -> Resources {
    amounts.fold(Resources::ZERO, |sum, amount| {
        sum.checked_add(&amount)
            .expect("nodes sum to less than 2^64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(nodes: &[(&str, u64)]) -> Rooms {
        let mut rooms = Rooms::default();
        for (name, gpus) in nodes {
            rooms.insert(&(*name).into(), &Resources::gpus(*gpus));
        }
        rooms
    }

    fn gang(gang: u32, gpus: u64) -> Shape {
        let task = Resources::gpus(gpus);
        Shape { task, gang }
    }

    fn names(placed: Result<Vec<NodeId>, Shortage>) -> Vec<&'static str> {
        let known = ["a", "b", "c"];
        let name = |node: &NodeId| known.into_iter().find(|k| *k == node.as_str()).unwrap();
        placed.unwrap().iter().map(name).collect()
    }

    #[test]
    fn the_tightest_node_that_fits_is_taken_first() {
        let rooms = rooms(&[("a", 8), ("b", 2), ("c", 4)]);
        assert_eq!(names(rooms.place(&gang(1, 2))), ["b"]);
        assert_eq!(names(rooms.place(&gang(2, 2))), ["b", "c"]);
        assert_eq!(names(rooms.place(&gang(1, 3))), ["c"]);
    }

    #[test]
    fn equal_nodes_go_by_name() {
        let rooms = rooms(&[("b", 4), ("a", 4)]);
        assert_eq!(names(rooms.place(&gang(5, 1))), ["a", "a", "a", "a", "b"]);
    }

    #[test]
    fn a_gang_that_does_not_fit_whole_is_not_placed() {
        let rooms = rooms(&[("a", 4), ("b", 3)]);
        assert_eq!(rooms.place(&gang(8, 1)), Err(Shortage { best: 7 }));
        assert_eq!(rooms.place(&gang(3, 2)).unwrap().len(), 3);
        assert_eq!(rooms.place(&gang(4, 2)), Err(Shortage { best: 3 }));
    }
}
