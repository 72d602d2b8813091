//! Jobs that leave for others: from the decision until Kubernetes has ended their pods.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use prorata_core::{Event, Job, JobId, NodeId, Rule, Snapshot};

use super::deadlines::decided;
use super::pods::asks;
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
    /// PodDisruptionBudgets are heeded no longer.
    pub(super) insists: bool,
    /// Its clients of MPS are not ended by themselves: all on their GPUs go.
    goes_with_others: bool,
}

impl Leaver {
    /// What its record says, after a restart.
    pub(super) const fn recorded(eviction: Eviction) -> Self {
        Self {
            eviction,
            by: None,
            is_overdue: false,
            insists: false,
            goes_with_others: false,
        }
    }

    /// Whether no PodDisruptionBudget keeps its pods any longer.
    #[must_use]
    pub const fn insists(&self) -> bool {
        self.insists
    }
}

/// An admission that is no longer in force.
#[derive(Debug)]
pub(super) struct Withdrawn {
    plan: Plan,
    /// Whether the job had been started by it.
    pub(super) was_released: bool,
}

/// What ends a job by no rule of the core: its node's GPUs are to be divided anew.
pub(crate) const DRAIN: &str = "repartition";
/// Nor by this one: clients of MPS on its GPU cannot be ended one by one.
pub(crate) const TOGETHER: &str = "mps";

