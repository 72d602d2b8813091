//! Pods that wait in the queue themselves: which of them start together.
//!
//! A group is a pod alone or a gang, and the queue sees it as one job. It exists while a pod of it
//! does. A pod belongs to the same group for as long as it lives, but that one beyond the size of a gang
//! moves up while it has no place of its own.

use std::collections::{BTreeMap, BTreeSet};

use prorata_core::Hold;
use rpds::RedBlackTreeMapSync;

use super::{News, Observed, Uid};
use crate::api::State;
use crate::translate::{self, Form, Gated, JobView, Part, PodView};

/// Who belongs to which group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What each pod queues as.
    of_pod: RedBlackTreeMapSync<Uid, Uid>,
    /// The pods of each group.
    pods: BTreeMap<Uid, BTreeSet<Uid>>,
    /// The gang that each pod is beyond the size of, and waits for.
    leads: BTreeMap<Uid, Uid>,
    /// Such pods, by that gang.
    followers: BTreeMap<Uid, BTreeSet<Uid>>,
}

/// A gang that a pod names, or its Job does.
struct Gang {
    uid: Uid,
    size: u32,
    name: Option<String>,
}

impl Observed {
    /// What each pod that waits in the queue itself does so as, by UID.
    #[must_use]
    pub const fn groups(&self) -> &RedBlackTreeMapSync<Uid, Uid> {
        &self.groups.of_pod
    }

    /// The pods of a group that exist, in the order in which they take their places.
    #[must_use]
    pub fn members(&self, group: &str) -> Vec<(&PodView, &Gated)> {
        let uids = self.groups.pods.get(group).into_iter().flatten();
        let pods = uids.filter_map(|uid| self.pods.get(uid));
        let mut members: Vec<_> = pods
            .filter_map(|p| Some((p, p.gated.as_deref()?)))
            .collect();
        members.sort_by_key(|(pod, gated)| (pod.index, gated.created, &gated.name));
        members
    }

    /// What a pod queues as; `None` if it is none that does, or its Job is not known yet.
    pub(super) fn join(&mut self, pod: &PodView) -> Option<Uid> {
        let gated = pod.gated.as_deref()?;
        let gang = self.gang_of(pod, gated)?;
        let group = match gang {
            Some(gang) if self.takes(&gang, pod) => gang.uid,
            Some(gang) => {
                let followers = self.groups.followers.entry(gang.uid.clone()).or_default();
                followers.insert(pod.uid.clone());
                self.groups.leads.insert(pod.uid.clone(), gang.uid);
                pod.uid.clone()
            }
            None => pod.uid.clone(),
        };
        self.groups
            .of_pod
            .insert_mut(pod.uid.clone(), group.clone());
        let members = self.groups.pods.entry(group.clone()).or_default();
        members.insert(pod.uid.clone());
        Some(group)
    }

    /// The pods of this Job that came before it join what they belong to, and what they are in is
    /// seen as it is now.
    pub(super) fn join_pods_of(&mut self, job: &str, news: &mut News) {
        let of_job = |pod: &&PodView| pod.gated.as_ref().is_some_and(|g| g.job() == Some(job));
        let pods: Vec<PodView> = self.pods.values().filter(of_job).cloned().collect();
        let mut gangs = BTreeSet::new();
        for pod in pods {
            match &pod.job {
                None => self.put_pod(pod, news),
                Some(group) if *group != pod.uid => drop(gangs.insert(group.clone())),
                Some(_) => {}
            }
        }
        for gang in gangs {
            self.regroup(&gang, news);
        }
    }

    /// A pod is gone, and what it belonged to is seen as it is now.
    pub(super) fn part(&mut self, pod: &str, news: &mut News) {
        let Some(group) = self.groups.of_pod.get(pod).cloned() else {
            return;
        };
        self.groups.of_pod.remove_mut(pod);
        remove(&mut self.groups.pods, &group, pod);
        if let Some(lead) = self.groups.leads.remove(pod) {
            remove(&mut self.groups.followers, &lead, pod);
        }
        self.move_up(&group, news);
        self.regroup(&group, news);
    }

