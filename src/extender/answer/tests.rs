//! What the extender answers, question by question.

use super::*;
use prorata_core::{
    Decision, Event, Gpus, Hold, Job, JobId, Mode, Node, Place, Policy, Scheduler, TaskId, Tenant,
    Time,
};
use serde_json::{Value, json};

/// One node of 4 GPUs, of which the gang `red/train` of two pods is to have 1 each.
fn view(waiting: bool) -> View {
    // One task on each node, where they would otherwise go together.
    let mut core = Scheduler::new(Policy {
        place: Place::FirstFit,
        ..Policy::default()
    });
    let node = |name: &str, gpus| Node {
        allocatable: Resources::gpus(gpus),
        ..Node::new(name)
    };
    let id = JobId::new("red", "train", "job-uid");
    let job = Job {
        hold: waiting.then_some(Hold::User),
        ..Job::new(id, "red".into(), 2, Resources::gpus(1))
    };
    for fact in [
        Event::NodeSeen(node("a", 1)),
        Event::NodeSeen(node("b", 3)),
        Event::TenantChanged(Tenant::new("red")),
        Event::JobSubmitted(job),
    ] {
        core.observe(Time::ZERO, fact);
    }
    viewed(core)
}

fn ask(view: Option<&View>, namespace: &str, owner: &str, index: &str, gpus: u64) -> Value {
    let owner = json!({"kind": "Job", "uid": owner, "controller": true, "name": "train", "apiVersion": "batch/v1"});
    let args: Args = serde_json::from_value(json!({
        "Pod": {
            "metadata": {
                "name": "p", "namespace": namespace, "uid": format!("p{index}"),
                "annotations": {COMPLETION_INDEX: index}, "ownerReferences": [owner],
            },
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": gpus.to_string()}}}]},
            "status": {"phase": "Pending"},
        },
        "Nodes": null,
        "NodeNames": ["a", "b"],
    }))
    .unwrap();
    let policy = FilterPolicy {
        gpu_resource: "nvidia.com/gpu".to_owned(),
    };
    serde_json::to_value(answer(view, &Told::default(), &policy, &args)).unwrap()
}

#[test]
fn a_planned_pod_is_told_its_node_by_its_index() {
    let view = view(false);
    assert_eq!(
        ask(Some(&view), "red", "job-uid", "0", 1)["NodeNames"],
        json!(["a"])
    );
    assert_eq!(
        ask(Some(&view), "red", "job-uid", "1", 1)["NodeNames"],
        json!(["b"])
    );
}

#[test]
fn a_pod_of_a_job_that_is_not_admitted_has_to_ask_again() {
    let answer = ask(Some(&view(true)), "red", "job-uid", "0", 1);
    assert_eq!(answer["Error"], json!(NOT_ADMITTED));
    assert_eq!(answer["NodeNames"], json!([]));
    // Nor does it help to name another job, or none.
    let answer = ask(Some(&view(false)), "red", "forged", "0", 1);
    assert_eq!(answer["Error"], json!(NOT_ADMITTED));
}

#[test]
fn a_pod_of_a_part_is_told_its_place_in_the_whole() {
    let mut view = view(false);
    let answer = ask(Some(&view), "red", "part", "0", 1);
    assert_eq!(answer["Error"], json!(NOT_ADMITTED));
    let owners = [("part", "set"), ("set", "job-uid")];
    for (part, owner) in owners {
        view.owners.insert_mut(part.to_owned(), owner.to_owned());
    }
    let answer = ask(Some(&view), "red", "part", "0", 1);
    assert_eq!(answer["NodeNames"], json!(["a"]));
    // An owner of another namespace's is nobody's.
    let answer = ask(Some(&view), "blue", "part", "0", 1);
    assert_eq!(answer["NodeNames"], json!(["b"]));
}

/// A refusal would last until something else happens.
#[test]
fn a_pod_that_was_started_by_what_is_not_known_yet_asks_again() {
    let view = view(false);
    let asked = |gpus: &str, node: &str, names: &[&str]| {
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        let required =
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let owner = json!({"kind": "Job", "uid": "job-uid", "controller": true, "name": "train", "apiVersion": "batch/v1"});
        let args: Args = serde_json::from_str(
            &json!({
                "Pod": {
                    "metadata": {
                        "namespace": "red", "uid": "p", "annotations": {COMPLETION_INDEX: "0"},
                        "ownerReferences": [owner],
                    },
                    "spec": {
                        "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": gpus}}}],
                        "affinity": {"nodeAffinity": required},
                    },
                },
                "NodeNames": names,
            })
            .to_string(),
        )
        .unwrap();
        let policy = FilterPolicy {
            gpu_resource: "nvidia.com/gpu".to_owned(),
        };
        serde_json::to_value(answer(Some(&view), &Told::default(), &policy, &args)).unwrap()
    };
    let on = |node: &str, names: &[&str]| asked("1", node, names);
    assert_eq!(on("a", &["a"])["NodeNames"], json!(["a"]));
    // Its template has been edited since.
    let refused = &asked("2", "a", &["a"])["FailedAndUnresolvableNodes"];
    assert_eq!(*refused, json!({"a": NOT_AS_PLANNED}));
    assert_eq!(on("c", &["c"])["Error"], json!(NOT_ADMITTED));
    // kube-scheduler itself has something against the node, and knows when that has passed.
    let refused = on("a", &["b"]);
    assert_eq!(
        refused["FailedAndUnresolvableNodes"],
        json!({"b": NOT_PLANNED})
    );
}

