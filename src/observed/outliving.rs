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
    /// Its clients of MPS are not ended by themselves: all on their GPUs go.
    pub(super) goes_with_others: bool,
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

    /// Whether they have, and would be ours to end.
    pub(super) fn ends_leftovers(&self, uid: &str) -> bool {
        self.has_waited_for_leftovers(uid) && self.is_ours_to_end(uid)
    }

    /// The same, and agents have had as long again to end their clients of MPS one by one.
    pub(super) fn has_waited_for_clients_of_leftovers(&self, uid: &str, now: Time) -> bool {
        let since = self.outlived.get(uid).and_then(|outlived| outlived.since);
        let is_late = since.is_some_and(|since| since + 2 * self.patience.victim <= now);
        is_late && self.ends_leftovers(uid)
    }

    /// Begins or ends to wait for the pods of an object that is over. Whoever it is of, those that are still
    /// to come keep its places no longer than that.
    pub(super) fn await_ends(&mut self, uid: &str) {
        let view = self.jobs.get(uid);
        let comes = view.is_some_and(|view| self.coming.has(view.id.namespace(), uid));
        if comes && self.is_over_for_its_operator(uid) || self.outliving(uid).next().is_some() {
            self.outlived.entry(uid.to_owned()).or_default();
        } else {
            self.outlived.remove(uid);
        }
    }

    /// Whether an object is over, and pods of it that run on are ours to end. What the queue has not started is
    /// Kubernetes', and pods of Jobs are ended by whoever ends the Jobs.
    fn is_ours_to_end(&self, uid: &str) -> bool {
        let is_over = self.is_over_for_its_operator(uid) && self.records.contains_key(uid);
        let is_ours = |view: &JobView| {
            let was_started = view.epoch.is_some_and(|epoch| epoch > FREED);
            was_started && makes_pods(view) && self.namespaces.contains_key(view.id.namespace())
        };
        is_over && self.jobs.get(uid).is_some_and(is_ours)
    }

    /// Pods that run on, and are ours to end.
    fn outliving(&self, uid: &str) -> impl Iterator<Item = &PodView> {
        let is_ours = self.is_ours_to_end(uid);
        let pods = is_ours.then(|| self.bound_pods_of(uid));
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

/// Whether its operator makes its pods, and no Jobs of it.
const fn makes_pods(view: &JobView) -> bool {
    matches!(view.form, Form::Composite(kind) if matches!(kind.templates, Templates::Replicas(_)))
}
