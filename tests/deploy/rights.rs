//! What the controller's account may do, asked of the API server itself: all that it must, and
//! nothing of what it must not.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use prorata_controlplane::GPU;
use serde_json::json;

use crate::cluster::requests::create;
use crate::cluster::{Cluster, from};

/// Verb, group, resource and subresource.
type Right = (&'static str, &'static str, &'static str, &'static str);

const MUST: [Right; 42] = [
    // Policies say of what: tests/gpus.
    ("patch", "", "nodes", ""),
    ("patch", "prorata.dev", "gpunodes", ""),
    ("patch", "prorata.dev", "gpunodes", "status"),
    ("list", "", "nodes", ""),
    ("watch", "", "pods", ""),
    ("patch", "", "pods", ""),
    ("patch", "", "pods", "status"),
    ("create", "", "pods", "eviction"),
    // A policy says which: below.
    ("delete", "", "pods", ""),
    ("list", "", "namespaces", ""),
    ("watch", "batch", "jobs", ""),
    ("patch", "batch", "jobs", ""),
    ("patch", "batch", "jobs", "status"),
    ("watch", "jobset.x-k8s.io", "jobsets", ""),
    ("patch", "jobset.x-k8s.io", "jobsets", ""),
    ("list", "trainer.kubeflow.org", "trainjobs", ""),
    ("patch", "kubeflow.org", "pytorchjobs", ""),
    ("list", "scheduling.k8s.io", "priorityclasses", ""),
    ("watch", "prorata.dev", "tenants", ""),
    ("patch", "prorata.dev", "tenants", "status"),
    ("list", "prorata.dev", "queuedjobs", ""),
    ("create", "prorata.dev", "queuedjobs", ""),
    ("patch", "prorata.dev", "queuedjobs", ""),
    ("delete", "prorata.dev", "queuedjobs", ""),
    ("create", "events.k8s.io", "events", ""),
    ("patch", "events.k8s.io", "events", ""),
    // For Tenants with environments. A policy holds these to what carries our labels: tests/tenancy.
    ("create", "", "namespaces", ""),
    ("patch", "", "namespaces", ""),
    ("create", "prorata.dev", "tenants", ""),
    ("patch", "prorata.dev", "tenants", ""),
    ("list", "", "resourcequotas", ""),
    ("patch", "", "resourcequotas", ""),
    ("delete", "", "resourcequotas", ""),
    ("create", "", "limitranges", ""),
    ("patch", "", "limitranges", ""),
    ("delete", "", "limitranges", ""),
    ("create", "networking.k8s.io", "networkpolicies", ""),
    ("patch", "networking.k8s.io", "networkpolicies", ""),
    ("delete", "networking.k8s.io", "networkpolicies", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
    ("patch", "rbac.authorization.k8s.io", "rolebindings", ""),
    ("delete", "rbac.authorization.k8s.io", "rolebindings", ""),
];

const MUST_NOT: [Right; 43] = [
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("get", "", "configmaps", ""),
    ("create", "", "pods", ""),
    ("deletecollection", "", "pods", ""),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "attach"),
    ("get", "", "pods", "log"),
    ("create", "", "pods", "binding"),
    ("create", "", "bindings", ""),
    ("patch", "", "pods", "ephemeralcontainers"),
    ("create", "", "serviceaccounts", "token"),
    ("impersonate", "", "users", ""),
    ("impersonate", "", "serviceaccounts", ""),
    ("update", "", "nodes", ""),
    ("patch", "", "nodes", "status"),
    ("delete", "", "nodes", ""),
    ("get", "", "nodes", "proxy"),
    ("delete", "", "namespaces", ""),
    ("update", "", "namespaces", ""),
    ("create", "batch", "jobs", ""),
    ("delete", "batch", "jobs", ""),
    ("deletecollection", "batch", "jobs", ""),
    ("create", "jobset.x-k8s.io", "jobsets", ""),
    ("patch", "jobset.x-k8s.io", "jobsets", "status"),
    ("delete", "kubeflow.org", "mpijobs", ""),
    ("create", "apps", "daemonsets", ""),
    ("delete", "prorata.dev", "tenants", ""),
    ("update", "prorata.dev", "tenants", ""),
    ("manage", "prorata.dev", "queuedjobs", ""),
    ("bypass", "prorata.dev", "queuedjobs", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("bind", "rbac.authorization.k8s.io", "roles", ""),
    ("create", "rbac.authorization.k8s.io", "roles", ""),
    ("patch", "rbac.authorization.k8s.io", "roles", ""),
    ("create", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("patch", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("escalate", "rbac.authorization.k8s.io", "roles", ""),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
    (
        "create",
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "",
    ),
    (
        "patch",
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "",
    ),
    (
        "delete",
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
        "",
    ),
    (
        "patch",
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "",
    ),
];

/// In a team's namespace, in the system's, in ours, and across the cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "prorata-system", ""];

pub(crate) async fn the_controller_may_do_its_work_and_no_more(cluster: &Cluster) {
    for right in MUST {
        assert!(may(&cluster.controller, right, "").await, "must: {right:?}");
    }
    for right in MUST_NOT {
        for namespace in NAMESPACES {
            let allowed = may(&cluster.controller, right, namespace).await;
            assert!(!allowed, "must not: {right:?} in `{namespace}`");
        }
    }
    let lease = ("create", "coordination.k8s.io", "leases", "");
    assert!(may(&cluster.controller, lease, "prorata-system").await);
    assert!(!may(&cluster.controller, lease, "kube-system").await);
    assert!(
        may(&cluster.admin, MUST_NOT[0], "").await,
        "the question finds no rights at all"
    );
}

/// The right to delete pods is for those that wait in the queue by themselves, and for those of a tenant with
/// GPUs.
pub(crate) async fn the_controller_deletes_no_foreign_pod(cluster: &Cluster) {
    cluster.namespace("foreign", None).await;
    cluster.namespace("queued", Some("queued")).await;
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    let operated = json!([{
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "controller": true, "name": "net", "uid": "net",
    }]);
    for (namespace, gpus, owners, may) in [
        ("foreign", 1, json!([]), false),
        ("queued", 0, json!([]), false),
        ("queued", 1, json!([]), true),
        ("foreign", 1, operated.clone(), false),
        ("queued", 0, operated.clone(), false),
        ("queued", 1, operated, true),
    ] {
        let is_operated = owners != json!([]);
        let name = format!("asks-for-{gpus}-{is_operated}");
        let limits = match gpus {
            0 => json!({}),
            _ => json!({ GPU: "1" }),
        };
        let pod: Pod = from(json!({
            "metadata": { "name": name, "ownerReferences": owners },
            "spec": { "containers": [{ "name": "main", "image": "none", "resources": { "limits": limits } }] },
        }));
        let pods = |client: &Client| Api::<Pod>::namespaced(client.clone(), namespace);
        create(&pods(&cluster.admin), &pod).await;
        let deleted = pods(&cluster.controller).delete(&name, &dry).await;
        match deleted {
            Ok(_) => assert!(may, "{namespace}/{name} may be deleted"),
            Err(kube::Error::Api(status)) => {
                assert!(
                    !may && status.message.contains("Prorata deletes no pod but"),
                    "{status}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn may(client: &Client, (verb, group, resource, sub): Right, namespace: &str) -> bool {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: text(verb),
                group: text(group),
                resource: text(resource),
                subresource: text(sub),
                namespace: text(namespace),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}
