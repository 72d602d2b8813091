//! Which agents say nothing any more. Nobody has to write that down: the kubelet tells of each agent's
//! pod whether it has looked at its GPUs lately. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

/// The labels of an agent's pod.
pub const SELECTOR: &str = "app.kubernetes.io/name=prorata,app.kubernetes.io/component=agent";

/// The nodes among these whose agent says nothing, and why. Where there are no agents' pods at all,
/// agents run in another way, and nothing is known of them.
#[must_use]
pub fn silent<'a>(
    nodes: impl Iterator<Item = String>,
    pods: impl Iterator<Item = &'a Pod>,
) -> BTreeMap<String, &'static str> {
    let (mut there, mut ready) = (BTreeSet::new(), BTreeSet::new());
    for pod in pods {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else {
            continue;
        };
        there.insert(node);
        if is_ready(pod) {
            ready.insert(node);
        }
    }
    if there.is_empty() {
        return BTreeMap::new();
    }
    let why = |node: String| match (there.contains(&*node), ready.contains(&*node)) {
        (_, true) => None,
        (true, false) => Some((node, "its agent is not ready")),
        (false, false) => Some((node, "no agent runs there")),
    };
    nodes.filter_map(why).collect()
}

/// Of a pod whose kubelet has never said anything nothing is known.
fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let is_over = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"));
    let mut conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    !is_over && ready.is_none_or(|ready| ready.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(node: &str, ready: Option<&str>) -> Pod {
        let conditions: Vec<_> = ready
            .map(|status| json!({"type": "Ready", "status": status}))
            .into_iter()
            .collect();
        let pod = json!({
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": conditions},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn silent_of(pods: &[Pod]) -> Vec<(String, &'static str)> {
        let nodes = ["a", "b", "c", "d"].map(str::to_owned).into_iter();
        silent(nodes, pods.iter()).into_iter().collect()
    }

    #[test]
    fn an_agent_that_is_not_ready_or_not_there_is_silent() {
        let pods = [
            pod("a", Some("True")),
            pod("b", Some("False")),
            pod("c", None),
        ];
        let expected = [
            ("b".to_owned(), "its agent is not ready"),
            ("d".to_owned(), "no agent runs there"),
        ];
        assert_eq!(silent_of(&pods), expected);
    }

    #[test]
    fn while_one_is_replaced_the_new_one_counts() {
        let pods = ["a", "b", "c", "d"].map(|node| pod(node, Some("True")));
        let mut both = vec![pod("a", Some("False"))];
        both.extend(pods);
        assert_eq!(silent_of(&both), []);
    }

    #[test]
    fn where_no_agent_has_a_pod_nothing_is_known() {
        assert_eq!(silent_of(&[]), []);
    }
}
