//! Nodes that a Tenant has alone: whether they are set apart as they should be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::ResourceExt;

use super::finding::{Finding, few};
use crate::api::{Tenant, labels};

const CHECK: &str = "node-pools";

/// What of the pools that Tenants claim is not as it should be, the worst first.
pub(super) fn judge(
    tenants: &[Tenant],
    nodes: &[Node],
    namespaces: &[Namespace],
    pods: &[Pod],
) -> Finding {
    let claims = tenants
        .iter()
        .filter_map(|tenant| Some((tenant.spec.node_pool()?, tenant.name_any())));
    let claims: BTreeMap<&str, String> = claims.collect();
    if claims.is_empty() {
        return Finding::ok(CHECK, "no tenant has nodes of its own");
    }
    let of_pool = |node: &Node| node.labels().get(labels::NODE_POOL).cloned();
    let pools: BTreeMap<String, String> = nodes
        .iter()
        .filter_map(|node| Some((node.name_any(), of_pool(node)?)))
        .filter(|(_, pool)| claims.contains_key(pool.as_str()))
        .collect();
    let strangers = strangers(&pools, namespaces, pods);
    if !strangers.is_empty() {
        let seen = format!("pods of other tenants are in pools: {}", few(&strangers));
        return Finding::fail(
            CHECK,
            seen,
            "delete these pods: nothing new of the pool's tenant starts beside jobs of others",
        );
    }
    let open = nodes.iter().filter(|node| {
        let pool = pools.get(&node.name_any());
        pool.is_some_and(|pool| !is_tainted(node, pool))
    });
    let open: Vec<String> = open.map(ResourceExt::name_any).collect();
    if !open.is_empty() {
        let seen = format!(
            "nodes of pools without their taint, where pods without GPUs of others may go: {}",
            few(&open)
        );
        let remedy = format!(
            "`kubectl taint node NODE {}=POOL:NoSchedule`",
            labels::NODE_POOL
        );
        return Finding::fail(CHECK, seen, remedy);
    }
    let is_empty = |pool: &str| !pools.values().any(|of| of == pool);
    let empty = claims.iter().filter(|(pool, _)| is_empty(pool));
    let empty: Vec<String> = empty
        .map(|(pool, tenant)| format!("{pool} of {tenant}"))
        .collect();
    if !empty.is_empty() {
        let seen = format!("pools without a node: {}", few(&empty));
        let remedy = format!("`kubectl label node NODE {}=POOL`", labels::NODE_POOL);
        return Finding::warn(CHECK, seen, remedy);
    }
    let of = |(pool, tenant): (&&str, &String)| format!("{pool} of {tenant}");
    let all: Vec<String> = claims.iter().map(of).collect();
    Finding::ok(CHECK, few(&all))
}

/// Pods of tenants on nodes of a pool that is not their namespace's.
fn strangers(
    pools: &BTreeMap<String, String>,
    namespaces: &[Namespace],
    pods: &[Pod],
) -> Vec<String> {
    let label = |namespace: &Namespace, key| namespace.labels().get(key).cloned();
    let tenants: BTreeMap<String, Option<String>> = namespaces
        .iter()
        .filter(|namespace| label(namespace, labels::TENANT).is_some())
        .map(|namespace| (namespace.name_any(), label(namespace, labels::NODE_POOL)))
        .collect();
    let is_over = |pod: &Pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let stranger = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let both = node
            .and_then(|node| pools.get(node))
            .zip(tenants.get(&pod.namespace().unwrap_or_default()));
        both.is_some_and(|(pool, own)| own.as_ref() != Some(pool)) && !is_over(pod)
    };
    let name = |pod: &Pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    pods.iter().filter(stranger).map(name).collect()
}

fn is_tainted(node: &Node, pool: &str) -> bool {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let mut hard = taints.filter(|taint| taint.effect != "PreferNoSchedule");
    hard.any(|taint| taint.key == labels::NODE_POOL && taint.value.as_deref() == Some(pool))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use serde_json::{Value, json};

    fn read<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<T> {
        let one = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        values.iter().map(one).collect()
    }

    fn node(pool: &str, tainted: bool) -> Value {
        let taint = json!({ "key": labels::NODE_POOL, "value": pool, "effect": "NoSchedule" });
        let taints = if tainted { vec![taint] } else { Vec::new() };
        json!({
            "metadata": { "name": format!("node-{pool}"), "labels": { labels::NODE_POOL: pool } },
            "spec": { "taints": taints },
        })
    }

    #[test]
    fn a_pool_is_tainted_and_has_nodes_and_no_strangers() {
        let tenants = read(&[json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "clinic" },
            "spec": { "compliance": { "class": "hipaa", "nodePool": "hipaa" } },
        })]);
        let namespace = |name: &str, pool: Option<&str>| {
            let mut labels = json!({ labels::TENANT: name });
            if let Some(pool) = pool {
                labels[labels::NODE_POOL] = json!(pool);
            }
            json!({ "metadata": { "name": name, "labels": labels } })
        };
        let namespaces = read(&[
            namespace("clinic-prod", Some("hipaa")),
            namespace("lab", None),
            json!({ "metadata": { "name": "kube-system" } }),
        ]);
        let judge = |nodes: &[Value], running: &[&str]| {
            let pod = |namespace: &&str| {
                json!({
                    "metadata": { "name": "p", "namespace": namespace },
                    "spec": { "nodeName": "node-hipaa", "containers": [] },
                })
            };
            let pods = read(&running.iter().map(pod).collect::<Vec<_>>());
            let finding = judge(&tenants, &read(nodes), &namespaces, &pods);
            (finding.verdict, finding.seen)
        };
        let own = ["clinic-prod", "kube-system"];
        let right = node("hipaa", true);
        let (verdict, seen) = judge(&[right.clone(), node("else", false)], &own);
        assert_eq!((verdict, &*seen), (Verdict::Ok, "hipaa of clinic"));
        let (verdict, seen) = judge(&[right], &["clinic-prod", "lab"]);
        assert_eq!(verdict, Verdict::Fail);
        assert!(seen.ends_with("in pools: lab/p"), "{seen}");
        let (verdict, seen) = judge(&[node("hipaa", false)], &own);
        assert_eq!(verdict, Verdict::Fail);
        assert!(seen.ends_with("may go: node-hipaa"), "{seen}");
        assert_eq!(judge(&[], &[]).0, Verdict::Warn);
    }
}
