//! Which place of its gang a pod was told, until it is bound and the watch says so.
//!
//! Pods of an indexed Job go by their index and need no memory. Those of any other Job are told
//! the next free place, and must be told the same when kube-scheduler asks again. One that was told
//! a place and is not seen on its way may have been bound a moment ago, or be gone: for as long as
//! nobody can know, its place is told to no other, which would find a GPU of another job there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prorata_core::{NodeId, Placement};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use tokio::time::Instant;

use super::BOUND_WITHIN;
use crate::plan::Plan;

/// After this long a node is tried again that kube-scheduler has tried in vain: what was against it may
/// have passed.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Places told so far, by UID of the Job.
#[derive(Debug, Default)]
pub struct Seats(Mutex<BTreeMap<String, Told>>);

/// Places told in one admission: UID of the pod by seat, and when it was told last.
#[derive(Debug, Default)]
struct Told {
    epoch: i64,
    pods: BTreeMap<u32, (Instant, String)>,
    /// The node that kube-scheduler has tried in vain, and when, by UID of the pod.
    tried: BTreeMap<String, (NodeId, Instant)>,
}

impl Told {
    /// What was told in the admission of this plan.
    fn of<'a>(all: &'a mut BTreeMap<String, Self>, plan: &Plan) -> &'a mut Self {
        let told = all.entry(plan.job().uid().to_owned()).or_default();
        if told.epoch != plan.epoch() {
            *told = Self {
                epoch: plan.epoch(),
                ..Self::default()
            };
        }
        told
    }

    /// Who is bound has the first free place on its node. Whoever was told that one has the one instead
    /// that was told to who is bound.
    fn settle(&mut self, plan: &Plan) {
        let told: BTreeMap<&str, u32> = self
            .pods
            .iter()
            .map(|(seat, (_, uid))| (uid.as_str(), *seat))
            .collect();
        let bound: Vec<(String, u32)> = plan
            .seated()
            .filter(|(_, uid)| told.contains_key(uid.as_str()))
            .map(|(seat, uid)| (uid.clone(), seat))
            .collect();
        for (uid, seat) in bound {
            let theirs = self.pods.iter().find(|(_, (_, pod))| *pod == uid);
            let Some(left) = theirs.map(|(left, _)| *left) else {
                continue;
            };
            self.pods.remove(&left);
            if plan.node(left) == plan.node(seat)
                && let Some(displaced) = self.pods.remove(&seat)
            {
                self.pods.insert(left, displaced);
            }
        }
    }
}

