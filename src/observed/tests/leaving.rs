//! Who leaves for what is no job.

use prorata_core::{Hold, Policy, Scheduler};

use super::*;
use crate::kinds::Composite;

/// Two Jobs of one pod each run on the node `a`, and the core knows it.
struct World {
    observed: Observed,
    core: Scheduler,
}

impl World {
    fn new(together: bool) -> Self {
        Self::with(together, true)
    }

    /// The same where the second Job may be evicted or not.
    fn with(together: bool, preemptible: bool) -> Self {
        let patience = Patience {
            together,
            ..Patience::default()
        };
        let mut world = Self {
            observed: Observed::new("nvidia.com/gpu", Classes::default(), patience),
            core: Scheduler::new(Policy::default()),
        };
        let node = Node {
            allocatable: Resources::gpus(2),
            ..Node::new("a")
        };
        world.apply(Object::Namespace("red".to_owned(), Some("red".into())));
        world.apply(Object::Node(node, true));
        for (uid, device, epoch) in [("j", 0, 1), ("k", 1, 2)] {
            let mut view = observed().jobs["j"].clone();
            view.id = JobId::new("red", uid, uid);
            view.epoch = Some(epoch);
            view.preemptible = uid == "j" || preemptible;
            world.apply(Object::Job(Box::new(view.clone())));
            let job = world.observed.wanted(uid).unwrap();
            let slot = Slot::whole("a".into(), [device].into_iter().collect());
            let placement: Placement = [slot].into_iter().collect();
            world.observed.admit(&job, epoch, placement.clone());
            let admitted = Event::JobAdmitted(job.id.clone(), placement, at(0));
            world.core.observe(at(0), admitted);
            view.is_suspended = false;
            world.apply(Object::Job(Box::new(view)));
            let Object::Pod(pod) = pod(&format!("pod-{uid}"), "red") else {
                panic!("a pod")
            };
            let job = Some(uid.to_owned());
            world.apply(Object::Pod(PodView { job, ..pod }));
        }
        world
    }

    fn apply(&mut self, object: Object) {
        let news = self.observed.apply(Change::Applied(object));
        self.learn(&news);
    }

    fn learn(&mut self, news: &News) {
        let facts = news.facts.iter().cloned();
        facts.for_each(|fact| self.core.observe(at(0), fact));
    }

    fn drain(&mut self, node: &str) -> News {
        let now = Timestamp::from_second(10).unwrap();
        let snapshot = self.core.snapshot();
        let news = self.observed.drain(&node.into(), &snapshot, now);
        self.learn(&news);
        news
    }

    /// The clients of `j` could not be ended beside these pods.
    fn together(&mut self, beside: &[&str], second: i64) -> Vec<&str> {
        self.without("j", beside, second)
    }

    /// Those of this one could not.
    fn without(&mut self, uid: &str, beside: &[&str], second: i64) -> Vec<&str> {
        let now = Timestamp::from_second(second).unwrap();
        let beside = beside.iter().map(|&uid| uid.to_owned()).collect();
        let snapshot = self.core.snapshot();
        let news = self.observed.leave_together(uid, &beside, &snapshot, now);
        self.learn(&news);
        let all = ["j", "k", "over", "too"].into_iter();
        all.filter(|uid| self.observed.leaves_with_others(uid))
            .collect()
    }

    fn leaves(&self, uid: &str) -> Option<&str> {
        Some(&self.observed.leaver(uid)?.eviction.rule)
    }
}

#[test]
fn jobs_leave_a_node_that_is_to_be_divided_anew_and_no_other() {
    let mut world = World::new(true);
    assert!(world.drain("b").facts.is_empty());
    assert_eq!(world.leaves("j"), None);
    let news = world.drain("a");
    let evicted = |uid: &str| Event::JobEvicted(JobId::new("red", uid, uid));
    assert!(news.facts.contains(&evicted("j")) && news.facts.contains(&evicted("k")));
    assert_eq!(world.leaves("j"), Some(DRAIN));
    let eviction = &world.observed.leaver("j").unwrap().eviction;
    assert_eq!((eviction.epoch, eviction.at.0.as_second()), (1, 10));
    let told = crate::status::Standing::leaving(eviction).message;
    assert!(
        told.contains("another division of the GPUs of node a;"),
        "{told}"
    );
    assert!(world.drain("a").touched.is_empty(), "once is enough");
}

