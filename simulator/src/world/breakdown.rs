//! What breaks: nodes, and cards that tasks share.

use prorata_core::{Event, Hold, JobId, Node, NodeId, Resource, Resources};

use super::{Change, Failure, Record, World};

impl World {
    /// A node fails: the gangs with tasks on it break off, and it takes no work.
    pub fn node_down(&mut self, id: &NodeId) -> Vec<Record> {
        let before = self.down.get(id).copied().unwrap_or_default();
        self.recount(id, |world| {
            world.down.insert(id.clone(), before + 1);
        });
        if before > 0 {
            return Vec::new();
        }
        self.tell_node(id);
        let is_on = |running: &super::Running| running.placement.slots().any(|s| s.node == *id);
        let hit = self.running.iter().filter(|(_, running)| is_on(running));
        let hit: Vec<JobId> = hit.map(|(job, _)| job.clone()).collect();
        let failed = |job: JobId| self.break_off(job, Failure::Node(id.clone()));
        hit.into_iter().flat_map(failed).collect()
    }

    /// A node that failed is repaired.
    pub fn node_up(&mut self, id: &NodeId) {
        let Some(times) = self.down.get_mut(id) else {
            return;
        };
        *times -= 1;
        if *times == 0 {
            self.recount(id, |world| {
                world.down.remove(id);
            });
            self.tell_node(id);
        }
    }

    /// Changes a node, and with it what all offer.
    pub(super) fn recount(&mut self, id: &NodeId, change: impl FnOnce(&mut Self)) {
        let less = self.offer(id);
        change(self);
        let sum = self.capacity.beyond(&less).checked_add(&self.offer(id));
        self.capacity = sum.expect("nodes offer less than 2^64 in all");
    }

    /// What a node offers now, its GPUs as devices that work: every GPU counts the same.
    fn offer(&self, id: &NodeId) -> Resources {
        let node = self.nodes.get(id).filter(|node| node.schedulable);
        let up = node.filter(|_| !self.down.contains_key(id));
        up.map_or(Resources::ZERO, offer)
    }

    /// Tells the core whether a node takes work.
    fn tell_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id).cloned() else {
            return;
        };
        let schedulable = node.schedulable && !self.down.contains_key(id);
        let seen = Event::NodeSeen(Node {
            schedulable,
            ..node
        });
        self.scheduler.observe(self.now, seen);
    }

    /// A task of a job brings down everybody on its cards.
    pub(super) fn card_fault(&mut self, job: &JobId) -> Vec<Record> {
        let Some(running) = self.running.get(job) else {
            return Vec::new();
        };
        // Tasks are alike; the first that is served with others stands for the one that fails.
        let slots = running.placement.slots();
        let hit = slots.map(|slot| (slot.node.clone(), self.cards.served_with(slot)));
        let Some((node, hit)) = hit.into_iter().find(|(_, hit)| !hit.is_empty()) else {
            return Vec::new();
        };
        let failed = |other: JobId| self.break_off(other, Failure::Card(node.clone(), job.clone()));
        hit.into_iter().flat_map(failed).collect()
    }

    /// A gang stops and waits again, with its age kept: as in a cluster, where it is suspended
    /// before Kubernetes counts the failure, and let go once its tasks are gone.
    fn break_off(&mut self, job: JobId, why: Failure) -> Vec<Record> {
        let Some(known) = self.jobs.get(&job) else {
            return Vec::new();
        };
        let wanted = known.work.job.clone();
        let mut held = wanted.clone();
        held.hold = Some(Hold::User);
        self.observe(Event::JobSubmitted(held));
        let left = self.gone(job.clone());
        self.observe(Event::JobSubmitted(wanted));
        let failed = self.record(job, Change::Failed(why));
        [failed].into_iter().chain(left).collect()
    }
}

fn offer(node: &Node) -> Resources {
    let cards = node.cards();
    let devices = 0..node.gpus.devices(cards);
    let known = devices.map(|index| u64::from(node.gpus.device(cards, index).milli));
    let untold = cards.saturating_sub(prorata_core::Devices::MAX);
    let gpu = known.sum::<u64>() + u64::from(untold) * Resource::Gpu.scale();
    node.allocatable.bounded().with(Resource::Gpu, gpu)
}