impl Seats {
    /// The place of a pod of this plan's Job that is not bound yet; `None` while others may be on
    /// their way to all that are free. Those that have `departed` are not. It is where the pod has been
    /// told by the controller to go, if one of the places as they are `held` is there and free.
    pub fn tell(
        &self,
        plan: &Plan,
        held: &Placement,
        pod: &str,
        nominated: Option<&NodeId>,
        departed: &RedBlackTreeSetSync<String>,
        now: Instant,
    ) -> Option<u32> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told::of(&mut all, plan);
        told.settle(plan);
        told.pods.retain(|seat, (at, uid)| {
            let comes = !departed.contains(uid) && now.duration_since(*at) < BOUND_WITHIN;
            // Another replica may have told it to a pod that is bound by now.
            !plan.is_taken(*seat) && (uid == pod || comes)
        });
        let known = told
            .pods
            .iter()
            .find(|(_, (_, uid))| uid == pod)
            .map(|(seat, _)| *seat);
        let is_there = |seat: &u32| nominated.is_some_and(|node| plan.is_at(held, *seat, node));
        let free = |seat: &u32| !plan.is_taken(*seat) && !told.pods.contains_key(seat);
        // What a pod had that is over may be another job's by now.
        let is_new = |seat: &u32| free(seat) && !plan.was_taken(*seat);
        let seat = known
            .filter(is_there)
            .or_else(|| (0..plan.seats()).find(|seat| is_there(seat) && free(seat)))
            .or(known)
            .or_else(|| (0..plan.seats()).find(is_new))
            .or_else(|| (0..plan.seats()).find(free))?;
        if let Some(known) = known {
            told.pods.remove(&known);
        }
        told.pods.insert(seat, (now, pod.to_owned()));
        Some(seat)
    }

    /// Whether kube-scheduler has tried this pod on its node lately, and has something against that: it has
    /// if it has been told that node now, or had. Where preemption cannot help, it forgets what it was told.
    pub fn was_tried(
        &self,
        plan: &Plan,
        pod: &str,
        node: &NodeId,
        is_nominated: bool,
        now: Instant,
    ) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told::of(&mut all, plan);
        if is_nominated {
            told.tried.insert(pod.to_owned(), (node.clone(), now));
        }
        let is_it = |(tried, at): &(NodeId, Instant)| {
            tried == node && now.duration_since(*at) < TRIED_AGAIN_AFTER
        };
        told.tried.get(pod).is_some_and(is_it)
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
    use prorata_core::{Devices, Job, JobId, Others, Resources, Slot};

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
            name: String::new(),
            version: 0,
            bound: None,
            job: Some("j".to_owned()),
            maker: Some("j".to_owned()),
            index: None,
            node: Some("a".into()),
            takes: Resources::ZERO,
            unit: Default::default(),
            others: Others::NONE,
            nominated: None,
            unschedulable: None,
            overlooked: None,
            is_leaving: false,
            is_over: false,
            gated: None,
            left: None,
        });
    }

    fn tell(
        seats: &Seats,
        plan: &Plan,
        pod: &str,
        departed: &RedBlackTreeSetSync<String>,
        now: Instant,
    ) -> Option<u32> {
        seats.tell(plan, plan.placement(), pod, None, departed, now)
    }

    fn none() -> RedBlackTreeSetSync<String> {
        RedBlackTreeSetSync::default()
    }

    #[test]
    fn a_place_that_nobody_has_had_comes_first() {
        let (seats, mut plan) = (Seats::default(), plan(1));
        bound(&mut plan, "p");
        plan.leave("p");
        let told = |pod| tell(&seats, &plan, pod, &none(), Instant::now());
        assert_eq!([told("q"), told("r")], [Some(1), Some(0)]);
    }

    #[test]
    fn a_place_that_another_replica_has_told_meanwhile_is_not_told_again() {
        let (seats, mut plan) = (Seats::default(), plan(1));
        assert_eq!(tell(&seats, &plan, "q", &none(), Instant::now()), Some(0));
        bound(&mut plan, "p");
        assert_eq!(tell(&seats, &plan, "q", &none(), Instant::now()), Some(1));
    }

    #[test]
    fn whoever_has_departed_leaves_its_place_to_the_next() {
        let (seats, now) = (Seats::default(), Instant::now());
        let plan = plan(1);
        tell(&seats, &plan, "p", &none(), now);
        tell(&seats, &plan, "q", &none(), now);
        assert_eq!(tell(&seats, &plan, "r", &none(), now), None);
        let departed = none().insert("p".to_owned());
        assert_eq!(tell(&seats, &plan, "r", &departed, now), Some(0));
    }

    #[test]
    fn each_pod_is_told_its_own_place_and_the_same_again() {
        let (seats, now) = (Seats::default(), Instant::now());
        assert_eq!(tell(&seats, &plan(1), "p", &none(), now), Some(0));
        assert_eq!(tell(&seats, &plan(1), "q", &none(), now), Some(1));
        assert_eq!(tell(&seats, &plan(1), "p", &none(), now), Some(0));
    }

    #[test]
    fn a_pod_that_replaces_another_gets_its_place() {
        let (seats, now) = (Seats::default(), Instant::now());
        let mut plan = plan(1);
        tell(&seats, &plan, "p", &none(), now);
        bound(&mut plan, "p");
        tell(&seats, &plan, "q", &none(), now);
        // r comes in its stead if q is deleted before it is bound; or p has ended, and q is bound.
        assert_eq!(tell(&seats, &plan, "r", &none(), now), None);
        assert_eq!(
            tell(&seats, &plan, "r", &none(), now + BOUND_WITHIN),
            Some(1)
        );
        plan.leave("p");
        assert_eq!(
            tell(&seats, &plan, "s", &none(), now + BOUND_WITHIN),
            Some(0)
        );
    }

    #[test]
    fn who_has_been_told_where_to_go_gets_a_place_there() {
        let (seats, now) = (Seats::default(), Instant::now());
        let plan = plan(1);
        let there = |pod, node: &str| {
            seats.tell(
                &plan,
                plan.placement(),
                pod,
                Some(&node.into()),
                &none(),
                now,
            )
        };
        assert_eq!(tell(&seats, &plan, "p", &none(), now), Some(0));
        assert_eq!(
            there("p", "b"),
            Some(1),
            "it gives up what it was told before"
        );
        assert_eq!(there("q", "b"), Some(0), "that is told to another");
        assert_eq!([there("p", "b"), there("q", "a")], [Some(1), Some(0)]);
    }

    #[test]
    fn whoever_is_displaced_on_its_node_has_the_other_place_there() {
        let (seats, now) = (Seats::default(), Instant::now());
        let slot = |node: &str| Slot::whole(node.into(), Devices::default());
        let job = Job::new(
            JobId::new("red", "train", "j"),
            "red".into(),
            2,
            Resources::gpus(1),
        );
        let mut plan = Plan::new(&job, 1, ["a", "a"].map(slot).into_iter().collect(), false);
        assert_eq!(tell(&seats, &plan, "p", &none(), now), Some(0));
        assert_eq!(tell(&seats, &plan, "q", &none(), now), Some(1));
        bound(&mut plan, "q");
        assert_eq!(plan.seat_of("q"), Some(0), "what comes first there");
        assert_eq!(tell(&seats, &plan, "r", &none(), now), None);
        assert_eq!(tell(&seats, &plan, "p", &none(), now), Some(1));
    }

    #[test]
    fn a_node_that_was_tried_in_vain_is_tried_again_later() {
        let (seats, now, plan) = (Seats::default(), Instant::now(), plan(1));
        let (a, b): (NodeId, NodeId) = ("a".into(), "b".into());
        let was_tried =
            |node, is_nominated, now| seats.was_tried(&plan, "p", node, is_nominated, now);
        assert!(!was_tried(&a, false, now));
        assert!(was_tried(&a, true, now) && was_tried(&a, false, now));
        assert!(!was_tried(&b, false, now), "that is another node");
        assert!(!was_tried(&a, false, now + TRIED_AGAIN_AFTER));
    }

    #[test]
    fn another_admission_starts_anew() {
        let (seats, now) = (Seats::default(), Instant::now());
        tell(&seats, &plan(1), "p", &none(), now);
        assert_eq!(tell(&seats, &plan(2), "q", &none(), now), Some(0));
    }
}
