//! Who has which part of which GPU, by what the API server has of pods and nodes and by what the
//! kubelets handed out; and what of that must never be.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use prorata::api::{GpuNode, labels};
use prorata_controlplane::Grant;

use super::inputs::SLOTS;

/// A card in thousandths.
const WHOLE: u64 = 1000;

/// What a pod was promised of one card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Promise {
    milli: u64,
    mib: u64,
}

/// The cards of a node that splits them.
struct Cards {
    slots: u64,
    count: u64,
    mib: u64,
}

impl Cards {
    fn of(node: &Node) -> Option<Self> {
        let number = |key: &str| node.labels().get(key)?.parse().ok();
        Some(Self {
            slots: number(labels::GPU_REPLICAS)?,
            count: number(labels::GPU_COUNT)?,
            mib: number(labels::GPU_MIB)?,
        })
    }
}

/// What must not be, in words; nothing if all is well.
pub(crate) fn violations(
    (nodes, gpu_nodes): (&[&Node], &[&GpuNode]),
    pods: &[&Pod],
    grants: &[Grant],
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let nodes: BTreeMap<String, &Node> = nodes.iter().map(|n| (n.name_any(), *n)).collect();
    let mut on: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_over(pod)) {
        if let Some(node) = node_of(pod) {
            on.entry(node).or_default().push(pod);
        }
    }
    for (name, pods) in &on {
        match nodes.get(*name) {
            Some(node) => found.extend(on_node(node, pods)),
            None => drop(found.insert(format!("{name}: pods on a node that is not there"))),
        }
    }
    let promises: BTreeMap<String, Promise> = pods
        .iter()
        .map(|pod| (pod.uid().unwrap_or_default(), promised(pod)))
        .collect();
    found.extend(on_cards(&nodes, &promises, grants));
    found.extend(on_gpu_nodes(&nodes, &promises, gpu_nodes));
    found
}

/// By what the agents tell of each card.
fn on_gpu_nodes(
    nodes: &BTreeMap<String, &Node>,
    promises: &BTreeMap<String, Promise>,
    gpu_nodes: &[&GpuNode],
) -> Vec<String> {
    let mut found = Vec::new();
    for gpu_node in gpu_nodes {
        let name = gpu_node.name_any();
        let Some(of) = nodes.get(&name).and_then(|node| Cards::of(node)) else {
            continue;
        };
        let gpus = gpu_node.status.iter().flat_map(|status| &status.gpus);
        let mut once: BTreeSet<&String> = BTreeSet::new();
        for gpu in gpus {
            let (mut slots, mut sum) = (0, Promise::default());
            for pod in &gpu.pods {
                let uid = pod.uid.as_ref().unwrap();
                let promise = promises.get(uid).copied().unwrap_or_default();
                slots += u64::from(pod.slots);
                sum.milli += promise.milli;
                sum.mib += promise.mib;
                if !once.insert(uid) {
                    found.push(format!("{name}: {uid} has two slots"));
                }
            }
            if u64::from(gpu.index) >= of.count
                || slots > of.slots
                || sum.milli > WHOLE
                || sum.mib > of.mib
            {
                found.push(format!("{name}, GPU {}: {slots} slots, {sum:?}", gpu.index));
            }
        }
    }
    found
}

/// By the API server alone: which card a pod has it does not know.
fn on_node(node: &Node, pods: &[&Pod]) -> Vec<String> {
    let name = node.name_any();
    let mut found = Vec::new();
    let capacity = node
        .status
        .as_ref()
        .and_then(|status| status.capacity.as_ref());
    for (resource, quantity) in capacity.into_iter().flatten() {
        if !resource.contains('/') {
            continue;
        }
        let there: u64 = quantity.0.parse().unwrap();
        let taken: u64 = pods.iter().map(|pod| limit(pod, resource)).sum();
        if taken > there {
            found.push(format!("{name}: {taken} of {there} {resource}"));
        }
    }
    let Some(cards) = Cards::of(node) else {
        return found;
    };
    let sharing = pods.iter().filter(|pod| limit(pod, SLOTS) > 0);
    let mut total = Promise::default();
    for pod in sharing {
        let promise = promised(pod);
        total.milli += WHOLE / cards.slots;
        total.mib += promise.mib;
        if promise.milli > WHOLE / cards.slots || promise.mib > cards.mib / cards.slots {
            found.push(format!(
                "{name}: {} was promised {promise:?}, more than a slot",
                pod.name_any()
            ));
        }
    }
    if total.milli > cards.count * WHOLE || total.mib > cards.count * cards.mib {
        found.push(format!("{name}: {total:?} of {} cards", cards.count));
    }
    found
}

