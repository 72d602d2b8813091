//! What users of a working queue see. Two nodes of four GPUs; pods take two seconds to end.

use std::time::Instant;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use prorata::api::State;
use serde_json::json;

use super::victims;
use super::world::{NODES, TERMINATION, World, gang, is_complete, node, phase, stored, with};
use crate::cluster::requests::{patch, suspend, suspended};

const BOTH: [&str; 8] = [
    NODES[0], NODES[0], NODES[0], NODES[0], NODES[1], NODES[1], NODES[1], NODES[1],
];

/// A tenant's gang is admitted and its pods are not bound yet, because a gate of their own holds
/// them: its room stays free of others all the same.
pub(crate) async fn gpu_jobs_without_tenant_take_only_what_is_not_promised(world: &World) {
    world.namespace("free", None).await;
    world.namespace("promised", Some("red")).await;
    let gates = json!([{ "name": "example.com/not-yet" }]);
    let gated = with(
        &gang("gated", 4),
        &[("/spec/template/spec", "schedulingGates", gates)],
    );
    world.submit("promised", &gated).await;
    world
        .until("its pods are born", async || {
            world.pods_of("promised", "gated").await == 4
        })
        .await;

    let created = world.submit("free", &gang("gpu", 5)).await;
    assert_eq!(
        stored(&created),
        world.without_us[2],
        "stored as without us"
    );
    world.until_running("free", "gpu", &[NODES[1]; 4]).await;
    world
        .until("kube-scheduler has tried the fifth", async || {
            let pods = world.pods("free").await;
            let tried = |pod: &Pod| {
                let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
                conditions.is_some_and(|all| {
                    all.iter()
                        .any(|c| c.reason.as_deref() == Some("Unschedulable"))
                })
            };
            pods.iter().any(|pod| phase(pod) == "Pending" && tried(pod))
        })
        .await;
    assert!(
        world.record("free", "gpu").await.is_none(),
        "it is no job of the queue's"
    );

    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "promised");
    for pod in world.pods("promised").await {
        patch(
            &pods,
            &pod.name_any(),
            json!({ "spec": { "schedulingGates": null } }),
        )
        .await
        .unwrap();
    }
    world
        .until_running("promised", "gated", &[NODES[0]; 4])
        .await;
    assert_eq!(
        world.nodes_of("free", "gpu").await,
        [NODES[1]; 4],
        "the fifth has taken no promised room"
    );
    victims::kube_scheduler_names_none(world).await;
    world.complete("promised", "gated").await;
    world
        .until("the fifth has run", async || {
            world.kubelet.finish("free", "gpu").await.unwrap();
            is_complete(&world.job("free", "gpu").await)
        })
        .await;
}

pub(crate) async fn an_unknown_tenant_is_named(world: &World) {
    world.namespace("lost", Some("ghost")).await;
    assert!(suspended(&world.submit("lost", &gang("train", 1)).await));
    world
        .until_stands("lost", "train", State::Waiting, "UnknownTenant")
        .await;
    let message = "no Tenant has the name in its namespace's label prorata.dev/tenant".to_owned();
    let said = ("UnknownTenant".to_owned(), message.clone());
    world
        .until("an Event says so", async || {
            world.events("lost", "train").await.contains(&said)
        })
        .await;
    let condition = ["False".to_owned(), "UnknownTenant".to_owned(), message];
    world
        .until("the condition says so", async || {
            world.condition("lost", "train").await.as_ref() == Some(&condition)
        })
        .await;

    world.cluster.apply(
        "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: ghost}\nspec: {}\n",
    );
    world.until_running("lost", "train", &[NODES[0]]).await;
    world
        .until("the condition is withdrawn", async || {
            world
                .condition("lost", "train")
                .await
                .is_some_and(|c| c[0] == "True" && c[1] == "Admitted")
        })
        .await;
    world.complete("lost", "train").await;
}

pub(crate) async fn a_user_holds_a_new_job(world: &World) {
    world.namespace("held", Some("red")).await;
    let held = with(&gang("train", 1), &[("/spec", "suspend", json!(true))]);
    world.submit("held", &held).await;
    world
        .until_stands("held", "train", State::Held, "Suspended")
        .await;
    assert_eq!(world.pods_of("held", "train").await, 0);
    let queued = suspend(&world.jobs("held"), "train", false).await;
    assert!(suspended(&queued), "a release is no start");
    world.until_running("held", "train", &[NODES[0]]).await;
    world.complete("held", "train").await;
}