#[test]
fn other_pods_get_only_what_is_not_promised() {
    let view = view(false);
    assert_eq!(
        ask(Some(&view), "other", "x", "", 2)["NodeNames"],
        json!(["b"])
    );
    let answer = ask(Some(&view), "other", "x", "", 3);
    assert_eq!(answer["FailedNodes"], json!({"a": NO_ROOM, "b": NO_ROOM}));
}

/// Two leave for a third. One is gone.
#[test]
fn other_pods_do_not_get_what_is_left_for_a_job() {
    let mut core = Scheduler::new(Policy::default());
    let node = Node {
        allocatable: Resources::gpus(2),
        ..Node::new("a")
    };
    core.observe(Time::ZERO, Event::NodeSeen(node));
    core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
    let job = |name: &str, gang, priority| Job {
        priority,
        ..Job::new(
            JobId::new("red", name, name),
            "red".into(),
            gang,
            Resources::gpus(1),
        )
    };
    for name in ["one", "two"] {
        core.observe(Time::ZERO, Event::JobSubmitted(job(name, 1, 0)));
    }
    let task = |name: &str| TaskId {
        job: JobId::new("red", name, name),
        index: 0,
    };
    assert_eq!(core.cycle(Time::ZERO).decisions.len(), 2);
    for name in ["one", "two"] {
        core.observe(Time::ZERO, Event::TaskBound(task(name), "a".into()));
    }
    core.observe(Time::ZERO, Event::JobSubmitted(job("both", 2, 1)));
    assert_eq!(core.cycle(Time::ZERO).decisions.len(), 2, "both leave");
    core.observe(Time::ZERO, Event::TaskFinished(task("one")));
    let view = View::of(core.snapshot());
    assert_eq!(view.snapshot.unused(&"a".into()), Some(Resources::gpus(1)));
    let answer = ask(Some(&view), "other", "x", "", 1);
    assert_eq!(answer["NodeNames"], json!(["b"]), "which is not known");
}

#[test]
fn other_pods_wait_while_it_is_open_whose_the_room_is() {
    let mut view = view(false);
    view.is_undecided = true;
    let answer = ask(Some(&view), "other", "x", "", 1);
    assert_eq!(answer["Error"], json!(NOT_DECIDED));
    // Those that have their places do not, nor those that ask for no GPUs.
    let answer = ask(Some(&view), "red", "job-uid", "0", 1);
    assert_eq!(answer["NodeNames"], json!(["a"]));
    let answer = ask(Some(&view), "other", "x", "", 0);
    assert_eq!(answer["NodeNames"], json!(["a", "b"]));
}

#[test]
fn before_everything_is_listed_nothing_passes() {
    let answer = ask(None, "other", "x", "", 0);
    assert_eq!(answer["Error"], json!(NOT_READY));
}

#[test]
fn whole_nodes_are_refused_with_a_remedy() {
    let args: Args = serde_json::from_value(json!({
        "Pod": {"metadata": {}, "spec": {}}, "Nodes": {"items": []}, "NodeNames": null,
    }))
    .unwrap();
    let policy = FilterPolicy {
        gpu_resource: String::new(),
    };
    let answer = answer(None, &Told::default(), &policy, &args);
    assert!(answer.error.contains("nodeCacheCapable: true"));
}

/// Of a large cluster kube-scheduler looks at a part, unless it has been told which node to try.
#[test]
fn a_pod_whose_node_may_not_have_been_looked_at_asks_again_until_it_is_told_it() {
    let (view, told) = (view(false), Told::default());
    let asked = |others: usize, nominated: &str| {
        let owner = json!({"kind": "Job", "uid": "job-uid", "controller": true, "name": "train", "apiVersion": "batch/v1"});
        let names: Vec<String> = (0..others).map(|number| format!("n{number}")).collect();
        let args = json!({
            "Pod": {
                "metadata": {
                    "namespace": "red", "uid": "p", "annotations": {COMPLETION_INDEX: "1"},
                    "ownerReferences": [owner],
                },
                "spec": {"containers": []},
                "status": {"nominatedNodeName": nominated},
            },
            "NodeNames": names,
        });
        let args: Args = serde_json::from_str(&args.to_string()).unwrap();
        let policy = FilterPolicy {
            gpu_resource: "nvidia.com/gpu".to_owned(),
        };
        let answer = answer(Some(&view), &told, &policy, &args);
        let refused = answer.failed_and_unresolvable_nodes.len();
        (
            overlooked_in(&answer.error).map(str::to_owned),
            refused,
            refusal(&answer),
        )
    };
    let overlooked = (Some("b".to_owned()), 0, Some("Overlooked"));
    assert_eq!(asked(100, ""), overlooked);
    assert_eq!(asked(100, "a"), overlooked);
    // It has looked at all there are, or at that node, and has something against it.
    let refused = |names| (None, names, Some("NotPlanned"));
    assert_eq!(asked(99, ""), refused(99));
    assert_eq!(asked(100, "b"), refused(100));
    assert_eq!(
        asked(100, ""),
        refused(100),
        "it forgets what it was told, and we do not"
    );
}

