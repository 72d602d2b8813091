//! Whose part an object is: a pod is its Job's, that is its JobSet's, and so on up to the one that
//! the queue holds. Owners are followed by UID, as the API server has them: the admission policies
//! see to it that only operators make parts.

use std::collections::{BTreeMap, BTreeSet};

use rpds::RedBlackTreeMapSync;

use super::{News, Observed, Uid};
use crate::kinds::Templates;
use crate::translate::{Form, JobView, PodView};

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
            view.obstacle = view.obstacle.take().or(made.obstacle);
            view.priority_class = view.priority_class.take().or(made.priority_class);
        }
    }

    /// The object of another kind that an operator has made of it.
    fn made_of(&self, uid: &str) -> Option<&JobView> {
        let parts = self.owners.parts.get(uid).into_iter().flatten();
        let mut parts = parts.filter_map(|part| self.jobs.get(part));
        parts.find(|part| matches!(part.form, Form::Composite(_)))
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

    /// Whether every part of an object has ended its pods.
    pub(super) fn parts_are_quiet(&self, uid: &str) -> bool {
        let parts = self.all_parts(uid);
        parts.iter().all(|part| part.is_quiet || part.has_ended)
    }

    /// Pods that the parts of an object say run.
    pub(super) fn active_parts(&self, uid: &str) -> u32 {
        let jobs = self.all_parts(uid).into_iter();
        let active = jobs.map(|part| part.active);
        active.fold(0, u32::saturating_add)
    }

    /// An object that is over, but for pods of it that are still ending: they take room until they
    /// are gone.
    pub(super) fn detach_pods_of_composite(&mut self, uid: &str, news: &mut News) {
        let is_composite = |view: &JobView| matches!(view.form, Form::Composite(_));
        if self.jobs.get(uid).is_some_and(is_composite) {
            for pod in self.pods_in_seats(uid) {
                self.detach(&pod, news);
            }
        }
    }
}

/// Whether only what an operator makes of it says which pods it consists of.
fn is_of_what_it_makes(view: &JobView) -> bool {
    matches!(view.form, Form::Composite(kind) if kind.templates == Templates::Made)
}

#[cfg(test)]
mod tests {
    use super::super::{Classes, Patience};
    use super::*;
    use crate::kinds::Composite;
    use crate::watch::{Change, Kind, Object};
    use k8s_openapi::api::core::v1::Pod;
    use prorata_core::{Event, Placement, Slot};
    use serde_json::{Value, json};

    const GPU: &str = "nvidia.com/gpu";

    fn owned(uid: &str, version: u32, owner: Option<(&str, &str, &str)>) -> Value {
        let owners = owner.map(|(api_version, kind, owner)| {
            json!({"apiVersion": api_version, "kind": kind, "name": "o", "uid": owner, "controller": true})
        });
        let owners: Vec<Value> = owners.into_iter().collect();
        json!({
            "namespace": "red", "name": uid, "uid": uid, "resourceVersion": version.to_string(),
            "ownerReferences": owners,
        })
    }

    fn pods(gpus: u32) -> Value {
        let limits = match gpus {
            0 => json!({}),
            gpus => json!({GPU: gpus}),
        };
        json!({"containers": [{"name": "c", "resources": {"limits": limits}}]})
    }

    /// A JobSet of a Job of two pods, with this status.
    fn set(version: u32, suspend: bool, conditions: Value) -> Object {
        let job =
            json!({"spec": {"parallelism": 2, "completions": 2, "template": {"spec": pods(1)}}});
        let object = json!({
            "metadata": owned("set", version, None),
            "spec": {"suspend": suspend, "replicatedJobs": [{"name": "w", "template": job}]},
            "status": {"conditions": conditions},
        });
        let kind = Composite::of_owner("jobset.x-k8s.io/v1alpha2", "JobSet").unwrap();
        let object = serde_json::from_value(object).unwrap();
        Object::Job(Box::new(JobView::of_composite(kind, &object, GPU)))
    }

