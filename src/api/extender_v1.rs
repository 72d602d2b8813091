//! The extender's wire format: what kube-scheduler sends, and what it reads.
//!
//! Kubernetes' Go types carry no JSON tags, so the keys are Go names in UpperCamelCase; what is
//! inside a pod is ordinary Kubernetes JSON. Unused fields arrive as `null`. Only what answers
//! depend on is read: a pod has some 40 fields, and this is the hottest path there is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Body of `POST /filter` and `POST /prioritize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Args {
    /// The pod that is to be placed.
    pub pod: Pod,
    /// Whole nodes; sent only without `nodeCacheCapable`.
    #[serde(default)]
    pub nodes: Option<serde::de::IgnoredAny>,
    /// The nodes that kube-scheduler would take.
    #[serde(default)]
    pub node_names: Option<Vec<String>>,
}

/// What kube-scheduler is told of a pod, before the name of the node of its place, where that is not among
/// those it asks about and it need not have looked at it: from 100 nodes on it looks for as many as it
/// thinks enough. It writes that into the pod's condition, where the controller reads it.
const OVERLOOKED: &str = "Prorata: kube-scheduler has not looked at this pod's node ";

/// The same, with the name.
#[must_use]
pub fn overlooked(node: &str) -> String {
    format!("{OVERLOOKED}{node}")
}

/// The node that a message says has been overlooked. Of other pods of a group it says the same, with more
/// around it.
#[must_use]
pub fn overlooked_in(message: &str) -> Option<&str> {
    let name = message.strip_prefix(OVERLOOKED)?;
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    name.chars().all(is_of_a_name).then_some(name)
}

/// What an answer depends on of a pod.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// Who it is.
    pub metadata: Metadata,
    /// What it asks for, as it came: most answers do not depend on it.
    pub spec: Box<RawValue>,
    /// What became of it so far.
    #[serde(default)]
    pub status: Option<PodStatus>,
}

/// What an answer depends on of a pod's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// The node that it has been told to try first.
    pub nominated_node_name: Option<String>,
}

/// What an answer depends on of a pod's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Among others the completion index.
    pub annotations: BTreeMap<String, String>,
    /// Who made it.
    pub owner_references: Vec<Owner>,
}

/// Who made a pod.
#[derive(Clone, Debug, Deserialize)]
pub struct Owner {
    /// API group and version of the owner.
    #[serde(default, rename = "apiVersion")]
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether it manages the pod.
    #[serde(default)]
    pub controller: bool,
}

/// Answer to `POST /filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilterResult<'a> {
    /// The nodes that may be taken.
    pub node_names: Vec<&'a str>,
    /// Why each of the others may not, where preemption might help. Not read when a node is left.
    pub failed_nodes: BTreeMap<&'a str, &'static str>,
    /// The same, where preemption cannot help.
    pub failed_and_unresolvable_nodes: BTreeMap<&'a str, &'static str>,
    /// What is wrong with the call itself.
    pub error: Cow<'static, str>,
}

/// One node of the answer to `POST /prioritize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority<'a> {
    /// The node.
    pub host: &'a str,
    /// From 0 to 10, the higher the better.
    pub score: u8,
}

/// Answer to `POST /preempt`: on which nodes which victims may be evicted. We name none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreemptResult {
    /// Nodes with their victims.
    pub node_name_to_meta_victims: BTreeMap<String, ()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_node_has_been_overlooked_is_read_where_nothing_else_is_said() {
        let told = overlooked("gpu-07.example");
        assert_eq!(overlooked_in(&told), Some("gpu-07.example"));
        let others = format!("failed to schedule other pod from a pod group: {told}");
        assert_eq!(overlooked_in(&others), None);
        assert_eq!(overlooked_in(&format!("{told}, and more")), None);
    }
}
