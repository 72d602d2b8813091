//! The `GpuNode` on a real control plane: written by the agent of that node, when something changes,
//! and by nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use prorata::api::gpunode::{DRIVER_READY, Gpu, Health};
use prorata::api::{GpuNode, GpuNodeStatus};
use prorata_controlplane::{Options, User};
use prorata_fake_nvml::profile;
use serde_json::json;

use crate::bench::{Bench, Running};
use crate::cluster::requests::eventually;
use crate::cluster::{Cluster, from, prorata};

const NAMESPACE: &str = "prorata-agent";

#[tokio::test]
async fn each_agent_tells_of_its_own_node_and_of_no_other() {
    let Some(cluster) = Cluster::start(Options::default()).await else {
        return;
    };
    cluster.install().await;
    cluster.apply(&prorata(&["install", "agent"]));
    the_daemon_set_is_read_strictly(&cluster);
    let world = World::new(cluster).await;
    it_tells_what_there_is(&world).await;
    it_writes_only_what_changes(&world).await;
    nobody_else_writes_the_status(&world).await;
    the_spec_is_not_the_agents(&world).await;
    people_see_it(&world);
}

/// A field that no type has, or a value of another type, is an error.
fn the_daemon_set_is_read_strictly(cluster: &Cluster) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/agent/agent.yaml");
    let mut kubectl = cluster.plane.kubectl(User::Admin);
    kubectl.args([
        "apply",
        "--server-side",
        "--validate=strict",
        "--dry-run=server",
        "-f",
    ]);
    let output = kubectl.arg(file).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// A cluster with two GPU nodes and an agent's pod on each.
struct World {
    cluster: Cluster,
    /// It goes with the files in it.
    _files: tempfile::TempDir,
    /// Of the agent on each node, and one that no pod is bound to.
    a: PathBuf,
    b: PathBuf,
    free: PathBuf,
    nodes: Api<GpuNode>,
}

impl World {
    async fn new(cluster: Cluster) -> Self {
        let files = tempfile::tempdir().unwrap();
        for node in ["gpu-a", "gpu-b"] {
            let object: Node = from(json!({ "metadata": { "name": node } }));
            let nodes: Api<Node> = Api::all(cluster.admin.clone());
            nodes.create(&PostParams::default(), &object).await.unwrap();
        }
        let a = kubeconfig(&cluster, files.path(), Some("gpu-a")).await;
        let b = kubeconfig(&cluster, files.path(), Some("gpu-b")).await;
        let free = kubeconfig(&cluster, files.path(), None).await;
        let nodes = Api::all(cluster.admin.clone());
        Self {
            cluster,
            _files: files,
            a,
            b,
            free,
            nodes,
        }
    }

    async fn status(&self, node: &str) -> GpuNodeStatus {
        let object = self.nodes.get(node).await.unwrap();
        object.status.unwrap_or_default()
    }
}

/// A kubeconfig with a token as the kubelet gets one for the agent's pod on a node.
async fn kubeconfig(cluster: &Cluster, files: &Path, node: Option<&str>) -> PathBuf {
    let mut spec = json!({ "audiences": [], "expirationSeconds": 3600 });
    if let Some(node) = node {
        let name = format!("agent-{node}");
        let pod: Pod = from(json!({
            "metadata": { "name": name },
            "spec": {
                "nodeName": node,
                "serviceAccountName": NAMESPACE,
                "containers": [{ "name": "agent", "image": "none" }],
            },
        }));
        let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), NAMESPACE);
        let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
        let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.uid() });
        spec["boundObjectRef"] = bound;
    }
    let request: TokenRequest = from(json!({ "spec": spec }));
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin.clone(), NAMESPACE);
    let params = PostParams::default();
    let answer = accounts.create_token_request(NAMESPACE, &params, &request);
    let token = answer.await.unwrap().status.unwrap().token;
    let admin = cluster.plane.kubeconfig(User::Admin);
    let mut config = serde_json::to_value(Kubeconfig::read_from(admin).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": token });
    let path = files.join(format!("{}.kubeconfig", node.unwrap_or("free")));
    fs::write(&path, config.to_string()).unwrap();
    path
}