    fn job(suspend: bool) -> Object {
        let object = json!({
            "metadata": owned("job", 1, Some(("jobset.x-k8s.io/v1alpha2", "JobSet", "set"))),
            "spec": {"suspend": suspend, "parallelism": 2, "completions": 2, "template": {"spec": pods(1)}},
        });
        Object::Job(Box::new(JobView::new(
            &serde_json::from_value(object).unwrap(),
            GPU,
        )))
    }

    fn pod(uid: &str, gpus: u32) -> Object {
        let mut spec = pods(gpus);
        spec["nodeName"] = json!("a");
        let object =
            json!({"metadata": owned(uid, 1, Some(("batch/v1", "Job", "job"))), "spec": spec});
        let pod: Pod = serde_json::from_value(object).unwrap();
        Object::Pod(PodView::new(&pod, GPU))
    }

    /// The JobSet is admitted.
    fn observed() -> Observed {
        let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
        let red = Object::Namespace("red".to_owned(), Some("red".into()));
        observed.apply(Change::Applied(red));
        observed.apply(Change::Applied(set(1, true, json!([]))));
        let job = observed.wanted("set").unwrap();
        assert_eq!(job.gang, 2);
        let slot = |gpu: u32| Slot::whole("a".into(), [gpu].into_iter().collect());
        let placement: Placement = [slot(0), slot(1)].into_iter().collect();
        observed.admit(&job, 1, placement);
        observed
    }

    fn bound(news: &News) -> usize {
        let is_bound = |fact: &&Event| matches!(fact, Event::TaskBound(..));
        news.facts.iter().filter(is_bound).count()
    }

    #[test]
    fn pods_are_their_job_sets_in_whatever_order_they_are_seen() {
        let mut observed = observed();
        let early = observed.apply(Change::Applied(pod("early", 1)));
        assert_eq!(bound(&early), 0, "whose part its Job is was not known");
        let news = observed.apply(Change::Applied(job(false)));
        assert_eq!(bound(&news), 1);
        assert_eq!(bound(&observed.apply(Change::Applied(pod("late", 1)))), 1);
        assert!(observed.plan("set").unwrap().is_full());
        assert_eq!(observed.top("job"), "set");
        assert!(observed.bypassing().is_empty(), "it runs as a part");
    }

    #[test]
    fn pods_without_gpus_take_no_place() {
        let mut observed = observed();
        observed.apply(Change::Applied(job(false)));
        let news = observed.apply(Change::Applied(pod("driver", 0)));
        assert_eq!(bound(&news), 0);
        let takes_room = |fact: &Event| matches!(fact, Event::PodBound(..));
        assert!(news.facts.iter().any(takes_room), "{news:?}");
    }

    /// Its operator may say so while pods of it are still ending.
    #[test]
    fn what_is_over_keeps_the_room_of_the_pods_that_are_left() {
        let mut observed = observed();
        observed.apply(Change::Applied(job(false)));
        observed.apply(Change::Applied(pod("left", 1)));
        let done = json!([{"type": "Completed", "status": "True"}]);
        let news = observed.apply(Change::Applied(set(2, false, done)));
        let id = observed.job("set").unwrap().id.clone();
        assert!(news.facts.contains(&Event::JobWithdrawn(id)));
        let takes_room =
            |fact: &Event| matches!(fact, Event::PodBound(pod, ..) if *pod == "left".into());
        assert!(news.facts.iter().any(takes_room), "{news:?}");
    }

    #[test]
    fn it_is_stopping_until_its_parts_are_quiet() {
        let mut observed = observed();
        observed.apply(Change::Applied(job(true)));
        let quiet = json!([{"type": "Suspended", "status": "True"}]);
        observed.apply(Change::Applied(set(2, true, quiet)));
        assert!(observed.has_pods_left("set"), "its Job does not say so yet");
        observed.apply(Change::Listed(Kind::Job, Vec::new()));
        assert!(!observed.has_pods_left("set"));
        assert_eq!(observed.top("job"), "job");
    }

    #[test]
    fn a_ring_of_owners_has_an_end() {
        let mut owners = RedBlackTreeMapSync::default();
        owners.insert_mut("a".to_owned(), "b".to_owned());
        owners.insert_mut("b".to_owned(), "a".to_owned());
        assert_eq!(topmost(&owners, "a"), "a");
    }
}