    /// Pods that are beyond the size of a gang take what others leave in it, or the gang would never be
    /// whole where nobody makes more.
    fn move_up(&mut self, gang: &str, news: &mut News) {
        let waits = |pod: &&Uid| !self.plans.contains_key(*pod);
        let followers = self.groups.followers.get(gang).into_iter().flatten();
        let waiting: Vec<Uid> = followers.filter(waits).cloned().collect();
        for uid in waiting {
            let Some(pod) = self.pods.get(&uid).cloned() else {
                continue;
            };
            let room = |gated: &Gated| {
                let named = self.gang_of(&pod, gated).flatten()?;
                Some(named.uid == gang && self.has_room(&named))
            };
            if pod.gated.as_deref().and_then(room) != Some(true) {
                continue;
            }
            self.groups.leads.remove(&uid);
            remove(&mut self.groups.followers, gang, &uid);
            remove(&mut self.groups.pods, &uid, &uid);
            self.groups.of_pod.insert_mut(uid.clone(), gang.to_owned());
            let members = self.groups.pods.entry(gang.to_owned()).or_default();
            members.insert(uid.clone());
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.job = Some(gang.to_owned());
            }
            self.regroup(&uid, news);
        }
    }

    /// Sees a group as its pods are now.
    pub(super) fn regroup(&mut self, group: &str, news: &mut News) {
        news.touched.insert(group.to_owned());
        let followers = self.groups.followers.get(group).into_iter().flatten();
        news.touched.extend(followers.cloned());
        match self.view_of(group) {
            Some(view) => drop(self.jobs.insert(group.to_owned(), view)),
            None => drop(self.jobs.remove(group)),
        }
    }

    fn view_of(&self, group: &str) -> Option<JobView> {
        let members = self.members(group);
        let (pod, gated) = *members.first()?;
        let known = self.jobs.get(group);
        let gang = self
            .gang_of(pod, gated)
            .flatten()
            .filter(|g| g.uid == group);
        // A Job may be gone before its pods.
        let size = gang
            .as_ref()
            .map(|g| g.size)
            .or(known.map(|view| view.gang));
        let name = gang.and_then(|gang| gang.name);
        let name = name.as_deref().or(known.map(|view| view.id.name()));
        Some(translate::group(group, name, size.unwrap_or(1), &members))
    }

    /// The gang that the pod is to start with, if any; `None` while that is not known.
    fn gang_of(&self, pod: &PodView, gated: &Gated) -> Option<Option<Gang>> {
        let Some(job) = gated.job() else {
            let named = |uid| Gang {
                uid,
                size: gated.size,
                name: None,
            };
            return Some(gated.gang_uid(&pod.namespace).map(named));
        };
        let view = self.jobs.get(job)?;
        Some(match view.part {
            Part::AtLeast(least) if least > 1 => Some(Gang {
                uid: translate::gang_uid_of_job(job),
                size: least.min(view.remaining),
                name: Some(view.id.name().to_owned()),
            }),
            _ => None,
        })
    }

    /// Whether the gang has room for another pod. One that has a place of its own keeps it.
    fn takes(&self, gang: &Gang, pod: &PodView) -> bool {
        let record = self.records.get(&pod.uid);
        let is_alone = record.is_some_and(|record| {
            record.spec.admission.is_some() && record.status.state != Some(State::Finished)
        });
        self.has_room(gang) && !is_alone
    }

    fn has_room(&self, gang: &Gang) -> bool {
        let members = self.groups.pods.get(&gang.uid).map_or(0, BTreeSet::len);
        u32::try_from(members).is_ok_and(|members| members < gang.size)
    }

    /// What must happen before a group that has no places may get some.
    pub(super) fn group_waits_for(&self, view: &JobView) -> Option<Hold> {
        let uid = view.id.uid();
        if self.plans.contains_key(uid) {
            return None;
        }
        match view.form {
            Form::Job | Form::Composite(_) => None,
            Form::Gang => {
                let members = self.groups.pods.get(uid).map_or(0, BTreeSet::len);
                let members = u32::try_from(members).unwrap_or(u32::MAX);
                (members < view.gang).then_some(Hold::Incomplete(members))
            }
            Form::Pod => {
                let lead = self.groups.leads.get(uid)?;
                let is_settled = self.plans.contains_key(lead)
                    && !self.leavers.contains_key(lead)
                    && !self.has_leaving_member(lead);
                let waits = self.jobs.contains_key(lead) && !is_settled;
                waits.then_some(Hold::Dependency)
            }
        }
    }
}

impl Observed {
    /// Whether a place of a gang is about to be free for whoever is made in place of the pod that has it.
    fn has_leaving_member(&self, gang: &str) -> bool {
        let members = self.members(gang);
        let mut leaving = members.iter().filter(|(_, gated)| gated.is_leaving);
        leaving.any(|(pod, _)| pod.node.as_ref().is_none_or(|node| !self.is_lost(node)))
    }
}

