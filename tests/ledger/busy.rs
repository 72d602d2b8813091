//! How busy GPUs were, from the driver to the ledger: the agent is a process of its own before a driver
//! that is made up, and the controller finds it by its pod.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use prorata::api::labels::{self, AGENT_AUDIENCE, AGENT_NAMESPACE};
use prorata_controlplane::User;
use prorata_fake_nvml::profile;
use prorata_ledger::store::{Book, Purpose};
use serde_json::json;
use tempfile::TempDir;

use crate::bench::{Bench, Running};
use crate::cluster::requests::create;
use crate::cluster::{from, prorata};
use crate::fake_kubelet::{FakeKubelet, Said};
use crate::outage::world::{World, gang, node, phase};

/// Namespaces and names of accounts.
const CONTROLLER: (&str, &str) = (labels::NAMESPACE, labels::CONTROLLER);
const AGENT: (&str, &str) = (AGENT_NAMESPACE, labels::AGENT);

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_measures_stands_beside_what_was_held() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
    let pass = directory.path().join("token");
    let ledger = format!(
        "ledger: {{url: \"{url}\", heartbeat: 1s, busyEvery: 1s, agentTokenFile: {}}}\n",
        pass.display()
    );
    let Some(mut world) = World::start_with(Duration::ZERO, &ledger).await else {
        return;
    };
    world.namespace("red", Some("red")).await;
    world.cluster.apply(&prorata(&["install", "agent"]));
    let token = token(&world, CONTROLLER, Some(AGENT_AUDIENCE)).await;
    fs::write(&pass, token + "\n").unwrap();
    let _controller = world.controller().await;
    world.submit("red", &gang("idler", 1)).await;
    world
        .until("the Job runs", async || {
            world.nodes_of("red", "idler").await.len() == 1
        })
        .await;
    let pod = world.pods("red").await.remove(0);
    let (bench, _kubelet) = machine(&pod);
    let file = kubeconfig(&world, directory.path()).await;
    // It has no pod's token, so that it may ask who calls it, and may not write its GpuNode.
    let on = node(&pod).unwrap();
    let agent = Running::start(&bench, &["--kubeconfig", &file, "--node", on]);
    nobody_else_is_told(&world, &agent).await;
    let address = agent.address().parse().unwrap();
    agent_pod(&world, on, address).await;
    let book = Book::open(&url, Purpose::Read).await.unwrap();
    let read = async || book.extract(0, u64::MAX >> 1).await.unwrap().holds;
    world
        .until("the ledger says how busy its GPU was", async || {
            let holds = read().await;
            let mut own = holds.iter().filter(|hold| hold.job == "idler");
            own.any(|hold| hold.busy_milli == Some(50) && hold.measured > Some(3_000_000))
        })
        .await;
    world.complete("red", "idler").await;
    world
        .until("the book says that nothing is held", async || {
            book.open_holds().await.unwrap().is_empty()
        })
        .await;
    let hold = read().await.remove(0);
    let held = hold.gpu_milli * (hold.end.unwrap().at_ms - hold.from_ms);
    // A last sample may reach a moment beyond the end, which is told in whole seconds.
    assert!(hold.measured <= Some(held + 3_000_000), "{hold:?}");
    let usage = prorata(&["usage", "--ledger", &url, "--tenant", "red", "--no-headers"]);
    assert!(usage.starts_with("red/idler "), "{usage}");
    assert!(usage.contains(" 5.0 % "), "{usage}");
    world.assert_healthy();
}

/// A token of an account, for the API server or for somebody else.
async fn token(world: &World, (namespace, name): (&str, &str), audience: Option<&str>) -> String {
    let audiences: Vec<&str> = audience.into_iter().collect();
    let spec = json!({ "spec": { "audiences": audiences, "expirationSeconds": 3600 } });
    let accounts: Api<ServiceAccount> = Api::namespaced(world.cluster.admin.clone(), namespace);
    let request: TokenRequest = from(spec);
    let params = PostParams::default();
    let answer = accounts.create_token_request(name, &params, &request).await;
    answer.unwrap().status.unwrap().token.unwrap()
}

/// The file by which an agent speaks to the API server.
async fn kubeconfig(world: &World, directory: &Path) -> String {
    let token = token(world, AGENT, None).await;
    let admin = world.cluster.plane.kubeconfig(User::Admin);
    let mut config = serde_json::to_value(Kubeconfig::read_from(admin).unwrap()).unwrap();
    config["users"][0]["user"] = json!({ "token": token });
    let path = directory.join("agent.kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path.display().to_string()
}

/// Neither who says nothing, nor who has another's token for agents, nor the controller's own one for
/// the API server.
async fn nobody_else_is_told(world: &World, agent: &Running) {
    assert_eq!(agent.get("/usage").0, 401);
    assert_eq!(agent.get_as("/usage", "guessed").0, 401);
    let of_agent = token(world, AGENT, Some(AGENT_AUDIENCE)).await;
    assert_eq!(agent.get_as("/usage", &of_agent).0, 403);
    let for_server = token(world, CONTROLLER, None).await;
    assert_eq!(agent.get_as("/usage", &for_server).0, 401);
    let right = token(world, CONTROLLER, Some(AGENT_AUDIENCE)).await;
    assert_eq!(agent.get_as("/usage", &right).0, 200);
}

/// The machine of the pod's node: it was given the first of four cards, which is hardly busy.
fn machine(pod: &Pod) -> (Bench, FakeKubelet) {
    let mut machine = profile::t4(4);
    machine.cards[0].utilisation = Some((5, 2));
    let bench = Bench::new(&machine);
    let (namespace, name) = (pod.namespace().unwrap(), pod.name_any());
    let uid = pod.uid().unwrap();
    bench.container_of((&namespace, &name, &uid), &"9a".repeat(32));
    let cards: Vec<&str> = machine.cards.iter().map(|card| &*card.uuid).collect();
    let said = Said::new(&cards).with(&format!("{namespace}/{name}"), &cards[..1]);
    let kubelet = FakeKubelet::start(&bench.kubelet(), said);
    (bench, kubelet)
}

/// The pod as which an agent runs on a node, and where it answers.
async fn agent_pod(world: &World, node: &str, address: SocketAddr) {
    let ports = json!([{ "name": "health", "containerPort": address.port() }]);
    let labels = json!({
        "app.kubernetes.io/name": "prorata", "app.kubernetes.io/component": "agent",
    });
    let pod: Pod = from(json!({
        "metadata": { "name": "agent", "labels": labels },
        "spec": {
            "nodeName": node, "automountServiceAccountToken": false,
            "containers": [{ "name": "agent", "image": "none", "ports": ports }],
        },
    }));
    let pods: Api<Pod> = Api::namespaced(world.cluster.admin.clone(), AGENT_NAMESPACE);
    create(&pods, &pod).await;
    world
        .until("the agent runs", async || {
            phase(&world.pod(AGENT_NAMESPACE, "agent").await) == "Running"
        })
        .await;
    let ip = address.ip().to_string();
    let status = json!({ "status": { "podIP": ip, "podIPs": [{ "ip": ip }] } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(status));
    let patched = pods.patch_status("agent", &params, &patch).await;
    patched.unwrap();
}