/// One node whose card is split in four, of which the gang `red/serve` of so many pods has slots.
fn shared(slots: u32) -> View {
    let mut core = Scheduler::new(Policy::default());
    let id = JobId::new("red", "serve", "job-uid");
    let task = Resources::ZERO.with(Resource::Gpu, 250);
    for fact in [
        Event::NodeSeen(split(Mode::Mps(4))),
        Event::TenantChanged(Tenant::new("red")),
        Event::JobSubmitted(Job::new(id, "red".into(), slots, task)),
    ] {
        core.observe(Time::ZERO, fact);
    }
    viewed(core)
}

fn split(mode: Mode) -> Node {
    let gpus = Gpus {
        mode,
        memory: 48 << 30,
        ..Gpus::default()
    };
    Node {
        allocatable: Resources::gpus(1),
        gpus,
        ..Node::new("a")
    }
}

fn viewed(mut core: Scheduler) -> View {
    let cycle = core.cycle(Time::ZERO);
    let mut view = View::of(core.snapshot());
    view.namespaces.insert_mut("red".to_owned(), "red".into());
    for decision in cycle.decisions {
        let Decision::Admit(id, placement) = decision else {
            panic!("{decision:?}");
        };
        let job = view.snapshot.job(&id).unwrap();
        let plan = Plan::new(job, 1, placement, true);
        view.plans.insert_mut(id.uid().to_owned(), plan);
    }
    view
}

/// What a pod with a slot is answered, whose annotations ask for these.
fn ask_for_slot(view: &View, namespace: &str, owner: &str, share: &str) -> Value {
    let owner = json!({"kind": "Job", "uid": owner, "controller": true, "name": "serve", "apiVersion": "batch/v1"});
    let limits = json!({"limits": {"nvidia.com/gpu.shared": "1"}});
    let args: Args = serde_json::from_value(json!({
        "Pod": {
            "metadata": {
                "name": "p", "namespace": namespace, "uid": "p", "ownerReferences": [owner],
                "annotations": {COMPLETION_INDEX: "0", "prorata.dev/gpu-share": share},
            },
            "spec": {"containers": [{"name": "c", "resources": limits}]},
        },
        "Nodes": null, "NodeNames": ["a"],
    }))
    .unwrap();
    let policy = FilterPolicy {
        gpu_resource: "nvidia.com/gpu".to_owned(),
    };
    serde_json::to_value(answer(Some(view), &Told::default(), &policy, &args)).unwrap()
}

#[test]
fn other_pods_get_slots_that_are_large_enough_and_not_promised() {
    let passes = |slots, share: &str| {
        let answer = ask_for_slot(&shared(slots), "other", "x", share);
        answer["NodeNames"] == json!(["a"])
    };
    assert!(passes(3, "250m"));
    assert!(!passes(4, "250m"), "all slots are promised");
    assert!(!passes(1, "251m"), "no slot is large enough");
    assert!(
        !passes(1, "garbage"),
        "nobody knows how large one would have to be"
    );
}

#[test]
fn a_place_on_a_node_that_is_not_known_yet_is_asked_for_again() {
    let mut view = shared(1);
    let mut core = Scheduler::new(Policy::default());
    for fact in view.snapshot.facts() {
        core.observe(Time::ZERO, fact);
    }
    core.observe(Time::ZERO, Event::NodeGone("a".into()));
    view.snapshot = core.snapshot();
    let answer = ask_for_slot(&view, "red", "job-uid", "250m");
    assert_eq!(answer["Error"], json!(NOT_READY));
}

#[test]
fn a_planned_slot_is_no_place_once_the_node_has_smaller_ones() {
    let mut view = shared(1);
    let answer = ask_for_slot(&view, "red", "job-uid", "250m");
    assert_eq!(answer["NodeNames"], json!(["a"]));
    let mut core = Scheduler::new(Policy::default());
    for fact in view.snapshot.facts() {
        core.observe(Time::ZERO, fact);
    }
    core.observe(Time::ZERO, Event::NodeSeen(split(Mode::Mps(8))));
    view.snapshot = core.snapshot();
    let answer = ask_for_slot(&view, "red", "job-uid", "250m");
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({"a": NOT_PLANNED})
    );
}
