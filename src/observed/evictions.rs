//! Jobs that leave for others: from the decision until Kubernetes has ended their pods.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use prorata_core::{Event, Job, JobId, Rule};

use super::deadlines::decided;
use super::{News, Observed, Uid};
use crate::api::{Admission, Eviction, Place};
use crate::plan::Plan;
use crate::translate::{Form, JobView, PodView};

/// A Job that has to leave for another.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaver {
    /// What its record is to say.
    pub eviction: Eviction,
    /// Who gets the room; `None` where that was decided before a restart.
    pub by: Option<JobId>,
    /// Its pods did not end in time, and are no longer waited for.
    pub(super) is_overdue: bool,
}

impl Leaver {
    /// What its record says, after a restart.
    pub(super) const fn recorded(eviction: Eviction) -> Self {
        Self {
            eviction,
            by: None,
            is_overdue: false,
        }
    }
}

impl fmt::Display for Eviction {
    /// For whom it leaves, and why it has to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.rule.as_str() {
            "priority" => "which has a higher priority within the same tenant",
            "reclaim" => "whose tenant claims what it is guaranteed",
            "fair-share" => "whose tenant has less of its fair share",
            _ => "which comes before it",
        };
        write!(f, "{}, {why}", self.by)
    }
}

impl Observed {
    /// The eviction of a Job, from the decision until its pods are gone.
    #[must_use]
    pub fn leaver(&self, uid: &str) -> Option<&Leaver> {
        self.leavers.get(uid)
    }

    /// A Job has to leave for another.
    pub fn evict(&mut self, victim: &Job, by: &Job, rule: Rule, now: Timestamp) -> News {
        let mut news = News::default();
        let uid = victim.id.uid().to_owned();
        let Some(plan) = self.plans.get(&uid) else {
            return news;
        };
        let eviction = Eviction {
            epoch: plan.epoch(),
            by: who(by, victim),
            rule: rule.name().to_owned(),
            at: Time(to_the_second(now)),
        };
        let leaver = Leaver {
            eviction,
            by: Some(by.id.clone()),
            is_overdue: false,
        };
        self.leavers.insert(uid.clone(), leaver);
        news.touched.insert(uid);
        self.tell(&mut news);
        news
    }

    /// The Jobs that leave for this one.
    pub fn leaving_for<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Uid> {
        let theirs = move |leaver: &Leaver| leaver.by.as_ref().is_some_and(|by| by.uid() == uid);
        let leavers = self.leavers.iter();
        leavers
            .filter(move |(_, leaver)| theirs(leaver))
            .map(|(uid, _)| uid)
    }

    /// An admission is no longer in force. Until its record says so, nobody else's may tell of its
    /// places.
    pub(super) fn withdraw(&mut self, uid: &str) {
        if let Some(plan) = self.plans.get(uid).cloned() {
            self.plans.remove_mut(uid);
            self.withdrawn.insert((uid.to_owned(), plan.epoch()), plan);
        }
    }

    /// No write about a job is under way: what its record does not say now of an admission that was
    /// withdrawn, it never will.
    pub fn forget_withdrawn(&mut self, is_busy: impl Fn(&str) -> bool) {
        let mut withdrawn = std::mem::take(&mut self.withdrawn);
        withdrawn.retain(|(uid, epoch), _| is_busy(uid) || self.is_told_of(uid, *epoch));
        self.withdrawn = withdrawn;
    }

    /// Whether the record of a job may tell of an admission that is no longer in force.
    #[must_use]
    pub fn is_withdrawn(&self, uid: &str) -> bool {
        let from = (uid.to_owned(), i64::MIN);
        let next = self.withdrawn.range(from..).next();
        next.is_some_and(|((job, _), _)| job == uid)
    }

    /// Whether who takes over after a crash would take this admission for one in force.
    fn is_told_of(&self, uid: &str, epoch: i64) -> bool {
        let is_recorded = self
            .admission(uid)
            .is_some_and(|known| known.epoch == epoch);
        let holds = |view: &JobView| {
            let was_stopped = view.is_suspended && view.epoch == Some(epoch);
            !view.has_ended && !was_stopped
        };
        is_recorded && self.jobs.get(uid).is_some_and(holds)
    }

    /// Whether what this Job is admitted to is still another's on record, which has to leave and is not
    /// on record as such, or has been taken back: after a crash both would have it.
    #[must_use]
    pub fn awaits_others(&self, uid: &str) -> bool {
        if self.leavers.is_empty() && self.withdrawn.is_empty() {
            return false;
        }
        let Some(plan) = self.plans.get(uid) else {
            return false;
        };
        let known = self.admission(uid);
        if known.is_some_and(|known| known.epoch == plan.epoch()) {
            return false;
        }
        let nodes: BTreeSet<&str> = plan.placement().slots().map(|s| s.node.as_str()).collect();
        let leaves = |(other, leaver): &(&Uid, &Leaver)| {
            let is_near = |place: &Place| nodes.contains(place.node.as_str());
            let theirs = self.admission(other).map(|known| &known.placement);
            let is_told = theirs.is_some_and(|places| places.iter().any(is_near));
            *other != uid && is_told && !self.is_recorded(other, leaver)
        };
        let is_withdrawn = |((other, _), plan): (&(Uid, i64), &Plan)| {
            let mut slots = plan.placement().slots();
            other != uid && slots.any(|slot| nodes.contains(slot.node.as_str()))
        };
        self.leavers.iter().any(|leaver| leaves(&leaver)) || self.withdrawn.iter().any(is_withdrawn)
    }

    fn admission(&self, uid: &str) -> Option<&Admission> {
        self.records.get(uid)?.spec.admission.as_ref()
    }

