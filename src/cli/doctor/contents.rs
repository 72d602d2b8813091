//! What is in the cluster: tenants and their namespaces, nodes with GPUs, jobs that get nowhere.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use prorata_core::Resource;

use super::super::cluster::{Cluster, Scope};
use super::super::failure::Failure;
use super::super::queue::{self, Entry};
use super::super::words;
use super::finding::{Finding, few};
use super::pools;
use crate::api::{State, Tenant, labels};
use crate::budgets;
use crate::translate;

/// A Job that the queue holds and has no record of is overlooked after that.
const OVERLOOKED: Duration = Duration::from_secs(60);

/// An admitted Job whose pods do not run after that has a problem that the queue does not know.
const SLOW_START: Duration = Duration::from_secs(600);

/// Labels of nodes with NVIDIA's cards, whoever made them.
const HAS_CARDS: [&str; 3] = [
    labels::GPU_MODEL,
    "nvidia.com/gpu.present",
    "feature.node.kubernetes.io/pci-10de.present",
];

/// What keeps an image's NVIDIA_VISIBLE_DEVICES from giving its pod every card of the node.
const GUARD: &str = "ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED";

pub(super) async fn look(cluster: &Cluster, gpu_resource: &str) -> Vec<Finding> {
    let tenants = cluster.list_all::<Tenant>().await;
    let namespaces = cluster.list_all::<Namespace>().await;
    let nodes = cluster.list_all::<Node>().await;
    let jobs = cluster
        .list::<Job>(&Scope::All, ListParams::default())
        .await;
    let queue = queue::read(cluster, &Scope::All).await;
    let pods = cluster
        .list::<Pod>(&Scope::All, ListParams::default())
        .await;
    let tools = cluster
        .list::<DaemonSet>(&Scope::All, ListParams::default())
        .await;
    let now = Timestamp::now();
    let mut findings = vec![
        or_unknown("tenants", &tenants, |tenants| judge_tenants(tenants)),
        or_unknown("namespaces", &tenants, |tenants| {
            or_unknown("namespaces", &namespaces, |namespaces| {
                judge_namespaces(tenants, namespaces)
            })
        }),
        or_unknown("nodes", &nodes, |nodes| judge_nodes(nodes, gpu_resource)),
        or_unknown("node-pools", &pods, |pods| {
            match (&tenants, &nodes, &namespaces) {
                (Ok(tenants), Ok(nodes), Ok(namespaces)) => {
                    pools::judge(tenants, nodes, namespaces, pods)
                }
                (Err(failure), ..) | (_, Err(failure), _) | (.., Err(failure)) => {
                    Finding::unknown("node-pools", failure)
                }
            }
        }),
        or_unknown("queue", &queue, |queue| judge_queue(queue)),
        or_unknown("jobs", &queue, |queue| {
            or_unknown("jobs", &jobs, |jobs| judge_jobs(queue, jobs, now))
        }),
    ];
    findings.push(or_unknown("container-runtime", &tools, |tools| {
        judge_runtime(tools)
    }));
    findings
}

fn or_unknown<T>(
    check: &'static str,
    read: &Result<T, Failure>,
    judge: impl FnOnce(&T) -> Finding,
) -> Finding {
    match read {
        Ok(value) => judge(value),
        Err(failure) => Finding::unknown(check, failure),
    }
}

fn judge_tenants(tenants: &[Tenant]) -> Finding {
    if tenants.is_empty() {
        return Finding::warn("tenants", "there is none", "describe each team by a Tenant");
    }
    let wrong: Vec<String> = tenants.iter().filter_map(complaint).collect();
    match wrong.is_empty() {
        true => Finding::ok("tenants", words::count(tenants.len() as u64, "tenant")),
        false => Finding::fail(
            "tenants",
            few(&wrong),
            "correct these Tenants: `kubectl get tenants`",
        ),
    }
}

/// What the controller says is wrong with a tenant.
fn complaint(tenant: &Tenant) -> Option<String> {
    let wrong = budgets::wrong(tenant)?;
    Some(format!("{}: {}", tenant.name_any(), wrong.message))
}

fn judge_namespaces(tenants: &[Tenant], namespaces: &[Namespace]) -> Finding {
    let check = "namespaces";
    let known: BTreeSet<String> = tenants.iter().map(ResourceExt::name_any).collect();
    let parents: BTreeSet<&String> = tenants
        .iter()
        .filter_map(|t| t.spec.parent.as_ref())
        .collect();
    let owned: Vec<(String, &String)> = namespaces
        .iter()
        .filter_map(|n| Some((n.name_any(), n.labels().get(labels::TENANT)?)))
        .collect();
    let lost: Vec<String> = owned
        .iter()
        .filter(|(_, tenant)| !known.contains(*tenant) || parents.contains(tenant))
        .map(|(name, tenant)| format!("{name} ({tenant})"))
        .collect();
    if !lost.is_empty() {
        let seen = format!(
            "their label {} names no tenant that can own them: {}",
            labels::TENANT,
            few(&lost)
        );
        return Finding::fail(check, seen, "describe these tenants, or correct the labels");
    }
    let served: BTreeSet<&String> = owned.iter().map(|(_, tenant)| *tenant).collect();
    let idle = known
        .iter()
        .filter(|name| !served.contains(name) && !parents.contains(name));
    let idle: Vec<String> = idle.cloned().collect();
    if !idle.is_empty() {
        let seen = format!("tenants without a namespace: {}", few(&idle));
        let remedy = format!(
            "label theirs: `kubectl label namespace NAME {}=TENANT`",
            labels::TENANT
        );
        return Finding::warn(check, seen, remedy);
    }
    Finding::ok(
        check,
        format!(
            "{} of tenants",
            words::count(owned.len() as u64, "namespace")
        ),
    )
}