/// Its GPUs go to the next in the queue, and it queues again once its user lets it go.
pub(crate) async fn a_user_holds_a_running_job(world: &World) {
    world.namespace("hold", Some("red")).await;
    let jobs = world.jobs("hold");
    world.submit("hold", &gang("first", 8)).await;
    world.until_running("hold", "first", &BOTH).await;
    let epoch = epoch(world, "first").await.unwrap();
    world.submit("hold", &gang("second", 8)).await;
    world
        .until_stands("hold", "second", State::Waiting, "CapacityFull")
        .await;

    suspend(&jobs, "first", true).await;
    world.until_running("hold", "second", &BOTH).await;
    world
        .until_stands("hold", "first", State::Held, "Suspended")
        .await;
    assert_eq!(
        self::epoch(world, "first").await,
        None,
        "its admission is withdrawn"
    );

    suspend(&jobs, "first", false).await;
    world
        .until_stands("hold", "first", State::Waiting, "CapacityFull")
        .await;
    world.complete("hold", "second").await;
    world.until_running("hold", "first", &BOTH).await;
    assert!(
        self::epoch(world, "first").await.unwrap() > epoch,
        "another admission"
    );
    world.complete("hold", "first").await;
}

/// What plans cannot respect is named, and the Job starts once it is gone.
pub(crate) async fn what_cannot_be_planned_says_why(world: &World) {
    world.namespace("picky", Some("red")).await;
    let said = json!({ "prorata.dev/max-duration": "soon" });
    let picky = with(&gang("train", 1), &[("/metadata", "annotations", said)]);
    world.submit("picky", &picky).await;
    world
        .until_stands("picky", "train", State::Waiting, "InvalidRequest")
        .await;
    assert_eq!(
        message(world, "picky").await,
        "annotation prorata.dev/max-duration: `soon` is not a duration, expected one such as 90s, 15m or 1h30m"
    );

    let corrected = json!({ "metadata": { "annotations": { "prorata.dev/max-duration": "2h" } } });
    patch::<Job>(&world.jobs("picky"), "train", corrected)
        .await
        .unwrap();
    world.until_running("picky", "train", &[NODES[0]]).await;
    world.complete("picky", "train").await;
}

async fn message(world: &World, namespace: &str) -> String {
    let record = world.record(namespace, "train").await.unwrap();
    record.status.unwrap().message
}

/// The second node is of a special kind, and repels those that do not ask for it.
pub(crate) async fn a_job_goes_where_its_template_lets_it(world: &World) {
    world.namespace("special", Some("red")).await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let taint = json!({ "key": "example.com/kind", "value": "special", "effect": "NoSchedule" });
    let special = json!({
        "metadata": { "labels": { "example.com/kind": "special" } },
        "spec": { "taints": [taint] },
    });
    patch(&nodes, NODES[1], special).await.unwrap();
    let template = "/spec/template/spec";
    let kind = json!({ "example.com/kind": "special" });
    let selecting = with(&gang("train", 2), &[(template, "nodeSelector", kind)]);
    world.submit("special", &selecting).await;
    world
        .until_stands("special", "train", State::Waiting, "NoSuchNode")
        .await;
    assert!(message(world, "special").await.contains("has a taint"));

    world.submit("special", &gang("plain", 4)).await;
    world
        .until_running("special", "plain", &[NODES[0]; 4])
        .await;
    world.submit("special", &gang("more", 1)).await;
    world
        .until_stands("special", "more", State::Waiting, "CapacityFull")
        .await;

    let tolerations = json!([{ "key": "example.com/kind", "value": "special" }]);
    let change = json!({ "spec": { "template": { "spec": { "tolerations": tolerations } } } });
    patch::<Job>(&world.jobs("special"), "train", change)
        .await
        .unwrap();
    world
        .until_running("special", "train", &[NODES[1]; 2])
        .await;

    let label = |key: &str| json!({ "key": key, "operator": "Exists" });
    let terms = json!([
        { "matchExpressions": [label("example.com/none")] },
        { "matchExpressions": [label("example.com/kind")] },
    ]);
    let required = json!({ "nodeSelectorTerms": terms });
    let affinity = json!({ "requiredDuringSchedulingIgnoredDuringExecution": required });
    let changes = [
        (template, "affinity", json!({ "nodeAffinity": affinity })),
        (template, "tolerations", tolerations),
    ];
    let choosing = with(&gang("choosing", 2), &changes);
    world.submit("special", &choosing).await;
    world
        .until_running("special", "choosing", &[NODES[1]; 2])
        .await;

    world.complete("special", "plain").await;
    world.until_running("special", "more", &[NODES[0]]).await;
    for job in ["train", "choosing", "more"] {
        world.complete("special", job).await;
    }
    let plain = json!({
        "metadata": { "labels": { "example.com/kind": null } },
        "spec": { "taints": null },
    });
    patch(&nodes, NODES[1], plain).await.unwrap();
}

