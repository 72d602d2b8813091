//! Jobs that are let go: from when a write begins that starts one, nobody knows whether its pods are
//! on their nodes until its object says more.

use prorata_core::{Event, Job, JobId};

use super::{News, Observed};
use crate::plan::Plan;
use crate::translate::JobView;

impl Observed {
    /// A write begins that starts a job, or lets pods of it go.
    pub fn let_go(&mut self, job: &JobId) -> News {
        self.let_go.insert(job.uid().to_owned());
        News {
            facts: vec![Event::JobReleased(job.clone())],
            ..News::default()
        }
    }

    /// Whether such a write is under way.
    #[must_use]
    pub fn is_let_go(&self, uid: &str) -> bool {
        self.let_go.contains(uid)
    }

    /// It is done, or has failed.
    pub fn end_let_go(&mut self, uid: &str) -> News {
        let mut news = News::default();
        self.let_go.remove(uid);
        news.touched.insert(uid.to_owned());
        self.tell(&mut news);
        news
    }

    /// Whether a pod that was let go by itself may be on a node of which nobody has told yet.
    pub(super) fn is_on_its_way(&self, uid: &str) -> bool {
        let members = self.members(uid);
        let mut gone = members.iter().filter(|(_, gated)| !gated.is_waiting);
        self.is_let_go(uid) || gone.any(|(pod, _)| pod.node.is_none())
    }

    /// Whether the admission in force has let the job go, as far as its object says.
    pub(super) fn is_released(&self, view: &JobView) -> bool {
        let released = |plan: &Plan| view.epoch == Some(plan.epoch()) || view.has_begun;
        self.plans.get(view.id.uid()).is_some_and(released)
    }

    /// Whether the admission in force is on record, or has let pods of the job go.
    #[must_use]
    pub fn has_begun(&self, uid: &str) -> bool {
        let (record, view) = (self.records.get(uid), self.jobs.get(uid));
        self.plans.get(uid).is_some_and(|plan| {
            let is_recorded = record.is_some_and(|record| record.last_epoch() >= plan.epoch());
            is_recorded
                || self.is_on_its_way(uid)
                || view.is_some_and(|view| self.is_released(view))
        })
    }

    /// Whether a Job that is to leave has not been started by the admission in force: that never came
    /// on record, and nobody is about to write it.
    pub(super) fn was_never_recorded(&self, view: &JobView, job: &Job) -> bool {
        let uid = view.id.uid();
        let is_to_leave = job.hold.is_some() || self.leavers.contains_key(uid);
        let waits = view.form.suspends() && view.is_suspended;
        is_to_leave && waits && self.plans.contains_key(uid) && !self.has_begun(uid)
    }
}
