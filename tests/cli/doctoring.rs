//! What `doctor` finds.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::world::World;
use crate::cluster::from;
use crate::cluster::requests::create;

/// What the documentation of NVIDIA's container toolkit has for it.
const GUARD: &str = "ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED";

pub(crate) async fn a_cluster_without_us_fails(world: &World) {
    let ran = world.admin("doctor -o json").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let found = verdicts(&ran.out);
    assert_eq!(found["api-server"], "ok");
    assert_eq!(
        [
            &found["crds"],
            &found["admission-policies"],
            &found["permissions"]
        ],
        ["fail"; 3]
    );
}

/// After everything was installed; nothing is wrong with it.
pub(crate) async fn a_sound_installation_passes(world: &World) {
    // The installation was tried out in a namespace of a tenant that nobody has described.
    let probe = json!({"metadata": {"labels": {"prorata.dev/tenant": null}}});
    let namespaces: Api<Namespace> = Api::all(world.cluster.admin.clone());
    let patch = Patch::Merge(probe);
    namespaces
        .patch("prorata-probe", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let ran = world.admin("doctor -o json").await;
    let found = verdicts(ran.good());
    for check in [
        "api-server",
        "clock",
        "namespace",
        "crds",
        "admission-policies",
        "permissions",
        "scheduler-config",
        "kube-scheduler",
        "tenants",
        "namespaces",
        "nodes",
        "queue",
        "jobs",
    ] {
        assert_eq!(found[check], "ok", "{check}: {}", ran.out);
    }
    what_no_policy_can_see_is_told(world, ran.good()).await;
    let table = world.admin("doctor").await;
    assert!(table.good().starts_with("VERDICT   CHECK "), "{table:?}");
}

/// An image can name every card of a node, unless the runtime is told not to listen.
async fn what_no_policy_can_see_is_told(world: &World, without: &str) {
    let runtime = |json: &str| {
        let found: Vec<Value> = serde_json::from_str(json).unwrap();
        let of = |finding: &&Value| finding["check"] == "container-runtime";
        found.iter().find(of).unwrap().clone()
    };
    let told = runtime(without);
    let seen = told["seen"].as_str().unwrap();
    assert_eq!(told["verdict"], "warn");
    assert!(
        seen.contains("an image whose environment says NVIDIA_VISIBLE_DEVICES=all"),
        "{seen}"
    );
    let labels = json!({"app": "toolkit"});
    let env = json!([{"name": GUARD, "value": "false"}]);
    let toolkit = json!({
        "metadata": {"name": "toolkit"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "toolkit", "image": "none", "env": env}]},
            },
        },
    });
    let sets: Api<DaemonSet> = Api::default_namespaced(world.cluster.admin.clone());
    create(&sets, &from(toolkit)).await;
    let ran = world.admin("doctor -o json").await;
    let told = runtime(ran.good());
    assert_eq!(told["verdict"], "ok");
    assert_eq!(told["seen"], format!("{GUARD}=false in DaemonSet toolkit"));
}

pub(crate) async fn what_is_wrong_is_found(world: &World) {
    let admin = &world.cluster.admin;
    let (params, merge) = (PatchParams::default(), |change: Value| Patch::Merge(change));
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(admin.clone());
    policies
        .delete("prorata-pods", &DeleteParams::default())
        .await
        .unwrap();
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    roles
        .patch("prorata-controller", &params, &merge(json!({"rules": []})))
        .await
        .unwrap();
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let label =
        |tenant: &str| merge(json!({"metadata": {"labels": {"prorata.dev/tenant": tenant}}}));
    namespaces
        .patch("blue", &params, &label("ghost"))
        .await
        .unwrap();

    let ran = world.admin("doctor -o json").await;
    assert_eq!(
        (ran.code, ran.err.contains("3 checks failed")),
        (1, true),
        "{ran:?}"
    );
    let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
    let seen = |check: &str| {
        found.iter().find(|f| f["check"] == check).unwrap()["seen"]
            .as_str()
            .unwrap()
    };
    assert_eq!(
        seen("admission-policies"),
        "missing: ValidatingAdmissionPolicy prorata-pods"
    );
    assert_eq!(
        seen("permissions"),
        "other than this version installs: ClusterRole prorata-controller at rules"
    );
    assert!(
        seen("namespaces").ends_with("blue (ghost)"),
        "{}",
        seen("namespaces")
    );
    namespaces
        .patch("blue", &params, &label("blue"))
        .await
        .unwrap();

    let alice = world.alice("doctor -o json").await;
    let found = verdicts(&alice.out);
    assert_eq!(
        [&found["crds"], &found["tenants"], &found["nodes"]],
        ["unknown"; 3]
    );
}

fn verdicts(json: &str) -> BTreeMap<String, String> {
    let found: Vec<Value> = serde_json::from_str(json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found
        .iter()
        .map(|f| (text(&f["check"]), text(&f["verdict"])))
        .collect()
}
