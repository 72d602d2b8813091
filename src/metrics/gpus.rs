//! What the agents on GPU nodes have told of trouble. Only nodes that have some have a label.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Nodes that are told apart.
const NODES_MAX: usize = 1000;

/// Nodes with trouble.
#[derive(Clone, Debug, Default)]
pub(super) struct GpuNodes {
    /// What pods fight for, by node and the tenant of the pod to blame; empty where nobody is.
    pub(super) noisy: BTreeMap<(String, String), i64>,
    /// Those whose agent is silent.
    pub(super) silent: BTreeSet<String>,
    /// Those that do not come to divide their GPUs as they are to, and stay cordoned.
    pub(super) stalled: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Blamed {
    node: String,
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Node {
    node: String,
}

impl GpuNodes {
    pub(super) fn register(&self, registry: &mut Registry) {
        let noisy = Family::<Blamed, Gauge>::default();
        for ((node, tenant), count) in self.noisy.iter().take(NODES_MAX) {
            let label = Blamed {
                node: node.clone(),
                tenant: tenant.clone(),
            };
            noisy.get_or_create(&label).set(*count);
        }
        let help = "What pods on shared GPUs of a node fight for, by the tenant of the pod that uses more than its part";
        registry.register("noisy_neighbours", help, noisy);
        let help = "Nodes with a GpuNode whose agent says nothing any more";
        registry.register("gpu_agent_silent", help, each(&self.silent));
        let help = "Nodes that do not come to divide their GPUs as they are to, and stay cordoned";
        registry.register("gpu_repartition_stalled", help, each(&self.stalled));
    }
}

/// One for each of these nodes.
fn each(nodes: &BTreeSet<String>) -> Family<Node, Gauge> {
    let family = Family::<Node, Gauge>::default();
    for node in nodes.iter().take(NODES_MAX) {
        family.get_or_create(&Node { node: node.clone() }).set(1);
    }
    family
}
