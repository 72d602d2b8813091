//! Pods that run on when their Job is gone: by `--cascade=orphan`, and by whatever client deletes a Job
//! and says nothing of its pods. Each goes on by itself in the queue and may be evicted, for a Job that is gone
//! cannot be suspended.

use std::sync::Arc;

use prorata_core::Event;

use super::{News, Observed, Uid};
use crate::translate::{Gated, Left, PodView};

impl Observed {
    /// Whether a pod in the queue is one that its Job has left behind.
    pub(super) fn is_left_behind(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.left.is_some())
    }

    /// Notes a pod that is to go on by itself, unless it does already.
    pub(super) fn note_left(&mut self, pod: &PodView) {
        if pod.left.is_some() && pod.gated.is_none() {
            self.left.insert(pod.uid.clone());
        } else {
            self.left.remove(&pod.uid);
        }
    }

    /// Pods whose Job is gone, or will be, go on by themselves. Of any other Job they are as before, and so are
    /// those of an object of an operator that is still there: who has it leave answers for them.
    pub(super) fn go_on_alone(&mut self, news: &mut News) {
        let is_gone = |uid: &&Uid| {
            let pod = self.pods.get(*uid);
            let left = pod.and_then(|pod| Some((pod.left.as_ref()?, pod.job.as_ref())));
            left.is_some_and(|(left, top)| {
                let mut known = top.into_iter().chain([&left.job]);
                known.all(|uid| self.jobs.get(uid).is_none_or(|job| job.is_leaving))
            })
        };
        let gone: Vec<Uid> = self.left.iter().filter(is_gone).cloned().collect();
        for uid in gone {
            self.left.remove(&uid);
            self.go_alone(&uid, news);
        }
    }

    /// What it is by itself, made by who made its Job.
    fn alone(&self, left: &Left) -> Arc<Gated> {
        let mut gated = left.gated.clone();
        let creator = self.jobs.get(&left.job).and_then(|job| job.creator.clone());
        if let Some(creator) = creator {
            Arc::make_mut(&mut gated).creator = creator;
        }
        gated
    }

    /// Its place in what it was of is another's, and what it runs in is its own.
    fn go_alone(&mut self, uid: &str, news: &mut News) {
        self.detach(uid, news);
        self.detached.remove(uid);
        let Some(mut pod) = self.pods.get(uid).cloned() else {
            return;
        };
        news.touched.extend(pod.job.take());
        pod.gated = pod.left.as_ref().map(|left| self.alone(left));
        let group = self.join(&pod);
        pod.job.clone_from(&group);
        self.pods.insert(uid.to_owned(), pod);
        // What is charged for being nobody's stays so until it is gone.
        news.facts.push(Event::PodGone(uid.into()));
        if let Some(group) = group {
            self.regroup(&group, news);
        }
        self.place(uid, news);
    }
}
