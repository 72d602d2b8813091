//! Jobs whose pods disturb others on shared GPUs: their next starts are on other nodes, for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use k8s_openapi::jiff::Timestamp;
use prorata_core::{NodeId, Time};

use super::{News, Observed, Uid};
use crate::api;

/// Nodes that are remembered of one job; the others are forgotten by name.
const NODES_MAX: usize = 16;

/// Where a job is not started for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Aside {
    nodes: BTreeSet<NodeId>,
    until: Time,
}

/// Who is kept away from where.
#[derive(Debug, Default)]
pub(super) struct Apart {
    jobs: BTreeMap<Uid, Aside>,
    /// Jobs whose pods disturb others now, and where.
    disturbing: BTreeSet<(Uid, NodeId)>,
}

impl Observed {
    /// Pods with these UIDs, and no others, disturb others on these nodes. The jobs that they are of
    /// are not started there for so long after that has ended.
    pub fn disturb(&mut self, pods: &BTreeSet<(Uid, NodeId)>, lasts: Duration, now: Time) -> News {
        let mut news = News::default();
        let of_pod = |(uid, node): &(Uid, NodeId)| {
            let pod = self.pods.get(uid)?;
            let is_there = pod.node.as_ref() == Some(node);
            Some((pod.job.clone().filter(|_| is_there)?, node.clone()))
        };
        let disturbing: BTreeSet<(Uid, NodeId)> = pods.iter().filter_map(of_pod).collect();
        let before = std::mem::replace(&mut self.apart.disturbing, disturbing.clone());
        for (job, node) in before.union(&disturbing) {
            let aside = self.apart.jobs.entry(job.clone()).or_default();
            aside.nodes.insert(node.clone());
            while aside.nodes.len() > NODES_MAX {
                aside.nodes.pop_first();
            }
            aside.until = now + lasts;
            news.touched.insert(job.clone());
        }
        self.tell(&mut news);
        news
    }

    /// Nodes on which a job is not started for now.
    pub(super) fn aside(&self, uid: &str) -> Vec<NodeId> {
        let aside = self.apart.jobs.get(uid);
        aside.map_or_else(Vec::new, |aside| aside.nodes.iter().cloned().collect())
    }

    /// The same, as its record says it.
    #[must_use]
    pub fn recorded_aside(&self, uid: &str) -> Option<api::Aside> {
        let aside = self.apart.jobs.get(uid)?;
        let seconds = i64::try_from(aside.until.as_millis() / 1000).ok()?;
        Some(api::Aside {
            nodes: aside.nodes.iter().map(ToString::to_string).collect(),
            until: v1::Time(Timestamp::from_second(seconds).ok()?),
        })
    }

    /// After a restart: what is on record goes on.
    pub(super) fn adopt_aside(&mut self, uid: &str) {
        let record = self.records.get(uid);
        if let Some(known) = record.and_then(|record| record.spec.aside.as_ref()) {
            let milliseconds = u64::try_from(known.until.0.as_millisecond()).unwrap_or_default();
            let aside = Aside {
                nodes: known
                    .nodes
                    .iter()
                    .map(|node| node.as_str().into())
                    .collect(),
                until: Time::from_millis(milliseconds),
            };
            self.apart.jobs.insert(uid.to_owned(), aside);
        }
    }

    /// No other node would do for a job that is kept away from some: then these have to. `None` where
    /// it is not kept away.
    pub fn come_back(&mut self, uid: &str) -> Option<News> {
        self.apart.jobs.remove(uid)?;
        let mut news = News::default();
        news.touched.insert(uid.to_owned());
        self.tell(&mut news);
        Some(news)
    }

    pub(super) fn forget_aside(&mut self, uid: &str) {
        self.apart.jobs.remove(uid);
    }

    /// When the next may come back.
    pub(super) fn next_back(&self) -> Option<Time> {
        let disturbing = self.apart.disturbing.iter().map(|(job, _)| job);
        let disturbing: BTreeSet<&Uid> = disturbing.collect();
        let jobs = self.apart.jobs.iter();
        let rest = jobs.filter(|(job, _)| !disturbing.contains(job));
        rest.map(|(_, aside)| aside.until).min()
    }

    pub(super) fn let_back(&mut self, now: Time, news: &mut News) {
        let Apart { jobs, disturbing } = &mut self.apart;
        jobs.retain(|uid, aside| {
            let stays = aside.until > now || disturbing.iter().any(|(job, _)| job == uid);
            if !stays {
                news.touched.insert(uid.clone());
            }
            stays
        });
    }
}
