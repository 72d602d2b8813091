//! Node objects without machines.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};

use crate::GPU;
use crate::error::Result;

/// What a node offers.
#[derive(Clone, Debug)]
pub struct Shape {
    /// CPU, as a Kubernetes quantity.
    pub cpu: String,
    /// Memory, as a Kubernetes quantity.
    pub memory: String,
    /// Whole GPUs; a node with none does not name the resource.
    pub gpus: u32,
    /// Other devices, by resource, such as slots of GPUs.
    pub devices: BTreeMap<String, u32>,
    /// Labels beyond the host name.
    pub labels: BTreeMap<String, String>,
}

/// How many requests are under way at once.
const IN_FLIGHT: usize = 16;

impl Default for Shape {
    /// Eight GPUs, and as much beside them as no test uses up.
    fn default() -> Self {
        Self {
            cpu: "128".to_owned(),
            memory: "1Ti".to_owned(),
            gpus: 8,
            devices: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// The name of the n-th node, counted from 1. Names sort as numbers do, up to 9,999.
#[must_use]
pub fn name(number: u32) -> String {
    format!("node-{number:04}")
}

/// Creates the nodes 1 to `count`, ready for pods.
///
/// # Errors
///
/// When the API server refuses one.
pub async fn create(client: &kube::Client, count: u32, shape: &Shape) -> Result<()> {
    create_all(
        client,
        (1..=count).map(|number| (name(number), shape.clone())),
    )
    .await
}

/// Creates nodes of these names and shapes, ready for pods.
///
/// # Errors
///
/// When the API server refuses one.
pub async fn create_all(
    client: &kube::Client,
    nodes: impl IntoIterator<Item = (String, Shape)>,
) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    stream::iter(nodes)
        .map(|(name, shape)| {
            let (api, node) = (api.clone(), node(name, &shape));
            async move { api.create(&PostParams::default(), &node).await }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// The API server keeps the status of a node that is created with one.
fn node(name: String, shape: &Shape) -> Node {
    let mut labels = shape.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), name.clone());
    let resources = resources(shape);
    Node {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(NodeStatus {
            capacity: Some(resources.clone()),
            allocatable: Some(resources),
            conditions: Some(vec![ready()]),
            ..NodeStatus::default()
        }),
    }
}

fn resources(shape: &Shape) -> BTreeMap<String, Quantity> {
    let mut resources = BTreeMap::from([
        ("cpu".to_owned(), Quantity(shape.cpu.clone())),
        ("memory".to_owned(), Quantity(shape.memory.clone())),
        ("pods".to_owned(), Quantity("110".to_owned())),
    ]);
    if shape.gpus > 0 {
        resources.insert(GPU.to_owned(), Quantity(shape.gpus.to_string()));
    }
    let devices = shape.devices.iter();
    resources.extend(devices.map(|(name, count)| (name.clone(), Quantity(count.to_string()))));
    resources
}

fn ready() -> NodeCondition {
    let now = Time(Timestamp::now());
    NodeCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: Some("KubeletReady".to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now),
        ..NodeCondition::default()
    }
}
