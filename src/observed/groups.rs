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
        let waiting: Vec<Uid> = self.followers(gang).filter(waits).cloned().collect();
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
        news.touched.extend(self.followers(group).cloned());
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
        let mut view = translate::group(group, name, size.unwrap_or(1), &members);
        // Who got its places as one that may be evicted stays so, whatever is taken from its pods.
        let has_places = self.plans.contains_key(group);
        view.preemptible |= has_places && known.is_some_and(|known| known.preemptible);
        Some(view)
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
            let has_place = record.spec.admission.is_some() || record.spec.eviction.is_some();
            has_place && record.status.state != Some(State::Finished)
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
                    && !self.is_heir(lead, uid);
                let waits = self.jobs.contains_key(lead) && !is_settled;
                waits.then_some(Hold::Dependency)
            }
        }
    }
}

impl Observed {
    /// Pods beyond the size of a gang.
    pub(super) fn followers(&self, gang: &str) -> impl Iterator<Item = &Uid> {
        self.groups.followers.get(gang).into_iter().flatten()
    }

    /// Whether a place of a gang is about to be free for this pod: as many of its pods leave as others wait
    /// before this one.
    fn is_heir(&self, gang: &str, pod: &str) -> bool {
        let members = self.groups.pods.get(gang).into_iter().flatten();
        let members = members.filter_map(|uid| self.pods.get(uid));
        let leaves = |pod: &&PodView| {
            let on_lost = pod.node.as_ref().is_some_and(|node| self.is_lost(node));
            pod.gated.is_some() && pod.is_leaving && !on_lost
        };
        let waits = |uid: &&Uid| !self.plans.contains_key(*uid);
        let mut heirs = self.followers(gang).filter(waits);
        let leaving = members.filter(leaves).count();
        leaving > 0
            && heirs
                .position(|uid| uid == pod)
                .is_some_and(|at| at < leaving)
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
mod tests;
