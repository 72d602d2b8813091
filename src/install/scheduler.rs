//! The configuration of kube-scheduler: one extender, asked only about pods that name GPUs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Error, to_yaml};
use crate::api::{labels, resources};

/// More than all scores of kube-scheduler's own together, whose weights sum to 12.
const SCORE_WEIGHT: u32 = 20;

/// What kube-scheduler is told about us and about itself.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Where the extender answers.
    pub extender_url: String,
    /// The name in the extender's certificate, where the URL says another: kube-scheduler in the
    /// host's network cannot look up Services, so it is given an address.
    pub server_name: Option<String>,
    /// The name under which pods ask for a second scheduler of ours; `None` is for the cluster's
    /// own. A second one runs as a pod and needs no kubeconfig.
    pub second: Option<String>,
    /// Directory with `tls.crt`, `tls.key` (kube-scheduler's own) and `ca.crt` (the extender's).
    pub tls_dir: PathBuf,
    /// The resource that pods name to get a GPU.
    pub gpu_resource: String,
    /// How the cluster's own kube-scheduler reaches the API server.
    pub kubeconfig: PathBuf,
    /// Requests per second to the API server and in a burst; `None` leaves Kubernetes' own.
    pub client_rate: Option<(u32, u32)>,
    /// Whether several schedulers choose one that works.
    pub leader_election: bool,
    /// How long a refused pod waits at most before it is tried again; `None` leaves Kubernetes' own.
    pub backoff_max: Option<Duration>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            extender_url: "https://prorata.prorata-system.svc:8443".to_owned(),
            server_name: None,
            second: None,
            tls_dir: PathBuf::from("/etc/kubernetes/prorata"),
            gpu_resource: labels::GPU_RESOURCE.to_owned(),
            kubeconfig: PathBuf::from("/etc/kubernetes/scheduler.conf"),
            client_rate: None,
            leader_election: true,
            backoff_max: None,
        }
    }
}

impl SchedulerConfig {
    /// The bare file.
    ///
    /// # Errors
    /// When it cannot be written as YAML.
    pub fn render(&self) -> Result<String, Error> {
        let mut file = Map::new();
        file.insert(
            "apiVersion".to_owned(),
            json!("kubescheduler.config.k8s.io/v1"),
        );
        file.insert("kind".to_owned(), json!("KubeSchedulerConfiguration"));
        file.insert("clientConnection".to_owned(), self.client());
        file.insert("leaderElection".to_owned(), self.election());
        if let Some(backoff) = self.backoff_max {
            file.insert("podMaxBackoffSeconds".to_owned(), json!(backoff.as_secs()));
        }
        if let Some(name) = &self.second {
            let profile = json!({ "schedulerName": name });
            file.insert("profiles".to_owned(), json!([profile]));
        }
        file.insert("extenders".to_owned(), json!([self.extender()]));
        to_yaml(&file)
    }

    fn client(&self) -> Value {
        let mut client = match self.second {
            Some(_) => json!({}),
            None => json!({ "kubeconfig": self.kubeconfig }),
        };
        if let Some((qps, burst)) = self.client_rate {
            client["qps"] = json!(qps);
            client["burst"] = json!(burst);
        }
        client
    }

    /// Two schedulers with one lease would wait for each other for ever.
    fn election(&self) -> Value {
        let mut election = json!({ "leaderElect": self.leader_election });
        if let Some(name) = &self.second {
            election["resourceName"] = json!(name);
            election["resourceNamespace"] = json!(labels::NAMESPACE);
        }
        election
    }

    /// The plan arrives in the pod, so the extender has nothing to bind; it scores nodes only for pods
    /// that are not the queue's. Node sampling stays as it is: a pod whose node is overlooked is told it.
    /// Without the extender no GPU pod starts: passing it by would break every promise about shares.
    fn extender(&self) -> Value {
        let file = |file: &str| json!(Path::new(&self.tls_dir).join(file));
        let mut tls = json!({
            "certFile": file("tls.crt"),
            "keyFile": file("tls.key"),
            "caFile": file("ca.crt"),
        });
        if let Some(name) = &self.server_name {
            tls["serverName"] = json!(name);
        }
        json!({
            "urlPrefix": self.extender_url,
            "filterVerb": "filter",
            "prioritizeVerb": "prioritize",
            "weight": SCORE_WEIGHT,
            "preemptVerb": "preempt",
            "enableHTTPS": true,
            "tlsConfig": tls,
            "httpTimeout": "1s",
            "nodeCacheCapable": true,
            "managedResources": self.managed(),
            "ignorable": false,
        })
    }

    /// By what pods get GPUs. kube-scheduler counts each of these too.
    fn managed(&self) -> Vec<Value> {
        let plain = [
            self.gpu_resource.clone(),
            resources::slots(&self.gpu_resource),
        ];
        let instances = resources::PROFILES.map(resources::instances);
        let all = plain.into_iter().chain(instances);
        all.map(|name| json!({ "name": name, "ignoredByScheduler": false }))
            .collect()
    }
}