impl fmt::Display for Eviction {
    /// For whom it leaves, and why it has to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if [DRAIN, TOGETHER].contains(&self.rule.as_str()) {
            return f.write_str(&self.by);
        }
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
            by: Some(by.id.clone()),
            ..Leaver::recorded(eviction)
        };
        self.leavers.insert(uid.clone(), leaver);
        news.touched.insert(uid);
        self.tell(&mut news);
        news
    }

    /// Jobs that may be evicted leave a node whose GPUs are to be divided anew.
    pub fn drain(&mut self, node: &NodeId, snapshot: &Snapshot, now: Timestamp) -> News {
        let mut news = News::default();
        let why = format!("another division of the GPUs of node {node}");
        for uid in self.planned_on(node) {
            if self.may_leave(&uid, snapshot) {
                self.send_away(&uid, (DRAIN, &why), now, &mut news);
            }
        }
        self.tell(&mut news);
        news
    }

    /// A Job leaves whose clients of MPS cannot be ended by themselves, or it is over and they run on. When it
    /// has been waited for long enough, all that are beside its pods leave with it, if all of them may be
    /// evicted, or are over too; otherwise nobody does.
    pub fn leave_together(
        &mut self,
        uid: &str,
        beside: &BTreeSet<String>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> News {
        let mut news = News::default();
        if !self.has_waited_for_clients(uid, now) || !self.patience.together {
            return news;
        }
        let jobs = beside.iter().map(|pod| self.pods.get(pod)?.job.clone());
        let jobs: Option<BTreeSet<Uid>> = jobs.collect();
        let Some(jobs) = jobs else {
            return news;
        };
        let is_leaving = |job: &Uid| self.leavers.contains_key(job) || self.ends_leftovers(job);
        let leaves = |job: &Uid| is_leaving(job) || self.may_leave(job, snapshot);
        if !jobs.iter().all(leaves) {
            return news;
        }
        let why = "another on its GPU, where clients of MPS cannot be ended one by one";
        for job in jobs.iter().filter(|job| job.as_str() != uid) {
            self.send_away(job, (TOGETHER, why), now, &mut news);
        }
        for job in jobs.iter().map(Uid::as_str).chain([uid]) {
            if let Some(leaver) = self.leavers.get_mut(job) {
                leaver.goes_with_others = true;
            } else if let Some(outlived) = self.outlived.get_mut(job) {
                outlived.goes_with_others = true;
            }
            news.touched.insert(job.to_owned());
        }
        self.tell(&mut news);
        news
    }

    /// Whether agents have had long enough to end the clients of MPS of what leaves, or is over.
    fn has_waited_for_clients(&self, uid: &str, now: Timestamp) -> bool {
        let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let now = prorata_core::Time::from_millis(now);
        match self.leavers.get(uid) {
            Some(leaver) => decided(leaver) + self.patience.victim <= now,
            None => self.has_waited_for_clients_of_leftovers(uid, now),
        }
    }

    /// Whether a Job leaves together with all others on its GPUs, so that no client of MPS is to be
    /// ended by itself.
    #[must_use]
    pub fn leaves_with_others(&self, uid: &str) -> bool {
        let (leaver, outlived) = (self.leavers.get(uid), self.outlived.get(uid));
        leaver.is_some_and(|leaver| leaver.goes_with_others)
            || outlived.is_some_and(|outlived| outlived.goes_with_others)
    }

    /// Whether a Job has a place that it may be evicted from.
    fn may_leave(&self, uid: &str, snapshot: &Snapshot) -> bool {
        let job = self.told.get(uid).and_then(|id| snapshot.job(id));
        self.plans.contains_key(uid) && job.is_some_and(|job| job.preemptible && !job.protected)
    }

    /// A Job leaves for what is no job, unless it leaves anyway.
    fn send_away(&mut self, uid: &str, (rule, why): (&str, &str), now: Timestamp, news: &mut News) {
        let both = self.plans.get(uid).zip(self.told.get(uid));
        let Some((plan, id)) = both.filter(|_| !self.leavers.contains_key(uid)) else {
            return;
        };
        let eviction = Eviction {
            epoch: plan.epoch(),
            by: why.to_owned(),
            rule: rule.to_owned(),
            at: Time(to_the_second(now)),
        };
        news.facts.push(Event::JobEvicted(id.clone()));
        news.touched.insert(uid.to_owned());
        self.leavers
            .insert(uid.to_owned(), Leaver::recorded(eviction));
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
            let view = self.jobs.get(uid);
            let was_released = view.is_some_and(|view| self.is_released(view));
            self.plans.remove_mut(uid);
            let key = (uid.to_owned(), plan.epoch());
            self.withdrawn.insert(key, Withdrawn { plan, was_released });
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
            !view.has_ended && !view.is_leaving && !was_stopped
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
        let is_withdrawn = |((other, _), withdrawn): (&(Uid, i64), &Withdrawn)| {
            let mut slots = withdrawn.plan.placement().slots();
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
                // Pods may take longer to end than anyone waits.
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
            was_started && rests && self.comes_too_soon(uid)
        });
        was_started || self.leavers.contains_key(uid) || self.runs_unplanned(uid)
    }

    /// Whether pods of an earlier start are on a node that was lost when this start was planned, and is
    /// back, or are waited for there; or are of this start, and seen before it.
    #[must_use]
    pub fn is_outlasted(&self, uid: &str) -> bool {
        let rests = |view: &JobView| view.form.suspends() && view.is_suspended;
        let was_started = |view: &JobView| view.epoch.is_some() && rests(view);
        self.jobs.get(uid).is_some_and(was_started) && self.comes_too_soon(uid)
    }

    /// Whether a suspended Job has pods of its last start that may still end: not those on nodes
    /// that are lost.
    pub(super) fn has_pods_left(&self, uid: &str) -> bool {
        let mut pods = self.bound_pods_of(uid);
        self.may_have_unseen_pods(uid) || pods.any(|(_, node)| !self.is_lost(node))
    }

    /// A lost node with a pod that whoever makes the next one waits for; of several the first by name.
    #[must_use]
    pub fn lost_and_awaited(&self, uid: &str) -> Option<&NodeId> {
        let pods = self.bound_pods_of(uid);
        let pods = pods.filter(|(pod, node)| self.is_lost(node) && self.is_awaited(pod));
        pods.map(|(_, node)| node).min()
    }

    /// Whether pods that are made now would be made beside those of the last start, or not at all.
    fn comes_too_soon(&self, uid: &str) -> bool {
        let mut pods = self.bound_pods_of(uid);
        self.may_have_unseen_pods(uid)
            || pods.any(|(pod, node)| !self.is_lost(node) || self.is_awaited(pod))
    }

    fn is_awaited(&self, pod: &PodView) -> bool {
        let maker = pod.maker.as_ref().and_then(|maker| self.jobs.get(maker));
        maker.is_some_and(|maker| maker.awaits_ends)
    }

    /// The bound pods of a Job, or of an object of an operator's and its parts, each with its node.
    pub(super) fn bound_pods_of(&self, uid: &str) -> impl Iterator<Item = (&PodView, &NodeId)> {
        let namespace = self.jobs.get(uid).map(|view| view.id.namespace());
        let theirs = self.pods.values().filter(move |pod| {
            let is_near = namespace.is_none_or(|namespace| namespace == pod.namespace);
            is_near && pod.job.as_deref() == Some(uid)
        });
        theirs.filter_map(|pod| Some((pod, pod.node.as_ref()?)))
    }

    /// Whether a suspended Job may have pods on nodes that nobody has told of yet: the watches of Jobs
    /// and of pods go each at its own pace.
    pub(super) fn may_have_unseen_pods(&self, uid: &str) -> bool {
        let is_unseen = |view: &JobView| {
            let terminating = self.terminating(view);
            let seen = self.pods.values();
            let seen = seen.filter(|pod| pod.job.as_deref() == Some(uid) && asks(&pod.takes));
            !view.is_quiet || terminating > seen.take(terminating).count()
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
