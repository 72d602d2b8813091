//! A tenant with nodes of its own shares none of them, and runs on no others: seen by a watch over
//! all pods, while jobs leave for others and nodes are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::watcher;
use prorata::api::{QueuedJob, State, Tenant};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::from;
use crate::cluster::requests::{create, eventually, message, patch};
use crate::tenancy::world::{World, job, tenant};

/// Short, so that the test need not wait for what nobody waits for.
pub(crate) const PATIENCE: &str = "nodeLostAfter: 1s\n";

const POOL: [&str; 2] = ["node-0001", "node-0002"];
const OTHERS: [&str; 2] = ["node-0003", "node-0004"];
const LABEL: &str = "prorata.dev/node-pool";

pub(crate) async fn whoever_has_a_pool_shares_no_node(world: &World) {
    for node in POOL {
        let taint = json!({ "key": LABEL, "value": "hipaa", "effect": "NoSchedule" });
        let apart =
            json!({ "metadata": { "labels": { LABEL: "hipaa" } }, "spec": { "taints": [taint] } });
        patch(&nodes(world), node, apart).await.unwrap();
    }
    let clinic = json!({ "compliance": { "class": "hipaa", "nodePool": "hipaa" } });
    let lab = json!({ "environments": [{ "name": "dev", "percent": 100 }] });
    for (name, rest) in [("clinic", &clinic), ("lab", &lab)] {
        world.cluster.apply(&tenant(name, 16, rest).to_string());
        world.until_provisioned(name).await;
    }
    let watch = Watch::over(world);
    everybody_works(world).await;
    those_of_the_pool_leave_for_each_other(world).await;
    nodes_are_lost(world).await;
    attempts(world).await;
    watch.end();
}

/// Who was where at the same time, as a watch over all pods has it.
struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// The node and the namespace of each pod that has a node and has not ended.
    pods: BTreeMap<String, (String, String)>,
    /// How many moments there were.
    moments: usize,
    /// Namespaces that had pods in the pool, and elsewhere.
    inside: BTreeSet<String>,
    outside: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Watch {
    fn over(world: &World) -> Self {
        let pods: Api<Pod> = Api::all(world.cluster.admin.clone());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let here = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = watcher(pods, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                here.lock().unwrap().take(event.unwrap());
            }
        });
        Self { seen, task }
    }

    fn end(self) {
        assert!(!self.task.is_finished(), "the watch has broken off");
        self.task.abort();
        let seen = self.seen.lock().unwrap();
        println!(
            "pools: {} moments, in the pool {:?}, elsewhere {:?}",
            seen.moments, seen.inside, seen.outside
        );
        assert!(seen.moments > 40, "{}", seen.moments);
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(seen.inside, all(&["ml-clinic-dev", "ml-clinic-prod"]));
        assert_eq!(seen.outside, all(&["ml-lab-dev"]));
        assert_eq!(seen.wrong, [""; 0]);
    }
}

impl Seen {
    fn take(&mut self, event: watcher::Event<Pod>) {
        let (pod, is_gone) = match event {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => (pod, false),
            watcher::Event::Delete(pod) => (pod, true),
            watcher::Event::Init | watcher::Event::InitDone => return,
        };
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        let is_over = matches!(phase.as_deref(), Some("Succeeded" | "Failed"));
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let uid = pod.uid().unwrap();
        match node.filter(|_| !is_gone && !is_over) {
            Some(node) => drop(self.pods.insert(uid, (node, pod.namespace().unwrap()))),
            None => drop(self.pods.remove(&uid)),
        }
        self.moments += 1;
        for (node, namespace) in self.pods.values() {
            let is_inside = POOL.contains(&node.as_str());
            if is_inside != namespace.starts_with("ml-clinic-") {
                self.wrong.push(format!("{namespace} on {node}"));
            }
            let side = if is_inside {
                &mut self.inside
            } else {
                &mut self.outside
            };
            side.insert(namespace.clone());
        }
    }
}

fn nodes(world: &World) -> Api<Node> {
    Api::all(world.cluster.admin.clone())
}

fn jobs(world: &World, namespace: &str) -> Api<Job> {
    Api::namespaced(world.cluster.admin.clone(), namespace)
}

async fn submit(world: &World, namespace: &str, name: &str, gpus: u32) {
    create(&jobs(world, namespace), &job(name, gpus)).await;
}

/// The nodes on which pods of a Job run.
async fn places(world: &World, namespace: &str, job: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let of_job = ListParams::default().labels(&format!("job-name={job}"));
    let runs = |pod: &Pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    };
    let pods = pods
        .list(&of_job)
        .await
        .unwrap()
        .items
        .into_iter()
        .filter(runs);
    pods.filter_map(|pod| pod.spec?.node_name).collect()
}