/// The node of the plan is tainted before the pod came to it.
pub(crate) async fn a_plan_whose_node_repels_its_pods_is_made_anew(world: &World) {
    world.namespace("repelled", Some("red")).await;
    let gates = json!([{ "name": "example.com/not-yet" }]);
    let gated = with(
        &gang("train", 1),
        &[("/spec/template/spec", "schedulingGates", gates)],
    );
    world.submit("repelled", &gated).await;
    world
        .until("its pod is born", async || {
            world.pods_of("repelled", "train").await == 1
        })
        .await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let taint = json!({ "key": "example.com/leave", "effect": "NoSchedule" });
    let tainted = json!({ "spec": { "taints": [taint] } });
    patch(&nodes, NODES[0], tainted).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "repelled");
    world
        .until("it runs elsewhere", async || {
            for pod in world.pods("repelled").await {
                let free = json!({ "spec": { "schedulingGates": null } });
                // The pod of the first plan may be gone by now.
                let _ = patch(&pods, &pod.name_any(), free).await;
            }
            world.nodes_of("repelled", "train").await == [NODES[1]]
        })
        .await;
    let welcoming = json!({ "spec": { "taints": null } });
    patch(&nodes, NODES[0], welcoming).await.unwrap();
    world.complete("repelled", "train").await;
}

pub(crate) async fn a_deleted_job_frees_its_gpus_with_its_last_pod(world: &World) {
    world.namespace("gone", Some("red")).await;
    world.submit("gone", &gang("first", 8)).await;
    world.until_running("gone", "first", &BOTH).await;
    world.submit("gone", &gang("second", 8)).await;
    world
        .until_stands("gone", "second", State::Waiting, "CapacityFull")
        .await;

    let clock = Instant::now();
    world
        .jobs("gone")
        .delete("first", &DeleteParams::background())
        .await
        .unwrap();
    world
        .until("the last pod is gone", async || {
            // Asked first: what is true of the answer was true before the pods were counted.
            let is_started = !suspended(&world.job("gone", "second").await);
            let left = world.pods_of("gone", "first").await;
            assert!(
                !is_started || left == 0,
                "second starts while {left} pods of first are there"
            );
            left == 0
        })
        .await;
    assert!(clock.elapsed() >= TERMINATION);
    world.until_running("gone", "second", &BOTH).await;
    world.complete("gone", "second").await;
}

async fn epoch(world: &World, job: &str) -> Option<i64> {
    Some(world.record("hold", job).await?.spec.admission?.epoch)
}