    fn is_recorded(&self, uid: &str, leaver: &Leaver) -> bool {
        let record = self.records.get(uid);
        record.is_some_and(|r| r.spec.eviction.as_ref() == Some(&leaver.eviction))
    }

    /// An eviction ends with its Job, or once that is suspended and its pods are ended. What has
    /// not been recorded may still be overtaken by a start that is being written.
    pub(super) fn end_eviction(&mut self, uid: &str) {
        let Some(leaver) = self.leavers.get(uid) else {
            return;
        };
        let recorded = self.is_recorded(uid, leaver);
        let is_over = self.jobs.get(uid).is_none_or(|view| {
            let was_started = view.epoch == Some(leaver.eviction.epoch);
            let stopped = match view.form {
                Form::Job | Form::Composite(_) => {
                    view.is_suspended && !(was_started && self.has_pods_left(uid))
                }
                // A PodDisruptionBudget may hold them back for longer than anyone waits.
                Form::Pod | Form::Gang => !self.has_pods_to_evict(uid, leaver),
            };
            let gone = recorded && stopped && self.plans.get(uid).is_none();
            view.has_ended || gone
        });
        if is_over {
            self.leavers.remove(uid);
        }
    }

    /// Whether a Job has been suspended, and its pods have not ended yet: it is not planned
    /// before, or pods of its last start would be taken for those of the next, and whose pods do
    /// not end would hold room twice. Pods of a Job that is planned anew are those of its next
    /// start, even if they are seen before that is.
    #[must_use]
    pub fn is_stopping(&self, uid: &str) -> bool {
        let was_started = self.jobs.get(uid).is_some_and(|view| {
            let was_started = view.form.suspends() && view.epoch.is_some();
            let plan = self.plans.get(uid);
            let is_planned = plan.is_some_and(|plan| view.epoch != Some(plan.epoch()));
            let rests = view.is_suspended && !view.has_ended && !is_planned;
            was_started && rests && self.has_pods_left(uid)
        });
        was_started || self.leavers.contains_key(uid) || self.runs_unplanned(uid)
    }

    /// Whether a suspended Job has pods of its last start that may still end: not those on nodes
    /// that are lost.
    pub(super) fn has_pods_left(&self, uid: &str) -> bool {
        let view = self.jobs.get(uid);
        let on_live_node = |pod: &PodView| {
            let node = pod.node.as_ref();
            let is_near = view.is_none_or(|view| view.id.namespace() == pod.namespace);
            is_near
                && pod.job.as_deref() == Some(uid)
                && node.is_some_and(|node| !self.is_lost(node))
        };
        self.may_have_unseen_pods(uid) || self.pods.values().any(on_live_node)
    }

    /// Whether a suspended Job may have pods on nodes that nobody has told of yet: the watches of Jobs
    /// and of pods go each at its own pace.
    pub(super) fn may_have_unseen_pods(&self, uid: &str) -> bool {
        let is_unseen = |view: &JobView| {
            let seen = self.pods.values();
            let seen = seen
                .filter(|pod| pod.job.as_deref() == Some(uid))
                .take(view.terminating as usize);
            !view.is_quiet || view.terminating as usize > seen.count()
        };
        self.jobs.get(uid).is_some_and(is_unseen) || !self.parts_are_quiet(uid)
    }

    /// Whether pods that were there when the eviction was decided still hold a node that lives.
    fn has_pods_to_evict(&self, uid: &str, leaver: &Leaver) -> bool {
        let members = self.members(uid);
        members.iter().any(|(pod, gated)| {
            let node = pod.node.as_ref();
            gated.created <= decided(leaver) && node.is_some_and(|node| !self.is_lost(node))
        })
    }

    /// After a restart: pods that outlasted their admission are still to be evicted.
    pub(super) fn adopt_overdue(&mut self, uid: &str) {
        let Some(eviction) = self.records.get(uid).and_then(|r| r.spec.eviction.clone()) else {
            return;
        };
        let leaver = Leaver {
            is_overdue: true,
            ..Leaver::recorded(eviction)
        };
        let evicted = |view: &JobView| !view.form.suspends() && !view.has_ended;
        if self.jobs.get(uid).is_some_and(evicted) && self.has_pods_to_evict(uid, &leaver) {
            self.leavers.insert(uid.to_owned(), leaver);
        }
    }

    /// After a restart: those that were leaving leave, and what is promised stays so.
    pub(super) fn readopt_evictions(&self, news: &mut News) {
        let placed = self.leavers.keys();
        for uid in placed.filter(|uid| self.plans.contains_key(*uid)) {
            let job = self.jobs.get(uid).map(|view| view.id.clone());
            news.facts.extend(job.map(Event::JobEvicted));
        }
    }

    /// After a restart: the places that others are leaving for a job.
    pub(super) fn readopt_promises(&self, news: &mut News) {
        for (uid, record) in &self.records {
            let promise = &record.spec.promise;
            if let Some(id) = self.told.get(uid).filter(|_| !promise.is_empty()) {
                let placement = crate::translate::placement(promise);
                news.facts.push(Event::JobNominated(id.clone(), placement));
            }
        }
    }
}

/// As the API server keeps it: what was written reads back the same.
fn to_the_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A job of another tenant is not named to those who may not see it.
fn who(by: &Job, victim: &Job) -> String {
    if by.id.namespace() == victim.id.namespace() {
        format!("job {}", by.id.name())
    } else if by.tenant == victim.tenant {
        format!("job {}/{}", by.id.namespace(), by.id.name())
    } else {
        format!("a job of tenant {}", by.tenant)
    }
}