async fn until_it_runs(world: &World, namespace: &str, job: &str, on: &[&str]) {
    eventually(&format!("{namespace}/{job} runs on {on:?}"), || async {
        let places = places(world, namespace, job).await;
        matches!(&*places, [node] if on.contains(&node.as_str()))
    })
    .await;
}

/// How many of a tenant's jobs with GPUs are admitted.
async fn admitted(world: &World, namespace: &str) -> usize {
    let faces: Api<QueuedJob> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let faces = faces.list(&ListParams::default()).await.unwrap().items;
    let state = |face: &QueuedJob| face.status.as_ref().and_then(|status| status.state);
    faces
        .iter()
        .filter(|face| state(face) == Some(State::Admitted))
        .count()
}

/// Why a job waits.
async fn reason(world: &World, namespace: &str, job: &str) -> Option<String> {
    let faces: Api<QueuedJob> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let faces = faces.list(&ListParams::default()).await.unwrap().items;
    let face = faces.into_iter().find(|face| face.spec.job.name == job)?;
    Some(face.status?.reason)
}

/// More than there are GPUs for, and work without any.
async fn everybody_works(world: &World) {
    for number in 1..=4 {
        submit(world, "ml-lab-dev", &format!("train-{number}"), 8).await;
        submit(world, "ml-lab-dev", &format!("plain-{number}"), 0).await;
        submit(world, "ml-clinic-dev", &format!("plain-{number}"), 0).await;
    }
    for number in 1..=3 {
        submit(world, "ml-clinic-dev", &format!("train-{number}"), 8).await;
    }
    eventually("each tenant has its nodes", || async {
        (
            admitted(world, "ml-lab-dev").await,
            admitted(world, "ml-clinic-dev").await,
        ) == (2, 2)
    })
    .await;
    for number in 1..=4 {
        let name = format!("plain-{number}");
        until_it_runs(world, "ml-lab-dev", &name, &OTHERS).await;
        until_it_runs(world, "ml-clinic-dev", &name, &POOL).await;
    }
    // Three nodes' worth of GPUs are there, but not for it.
    let mut wide = job("wide", 8);
    let spec = wide.spec.as_mut().unwrap();
    (spec.parallelism, spec.completions) = (Some(3), Some(3));
    create(&jobs(world, "ml-lab-dev"), &wide).await;
    eventually("it is told why it waits", || async {
        reason(world, "ml-lab-dev", "wide").await.as_deref() == Some("NodesDedicated")
    })
    .await;
}

/// What prod is guaranteed, dev gives back.
async fn those_of_the_pool_leave_for_each_other(world: &World) {
    submit(world, "ml-clinic-prod", "serve", 8).await;
    until_it_runs(world, "ml-clinic-prod", "serve", &POOL).await;
    eventually("one has left", || async {
        admitted(world, "ml-clinic-dev").await == 1
    })
    .await;
    assert_eq!(
        admitted(world, "ml-lab-dev").await,
        2,
        "nobody left elsewhere"
    );
}

/// A node of the pool, and then one of the others: whoever was there waits for its own.
async fn nodes_are_lost(world: &World) {
    let on = places(world, "ml-clinic-prod", "serve").await;
    let [node] = &*on else {
        panic!("{on:?}");
    };
    world.cluster.set_ready(node, "Unknown").await;
    let other = POOL.into_iter().find(|other| other != node).unwrap();
    // It has the other node of the pool from those that borrow it.
    until_it_runs(world, "ml-clinic-prod", "serve", &[other]).await;
    eventually("nobody borrows", || async {
        admitted(world, "ml-clinic-dev").await == 0
    })
    .await;
    world.cluster.set_ready(node, "True").await;
    eventually("somebody borrows again", || async {
        admitted(world, "ml-clinic-dev").await == 1
    })
    .await;
    world.cluster.set_ready(OTHERS[0], "Unknown").await;
    eventually("one waits", || async {
        admitted(world, "ml-lab-dev").await == 1
    })
    .await;
    // Room in the pool is none for it.
    for name in ["train-1", "train-2", "train-3"] {
        let params = kube::api::DeleteParams::background();
        jobs(world, "ml-clinic-dev")
            .delete(name, &params)
            .await
            .unwrap();
    }
    eventually("there is room in the pool", || async {
        admitted(world, "ml-clinic-dev").await == 0
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(admitted(world, "ml-lab-dev").await, 1);
    world.cluster.set_ready(OTHERS[0], "True").await;
    eventually("it runs again", || async {
        admitted(world, "ml-lab-dev").await == 2
    })
    .await;
}

fn pod(name: &str, more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": name },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "none" }] },
    });
    for (key, value) in more.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    from(pod)
}

