//! Which place of its gang a pod was told, until it is bound and the watch says so.
//!
//! Pods of an indexed Job go by their index and need no memory. Those of any other Job are told
//! the next free place, and must be told the same when kube-scheduler asks again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rpds::RedBlackTreeMapSync;

use crate::plan::Plan;

/// Places told so far, by UID of the Job.
#[derive(Debug, Default)]
pub struct Seats(Mutex<BTreeMap<String, Told>>);

/// Places told in one admission: UID of the pod by seat, with the oldest telling first.
#[derive(Debug, Default)]
struct Told {
    epoch: i64,
    turns: u64,
    pods: BTreeMap<u32, (u64, String)>,
}

impl Seats {
    /// The place of a pod of this plan's Job that is not bound yet.
    pub fn tell(&self, plan: &Plan, pod: &str) -> Option<u32> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.entry(plan.job().uid().to_owned()).or_default();
        if told.epoch != plan.epoch() {
            *told = Told {
                epoch: plan.epoch(),
                ..Told::default()
            };
        }
        told.pods
            .retain(|seat, (_, uid)| uid == pod || !plan.is_taken(*seat));
        let known = told
            .pods
            .iter()
            .find(|(_, (_, uid))| uid == pod)
            .map(|(seat, _)| *seat);
        let free = |seat: &u32| !plan.is_taken(*seat) && !told.pods.contains_key(seat);
        // When all are told, one of those told is gone: the one that was told longest ago.
        let oldest = || {
            told.pods
                .iter()
                .min_by_key(|(_, (turn, _))| *turn)
                .map(|(seat, _)| *seat)
        };
        let seat = known
            .or_else(|| (0..plan.seats()).find(free))
            .or_else(oldest)?;
        told.turns += 1;
        told.pods.insert(seat, (told.turns, pod.to_owned()));
        Some(seat)
    }

    /// Forgets the Jobs that have no plan any more.
    pub fn forget(&self, plans: &RedBlackTreeMapSync<String, Plan>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|job, _| plans.contains_key(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Devices, Job, JobId, Resources, Slot};

    use crate::translate::PodView;

    fn plan(epoch: i64) -> Plan {
        let slot = |node: &str| Slot::whole(node.into(), Devices::default());
        let id = JobId::new("red", "train", "j");
        let job = Job::new(id, "red".into(), 2, Resources::gpus(1));
        let placement = ["a", "b"].map(slot).into_iter().collect();
        Plan::new(&job, epoch, placement, false)
    }

    fn bound(plan: &mut Plan, pod: &str) {
        plan.seat(&PodView {
            uid: pod.to_owned(),
            namespace: "red".to_owned(),
            job: Some("j".to_owned()),
            index: None,
            node: Some("a".into()),
            takes: Resources::ZERO,
            unschedulable: None,
            is_over: false,
            gated: None,
        });
    }

    #[test]
    fn each_pod_is_told_its_own_place_and_the_same_again() {
        let seats = Seats::default();
        assert_eq!(seats.tell(&plan(1), "p"), Some(0));
        assert_eq!(seats.tell(&plan(1), "q"), Some(1));
        assert_eq!(seats.tell(&plan(1), "p"), Some(0));
    }

    #[test]
    fn a_pod_that_replaces_another_gets_its_place() {
        let seats = Seats::default();
        let mut plan = plan(1);
        seats.tell(&plan, "p");
        bound(&mut plan, "p");
        seats.tell(&plan, "q");
        // q is deleted before it is bound, and r comes in its stead.
        assert_eq!(seats.tell(&plan, "r"), Some(1));
    }

    #[test]
    fn another_admission_starts_anew() {
        let seats = Seats::default();
        seats.tell(&plan(1), "p");
        assert_eq!(seats.tell(&plan(2), "q"), Some(0));
    }
}
