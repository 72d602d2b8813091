//! Pods with GPUs that go on although the object that they are of is over, as `cleanPodPolicy: None` of
//! Kubeflow's kinds has it. They get as long to end, or to come to their nodes, as whoever is evicted gets: what is
//! over is in no queue, so that nobody could claim their room back.

use prorata_core::Time;

use super::deadlines::due;
use super::pods::asks;
use super::{News, Observed};
use crate::kinds::Templates;
use crate::translate::{FREED, Form, JobView, PodView};

/// What is known of an object that is over, while pods of it are not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outlived {
    /// Since when, as far as anybody has looked at the clock.
    since: Option<Time>,
    /// They have had long enough.
    had_time: bool,
}

impl Observed {
    /// Pods that are to be deleted, as what they are of is over.
    pub fn leftovers(&self, uid: &str) -> impl Iterator<Item = &PodView> {
        let is_late = self.has_waited_for_leftovers(uid);
        self.outliving(uid).filter(move |_| is_late)
    }

    /// Whether the pods of an object that is over have had long enough.
    pub(super) fn has_waited_for_leftovers(&self, uid: &str) -> bool {
        let outlived = self.outlived.get(uid);
        outlived.is_some_and(|outlived| outlived.had_time)
    }

    /// Begins or ends to wait for the pods of an object that is over.
    pub(super) fn await_ends(&mut self, uid: &str) {
        let view = self.outlived_object(uid);
        let comes = view.is_some_and(|view| {
            let mut coming = self.coming.to(view.id.namespace(), uid);
            coming.next().is_some()
        });
        if comes || self.outliving(uid).next().is_some() {
            self.outlived.entry(uid.to_owned()).or_default();
        } else {
            self.outlived.remove(uid);
        }
    }

    /// An object that is over. What the queue has not started is Kubernetes' to end.
    fn outlived_object(&self, uid: &str) -> Option<&JobView> {
        let view = self.jobs.get(uid)?;
        let was_started = view.epoch.is_some_and(|epoch| epoch > FREED);
        let is_known =
            self.records.contains_key(uid) && self.namespaces.contains_key(view.id.namespace());
        (was_started && is_known && self.is_over_for_its_operator(uid)).then_some(view)
    }

    /// Pods of Jobs are ended by whoever ends the Jobs.
    fn outliving(&self, uid: &str) -> impl Iterator<Item = &PodView> {
        let makes_pods = |view: &JobView| {
            let form = view.form;
            matches!(form, Form::Composite(kind) if matches!(kind.templates, Templates::Replicas(_)))
        };
        let is_over = self.outlived_object(uid).is_some_and(makes_pods);
        let pods = is_over.then(|| self.bound_pods_of(uid));
        let pods = pods.into_iter().flatten().map(|(pod, _)| pod);
        pods.filter(|pod| asks(&pod.takes) && !pod.is_leaving)
    }

    /// When some of them will have had long enough.
    pub(super) fn next_leftovers(&self) -> Option<Time> {
        let open = self.outlived.values().filter(|o| !o.had_time);
        open.map(|outlived| due(outlived.since, self.patience.victim))
            .min()
    }

    pub(super) fn end_outliving(&mut self, now: Time, news: &mut News) {
        for (uid, outlived) in &mut self.outlived {
            let since = *outlived.since.get_or_insert(now);
            if !outlived.had_time && since + self.patience.victim <= now {
                outlived.had_time = true;
                news.touched.insert(uid.clone());
            }
        }
    }
}