async fn client(kubeconfig: &Path) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn agent(bench: &Bench, kubeconfig: &Path, node: &str) -> Running {
    let file = kubeconfig.to_str().unwrap();
    Running::start(bench, &["--kubeconfig", file, "--node", node])
}

async fn it_tells_what_there_is(world: &World) {
    let bench = Bench::new(&profile::mixed());
    let _agent = agent(&bench, &world.a, "gpu-a");
    let told = || async {
        let object = world.nodes.get_opt("gpu-a").await.unwrap();
        object.is_some_and(|object| object.status.is_some())
    };
    eventually("the agent tells", told).await;
    let object = world.nodes.get("gpu-a").await.unwrap();
    let owner = &object.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str()),
        ("Node", "gpu-a")
    );
    let status = object.status.unwrap();
    assert_eq!((status.count, status.healthy, status.inventory), (3, 3, 1));
    assert_eq!(status.observed_generation, Some(1));
    let models: Vec<_> = status
        .gpus
        .iter()
        .map(|gpu| gpu.model.as_deref().unwrap())
        .collect();
    assert_eq!(
        models,
        ["Tesla T4", "NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3"]
    );
    assert_eq!(status.gpus[1].mig.as_ref().unwrap().instances.len(), 3);
    assert_eq!(status.gpus[0].mig, None);
    let ready = &status.conditions[0];
    assert_eq!(
        (ready.type_.as_str(), ready.status.as_str()),
        (DRIVER_READY, "True")
    );
    assert_eq!(ready.observed_generation, Some(1));
}

async fn it_writes_only_what_changes(world: &World) {
    let mut machine = profile::t4(2);
    let bench = Bench::new(&machine);
    let running = agent(&bench, &world.b, "gpu-b");
    let told = || async {
        let object = world.nodes.get_opt("gpu-b").await.unwrap();
        object.is_some_and(|object| object.status.is_some_and(|status| status.count == 2))
    };
    eventually("the other agent tells", told).await;
    let version = || async { world.nodes.get("gpu-b").await.unwrap().resource_version() };
    let before = version().await;
    for percent in [10, 60, 95] {
        machine.cards[0].utilisation = Some((percent, percent));
        bench.change(&machine);
        let wanted = f64::from(percent) / 100.0;
        running.until("it is measured", |metrics| {
            metrics.get("prorata_gpu_utilisation_ratios", &[("gpu", "0")]) == Some(wanted)
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(version().await, before, "what it does is not written");
    machine.cards[1].lost = true;
    bench.change(&machine);
    let lost = || async { world.status("gpu-b").await.gpus[1].health == Health::Lost };
    eventually("a lost card is told", lost).await;
    let status = world.status("gpu-b").await;
    assert_eq!((status.count, status.healthy, status.inventory), (2, 1, 1));
    assert!(status.gpus[1].uuid.is_some(), "what it was is still known");
    drop(running);
    // The next agent has never seen that card.
    let next = agent(&bench, &world.b, "gpu-b");
    next.until("it has looked", |metrics| {
        metrics.get("prorata_agent_looks_total", &[]) >= Some(2.0)
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.status("gpu-b").await, status);
    machine.cards[1].lost = false;
    bench.change(&machine);
    let back = || async { world.status("gpu-b").await.healthy == 2 };
    eventually("it is back", back).await;
    assert_eq!(world.status("gpu-b").await.inventory, 1, "no other cards");
}

async fn nobody_else_writes_the_status(world: &World) {
    let rights = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "gpus" },
        "rules": [{
            "apiGroups": ["prorata.dev"], "resources": ["gpunodes", "gpunodes/status"],
            "verbs": ["get", "create", "update", "patch"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "gpus" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gpus" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Alice.name() }],
    });
    world.cluster.apply(&format!("{rights}\n---\n{binding}\n"));
    let clients = [
        (
            "the agent of another node",
            client(&world.a).await,
            "an agent writes the GpuNode of the node",
        ),
        (
            "an account without a pod",
            client(&world.free).await,
            "an agent writes the GpuNode of the node",
        ),
        (
            "a user with every right",
            world.cluster.alice.clone(),
            "only that agent writes it",
        ),
    ];
    let before = world.status("gpu-b").await;
    for (who, client, told) in clients {
        let api: Api<GpuNode> = Api::all(client);
        let mut forged = world.nodes.get("gpu-b").await.unwrap();
        let status = forged.status.get_or_insert_default();
        status.gpus.push(Gpu {
            index: 9,
            ..Gpu::default()
        });
        let refused = api
            .replace_status("gpu-b", &PostParams::default(), &forged)
            .await;
        let error = refused.expect_err(who).to_string();
        assert!(error.contains(told), "{who}: {error}");
    }
    let own: Api<GpuNode> = Api::all(client(&world.b).await);
    let mut done = world.nodes.get("gpu-b").await.unwrap();
    done.status.get_or_insert_default().repartition = Some(from(json!({
        "from": "exclusive", "to": "mps-4", "cause": "Spec", "step": "Done", "since": "2026-01-01T00:00:00Z",
    })));
    let params = PostParams::default();
    let refused = own.replace_status("gpu-b", &params, &done).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("leave status.repartition"), "{error}");
    assert_eq!(world.status("gpu-b").await, before);
    let api: Api<GpuNode> = Api::all(client(&world.a).await);
    let other: GpuNode = from(json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "GpuNode",
        "metadata": { "name": "gpu-c" }, "spec": {},
    }));
    let refused = api
        .create(&PostParams::default(), &other)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("and no other"), "{refused}");
}

