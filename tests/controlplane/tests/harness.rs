//! The harness itself: a whole control plane runs a Job, and leaves no process behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PostParams};
use prorata_controlplane::{
    ControlPlane, GPU, Kubelet, KubeletOptions, Options, Program, RUN_SECONDS, User, nodes,
};
use serde_json::json;

/// Set for a copy of this test program that is to hold a control plane until it is killed.
const HOLD: &str = "PRORATA_TEST_HOLD";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_and_completes_and_no_process_is_left() {
    let Some(mut plane) = ControlPlane::start_or_skip(Options::default()).await else {
        return;
    };
    assert!(
        plane.started_in() < Duration::from_secs(15),
        "took {:?}",
        plane.started_in()
    );
    let client = plane.client(User::Admin);
    nodes::create(&client, 20, &nodes::Shape::default())
        .await
        .unwrap();
    let kubelet = Kubelet::start(client.clone(), KubeletOptions::default());
    let config = scheduler_config(&plane);
    plane.start_scheduler(&config).await.unwrap();

    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    jobs.create(&PostParams::default(), &job("on-demand", 16, None))
        .await
        .unwrap();
    jobs.create(&PostParams::default(), &job("timed", 4, Some("0.2")))
        .await
        .unwrap();
    wait_for(|| pods_are(&client, "on-demand", "Running", 16)).await;
    wait_for(|| is_complete(&jobs, "timed")).await;
    assert_eq!(kubelet.finish("default", "on-demand").await.unwrap(), 16);
    wait_for(|| is_complete(&jobs, "on-demand")).await;
    assert_eq!(kubelet.rejections(), []);

    for program in Program::ALL {
        assert!(plane.cpu_time(program).unwrap() > Duration::ZERO);
        assert!(plane.resident_bytes(program).unwrap() > 10_000_000);
    }
    plane.check().unwrap();
    let pids = pids(&plane);
    let directory = plane.directory().to_owned();
    drop(kubelet);
    drop(plane);
    assert_eq!(alive(&pids), Vec::<u32>::new());
    assert!(!directory.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_bound_to_a_full_node_is_rejected_and_recorded() {
    let options = Options {
        controllers: Vec::new(),
        audit: true,
        ..Options::default()
    };
    let Some(plane) = ControlPlane::start_or_skip(options).await else {
        return;
    };
    let client = plane.client(User::Admin);
    nodes::create(
        &client,
        1,
        &nodes::Shape {
            gpus: 1,
            ..nodes::Shape::default()
        },
    )
    .await
    .unwrap();
    let termination = Duration::from_millis(200);
    let options = KubeletOptions {
        termination,
        ..KubeletOptions::default()
    };
    let kubelet = Kubelet::start(client.clone(), options);

    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&PostParams::default(), &bound_pod("first"))
        .await
        .unwrap();
    wait_for(async || phase(&pods, "first").await == "Running").await;
    pods.create(&PostParams::default(), &bound_pod("second"))
        .await
        .unwrap();
    wait_for(async || phase(&pods, "second").await == "Failed").await;
    assert_eq!(kubelet.rejections().len(), 1);

    pods.delete("first", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    wait_for(async || pods.get_opt("first").await.unwrap().is_none()).await;
    pods.create(&PostParams::default(), &bound_pod("third"))
        .await
        .unwrap();
    wait_for(async || phase(&pods, "third").await == "Running").await;
    assert_eq!(kubelet.rejections().len(), 1);

    let audit = fs::read_to_string(plane.audit_log()).unwrap();
    assert!(
        audit
            .lines()
            .any(|line| line.contains(r#""verb":"create""#))
    );
    let alice: Api<Pod> = Api::default_namespaced(plane.client(User::Alice));
    assert!(
        alice.list(&ListParams::default()).await.is_err(),
        "alice has no role yet"
    );
}

#[test]
fn no_process_is_left_when_the_owner_is_killed() {
    let this = env::current_exe().unwrap();
    let mut owner = Command::new(this)
        .args([
            "--exact",
            "hold_a_control_plane_when_asked_to",
            "--nocapture",
        ])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let held = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("held: ").map(|(_, list)| list.to_owned()));
    let Some(held) = held else {
        assert!(owner.wait().unwrap().success(), "the owner failed");
        return;
    };
    owner.kill().unwrap();
    owner.wait().unwrap();
    let (directory, pids) = held.split_once(' ').unwrap();
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 4);

    let deadline = Instant::now() + Duration::from_secs(5);
    while !alive(&pids).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(alive(&pids), Vec::<u32>::new());
    // Whoever is killed cannot remove its files.
    fs::remove_dir_all(directory).unwrap();
}

/// Not a test: what the test above starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn hold_a_control_plane_when_asked_to() {
    if env::var_os(HOLD).is_none() {
        return;
    }
    let Some(mut plane) = ControlPlane::start_or_skip(Options::default()).await else {
        return;
    };
    let config = scheduler_config(&plane);
    plane.start_scheduler(&config).await.unwrap();
    let pids = pids(&plane)
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    println!("held: {} {pids}", plane.directory().display());
    std::future::pending::<()>().await;
}

/// The default configuration of kube-scheduler.
fn scheduler_config(plane: &ControlPlane) -> PathBuf {
    let path = plane.directory().join("scheduler.yaml");
    let kubeconfig = plane.kubeconfig(User::Scheduler);
    fs::write(&path, scheduler_config_text(kubeconfig)).unwrap();
    path
}

fn scheduler_config_text(kubeconfig: &Path) -> String {
    format!(
        "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {{leaderElect: false}}
clientConnection: {{kubeconfig: {}, qps: 5000, burst: 10000}}
",
        kubeconfig.display()
    )
}

fn job(name: &str, pods: u32, run_seconds: Option<&str>) -> Job {
    let annotations = run_seconds.map(|seconds| json!({ RUN_SECONDS: seconds }));
    let mut template = pod_template();
    template["metadata"] = json!({ "annotations": annotations });
    let spec = json!({
        "completionMode": "Indexed", "completions": pods, "parallelism": pods, "template": template,
    });
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn bound_pod(name: &str) -> Pod {
    let mut pod = pod_template();
    pod["metadata"] = json!({"name": name});
    pod["spec"]["nodeName"] = json!(nodes::name(1));
    serde_json::from_value(pod).unwrap()
}

fn pod_template() -> serde_json::Value {
    let limits = json!({"cpu": "1", "memory": "1Gi", GPU: "1"});
    let container = json!({"name": "main", "image": "none", "resources": {"limits": limits}});
    json!({"spec": {"restartPolicy": "Never", "containers": [container]}})
}

async fn pods_are(client: &kube::Client, job: &str, phase: &str, count: usize) -> bool {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let selector = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let pods = pods.list(&selector).await.unwrap();
    pods.items
        .iter()
        .filter(|pod| phase_of(pod) == phase)
        .count()
        == count
}

async fn is_complete(jobs: &Api<Job>, name: &str) -> bool {
    let status = jobs.get(name).await.unwrap().status.unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == "Complete" && condition.status == "True")
}

async fn phase(pods: &Api<Pod>, name: &str) -> String {
    phase_of(&pods.get(name).await.unwrap()).to_owned()
}

fn phase_of(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Waits until something holds, but not for ever.
async fn wait_for<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited 30 s in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn pids(plane: &ControlPlane) -> Vec<u32> {
    Program::ALL
        .iter()
        .map(|program| plane.pid(*program).unwrap())
        .collect()
}

/// Those of the processes that still run.
fn alive(pids: &[u32]) -> Vec<u32> {
    pids.iter().copied().filter(|pid| is_alive(*pid)).collect()
}

/// A zombie has ended; it waits for its new parent to take notice.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
