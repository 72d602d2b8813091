//! What is packed: the nodes of one list and the pods of another.

use std::path::Path;
use std::sync::Arc;

use prorata_core::{Gpus, Mix, Mode, Needs, Node, Resource, Resources};

use crate::problem::Problem;
use crate::trace::{self, Oddities, TraceNode, TracePod};

/// Nodes, and pods for them.
#[derive(Clone, Debug)]
pub struct Input {
    /// The cluster.
    pub nodes: Vec<Node>,
    /// What arrives, in any order.
    pub pods: Vec<Pod>,
    /// What was odd about the lists.
    pub oddities: Vec<Oddities>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name in the list.
    pub name: String,
    /// What it asks for.
    pub task: Resources,
    /// What it demands of its node.
    pub needs: Arc<Needs>,
}

impl Input {
    /// Milli-GPU of all nodes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let nodes = self.nodes.iter();
        nodes.map(|node| node.allocatable.get(Resource::Gpu)).sum()
    }

    /// The most frequent kinds of pods that together make up this many percent of all.
    #[must_use]
    pub fn mix(&self, percent: u64) -> Mix {
        let seen = self.pods.iter();
        Mix::of(seen.map(|pod| (pod.task, pod.needs.clone(), 1)), percent)
    }
}

impl Pod {
    /// Milli-GPU that it asks for.
    #[must_use]
    pub const fn milli(&self) -> u64 {
        self.task.get(Resource::Gpu)
    }
}

/// Reads a node list and a pod list of the `openb` format ([`trace::openb`]). GPUs can be shared
/// in any parts.
///
/// # Errors
/// When a file cannot be read or is no such list, and when no node has a GPU or no pod asks for
/// one: then no load ever arrives.
pub fn read(nodes: &Path, pods: &Path) -> Result<Input, Problem> {
    let (listed, odd_nodes) = trace::nodes(nodes)?;
    let mut input = Input {
        nodes: listed.iter().map(node).collect(),
        pods: Vec::new(),
        oddities: vec![odd_nodes],
    };
    let odd_pods = trace::pods(pods, &mut |listed| input.pods.push(pod(listed)))?;
    input.oddities.push(odd_pods);
    if input.capacity() == 0 {
        let remedy = "name a node list with GPUs";
        return Err(wrong(nodes, "gpu", "no node has a GPU", remedy));
    }
    if input.pods.iter().all(|pod| pod.milli() == 0) {
        let remedy = "name a pod list in which some pods ask for GPUs";
        return Err(wrong(pods, "num_gpu", "no pod asks for a GPU", remedy));
    }
    Ok(input)
}

fn wrong(file: &Path, field: &str, what: &str, remedy: &str) -> Problem {
    // The first row is where such a column would begin.
    Problem::new(&file.display().to_string(), field, what, remedy).at_line(2)
}

fn node(listed: &TraceNode) -> Node {
    Node {
        allocatable: Resources::gpus(listed.gpus.into())
            .with(Resource::Cpu, listed.cpu_milli)
            .with(Resource::Memory, listed.memory_bytes),
        gpus: Gpus {
            model: listed.model.as_str().into(),
            mode: Mode::Fractional,
            ..Gpus::default()
        },
        ..Node::new(&listed.name)
    }
}

fn pod(listed: TracePod) -> Pod {
    let gpu = u64::from(listed.gpus) * Resource::Gpu.scale() + listed.milli;
    let models = listed.models.iter().map(|model| model.as_str().into());
    Pod {
        task: Resources::ZERO
            .with(Resource::Gpu, gpu)
            .with(Resource::Cpu, listed.cpu_milli)
            .with(Resource::Memory, listed.memory_bytes),
        needs: Arc::new(Needs {
            models: models.collect(),
            ..Needs::default()
        }),
        name: listed.name,
    }
}
