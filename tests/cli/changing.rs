//! What changes the queue: submitting, waiting, holding, another priority, cancelling, draining.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::world::{World, run};
use crate::cluster::from;
use crate::cluster::requests::suspended;

/// Two pods of two GPUs.
const TRAIN: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  parallelism: 2
  completions: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: none, resources: {limits: {nvidia.com/gpu: 2}}}]
";

/// What a changing command says of a Job to programs.
fn done(namespace: &str, name: &str, outcome: &str, words: &str) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "namespace": namespace,
        "name": name,
        "outcome": outcome,
        "message": format!("{namespace}/{name} {words}"),
    })
}

pub(crate) async fn a_file_is_submitted_whole_or_not_at_all(world: &World) {
    let train = |name: &str| TRAIN.replace("NAME", name);
    let pinned = train("pinned").replace("restartPolicy", "nodeName: node-0001, restartPolicy");
    let pinned = pinned.replace(
        "spec:\n      nodeName: node-0001, ",
        "spec:\n      nodeName: node-0001\n      ",
    );
    let both = world.file("both.yaml", &format!("{}---\n{pinned}", train("one")));
    let ran = world
        .alice(&format!("submit {} -n red", both.display()))
        .await;
    ran.failed(2, "both.yaml:12: ");
    assert!(
        ran.err.contains("remove nodeName") && ran.err.contains("nothing has been created"),
        "{ran:?}"
    );
    assert!(world.listed("red", "one").await.is_none());

    let file = world.file("train.yaml", &train("one"));
    let dry = world
        .alice(&format!("submit {} -n red --dry-run", file.display()))
        .await;
    assert_eq!(
        dry.good(),
        "job.batch/one of namespace red is queued (dry run)\n"
    );
    assert!(world.jobs("red").get_opt("one").await.unwrap().is_none());
    let ran = world
        .alice(&format!(
            "submit {} -n red --wait=running --timeout 60s",
            file.display()
        ))
        .await;
    assert_eq!(
        ran.good(),
        "job.batch/one of namespace red is queued\nred/one runs\n"
    );
    let ran = world
        .alice(&format!("submit {} -n red", file.display()))
        .await;
    ran.failed(1, "already exists");

    let kubeconfig = world
        .kubeconfig(prorata_controlplane::User::Alice)
        .display()
        .to_string();
    let line = format!("submit - -n blue -o name --kubeconfig {kubeconfig}");
    let ran = run(
        &format!("{line} --wait --timeout 60s"),
        &train("piped").replace("{name: piped}", "{generateName: piped-}"),
    )
    .await;
    let name = ran.good().trim_end().strip_prefix("job.batch/").unwrap();
    assert!(
        name.starts_with("piped-") && !name.contains('\n'),
        "{ran:?}"
    );
    assert!(
        ran.err.ends_with(&format!("blue/{name} is admitted\n")),
        "{ran:?}"
    );
    run(&line, "kind: Job\n")
        .await
        .failed(2, "standard input:1:1: apiVersion: is missing");
    run(&line, "{apiVersion: v1, kind: Jobb, metadata: {name: a}}")
        .await
        .failed(2, "this cluster knows no v1 Jobb");
    run(&line, "").await.failed(2, "is empty");
    world.clear("blue").await;
}