#[test]
fn who_may_not_be_evicted_stays() {
    let mut world = World::with(true, false);
    world.drain("a");
    assert_eq!((world.leaves("j"), world.leaves("k")), (Some(DRAIN), None));
}

#[test]
fn nobody_goes_where_one_may_not() {
    let mut world = World::with(true, false);
    world.drain("a");
    assert_eq!(world.together(&["pod-k"], 1000), [""; 0]);
    assert_eq!(world.together(&[], 1000), ["j"], "it is alone there");
}

#[test]
fn clients_of_mps_go_together_when_it_has_been_waited_long_enough() {
    let mut world = World::new(true);
    assert_eq!(
        world.together(&["pod-k"], 1000),
        [""; 0],
        "it does not leave"
    );
    let job = world
        .core
        .snapshot()
        .job(&JobId::new("red", "j", "j"))
        .cloned();
    let job = job.unwrap();
    let now = Timestamp::from_second(10).unwrap();
    let other = Job::new(JobId::new("red", "o", "o"), "red".into(), 1, job.task);
    let news = world
        .observed
        .evict(&job, &other, prorata_core::Rule::Priority, now);
    world.learn(&news);
    assert_eq!(world.together(&["pod-k"], 100), [""; 0], "too early");
    assert_eq!(world.together(&["pod-k", "unknown"], 130), [""; 0]);
    assert_eq!(world.leaves("k"), None, "not at all");
    assert_eq!(world.together(&["pod-k"], 130), ["j", "k"]);
    assert_eq!(world.leaves("k"), Some(TOGETHER));
    assert_eq!(world.leaves("j"), Some("priority"), "as it was");

    let mut world = World::new(false);
    let news = world
        .observed
        .evict(&job, &other, prorata_core::Rule::Priority, now);
    world.learn(&news);
    assert_eq!(world.together(&["pod-k"], 1000), [""; 0]);
}

/// The record of a PyTorchJob.
fn recorded(uid: &str) -> Object {
    let job =
        json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": uid, "uid": uid});
    let record = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
        "metadata": {"name": uid, "namespace": "red", "resourceVersion": "1"},
        "spec": {"job": job, "tenant": "red", "priority": 0, "gang": 1, "gpus": "1"},
    });
    let record = serde_json::from_value(record).unwrap();
    Object::QueuedJob(Box::new(RecordView::new(&record)))
}

/// A world where PyTorchJobs are over as well, and of each a pod runs on.
fn with_over(mut world: World, uids: &[&str]) -> World {
    let kind = Composite::of_owner("kubeflow.org/v1", "PyTorchJob").unwrap();
    for &uid in uids {
        let over = json!({
            "metadata": {"namespace": "red", "name": uid, "uid": uid, "resourceVersion": "1"},
            "spec": {"pytorchReplicaSpecs": {}},
            "status": {"conditions": [{"type": "Succeeded", "status": "True"}]},
        });
        let over = serde_json::from_value(over).unwrap();
        let mut view = JobView::of_composite(kind, &over, "nvidia.com/gpu");
        view.epoch = Some(3);
        world.apply(Object::Job(Box::new(view)));
        world.apply(recorded(uid));
        let Object::Pod(pod) = pod(&format!("pod-{uid}"), "red") else {
            panic!("a pod")
        };
        let job = Some(uid.to_owned());
        world.apply(Object::Pod(PodView { job, ..pod }));
    }
    world.observed.expire(at(0));
    world
}

/// Agents get as long again to end their clients one by one.
#[test]
fn what_runs_on_when_it_is_over_goes_with_all_on_its_gpu_in_the_end() {
    let beside = ["pod-k", "pod-too"];
    for (may_leave, all) in [(true, vec!["k", "over", "too"]), (false, Vec::new())] {
        let mut world = with_over(World::with(true, may_leave), &["over", "too"]);
        assert_eq!(world.without("over", &beside, 1000), [""; 0], "no time yet");
        world.observed.expire(at(120));
        assert_eq!(world.observed.leftovers("over").count(), 1);
        assert_eq!(world.without("over", &beside, 239), [""; 0]);
        assert_eq!(world.without("over", &beside, 240), all);
        assert_eq!(world.leaves("k"), may_leave.then_some(TOGETHER));
        assert_eq!(world.leaves("over").or(world.leaves("too")), None);
    }
    let mut world = with_over(World::new(false), &["over"]);
    world.observed.expire(at(120));
    assert_eq!(world.without("over", &["pod-k"], 1000), [""; 0]);
}

