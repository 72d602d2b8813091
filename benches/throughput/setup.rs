//! The set-ups that are compared.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;
use kube::api::{Api, ListParams};
use prorata::api::{QueuedJob, State};
use prorata_controlplane::{GPU, Options, Process, Program, User, nodes};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::cluster::controller::Site;
use crate::extender::Extender;
use crate::limit::Limit;
use crate::releaser::Releaser;
use crate::workload::{self, Form};

/// Who decides where pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setup {
    /// kube-scheduler as it is by default.
    Stock,
    /// kube-scheduler that asks an extender about every node.
    Extender,
    /// The first with Jobs that are created suspended, and released by whoever sees them.
    Released,
    /// What `prorata install` prints, and our controller.
    Prorata,
    /// The first with pods instead of Jobs.
    StockPods,
    /// The fourth with pods, which wait by a gate.
    ProrataPods,
}

impl Setup {
    pub(crate) const ALL: [Self; 6] = [
        Self::Stock,
        Self::Extender,
        Self::Released,
        Self::Prorata,
        Self::StockPods,
        Self::ProrataPods,
    ];

    /// Those asked for, each round beginning with another: what drifts hits all alike.
    pub(crate) fn in_turn(round: usize, asked: &[Self]) -> Vec<Self> {
        let mut turn = asked.to_vec();
        turn.rotate_left(round % asked.len());
        turn
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Extender => "extender",
            Self::Released => "released",
            Self::Prorata => "prorata",
            Self::StockPods => "stock, pods",
            Self::ProrataPods => "prorata, pods",
        }
    }

    /// What its users create.
    pub(crate) const fn form(self) -> Form {
        match self {
            Self::Stock | Self::Extender | Self::Prorata => Form::Jobs,
            Self::Released => Form::SuspendedJobs,
            Self::StockPods | Self::ProrataPods => Form::Pods,
        }
    }

    const fn is_ours(self) -> bool {
        matches!(self, Self::Prorata | Self::ProrataPods)
    }
}

/// A control plane with nodes and all that a set-up consists of.
pub(crate) struct Rig {
    /// Goes before the API server that it watches.
    _releaser: Option<Releaser>,
    pub(crate) cluster: Cluster,
    /// Ours, where it runs.
    pub(crate) controller: Option<Process>,
    _extender: Option<Extender>,
    /// Goes after the process that it limits.
    limit: Option<Limit>,
}

impl Rig {
    /// `None` when there is no control plane to start.
    pub(crate) async fn start(setup: Setup, nodes: u32) -> Option<Self> {
        let cluster = Cluster::start(Options::default()).await?;
        let mut rig = Self {
            _releaser: None,
            cluster,
            controller: None,
            _extender: None,
            limit: None,
        };
        match setup {
            Setup::Stock | Setup::StockPods => rig.add_scheduler(json!({})).await,
            Setup::Extender => rig.add_extender().await,
            Setup::Released => {
                rig.add_scheduler(json!({})).await;
                rig._releaser = Some(Releaser::start(&rig.cluster.admin));
            }
            Setup::Prorata | Setup::ProrataPods => rig.add_prorata().await,
        }
        for team in workload::TEAMS {
            let tenant = setup.is_ours().then_some(team);
            rig.cluster.namespace(team, tenant).await;
        }
        nodes::create(&rig.cluster.admin, nodes, &nodes::Shape::default())
            .await
            .unwrap();
        Some(rig)
    }

    /// Lets kube-scheduler have so many cores.
    pub(crate) fn limit_scheduler(&mut self, cores: f64) {
        let pid = self.cluster.plane.pid(Program::Scheduler).unwrap();
        self.limit = Some(Limit::on(pid, cores));
    }

    /// How many of so many Jobs or pods our controller has not yet reported as admitted.
    pub(crate) async fn unreported(&self, objects: usize) -> usize {
        if self.controller.is_none() {
            return 0;
        }
        let all = ListParams::default();
        let records: Api<QueuedJob> = Api::all(self.cluster.admin.clone());
        let admitted = |record: &&QueuedJob| {
            record.status.as_ref().and_then(|s| s.state) == Some(State::Admitted)
        };
        let records = records.list(&all).await.unwrap().items;
        objects - records.iter().filter(admitted).count()
    }

    async fn add_extender(&mut self) {
        let extender = Extender::start().await;
        let changes = json!({
            "percentageOfNodesToScore": 100,
            "extenders": [{
                "urlPrefix": extender.url(),
                "filterVerb": "filter",
                "httpTimeout": "5s",
                "nodeCacheCapable": true,
                "managedResources": [{ "name": GPU, "ignoredByScheduler": false }],
            }],
        });
        self.add_scheduler(changes).await;
        self._extender = Some(extender);
    }

    async fn add_prorata(&mut self) {
        self.cluster.install().await;
        self.cluster.apply(&workload::tenants());
        let site = Site::prepare(&self.cluster.plane).unhurried();
        self.cluster
            .plane
            .start_scheduler(site.scheduler_config())
            .await
            .unwrap();
        self.controller = Some(site.start(&self.cluster.plane).await);
    }

    /// kube-scheduler with its defaults but for what [`Site`] also gives it, and these changes.
    async fn add_scheduler(&mut self, changes: Value) {
        let plane = &mut self.cluster.plane;
        let mut config = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": { "kubeconfig": plane.kubeconfig(User::Scheduler), "qps": 5000, "burst": 10000 },
            "leaderElection": { "leaderElect": false },
            "podMaxBackoffSeconds": 2,
        });
        let Value::Object(changes) = changes else {
            unreachable!("changes are an object")
        };
        config.as_object_mut().unwrap().extend(changes);
        let file: PathBuf = plane.directory().join("kube-scheduler.yaml");
        fs::write(&file, config.to_string()).unwrap();
        plane.start_scheduler(&file).await.unwrap();
    }
}