/// A node of the plan stops taking pods before a pod of the gang came to it: the gang is planned
/// anew, and its user is told why.
pub(crate) async fn a_plan_whose_node_is_gone_is_made_anew(world: &World) {
    world.namespace("moved", Some("red")).await;
    let gates = json!([{ "name": "example.com/not-yet" }]);
    let gated = with(
        &gang("train", 3),
        &[("/spec/template/spec", "schedulingGates", gates)],
    );
    world.submit("moved", &gated).await;
    world
        .until("its pods are born", async || {
            world.pods_of("moved", "train").await == 3
        })
        .await;
    let nodes: Api<Node> = Api::all(world.cluster.admin.clone());
    let cordon = |yes: bool| json!({ "spec": { "unschedulable": yes } });
    patch(&nodes, NODES[0], cordon(true)).await.unwrap();
    world
        .until("it has another plan", async || {
            let record = world.record("moved", "train").await;
            let admission = record.and_then(|record| record.spec.admission);
            admission.is_some_and(|a| a.placement.iter().all(|place| place.node == NODES[1]))
        })
        .await;
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "moved");
    world
        .until("its pods run there", async || {
            for pod in world.pods("moved").await {
                let free = json!({ "spec": { "schedulingGates": null } });
                // A pod of the first plan may be gone by now.
                let _ = patch(&pods, &pod.name_any(), free).await;
            }
            world.nodes_of("moved", "train").await == [NODES[1]; 3]
        })
        .await;
    let said = world.events("moved", "train").await;
    assert!(
        said.iter().any(|(reason, _)| reason == "Requeued"),
        "{said:?}"
    );
    patch(&nodes, NODES[0], cordon(false)).await.unwrap();
    world.until_running("moved", "train", &[NODES[1]; 3]).await;
    world.complete("moved", "train").await;
}

/// Somebody else's policy refuses what starts a Job: it holds no GPUs meanwhile, says why it
/// waits, and starts once it may.
pub(crate) async fn a_job_that_may_not_start_holds_nothing(world: &World) {
    world.namespace("refused", Some("red")).await;
    world.cluster.apply(REFUSAL);
    world
        .until("the refusal is in force", async || {
            let probe = with(&gang("probe", 1), &[("/spec", "suspend", json!(true))]);
            let jobs: Api<Job> = Api::namespaced(world.cluster.admin.clone(), "refused");
            let dry_run = kube::api::PostParams {
                dry_run: true,
                ..Default::default()
            };
            let mut probe = crate::cluster::requests::json(&probe);
            probe["metadata"]["annotations"] = json!({ "example.com/probe": "" });
            jobs.create(&dry_run, &crate::cluster::from(probe))
                .await
                .is_err()
        })
        .await;
    world.submit("refused", &gang("train", 8)).await;
    world
        .until_stands("refused", "train", State::Waiting, "InvalidRequest")
        .await;
    let record = world.record("refused", "train").await.unwrap();
    let message = record.status.unwrap().message;
    assert!(message.contains("not on a Sunday"), "{message}");
    assert_eq!(
        record.spec.admission, None,
        "its places are free for others"
    );

    world.submit("promised", &gang("meanwhile", 8)).await;
    world.until_running("promised", "meanwhile", &BOTH).await;
    world.complete("promised", "meanwhile").await;
    let policies: Api<ValidatingAdmissionPolicyBinding> = Api::all(world.cluster.admin.clone());
    policies
        .delete("sunday", &DeleteParams::default())
        .await
        .unwrap();
    world.until_running("refused", "train", &BOTH).await;
    world.complete("refused", "train").await;
}

const REFUSAL: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: sunday}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [batch], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [jobs]}
  validations:
  - expression: \"object.metadata.namespace != 'refused' || (object.spec.suspend && !('example.com/probe' in object.metadata.?annotations.orValue({})))\"
    message: not on a Sunday
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: sunday}
spec: {policyName: sunday, validationActions: [Deny]}
";

/// An administrator may start things past the queue. They run, and take only what is not promised.
pub(crate) async fn who_may_break_the_glass_gets_what_is_free(world: &World) {
    world.namespace("urgent", Some("red")).await;
    world.submit("urgent", &gang("queued", 4)).await;
    world
        .until_running("urgent", "queued", &[NODES[0]; 4])
        .await;
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), "urgent");
    let bare = crate::cluster::pod("bare", 2);
    pods.create(&kube::api::PostParams::default(), &bare)
        .await
        .unwrap();
    let gate = json!({ "name": "prorata.dev/queue", "$patch": "delete" });
    let gate = json!({ "spec": { "schedulingGates": [gate] } });
    pods.patch("bare", &PatchParams::default(), &Patch::Strategic(gate))
        .await
        .unwrap();
    world
        .until("it runs beside the queue", async || {
            node(&world.pod("urgent", "bare").await) == Some(NODES[1])
        })
        .await;
    let now = DeleteParams::default().grace_period(0);
    pods.delete("bare", &now).await.unwrap();
    world.complete("urgent", "queued").await;
}
