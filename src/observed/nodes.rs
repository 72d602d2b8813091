//! Nodes: as they are, and who has a place on them.

use std::collections::BTreeSet;

use prorata_core::{Event, Node, NodeId};

use super::{News, Observed, Uid};
use crate::plan::Plan;
use crate::translate::PodView;

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
        if known.as_ref() != Some(&node) {
            news.touched.extend(self.planned_on(&node.id));
            news.facts.push(Event::NodeSeen(node));
        }
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

    /// Jobs with a place or a pod on this node.
    pub(super) fn jobs_on(&self, node: &NodeId) -> Vec<Uid> {
        let there = |pod: &&PodView| pod.node.as_ref() == Some(node);
        let jobs = self.pods.values().filter(there);
        let mut jobs: Vec<Uid> = jobs.filter_map(|pod| pod.job.clone()).collect();
        jobs.extend(self.planned_on(node));
        jobs
    }
}
