//! Each role of a tenant and what it tries, in a namespace of its own and in another tenant's.

mod attempts;

use http::{Method, Request};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use prorata::api::labels::CREATED_BY;
use serde_json::{Value, json};

use crate::cluster::requests::{annotations, eventually, message, patch};
use crate::tenancy::world::{World, job, tenant};
use attempts::Attempt;

/// Who tries: an admin, a user and a viewer of the Tenant `vision`.
const ROLES: [(&str, char); 3] = [
    ("vision-admin", 'a'),
    ("vision-user", 'u'),
    ("vision-viewer", 'v'),
];

pub(crate) async fn each_role_may_do_what_the_table_says(world: &World) {
    let one = json!({ "environments": [{ "name": "dev", "percent": 100 }] });
    world.cluster.apply(&tenant("blue", 2, &one).to_string());
    world.until_provisioned("blue").await;
    people_at_work(world).await;
    open_claim(world).await;
    service_accounts_change_only_their_own(world).await;
    let attempts = attempts::all();
    let mut wrong = Vec::new();
    for (user, role) in ROLES {
        let client = world.client(user).await;
        for attempt in &attempts {
            for (namespace, is_own) in [("ml-vision-dev", true), ("ml-blue-dev", false)] {
                let expected = is_own && attempt.allowed.contains(role);
                let refusal = try_it(&client, attempt, namespace).await;
                if refusal.is_none() != expected {
                    wrong.push(format!(
                        "{user}: {} in {namespace}: {refusal:?}",
                        attempt.what
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        attempts.len() * 6,
        wrong.join("\n")
    );
    println!(
        "isolation: {} attempts as the table says",
        attempts.len() * 6
    );
}

/// Jobs of two users.
async fn people_at_work(world: &World) {
    for (user, names) in [
        ("vision-user", ["mine", "mine-cpu"]),
        ("vision-other", ["others", "others-cpu"]),
    ] {
        let jobs: Api<k8s_openapi::api::batch::v1::Job> =
            Api::namespaced(world.client(user).await, "ml-vision-dev");
        for (name, gpus) in names.into_iter().zip([1, 0]) {
            eventually("a user submits", || async {
                let created = jobs
                    .create(&PostParams::default(), &forged(name, gpus))
                    .await;
                created.is_ok() || jobs.get_opt(name).await.is_ok_and(|job| job.is_some())
            })
            .await;
            let stored = jobs.get(name).await.unwrap();
            assert!(annotations(&stored).contains(&(CREATED_BY, user)));
        }
    }
}

/// With all rights to Jobs there: one of the tenant's own namespace, and one of another's.
async fn service_accounts_change_only_their_own(world: &World) {
    let kind = |kind: &str, name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": name, "namespace": "ml-vision-dev" },
        })
    };
    let mut role = kind("Role", "jobs");
    role["rules"] = json!([{ "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"] }]);
    world.cluster.apply(&role.to_string());
    for (number, namespace) in ["ml-vision-dev", "ml-blue-dev"].into_iter().enumerate() {
        let user = format!("system:serviceaccount:{namespace}:robot");
        let mut binding = kind("RoleBinding", &format!("robot-{number}"));
        binding["roleRef"] = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jobs",
        });
        binding["subjects"] =
            json!([{ "kind": "ServiceAccount", "namespace": namespace, "name": "robot" }]);
        world.cluster.apply(&binding.to_string());
        let jobs: Api<k8s_openapi::api::batch::v1::Job> =
            Api::namespaced(world.client(&user).await, "ml-vision-dev");
        let own = format!("robots-{number}");
        eventually("its rights are in force", || async {
            jobs.get_opt(&own).await.is_ok()
        })
        .await;
        jobs.create(&PostParams::default(), &job(&own, 0))
            .await
            .unwrap();
        let mark = json!({ "metadata": { "labels": { "by": "robot" } } });
        patch(&jobs, &own, mark.clone()).await.unwrap();
        for others in ["mine", "mine-cpu"] {
            let changed = patch(&jobs, others, mark.clone()).await.unwrap_err();
            let deleted = jobs.delete(others, &DeleteParams::default()).await;
            for error in [changed, deleted.unwrap_err()] {
                let said = message(&error);
                let is_refused = said.contains("this Job is somebody else's");
                assert!(is_refused, "{user}: {said}");
            }
        }
        jobs.delete(&own, &DeleteParams::background())
            .await
            .unwrap();
    }
}

/// A claim that no volume is bound to.
async fn open_claim(world: &World) {
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(world.cluster.admin.clone(), "ml-vision-dev");
    let claim = json!({
        "metadata": { "name": "open" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    let claim = serde_json::from_value(claim).unwrap();
    claims.create(&PostParams::default(), &claim).await.unwrap();
}

/// A Job that says that somebody else created it.
fn forged(name: &str, gpus: u32) -> k8s_openapi::api::batch::v1::Job {
    let mut job = job(name, gpus);
    let note = (CREATED_BY.to_owned(), "somebody".to_owned());
    job.metadata.annotations = Some([note].into());
    job
}

/// What an attempt is refused with, if it is. Nothing is stored.
async fn try_it(client: &Client, attempt: &Attempt, namespace: &str) -> Option<String> {
    let path = attempt.path.replace("NS", namespace);
    let and = if path.contains('?') { '&' } else { '?' };
    let path = match attempt.method {
        Method::GET => path,
        _ => format!("{path}{and}dryRun=All"),
    };
    let kind = match attempt.method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = match &attempt.body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder().method(&attempt.method).uri(path);
    let request = request.header("content-type", kind).body(body).unwrap();
    match client.request_text(request).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Some(status.message.clone()),
        // Whoever gets as far as to hear that it is not there, or makes no sense, may do it.
        Err(error @ kube::Error::Api(_)) if attempt.allowed.is_empty() => {
            panic!("{} is not refused: {}", attempt.what, message(&error))
        }
        _ => None,
    }
}
