//! Whose part an object is: a pod is its Job's, that is its JobSet's, and so on up to the one that
//! the queue holds. Owners are followed by UID, as the API server has them: the admission policies
//! see to it that only operators make parts.

use std::collections::{BTreeMap, BTreeSet};

use rpds::RedBlackTreeMapSync;

use super::{News, Observed, Uid};
use crate::kinds::Templates;
use crate::translate::{self, Form, JobView, PodView};

/// A chain of owners that is longer is none.
const DEPTH_MAX: usize = 4;

/// Who is held by whom.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// What each part is held by.
    pub(super) of_part: RedBlackTreeMapSync<Uid, Uid>,
    /// The parts of each object.
    parts: BTreeMap<Uid, BTreeSet<Uid>>,
}

/// What holds the object of this UID, at the end of all owners; itself, where it is nobody's part.
#[must_use]
pub fn topmost<'a>(owners: &'a RedBlackTreeMapSync<Uid, Uid>, uid: &'a str) -> &'a str {
    let mut top = uid;
    for _ in 0..DEPTH_MAX {
        match owners.get(top) {
            Some(owner) => top = owner,
            None => break,
        }
    }
    top
}

impl Observed {
    pub(super) fn top(&self, uid: &str) -> Uid {
        topmost(&self.owners.of_part, uid).to_owned()
    }

    /// An object is seen as it is now: whose part it is, and with it whose its pods are.
    pub(super) fn link(&mut self, uid: &str, news: &mut News) {
        let owner = self.jobs.get(uid).and_then(|view| view.owner.clone());
        let owner = owner.filter(|owner| !self.are_apart(uid, owner));
        self.disown_strangers(uid, news);
        let known = self.owners.of_part.get(uid).cloned();
        if known != owner {
            self.unlink(uid, news);
            if let Some(owner) = owner {
                let parts = self.owners.parts.entry(owner.clone()).or_default();
                parts.insert(uid.to_owned());
                self.owners.of_part.insert_mut(uid.to_owned(), owner);
                self.hand_over_pods(uid, news);
            }
        }
        self.complete(uid);
        if let Some(owner) = self.owners.of_part.get(uid).cloned() {
            self.complete(&owner);
            news.touched.insert(self.top(&owner));
        }
    }

    /// Owners are of the same namespace; who claims another one's is nobody's part.
    fn are_apart(&self, one: &str, other: &str) -> bool {
        let both = self.jobs.get(one).zip(self.jobs.get(other));
        both.is_some_and(|(one, other)| one.id.namespace() != other.id.namespace())
    }

    /// Parts that were seen before it was known where their owner is.
    fn disown_strangers(&mut self, uid: &str, news: &mut News) {
        let parts = self.owners.parts.get(uid).into_iter().flatten();
        let strangers = parts.filter(|part| self.are_apart(uid, part));
        for stranger in strangers.cloned().collect::<Vec<_>>() {
            self.unlink(&stranger, news);
        }
    }

    /// An object is gone, or nobody's part any more.
    pub(super) fn unlink(&mut self, uid: &str, news: &mut News) {
        let Some(owner) = self.owners.of_part.get(uid).cloned() else {
            return;
        };
        news.touched.insert(self.top(uid));
        self.owners.of_part.remove_mut(uid);
        if let Some(parts) = self.owners.parts.get_mut(&owner) {
            parts.remove(uid);
            if parts.is_empty() {
                self.owners.parts.remove(&owner);
            }
        }
    }

    /// Pods that came before it was known whose part their owner is.
    fn hand_over_pods(&mut self, uid: &str, news: &mut News) {
        let top = self.top(uid);
        for pod in self.unscheduled.values_mut().filter(|pod| pod.job == uid) {
            pod.job.clone_from(&top);
        }
        self.coming.hand_over(uid, &top);
        let of_part = |pod: &&mut PodView| pod.job.as_deref() == Some(uid) && pod.gated.is_none();
        let mut pods = Vec::new();
        for pod in self.pods.values_mut().filter(of_part) {
            pod.job = Some(top.clone());
            pods.push(pod.uid.clone());
        }
        for pod in pods {
            self.place(&pod, news);
        }
    }

    /// An object that does not say itself which pods it consists of is as large as the one that its
    /// operator makes of it.
    fn complete(&mut self, uid: &str) {
        if !self.jobs.get(uid).is_some_and(is_of_what_it_makes) {
            return;
        }
        let Some(made) = self.made_of(uid).cloned() else {
            return;
        };
        if let Some(view) = self.jobs.get_mut(uid) {
            view.is_queued = made.asks && view.owner.is_none();
            view.asks = made.asks;
            (view.gang, view.remaining) = (made.gang, made.remaining);
            (view.task, view.needs) = (made.task, made.needs);
            view.active = view.active.max(made.active);
            view.at_once = made.at_once;
            view.obstacle = view.obstacle.take().or(made.obstacle);
            view.priority_class = view.priority_class.take().or(made.priority_class);
        }
    }

