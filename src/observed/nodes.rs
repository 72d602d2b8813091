//! Nodes: as they are, and who has a place on them.

use prorata_core::{Event, Node, NodeId};

use super::{News, Observed, Uid};
use crate::plan::Plan;
use crate::translate::PodView;

impl Observed {
    pub(super) fn put_node(&mut self, node: Node, is_ready: bool, news: &mut News) {
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
        if known.as_ref() != Some(&node) {
            news.touched.extend(self.planned_on(&node.id));
            news.facts.push(Event::NodeSeen(node));
        }
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

    /// Jobs with a place or a pod on this node.
    pub(super) fn jobs_on(&self, node: &NodeId) -> Vec<Uid> {
        let there = |pod: &&PodView| pod.node.as_ref() == Some(node);
        let jobs = self.pods.values().filter(there);
        let mut jobs: Vec<Uid> = jobs.filter_map(|pod| pod.job.clone()).collect();
        jobs.extend(self.planned_on(node));
        jobs
    }
}