fn judge_nodes(nodes: &[Node], gpu_resource: &str) -> Finding {
    let check = "nodes";
    let gpus = |node: &Node| {
        let offer = translate::node(node, gpu_resource).offer();
        offer.get(Resource::Gpu)
    };
    let carded = |node: &&Node| {
        let labels = node.labels();
        HAS_CARDS
            .iter()
            .any(|label| labels.get(*label).is_some_and(|value| value != "false"))
    };
    let silent = nodes.iter().filter(carded).filter(|node| gpus(node) == 0);
    let silent: Vec<String> = silent.map(ResourceExt::name_any).collect();
    if !silent.is_empty() {
        let seen = format!(
            "nodes with cards that offer no {gpu_resource}, slot or instance of one: {}",
            few(&silent)
        );
        return Finding::fail(
            check,
            seen,
            "see that the device plugin and the driver run there, and that nodes which share GPUs say how \
             (docs/sharing.md)",
        );
    }
    let with = nodes.iter().filter(|node| gpus(node) > 0).count();
    let all: u64 = nodes.iter().map(gpus).sum();
    match with {
        0 => Finding::warn(
            check,
            format!("no node offers {gpu_resource}"),
            "install the device plugin, or name another resource by --gpu-resource",
        ),
        _ => Finding::ok(
            check,
            format!(
                "{} GPUs on {}",
                words::gpus(all),
                words::count(with as u64, "node")
            ),
        ),
    }
}

fn judge_queue(queue: &[Entry]) -> Finding {
    let blocked = queue.iter().filter(|entry| entry.blocked);
    let blocked: Vec<String> = blocked
        .map(|entry| format!("{}/{} ({})", entry.namespace, entry.name, entry.reason))
        .collect();
    if !blocked.is_empty() {
        let seen = format!("jobs that never start as they are: {}", few(&blocked));
        return Finding::warn(
            "queue",
            seen,
            "`prorata explain JOB -n NAMESPACE` says what would help each",
        );
    }
    let waiting = queue.iter().filter(|entry| entry.is_in_line()).count();
    Finding::ok(
        "queue",
        format!("{} in line", words::count(waiting as u64, "job")),
    )
}

fn judge_jobs(queue: &[Entry], jobs: &[Job], now: Timestamp) -> Finding {
    let check = "jobs";
    let recorded: BTreeSet<&str> = queue.iter().map(|entry| entry.uid.as_str()).collect();
    let since = |job: &Job| {
        let created = job.metadata.creation_timestamp.as_ref();
        words::between(created.map_or(now, |time| time.0), now)
    };
    let overlooked = |job: &&Job| {
        let ours = job.annotations().contains_key(labels::CREATED_BY);
        let uid = job.uid().unwrap_or_default();
        ours && is_suspended(job) && !recorded.contains(uid.as_str()) && since(job) > OVERLOOKED
    };
    let overlooked: Vec<String> = jobs.iter().filter(overlooked).map(full_name).collect();
    if !overlooked.is_empty() {
        let seen = format!(
            "held for the queue, which knows nothing of them: {}",
            few(&overlooked)
        );
        return Finding::fail(
            check,
            seen,
            "the controller does not work: see its pods and their log",
        );
    }
    let slow = |entry: &&Entry| {
        let long = entry
            .admitted
            .is_some_and(|at| words::between(at, now) > SLOW_START);
        let job = jobs
            .iter()
            .find(|job| job.uid().as_ref() == Some(&entry.uid));
        entry.state == State::Admitted && long && job.is_some_and(|job| !has_pods_running(job))
    };
    let slow = queue.iter().filter(slow);
    let slow: Vec<String> = slow
        .map(|entry| format!("{}/{}", entry.namespace, entry.name))
        .collect();
    match slow.is_empty() {
        true => Finding::ok(check, "none is overlooked, and those that are admitted run"),
        false => Finding::warn(
            check,
            format!("admitted for long, and no pod runs: {}", few(&slow)),
            "`kubectl describe pod` says why: an image, a volume, a quota",
        ),
    }
}

fn is_suspended(job: &Job) -> bool {
    job.spec
        .as_ref()
        .is_some_and(|spec| spec.suspend == Some(true))
}

fn has_pods_running(job: &Job) -> bool {
    let status = job.status.clone().unwrap_or_default();
    status.ready.unwrap_or_default() + status.succeeded.unwrap_or_default() > 0
}

fn full_name(job: &Job) -> String {
    format!("{}/{}", job.namespace().unwrap_or_default(), job.name_any())
}