    /// The object of another kind that an operator has made of it: of several one that asks for
    /// GPUs, if any does.
    fn made_of(&self, uid: &str) -> Option<&JobView> {
        let parts = self.owners.parts.get(uid).into_iter().flatten();
        let parts = parts.filter_map(|part| self.jobs.get(part));
        let mut made = parts.filter(|part| matches!(part.form, Form::Composite(_)));
        made.clone().find(|part| part.asks).or_else(|| made.next())
    }

    /// Whether it waits for nothing: it was suspended before anybody could know that it asks for no
    /// GPUs.
    pub(crate) fn is_free(&self, view: &JobView) -> bool {
        let waits = view.is_suspended && !view.is_held && !view.has_ended && !view.is_leaving;
        let made = self.made_of(view.id.uid());
        let queued = self.namespaces.contains_key(view.id.namespace());
        let is_top = view.owner.is_none() && queued && is_of_what_it_makes(view);
        waits && is_top && made.is_some_and(|made| !made.asks)
    }

    /// Whether it was let go as one without GPUs, and asks for some now: it has no place for them.
    pub(crate) fn runs_unplanned(&self, uid: &str) -> bool {
        let runs = |view: &JobView| {
            let is_freed = view.epoch == Some(translate::FREED) && view.owner.is_none();
            is_freed && view.asks && !view.is_suspended && !view.has_ended
        };
        self.jobs.get(uid).is_some_and(runs) && self.plans.get(uid).is_none()
    }

    /// All parts of an object, and theirs.
    fn all_parts(&self, uid: &str) -> Vec<&JobView> {
        let mut found: Vec<&JobView> = Vec::new();
        let mut level = vec![uid];
        for _ in 0..DEPTH_MAX {
            let parts = level.iter().filter_map(|uid| self.owners.parts.get(*uid));
            level = parts.flatten().map(String::as_str).collect();
            found.extend(level.iter().filter_map(|uid| self.jobs.get(*uid)));
        }
        found
    }

    /// Pods with GPUs of an object and its parts that are leaving, as Kubernetes counts them.
    pub(super) fn terminating(&self, view: &JobView) -> usize {
        let parts = self.all_parts(view.id.uid()).into_iter();
        let all = parts.chain([view]).filter(|view| view.asks);
        all.map(|view| view.terminating as usize).sum()
    }

    /// Those of them that are waited for: not the ones on lost nodes.
    pub(super) fn ending(&self, view: &JobView) -> usize {
        let lost = self.bound_pods_of(view.id.uid()).filter(|(pod, node)| {
            pod.is_leaving && super::pods::asks(&pod.takes) && self.is_lost(node)
        });
        self.terminating(view).saturating_sub(lost.count())
    }

    /// Whether every part of an object has ended its pods.
    pub(super) fn parts_are_quiet(&self, uid: &str) -> bool {
        let parts = self.all_parts(uid);
        parts.iter().all(|part| part.is_quiet || part.has_ended)
    }

    /// Pods with GPUs that the parts of an object say run.
    pub(super) fn active_parts(&self, uid: &str) -> u32 {
        let jobs = self.all_parts(uid).into_iter().filter(|part| part.asks);
        let active = jobs.map(|part| part.active);
        active.fold(0, u32::saturating_add)
    }

    /// Pods of an object that are still to run at the same time: those of its Jobs that are over are
    /// not missed.
    #[must_use]
    pub fn remaining(&self, view: &JobView) -> u32 {
        let parts = self.all_parts(view.id.uid()).into_iter();
        let jobs = parts.filter(|part| part.form == Form::Job && part.asks);
        let over = jobs.map(|job| match job.has_ended {
            true => job.gang,
            false => job.gang.saturating_sub(job.remaining),
        });
        let over = over.fold(0, u32::saturating_add);
        view.remaining.min(view.gang.saturating_sub(over))
    }

    /// An object that is over, but for pods of it that are still ending: they take room until they
    /// are gone.
    pub(super) fn detach_pods_of_composite(&mut self, uid: &str, news: &mut News) {
        let is_composite = |view: &JobView| matches!(view.form, Form::Composite(_));
        if self.jobs.get(uid).is_some_and(is_composite) {
            for pod in self.pods_in_seats(uid) {
                self.detach(&pod, news);
                let pod = self.pods.get(&pod);
                news.facts.extend(pod.and_then(|pod| self.charge(pod)));
            }
        }
    }
}

/// Whether only what an operator makes of it says which pods it consists of.
fn is_of_what_it_makes(view: &JobView) -> bool {
    matches!(view.form, Form::Composite(kind) if kind.templates == Templates::Made)
}

#[cfg(test)]
mod tests;