/// By what the plugins handed out, card by card.
fn on_cards(
    nodes: &BTreeMap<String, &Node>,
    promises: &BTreeMap<String, Promise>,
    grants: &[Grant],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut held: BTreeSet<&String> = BTreeSet::new();
    let mut cards: BTreeMap<(&String, &str), (u64, Promise)> = BTreeMap::new();
    for grant in grants {
        for id in &grant.ids {
            if !held.insert(id) {
                found.push(format!("{id} is held twice"));
            }
            let Some((card, _)) = id.split_once("::") else {
                continue;
            };
            let promise = promises.get(&grant.uid).copied().unwrap_or_default();
            let (slots, sum) = cards.entry((&grant.node, card)).or_default();
            *slots += 1;
            sum.milli += promise.milli;
            sum.mib += promise.mib;
        }
    }
    for ((node, card), (slots, sum)) in cards {
        let Some(of) = nodes.get(node).and_then(|node| Cards::of(node)) else {
            continue;
        };
        if slots > of.slots || sum.milli > WHOLE || sum.mib > of.mib {
            found.push(format!("{card}: {slots} slots, {sum:?}"));
        }
    }
    found
}

/// What its annotations ask for.
fn promised(pod: &Pod) -> Promise {
    let said = |key: &str| pod.annotations().get(key).map(String::as_str);
    let milli = said(labels::GPU_SHARE).and_then(|text| text.strip_suffix('m')?.parse().ok());
    let gib: Option<u64> =
        said(labels::GPU_MEMORY).and_then(|t| t.strip_suffix("Gi")?.parse().ok());
    Promise {
        milli: milli.unwrap_or_default(),
        mib: gib.unwrap_or_default() * 1024,
    }
}

pub(crate) fn limit(pod: &Pod, resource: &str) -> u64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits = containers.filter_map(|c| c.resources.as_ref()?.limits.as_ref()?.get(resource));
    limits
        .map(|quantity| quantity.0.parse::<u64>().unwrap())
        .sum()
}

pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

pub(crate) fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or_default()
}

pub(crate) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::from;
    use serde_json::json;

    fn node() -> Node {
        from(json!({
            "metadata": {"name": "n", "labels": {
                labels::GPU_REPLICAS: "2", labels::GPU_COUNT: "1", labels::GPU_MIB: "16384",
            }},
            "status": {"capacity": {SLOTS: "2"}},
        }))
    }

    fn pod(name: &str, share: &str, memory: &str) -> Pod {
        from(json!({
            "metadata": {"name": name, "uid": name, "annotations": {
                labels::GPU_SHARE: share, labels::GPU_MEMORY: memory,
            }},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"limits": {SLOTS: "1"}}}]},
        }))
    }

    fn grant(uid: &str, id: &str) -> Grant {
        Grant {
            uid: uid.to_owned(),
            node: "n".to_owned(),
            ids: vec![id.to_owned()],
        }
    }

    /// A census that finds nothing wrong says something only if it can find something.
    #[test]
    fn what_must_not_be_is_found() {
        let node = node();
        let found = |pods: &[Pod], grants: &[Grant]| {
            let pods: Vec<&Pod> = pods.iter().collect();
            violations((&[&node], &[]), &pods, grants)
        };
        let (a, b) = (pod("a", "500m", "8Gi"), pod("b", "500m", "8Gi"));
        let apart = [grant("a", "GPU-n-0::0"), grant("b", "GPU-n-0::1")];
        assert_eq!(found(&[a.clone(), b.clone()], &apart), BTreeSet::new());
        let third = pod("c", "1m", "1Gi");
        let crowd = found(&[a.clone(), b.clone(), third], &apart);
        assert!(crowd.iter().any(|v| v.contains("3 of 2")), "{crowd:?}");
        let large = found(&[pod("d", "501m", "1Gi")], &[]);
        assert!(
            large.iter().any(|v| v.contains("more than a slot")),
            "{large:?}"
        );
        let greedy = found(&[pod("e", "1m", "9Gi")], &[]);
        assert!(
            greedy.iter().any(|v| v.contains("more than a slot")),
            "{greedy:?}"
        );
        let twice = [grant("a", "GPU-n-0::0"), grant("b", "GPU-n-0::0")];
        assert!(found(&[a.clone(), b.clone()], &twice).contains("GPU-n-0::0 is held twice"));
        let told = |pods: &[(&str, u32)]| {
            let pods = pods.iter().map(
                |(uid, slots)| json!({"namespace": "n", "name": uid, "uid": uid, "slots": slots}),
            );
            let gpu = json!({"index": 0, "pods": pods.collect::<Vec<_>>()});
            let told: GpuNode = from(json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "GpuNode",
                "metadata": {"name": "n"}, "spec": {}, "status": {"gpus": [gpu]},
            }));
            violations((&[&node], &[&told]), &[&a, &b], &[])
        };
        assert_eq!(told(&[("a", 1), ("b", 1)]), BTreeSet::new());
        let crowd = told(&[("a", 1), ("b", 2)]);
        assert!(crowd.iter().any(|v| v.contains("3 slots")), "{crowd:?}");
        let twice = told(&[("a", 1), ("a", 1)]);
        assert!(twice.contains("n: a has two slots"), "{twice:?}");
    }
}