/// What tenants' admins try to get to a pool, or out of their own.
async fn attempts(world: &World) {
    let affinity = |operator: &str, values: Value| {
        let mut expression = json!({ "key": LABEL, "operator": operator });
        if !values.is_null() {
            expression["values"] = values;
        }
        let terms = json!([{ "matchExpressions": [expression] }]);
        let required = json!({ "nodeSelectorTerms": terms });
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } } })
    };
    let wildcard = json!({ "tolerations": [{ "operator": "Exists" }] });
    let to_the_pool = [
        wildcard.clone(),
        json!({ "tolerations": [{ "operator": "Exists", "effect": "NoSchedule" }] }),
        json!({ "tolerations": [{ "key": LABEL, "operator": "Exists" }] }),
        json!({ "tolerations": [{ "key": LABEL, "value": "hipaa" }] }),
        json!({ "nodeSelector": { LABEL: "hipaa" } }),
        affinity("In", json!(["x", "hipaa"])),
        affinity("Exists", Value::Null),
        json!({ "nodeName": POOL[0] }),
        json!({ "nodeName": OTHERS[0] }),
    ];
    let lab = world.client("lab-admin").await;
    let apart = "the nodes of a pool are for one tenant alone";
    for spec in &to_the_pool {
        refused(&lab, "ml-lab-dev", spec, apart).await;
    }
    let out_of_the_pool = [
        json!({ "nodeSelector": { LABEL: "other" } }),
        json!({ "nodeSelector": { LABEL: "" } }),
        json!({ "nodeName": OTHERS[0] }),
        json!({ "nodeName": POOL[0] }),
    ];
    let clinic = world.client("clinic-admin").await;
    let alone = "runs on the nodes of its pool alone";
    for spec in &out_of_the_pool {
        refused(&clinic, "ml-clinic-dev", spec, alone).await;
    }
    // What is harmless is let through: other keys, other pools, and all but this pool.
    let fine = [
        json!({ "tolerations": [{ "key": "other", "operator": "Exists" }] }),
        json!({ "tolerations": [{ "key": LABEL, "value": "spot" }], "nodeSelector": { LABEL: "spot" } }),
        affinity("DoesNotExist", Value::Null),
    ];
    for (number, spec) in fine.iter().enumerate() {
        let pods: Api<Pod> = Api::namespaced(lab.clone(), "ml-lab-dev");
        create(&pods, &pod(&format!("fine-{number}"), spec)).await;
    }
    by_an_update(&lab, &wildcard, apart).await;
    // The own pool's pods go there whatever they tolerate besides.
    let pods: Api<Pod> = Api::namespaced(clinic.clone(), "ml-clinic-dev");
    let sent = create(&pods, &pod("tolerant", &wildcard)).await;
    let selector = sent.spec.unwrap().node_selector.unwrap();
    assert_eq!(selector.get(LABEL).map(String::as_str), Some("hipaa"));
    claimed_twice(world).await;
}

/// Neither the pod nor a Job with such a template is let in.
async fn refused(client: &kube::Client, namespace: &str, spec: &Value, because: &str) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let tried = pod("tried", spec);
    let mut whole = job("tried", 0);
    whole
        .spec
        .as_mut()
        .unwrap()
        .template
        .spec
        .clone_from(&tried.spec);
    let params = PostParams::default();
    let both = [
        pods.create(&params, &tried).await.map(drop),
        jobs.create(&params, &whole).await.map(drop),
    ];
    for answer in both {
        let error = answer.expect_err(&spec.to_string());
        assert!(message(&error).contains(because), "{spec}: {error}");
    }
}

/// Tolerations can be added for as long as a pod is there.
async fn by_an_update(lab: &kube::Client, wildcard: &Value, because: &str) {
    let pods: Api<Pod> = Api::namespaced(lab.clone(), "ml-lab-dev");
    create(
        &pods,
        &pod("waits", &json!({ "nodeSelector": { "nowhere": "" } })),
    )
    .await;
    let before = pods.get("waits").await.unwrap();
    let mut all = json!(before.spec.unwrap().tolerations.unwrap_or_default());
    let more = wildcard["tolerations"].as_array().unwrap();
    all.as_array_mut().unwrap().extend(more.iter().cloned());
    let change = json!({ "spec": { "tolerations": all } });
    let error = patch(&pods, "waits", change).await.unwrap_err();
    assert!(message(&error).contains(because), "{error}");
    // What is not about nodes is nobody's business, also of a pod from before.
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    patch(&pods, "waits", label).await.unwrap();
}

/// A pool has one tenant.
async fn claimed_twice(world: &World) {
    let rest = json!({
        "compliance": { "nodePool": "hipaa" },
        "environments": [{ "name": "dev", "percent": 100 }],
    });
    let tenants: Api<Tenant> = Api::all(world.cluster.admin.clone());
    let second = from(tenant("hospital", 0, &rest));
    let error = tenants
        .create(&PostParams::default(), &second)
        .await
        .unwrap_err();
    let said = message(&error);
    assert!(
        said.contains("another Tenant has the nodes of this pool alone"),
        "{said}"
    );
}
