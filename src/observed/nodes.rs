//! Nodes: as they are, and who has a place on them.

use std::collections::{BTreeMap, BTreeSet};

use prorata_core::{Devices, Event, Gpus, Mode, Node, NodeId, Resource, Resources, TaskId};

use super::{News, Observed, Uid};
use crate::plan::Plan;
use crate::translate::{PodView, Unit};

impl Observed {
    pub(super) fn put_node(&mut self, mut node: Node, is_ready: bool, news: &mut News) {
        node.closed = self.closed.contains(&node.id);
        let was_lost = self.lost.contains(&node.id) || !self.nodes.contains_key(&node.id);
        if is_ready {
            self.unready.remove(&node.id);
            self.lost.remove(&node.id);
        } else if !self.lost.contains(&node.id) {
            self.unready.entry(node.id.clone()).or_default();
        }
        if was_lost {
            news.touched.extend(self.jobs_on(&node.id));
        }
        let known = self.nodes.insert(node.id.clone(), node.clone());
        if known.as_ref() == Some(&node) {
            return;
        }
        let divides_anew = known.is_none_or(|known| known.gpus.mode != node.gpus.mode);
        let id = node.id.clone();
        news.touched.extend(self.planned_on(&id));
        news.facts.push(Event::NodeSeen(node));
        if divides_anew {
            self.count_anew(&id, news);
        }
    }

    /// What pods take that have slots or instances of the GPUs of a node depends on how it divides
    /// them.
    fn count_anew(&mut self, node: &NodeId, news: &mut News) {
        let there = |pod: &&PodView| pod.node.as_ref() == Some(node) && pod.unit != Unit::Card;
        let pods = self.pods.values().filter(there);
        for uid in pods.map(|pod| pod.uid.clone()).collect::<Vec<_>>() {
            self.place(&uid, news);
        }
    }

    /// What a pod takes of the node on which it is.
    pub(super) fn takes_on(&self, node: &NodeId, pod: &PodView) -> Resources {
        let gpus = self.nodes.get(node).map(|node| &node.gpus);
        let milli = match (&pod.unit, gpus.map(|gpus| &gpus.mode)) {
            (Unit::Card, _) => return pod.takes,
            (Unit::Slot(slots), _) => {
                let slot = gpus.and_then(Gpus::slot);
                slot.map_or(0, |slot| slots.saturating_mul(slot.milli.into()))
            }
            (Unit::Instance(profile, count), Some(Mode::Mig(instances))) => {
                let instance = instances.iter().find(|i| i.profile == *profile);
                instance.map_or(0, |i| count.saturating_mul(i.milli.into()))
            }
            (Unit::Instance(..), _) => 0,
        };
        let milli = milli.min(Resources::MAX_AMOUNT);
        let takes = pod.takes.with(Resource::Gpu, milli);
        takes.with(Resource::GpuMemory, 0)
    }

    /// Pods have these GPUs of a node, by what its agent says.
    pub(super) fn occupy(&mut self, node: NodeId, pods: BTreeMap<Uid, Devices>, news: &mut News) {
        self.occupied.insert(node.clone(), pods);
        news.facts.extend(self.seen_on(&node));
    }

    /// Which GPUs the tasks on a node have, where its agent says that of any.
    pub(super) fn seen_on(&self, node: &NodeId) -> Option<Event> {
        let task = |(uid, devices): (&Uid, &Devices)| {
            let pod = self.pods.get(uid)?;
            let plan = self.plans.get(pod.job.as_ref()?)?;
            let index = plan.seat_of(uid)?;
            let job = plan.job().clone();
            (pod.node.as_ref() == Some(node)).then_some((TaskId { job, index }, *devices))
        };
        let pods = self.occupied.get(node)?.iter();
        let seen: Vec<(TaskId, Devices)> = pods.filter_map(task).collect();
        (!seen.is_empty()).then(|| Event::DevicesSeen(node.clone(), seen))
    }

    /// The shared GPUs of these nodes, and of no others, take nobody new.
    pub(super) fn close(&mut self, nodes: BTreeSet<NodeId>, news: &mut News) {
        for (id, node) in &mut self.nodes {
            let is_closed = nodes.contains(id);
            if node.closed != is_closed {
                node.closed = is_closed;
                news.facts.push(Event::NodeSeen(node.clone()));
            }
        }
        self.closed = nodes;
    }

    /// Jobs with a place on this node.
    pub(super) fn planned_on(&self, node: &NodeId) -> Vec<Uid> {
        let there = |(_, plan): &(&Uid, &Plan)| plan.placement().slots().any(|s| s.node == *node);
        self.plans
            .iter()
            .filter(there)
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// The UIDs of a job's pods that are on nodes which answer, with these.
    #[must_use]
    pub fn bound(&self, job: &str) -> Vec<(NodeId, String)> {
        let answers = |node: &NodeId| {
            let is_away = self.unready.contains_key(node) || self.lost.contains(node);
            self.nodes.contains_key(node) && !is_away
        };
        let own = self
            .pods
            .values()
            .filter(|pod| pod.job.as_deref() == Some(job));
        let placed = own.filter_map(|pod| {
            let node = pod.node.clone().filter(answers)?;
            Some((node, pod.uid.clone()))
        });
        placed.collect()
    }

    /// Jobs with a place or a pod on this node, and what waits for such pods to leave.
    pub(super) fn jobs_on(&self, node: &NodeId) -> Vec<Uid> {
        let there = |pod: &&PodView| pod.node.as_ref() == Some(node);
        let jobs = self.pods.values().filter(there);
        let mut jobs: Vec<Uid> = jobs.filter_map(|pod| pod.job.clone()).collect();
        jobs.extend(self.planned_on(node));
        let followers = jobs.iter().flat_map(|job| self.followers(job));
        let followers: Vec<Uid> = followers.cloned().collect();
        jobs.extend(followers);
        jobs
    }
}