/// An image can name all cards of a node in its environment, which no policy can see.
fn judge_runtime(tools: &[DaemonSet]) -> Finding {
    let check = "container-runtime";
    let guarded = |set: &DaemonSet| {
        let template = set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref());
        let containers = template.into_iter().flat_map(|spec| &spec.containers);
        let mut env = containers.flat_map(|container| container.env.iter().flatten());
        env.any(|env| env.name == GUARD && env.value.as_deref() == Some("false"))
    };
    match tools.iter().find(|set| guarded(set)) {
        Some(set) => Finding::ok(
            check,
            format!("{GUARD}=false in DaemonSet {}", set.name_any()),
        ),
        None => Finding::warn(
            check,
            "an image whose environment says NVIDIA_VISIBLE_DEVICES=all may get every card of its node, past every \
             limit; nothing here shows that the runtime forbids it",
            format!(
                "set {GUARD}=false for NVIDIA's container toolkit (in its file: \
                 accept-nvidia-visible-devices-envvar-when-unprivileged = false), and hand devices out by volume \
                 mounts or CDI"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::queue::tests::entry;
    use super::super::finding::Verdict;
    use super::*;
    use serde_json::{Value, json};

    fn read<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<T> {
        let one = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        values.iter().map(one).collect()
    }

    fn tenant(name: &str, spec: Value) -> Value {
        json!({"apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn namespaces_belong_to_tenants_that_can_own_them() {
        let tenants = read(&[
            tenant("top", json!({})),
            tenant("dev", json!({"parent": "top"})),
        ]);
        let judge = |labels: &[&str]| {
            let namespace = |label: &&str| json!({"metadata": {"name": "n", "labels": {labels::TENANT: label}}});
            let namespaces = read(&labels.iter().map(namespace).collect::<Vec<_>>());
            judge_namespaces(&tenants, &namespaces)
        };
        assert_eq!(judge(&["dev"]).verdict, Verdict::Ok);
        assert_eq!(judge(&[]).seen, "tenants without a namespace: dev");
        assert!(judge(&["dev", "top"]).seen.ends_with("n (top)"));
        assert_eq!(judge(&["ghost"]).verdict, Verdict::Fail);
    }

    #[test]
    fn a_tenant_that_the_controller_complains_about_is_named() {
        let mut wrong = tenant("dev", json!({}));
        let condition = json!({
            "type": "Ready", "status": "False", "reason": "Cycle", "message": "it is its own parent",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        });
        wrong["status"] = json!({"conditions": [condition]});
        assert_eq!(
            judge_tenants(&read(&[wrong])).seen,
            "dev: it is its own parent"
        );
        assert_eq!(judge_tenants(&[]).verdict, Verdict::Warn);
    }

    #[test]
    fn cards_that_nobody_offers_are_found() {
        let node = |gpus: Value, labels: Value| json!({"metadata": {"name": "a", "labels": labels}, "status": {"allocatable": gpus}});
        let judge = |nodes: &[Value]| judge_nodes(&read(nodes), labels::GPU_RESOURCE);
        let fine = node(
            json!({"nvidia.com/gpu": "8"}),
            json!({"nvidia.com/gpu.present": "true"}),
        );
        assert_eq!(judge(std::slice::from_ref(&fine)).seen, "8 GPUs on 1 node");
        let silent = node(json!({}), json!({"nvidia.com/gpu.present": "true"}));
        assert_eq!(judge(&[fine, silent]).verdict, Verdict::Fail);
        assert_eq!(judge(&[node(json!({}), json!({}))]).verdict, Verdict::Warn);
    }

    #[test]
    fn jobs_that_get_nowhere_are_found() {
        let now = Timestamp::from_second(10_000).unwrap();
        let job = |uid: &str| -> Job {
            serde_json::from_value(json!({
                "metadata": {
                    "name": uid, "namespace": "lab", "uid": uid, "creationTimestamp": "1970-01-01T00:00:00Z",
                    "annotations": {labels::CREATED_BY: "alice"},
                },
                "spec": {"suspend": true, "template": {}},
            }))
            .unwrap()
        };
        let known = entry("a", 1, json!({}));
        assert_eq!(
            judge_jobs(std::slice::from_ref(&known), &[job("a")], now).verdict,
            Verdict::Ok
        );
        let lost = judge_jobs(&[known], &[job("b")], now);
        assert_eq!(
            (lost.verdict, lost.seen.ends_with("lab/b")),
            (Verdict::Fail, true)
        );
        let never = entry("n", 1, json!({"status": {"reason": "NoSuchGpu"}}));
        assert_eq!(judge_queue(&[never]).verdict, Verdict::Warn);
    }

    #[test]
    fn the_runtime_is_in_order_only_where_that_can_be_seen() {
        assert_eq!(judge_runtime(&[]).verdict, Verdict::Warn);
        let set = json!({
            "metadata": {"name": "toolkit"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "env": [{"name": GUARD, "value": "false"}]}]}}},
        });
        assert_eq!(judge_runtime(&read(&[set])).verdict, Verdict::Ok);
    }
}