async fn the_spec_is_not_the_agents(world: &World) {
    let wanted = |partition: &str| json!({ "spec": { "partition": partition } });
    let merge = PatchParams::default();
    let own: Api<GpuNode> = Api::all(client(&world.a).await);
    let refused = own
        .patch("gpu-a", &merge, &Patch::Merge(wanted("mps-4")))
        .await;
    assert!(refused.is_err(), "its role has no such verb");
    let alice: Api<GpuNode> = Api::all(world.cluster.alice.clone());
    for good in ["exclusive", "timeslice-4", "mps-48", "mig-1g.10gb"] {
        alice
            .patch("gpu-a", &merge, &Patch::Merge(wanted(good)))
            .await
            .unwrap();
    }
    for wrong in ["shared", "timeslice-1", "mps-49", "mig-", "mps-4 "] {
        let refused = alice
            .patch("gpu-a", &merge, &Patch::Merge(wanted(wrong)))
            .await;
        let error = refused.expect_err(wrong).to_string();
        assert!(
            error.contains("partition is no mode of a node"),
            "{wrong}: {error}"
        );
    }
    world
        .nodes
        .delete("gpu-a", &Default::default())
        .await
        .unwrap();
    let divided: GpuNode = from(json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "GpuNode",
        "metadata": { "name": "gpu-a" }, "spec": { "partition": "mps-4" },
    }));
    let refused = own
        .create(&PostParams::default(), &divided)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("not for the agent to say"),
        "{refused}"
    );
}

fn people_see_it(world: &World) {
    let file = world.cluster.plane.kubeconfig(User::Admin);
    let gpus = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
        command
            .arg("gpus")
            .arg("--kubeconfig")
            .arg(file)
            .args(arguments);
        command.output().unwrap()
    };
    let run = |arguments: &[&str]| {
        let output = gpus(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        run(&[]),
        "\
NODE    GPU   MODEL      MEMORY    MODE      PODS   NOISE   HEALTH    MESSAGE
gpu-b   0     Tesla T4   15360Mi   default   0      -       Healthy   -
gpu-b   1     Tesla T4   15360Mi   default   0      -       Healthy   -
"
    );
    assert_eq!(run(&["-o", "name"]), "gpunode.prorata.dev/gpu-b\n");
    assert_eq!(run(&["--unhealthy", "-o", "json"]), "[]\n");
    let other = gpus(&["--node", "gpu-z"]);
    let told = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(1), "{told}");
    assert!(told.contains("there is no GpuNode `gpu-z`"), "{told}");
    let mut kubectl = world.cluster.plane.kubectl(User::Admin);
    let shown = kubectl.args(["get", "gpunodes"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["gpu-b", "Tesla", "T4", "2", "2"], "{shown}");
}