/// `one` runs in red.
pub(crate) async fn a_job_is_waited_for(world: &World) {
    let ran = world.alice("wait one -n red --for admitted").await;
    assert_eq!(ran.good(), "red/one is admitted\n");
    let ran = world
        .alice("wait one -n red --for finished --timeout 1s")
        .await;
    ran.failed(1, "red/one has not come so far in time: it is admitted");
    world
        .alice("wait nobody -n red")
        .await
        .failed(1, "there is no job nobody in namespace red");

    let finish = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.kubelet.finish("red", "one").await.unwrap();
    };
    let (ran, ()) = tokio::join!(
        world.alice("wait one -n red --for finished --timeout 60s"),
        finish
    );
    assert_eq!(ran.good(), "red/one is complete\n");
    let ran = world.alice("wait one -n red --for finished -o json").await;
    let complete = done("red", "one", "Complete", "is complete");
    assert_eq!(ran.json(), json!([complete]));
    world.until("red", "one", "Finished").await;
    let late = TRAIN.replace("NAME", "late");
    let late = late.replace("spec:\n  par", "spec:\n  activeDeadlineSeconds: 1\n  par");
    let file = world.file("late.yaml", &late).display().to_string();
    world.alice(&format!("submit {file} -n red")).await.good();
    let ran = world.alice("wait late -n red --for finished -o json").await;
    let why = "error: red/late has failed: DeadlineExceeded: ";
    assert!(ran.code == 1 && ran.err.contains(why), "{ran:?}");
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told[0]["outcome"], "Failed", "{ran:?}");
    world.clear("red").await;
}

/// Leaves `first` running on all GPUs, and `second` waiting.
pub(crate) async fn a_job_is_held_and_resumed(world: &World) {
    world.submit("red", "first", 2, 4).await;
    world.until("red", "first", "Admitted").await;
    world.submit("red", "second", 1, 4).await;
    world.until("red", "second", "CapacityFull").await;

    let ran = world.alice("hold second -n red").await;
    assert_eq!(ran.good(), "red/second is on hold\n");
    world.until("red", "second", "Suspended").await;
    let ran = world.alice("hold first -n red").await;
    ran.failed(
        1,
        "red/first has started: to hold it ends its pods\n  help: add --stop",
    );
    // What was done before one fails is told as it would be without that.
    let ran = world.alice("hold second first -n red -o json").await;
    let printed: Value = serde_json::from_str(&ran.out).unwrap();
    let held = done("red", "second", "Unchanged", "is on hold");
    assert_eq!((ran.code, printed), (1, json!([held])), "{ran:?}");
    assert!(ran.err.contains("error: red/first has started"), "{ran:?}");
    let ran = world.alice("hold first -n red --stop").await;
    assert_eq!(ran.good(), "red/first is on hold; its pods are ending\n");
    world.until("red", "first", "Suspended").await;
    let explained = world.admin("explain first -n red").await;
    assert!(
        explained
            .good()
            .contains("release it: `prorata resume first -n red`"),
        "{explained:?}"
    );

    let ran = world.alice("resume first -n red").await;
    assert_eq!(ran.good(), "red/first waits for its turn\n");
    world.until("red", "first", "Admitted").await;
    assert_eq!(
        world.alice("resume first second -n red").await.good(),
        "red/first is not on hold\nred/second waits for its turn\n"
    );
    world.until("red", "second", "CapacityFull").await;
}

/// After [`a_job_is_held_and_resumed`]; leaves nothing in red.
pub(crate) async fn a_job_gets_another_place_in_the_queue(world: &World) {
    let class: PriorityClass = from(json!({"metadata": {"name": "high"}, "value": 1000}));
    let api: Api<PriorityClass> = Api::all(world.cluster.admin.clone());
    api.create(&PostParams::default(), &class).await.unwrap();
    world.submit("red", "third", 1, 4).await;
    world.until("red", "third", "CapacityFull").await;

    // What Kubernetes does not let anybody do, so the queue has a way of its own.
    let template = json!({"spec": {"template": {"spec": {"priorityClassName": "high"}}}});
    let params = PatchParams::default();
    let refused = world
        .jobs("red")
        .patch("third", &params, &Patch::Merge(template))
        .await;
    assert!(refused.unwrap_err().to_string().contains("immutable"));

    world
        .admin("reprioritise third -n red --class hihg")
        .await
        .failed(2, "did you mean `high`?");
    let ran = world.alice("reprioritise third -n red --class high").await;
    assert_eq!(
        ran.good(),
        "red/third stands in the queue by PriorityClass high from now on\n"
    );
    assert!(
        ran.err
            .contains("without a check of its name: you may not list priorityclasses"),
        "{ran:?}"
    );
    world
        .until_field("red", "third", "priority", &json!(1000))
        .await;
    let order = world.alice("list -n red -o name").await;
    assert_eq!(
        order.good(),
        "job.batch/first\njob.batch/third\njob.batch/second\n"
    );
    let ran = world.admin("reprioritise third -n red --own -o name").await;
    assert_eq!(ran.good(), "job.batch/third\n");
    world
        .until_field("red", "third", "priority", &json!(0))
        .await;

    // Those that wait first: what the first job leaves would be theirs at once.
    let ran = world.alice("cancel third job/second first -n red").await;
    assert_eq!(
        ran.good(),
        "red/third is cancelled\nred/second is cancelled\nred/first is cancelled; its pods are ending\n"
    );
    world
        .alice("cancel nobody -n red")
        .await
        .failed(1, "there is no job nobody");
    what_was_done_before_one_fails_is_told(world).await;
    world.clear("red").await;
}