fn remove(sets: &mut BTreeMap<Uid, BTreeSet<Uid>>, key: &str, value: &str) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Classes, Patience};
    use super::*;
    use crate::watch::{Change, Object};
    use k8s_openapi::api::core::v1::Pod;
    use prorata_core::{Event, Job, Placement, Resources, Slot};
    use serde_json::{Value, json};

    const GPU: &str = "nvidia.com/gpu";
    const SET_CONTROLLER: &str = "system:serviceaccount:kube-system:statefulset-controller";

    fn observed() -> Observed {
        let mut observed = Observed::new(GPU, Classes::default(), Patience::default());
        let red = Object::Namespace("red".to_owned(), Some("red".into()));
        observed.apply(Change::Applied(red));
        observed
    }

    /// A pod that waits, of a gang of two.
    fn pod(name: &str, creator: &str, controller: &str) -> Value {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": controller, "controller": true,
        });
        json!({
            "metadata": {
                "namespace": "red", "name": name, "uid": name, "resourceVersion": "1",
                "ownerReferences": [owner],
                "annotations": {
                    "internal.prorata.dev/created-by": creator,
                    "prorata.dev/gang": "ranks", "prorata.dev/gang-size": "2",
                },
            },
            "spec": {
                "schedulingGates": [{"name": "prorata.dev/queue"}],
                "containers": [{"name": "c", "resources": {"limits": {GPU: 1}}}],
            },
            "status": {},
        })
    }

    fn view(pod: &Value) -> Object {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        Object::Pod(PodView::new(&pod, GPU))
    }

    /// The jobs that were told, each with its hold.
    fn told(news: &News) -> Vec<Job> {
        let job = |fact: &Event| match fact {
            Event::JobSubmitted(job) => Some(job.clone()),
            _ => None,
        };
        news.facts.iter().filter_map(job).collect()
    }

    #[test]
    fn a_gang_waits_until_all_its_pods_are_made() {
        let mut observed = observed();
        let first = observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
        let [gang] = &told(&first)[..] else {
            panic!("{first:?}")
        };
        assert_eq!((gang.gang, gang.hold), (2, Some(Hold::Incomplete(1))));
        assert_eq!(gang.id.name(), "ranks");
        let second = observed.apply(Change::Applied(view(&pod("b", SET_CONTROLLER, "s"))));
        assert_eq!(told(&second)[0].id, gang.id);
        assert_eq!(told(&second)[0].hold, None);
        assert_eq!(told(&second)[0].task, Resources::gpus(1));
    }

    #[test]
    fn pods_of_another_creator_or_controller_are_of_another_gang() {
        let mut observed = observed();
        for pod in [
            pod("a", SET_CONTROLLER, "s"),
            pod("b", "alice", "s"),
            pod("c", SET_CONTROLLER, "other"),
        ] {
            let news = observed.apply(Change::Applied(view(&pod)));
            assert_eq!(told(&news)[0].hold, Some(Hold::Incomplete(1)));
        }
    }

    #[test]
    fn pods_that_ask_for_different_things_are_no_gang() {
        let mut observed = observed();
        let mut large = pod("b", SET_CONTROLLER, "s");
        large["spec"]["containers"][0]["resources"]["limits"][GPU] = json!(2);
        observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
        let news = observed.apply(Change::Applied(view(&large)));
        let gang = &told(&news)[0];
        assert_eq!(gang.task, Resources::ZERO);
        let why = observed.obstacle(gang.id.uid()).unwrap();
        assert!(why.contains("a gang is of equal pods"), "{why}");
    }

    #[test]
    fn whoever_comes_too_many_waits_for_the_gang_and_then_queues_alone() {
        let mut observed = observed();
        observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
        let news = observed.apply(Change::Applied(view(&pod("b", SET_CONTROLLER, "s"))));
        let gang = told(&news)[0].clone();
        let third = view(&pod("c", SET_CONTROLLER, "s"));
        let news = observed.apply(Change::Applied(third.clone()));
        assert_eq!(told(&news)[0].hold, Some(Hold::Dependency));
        let slot = |gpu: u32| Slot::whole("n".into(), [gpu].into_iter().collect());
        let placement: Placement = [slot(0), slot(1)].into_iter().collect();
        observed.admit(&gang, 1, placement);
        let news = observed.apply(Change::Applied(third));
        assert_eq!(told(&news)[0].id.uid(), "c");
        assert_eq!(told(&news)[0].hold, None);
    }

    /// After a restart the places of a gang are those of the pods that have been let go.
    #[test]
    fn whoever_came_too_many_moves_up_when_another_is_gone() {
        let mut observed = observed();
        for name in ["a", "b", "c"] {
            observed.apply(Change::Applied(view(&pod(name, SET_CONTROLLER, "s"))));
        }
        let gang = observed.groups().get("a").cloned().unwrap();
        assert_eq!(observed.groups().get("c").unwrap(), "c");
        let news = observed.apply(Change::Deleted(view(&pod("b", SET_CONTROLLER, "s"))));
        assert_eq!(observed.groups().get("c"), Some(&gang));
        let told = told(&news);
        assert_eq!((told.len(), told[0].hold), (1, None), "{told:?}");
        let withdrawn = |fact: &Event| matches!(fact, Event::JobWithdrawn(id) if id.uid() == "c");
        assert!(news.facts.iter().any(withdrawn), "{news:?}");
    }

    /// A Deployment makes it before its predecessor has ended.
    #[test]
    fn whoever_is_made_in_place_of_one_that_leaves_waits_for_its_place() {
        let mut observed = observed();
        observed.apply(Change::Applied(Object::Node(
            prorata_core::Node::new("n"),
            true,
        )));
        let mut bound = pod("b", SET_CONTROLLER, "s");
        bound["spec"]["nodeName"] = json!("n");
        bound["spec"]["schedulingGates"] = json!([]);
        observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
        let news = observed.apply(Change::Applied(view(&bound)));
        let gang = told(&news)[0].clone();
        let slot = |gpu: u32| Slot::whole("n".into(), [gpu].into_iter().collect());
        observed.admit(&gang, 1, [slot(0), slot(1)].into_iter().collect());
        bound["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        bound["metadata"]["resourceVersion"] = json!("2");
        observed.apply(Change::Applied(view(&bound)));
        let next = view(&pod("c", SET_CONTROLLER, "s"));
        let news = observed.apply(Change::Applied(next));
        let alone = told(&news).into_iter().find(|job| job.id.uid() == "c");
        assert_eq!(alone.unwrap().hold, Some(Hold::Dependency));
        observed.apply(Change::Deleted(view(&bound)));
        assert_eq!(
            observed.groups().get("c").map(String::as_str),
            Some(gang.id.uid())
        );
    }

    #[test]
    fn whoever_could_not_have_its_node_has_the_place_there_all_the_same() {
        let mut observed = observed();
        let mut waits = pod("b", SET_CONTROLLER, "s");
        waits["spec"]["schedulingGates"] = json!([]);
        waits["status"]["nominatedNodeName"] = json!("m");
        observed.apply(Change::Applied(view(&pod("a", SET_CONTROLLER, "s"))));
        let gang = told(&observed.apply(Change::Applied(view(&waits))))[0].clone();
        let slot = |node: &str| Slot::whole(node.into(), [0].into_iter().collect());
        observed.admit(&gang, 1, [slot("n"), slot("m")].into_iter().collect());
        waits["status"] = json!({});
        waits["spec"]["nodeName"] = json!("x");
        observed.apply(Change::Applied(view(&waits)));
        let plan = observed.plan(gang.id.uid()).unwrap();
        assert_eq!(plan.seat_of("b"), Some(1));
    }

    /// The record that it had alone says no more than that it waited.
    #[test]
    fn whoever_had_moved_up_is_in_the_gang_after_a_restart() {
        let restarted = |admission: Value| {
            let record: crate::api::QueuedJob = serde_json::from_value(json!({
                "metadata": {"name": "c", "namespace": "red", "uid": "r", "resourceVersion": "1"},
                "spec": {
                    "job": {"apiVersion": "v1", "name": "c", "uid": "c", "kind": "Pod"}, "tenant": "red",
                    "priority": 0, "gang": 1, "gpus": "1", "admission": admission,
                },
                "status": {"state": "Waiting"},
            }))
            .unwrap();
            let record = crate::translate::RecordView::new(&record);
            let mut observed = observed();
            observed.apply(Change::Applied(Object::QueuedJob(Box::new(record))));
            for name in ["a", "c"] {
                observed.apply(Change::Applied(view(&pod(name, SET_CONTROLLER, "s"))));
            }
            observed.groups().get("a") == observed.groups().get("c")
        };
        assert!(restarted(Value::Null));
        let place = json!({"node": "n", "devices": [0]});
        assert!(!restarted(json!({"epoch": 1, "placement": [place]})));
    }

    #[test]
    fn those_that_were_let_go_are_taken_up_first() {
        let mut observed = observed();
        let mut gone = [pod("x", SET_CONTROLLER, "s"), pod("y", SET_CONTROLLER, "s")];
        for pod in &mut gone {
            pod["spec"]["schedulingGates"] = json!([]);
        }
        let waits = pod("a", SET_CONTROLLER, "s");
        let all = [view(&waits), view(&gone[0]), view(&gone[1])].to_vec();
        observed.apply(Change::Listed(crate::watch::Kind::Pod, all));
        let group = observed.groups().get("x").unwrap();
        assert_eq!(observed.groups().get("y"), Some(group));
        assert_eq!(observed.groups().get("a").unwrap(), "a");
    }

    #[test]
    fn a_pod_that_is_gone_leaves_nothing_behind() {
        let mut observed = observed();
        let pod = view(&pod("a", SET_CONTROLLER, "s"));
        let id = told(&observed.apply(Change::Applied(pod.clone())))[0]
            .id
            .clone();
        let news = observed.apply(Change::Deleted(pod));
        assert!(news.facts.contains(&Event::JobWithdrawn(id.clone())));
        assert!(observed.job(id.uid()).is_none() && observed.groups().is_empty());
    }
}
