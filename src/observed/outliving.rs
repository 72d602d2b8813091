//! Pods with GPUs that run on although the object that they are of is over, as `cleanPodPolicy: None` of
//! Kubeflow's kinds has it. They get as long to end as whoever is evicted, and are deleted then: what is
//! over is in no queue, so that nobody could claim their room back.

use prorata_core::Time;

use super::deadlines::due;
use super::pods::asks;
use super::{News, Observed};
use crate::kinds::Templates;
use crate::translate::{Form, JobView, PodView};

/// What is known of an object that is over, while pods of it are not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outlived {
    /// Since when, as far as anybody has looked at the clock.
    since: Option<Time>,
    /// They have had long enough.
    is_overdue: bool,
}

impl Observed {
    /// Pods that are to be deleted, as what they are of is over.
    pub fn overdue(&self, uid: &str) -> impl Iterator<Item = &PodView> {
        let outlived = self.outlived.get(uid);
        let is_overdue = outlived.is_some_and(|outlived| outlived.is_overdue);
        self.outliving(uid).filter(move |_| is_overdue)
    }

    /// Begins or ends to wait for the pods of an object that is over.
    pub(super) fn await_ends(&mut self, uid: &str) {
        if self.outliving(uid).next().is_none() {
            self.outlived.remove(uid);
        } else {
            self.outlived.entry(uid.to_owned()).or_default();
        }
    }

    /// What was there before the queue is Kubernetes' to end, as are pods of Jobs.
    fn outliving(&self, uid: &str) -> impl Iterator<Item = &PodView> {
        let makes_pods = |view: &JobView| {
            let form = view.form;
            matches!(form, Form::Composite(kind) if matches!(kind.templates, Templates::Replicas(_)))
        };
        let is_over = self.is_over_for_its_operator(uid)
            && self.records.contains_key(uid)
            && self.jobs.get(uid).is_some_and(makes_pods);
        let pods = is_over.then(|| self.bound_pods_of(uid));
        let pods = pods.into_iter().flatten().map(|(pod, _)| pod);
        pods.filter(|pod| asks(&pod.takes) && !pod.is_leaving)
    }

    /// When some of them will have had long enough.
    pub(super) fn next_overdue(&self) -> Option<Time> {
        let open = self.outlived.values().filter(|o| !o.is_overdue);
        open.map(|outlived| due(outlived.since, self.patience.victim))
            .min()
    }

    pub(super) fn end_outliving(&mut self, now: Time, news: &mut News) {
        for (uid, outlived) in &mut self.outlived {
            let since = *outlived.since.get_or_insert(now);
            if !outlived.is_overdue && since + self.patience.victim <= now {
                outlived.is_overdue = true;
                news.touched.insert(uid.clone());
            }
        }
    }
}