/// Leaves one more job in red, cancelled.
async fn what_was_done_before_one_fails_is_told(world: &World) {
    world.submit("red", "fourth", 1, 4).await;
    let ran = world.alice("cancel fourth nobody -n red -o yaml").await;
    let printed: Value = serde_saphyr::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &printed[0]["name"], &printed[0]["outcome"]),
        (1, &json!("fourth"), &json!("Cancelled")),
        "{ran:?}"
    );
    assert_eq!(printed.as_array().unwrap().len(), 1, "{ran:?}");
    let ran = world.alice("cancel nobody fourth -n red -o json").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, "[]\n"), "{ran:?}");
}

pub(crate) async fn a_node_is_drained(world: &World) {
    world.submit("red", "wide", 2, 2).await;
    world.submit("blue", "small", 1, 4).await;
    world.until("red", "wide", "Admitted").await;
    world.until("blue", "small", "Admitted").await;
    let wide = world.listed("red", "wide").await.unwrap();
    let (node, pods) = wide["nodes"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(
        (pods, wide["nodes"].as_object().unwrap().len()),
        (&json!(2), 1),
        "{wide}"
    );

    world
        .alice(&format!("drain {node}"))
        .await
        .failed(1, &format!("you may not cordon node {node}"));
    let dry = world.admin(&format!("drain {node} --dry-run")).await;
    assert_eq!(dry.good(), "red/wide would queue again\n");
    let ran = world.admin(&format!("drain {node} --timeout 60s")).await;
    assert_eq!(
        ran.good(),
        format!(
            "node {node} takes no new work\nred/wide queues again\nnode {node} is free of queued jobs\n"
        )
    );
    a_drained_node_stays_so(world, node).await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let cordoned = nodes.get(node).await.unwrap().spec.unwrap().unschedulable;
    assert_eq!(cordoned, Some(true));
    world.until("red", "wide", "CapacityFull").await;
    assert!(suspended(&world.jobs("red").get("wide").await.unwrap()));
    assert_eq!(
        world.listed("blue", "small").await.unwrap()["state"],
        "Admitted"
    );

    let back = Patch::Merge(json!({"spec": {"unschedulable": false}}));
    nodes
        .patch(node, &PatchParams::default(), &back)
        .await
        .unwrap();
    world.until("red", "wide", "Admitted").await;
    world
        .admin("drain nowhere")
        .await
        .failed(1, "cannot cordon node nowhere: there is none of this name");
}

/// To drain it again does nothing more, and is told in the forms for programs.
async fn a_drained_node_stays_so(world: &World, node: &str) {
    let ran = world.admin(&format!("drain {node} -o name")).await;
    assert_eq!(ran.good(), format!("node/{node}\n"));
    let again = world.admin(&format!("drain {node} -o json")).await.json();
    let outcomes: Vec<&Value> = again
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["outcome"])
        .collect();
    assert_eq!(outcomes, ["Cordoned", "Drained"], "{again}");
}
