//! What is submitted, and to whom: the figures of Kueue's `test/performance/scheduler`.

use std::fmt::Write as _;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::api::{Api, PostParams};
use prorata_controlplane::{GPU, nodes};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::from;

const GROUPS: usize = 5;
const TENANTS_EACH: usize = 6;
const OWNED: u32 = 20;
/// GPUs of a whole group: what a tenant owns, and 100 more.
const LIMIT: u32 = 120;

/// A node for each group's worth of GPUs.
pub(crate) const NODES: u32 = 5;
/// GPUs in all.
pub(crate) const GPUS: u32 = NODES * LIMIT;

/// One stream of Jobs of each tenant.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    jobs: u32,
    every: Duration,
    pub(crate) runs: Duration,
    priority: i32,
    pub(crate) gpus: u32,
}

/// The streams.
pub(crate) const CLASSES: [Class; 3] = [
    Class {
        name: "small",
        jobs: 350,
        every: Duration::from_millis(100),
        runs: Duration::from_millis(200),
        priority: 50,
        gpus: 1,
    },
    Class {
        name: "medium",
        jobs: 100,
        every: Duration::from_millis(500),
        runs: Duration::from_millis(500),
        priority: 100,
        gpus: 5,
    },
    Class {
        name: "large",
        jobs: 50,
        every: Duration::from_millis(1200),
        runs: Duration::from_millis(1000),
        priority: 200,
        gpus: 20,
    },
];

/// Creations under way at the same time.
const CLIENTS: usize = 32;

/// All Jobs, in the order of their creation.
pub(crate) struct Load(Vec<Creation>);

struct Creation {
    at: Duration,
    tenant: String,
    class: usize,
    number: u32,
}

impl Load {
    /// So many per cent of each stream.
    pub(crate) fn new(percent: u32) -> Self {
        let mut all = Vec::new();
        for tenant in tenants() {
            for (class, stream) in CLASSES.iter().enumerate() {
                let jobs = (stream.jobs * percent).div_ceil(100);
                all.extend((0..jobs).map(|number| Creation {
                    at: stream.every * number,
                    tenant: tenant.clone(),
                    class,
                    number,
                }));
            }
        }
        all.sort_by_key(|creation| creation.at);
        Self(all)
    }

    /// How many Jobs there are.
    pub(crate) fn jobs(&self) -> usize {
        self.0.len()
    }

    /// What they need in all.
    pub(crate) fn gpu_seconds(&self) -> f64 {
        let of = |creation: &Creation| {
            let class = &CLASSES[creation.class];
            f64::from(class.gpus) * class.runs.as_secs_f64()
        };
        self.0.iter().map(of).sum()
    }

    /// Creates each when it is due, or as soon after as the API server lets us.
    pub(crate) async fn submit(&self, client: &Client) {
        let start = Instant::now();
        let create = |creation: &Creation| {
            let api: Api<Job> = Api::namespaced(client.clone(), &creation.tenant);
            let (job, due) = (creation.job(), start + creation.at);
            async move {
                tokio::time::sleep_until(due).await;
                api.create(&PostParams::default(), &job).await.unwrap();
            }
        };
        let creations = stream::iter(self.0.iter().map(create));
        creations.buffer_unordered(CLIENTS).collect::<()>().await;
    }
}

impl Creation {
    fn job(&self) -> Job {
        let class = &CLASSES[self.class];
        from(json!({
            "metadata": { "name": format!("{}-{:03}", class.name, self.number) },
            "spec": { "template": { "spec": {
                "restartPolicy": "Never",
                "priorityClassName": class.name,
                "containers": [{
                    "name": "main",
                    "image": "train",
                    "resources": { "limits": { GPU: class.gpus.to_string() } },
                }],
            } } },
        }))
    }
}

/// What each node offers.
pub(crate) fn node() -> nodes::Shape {
    nodes::Shape {
        gpus: LIMIT,
        ..nodes::Shape::default()
    }
}

fn tenants() -> impl Iterator<Item = String> {
    (0..GROUPS * TENANTS_EACH).map(|number| format!("tenant-{}-{}", number / 6, number % 6))
}

/// Classes, groups, tenants and their namespaces.
pub(crate) fn manifests() -> String {
    let mut yaml = String::new();
    for class in &CLASSES {
        let _ = write!(
            yaml,
            "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {}}}\nvalue: {}\n",
            class.name, class.priority
        );
    }
    for group in 0..GROUPS {
        let _ = write!(
            yaml,
            "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: group-{group}}}\n\
             spec: {{guaranteed: {{gpu: {LIMIT}}}, limit: {{gpu: {LIMIT}}}}}\n"
        );
    }
    for tenant in tenants() {
        let group = &tenant["tenant-".len()..][..1];
        let _ = write!(
            yaml,
            "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\n\
             spec: {{parent: group-{group}, guaranteed: {{gpu: {OWNED}}}, limit: {{gpu: {LIMIT}}}}}\n\
             ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {tenant}, labels: {{prorata.dev/tenant: {tenant}}}}}\n"
        );
    }
    yaml
}