#[test]
fn who_leaves_goes_with_what_runs_on_if_that_is_to_end() {
    let mut world = with_over(World::new(true), &["over"]);
    world.drain("a");
    assert_eq!(world.together(&["pod-over"], 1000), [""; 0], "no time yet");
    world.observed.expire(at(120));
    assert_eq!(world.together(&["pod-over"], 1000), ["j", "over"]);

    let mut world = with_over(World::new(true), &["over"]);
    world.drain("a");
    world.observed.expire(at(120));
    world.observed.apply(Change::Deleted(recorded("over")));
    assert_eq!(world.together(&["pod-over"], 1000), [""; 0], "it stays");
}

/// It was planned anew while a node was lost on which a pod of its is; now the node is back.
#[test]
fn a_start_awaits_pods_of_the_last_one_on_a_node_that_is_back() {
    let mut observed = running();
    let node = observed.node(&"a".into()).unwrap().clone();
    let told = |is_ready| Change::Applied(Object::Node(node.clone(), is_ready));
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.is_quiet) = (true, true);
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    assert!(observed.is_outlasted("j"));
    observed.apply(told(false));
    observed.expire(at(0));
    observed.expire(at(60));
    assert!(!observed.is_outlasted("j"));
    observed.apply(told(true));
    assert!(observed.is_outlasted("j"));
    observed.apply(Change::Deleted(pod("p", "red")));
    assert!(!observed.is_outlasted("j"));
}

/// Kubernetes makes no others before those on the lost node are known to have ended: to plan it would
/// only take room from others.
#[test]
fn who_awaits_the_end_of_its_pods_awaits_it_on_a_lost_node_too() {
    let mut observed = running();
    let node = observed.node(&"a".into()).unwrap().clone();
    stop(&mut observed, true);
    assert_eq!(observed.lost_and_awaited("j"), None);
    observed.apply(Change::Applied(Object::Node(node.clone(), false)));
    observed.expire(at(0));
    observed.expire(at(60));
    assert_eq!(observed.lost_and_awaited("j"), Some(&"a".into()));
    assert!(observed.is_stopping("j") && observed.is_outlasted("j"));
    assert!(
        !observed.has_pods_left("j"),
        "whoever it left for need not wait"
    );
    let hold = |observed: &Observed| observed.wanted("j").unwrap().hold;
    assert_eq!(hold(&observed), Some(Hold::Dependency));
    observed.apply(Change::Deleted(Object::Node(node, false)));
    assert_eq!(observed.lost_and_awaited("j"), Some(&"a".into()));
    observed.apply(Change::Deleted(pod("p", "red")));
    assert_eq!(observed.lost_and_awaited("j"), None);
    assert!(!observed.is_stopping("j") && !observed.is_outlasted("j"));
    assert_eq!(hold(&observed), None);
}

#[test]
fn what_was_planned_before_it_was_known_whose_end_it_awaits_gives_its_places_back() {
    let mut observed = running();
    let job = observed.wanted("j").unwrap();
    stop(&mut observed, false);
    let gone = Object::Node(observed.node(&"a".into()).unwrap().clone(), false);
    observed.apply(Change::Deleted(gone));
    assert!(!observed.is_stopping("j"));
    let slot = prorata_core::Slot::whole("b".into(), [0].into_iter().collect());
    observed.admit(&job, 2, [slot].into_iter().collect());
    let failed = Event::DecisionFailed(job.id);
    assert!(!stop(&mut observed, false).facts.contains(&failed));
    assert!(stop(&mut observed, true).facts.contains(&failed));
}

/// Its Job has been suspended, and Kubernetes has told its pods to leave.
fn stop(observed: &mut Observed, awaits_ends: bool) -> News {
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.is_quiet, view.awaits_ends) = (true, true, awaits_ends);
    observed.apply(Change::Applied(Object::Job(Box::new(view))))
}
