//! Who has to leave for whom.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::read_duration;

/// Who has to leave for whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Preemption {
    /// Whether anybody has to.
    pub enabled: bool,
    /// Nobody leaves before having run this long; without it, anybody may at once.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub min_runtime: Duration,
    /// GPU-seconds of work that may be lost within an hour; without it, any.
    pub loss_budget: Option<u64>,
    /// Whether anybody leaves only because its tenant has more than its fair share. Otherwise only
    /// tenants that want back what they are guaranteed, and higher priorities of the same tenant,
    /// have others leave.
    pub fair_share: bool,
    /// Pods of a victim that have not ended after so long are no longer waited for: they keep
    /// their room, and whoever was to get it looks elsewhere. For half of that a
    /// PodDisruptionBudget may put off the eviction of a pod; then the pod is deleted, as
    /// kube-scheduler does where it finds no other victims.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub victim_timeout: Duration,
    /// What becomes of the pods on a GPU with MPS when the clients of a victim cannot be ended by
    /// themselves within `victimTimeout`.
    pub mps_clients: MpsClients,
}

/// What becomes of all on a GPU with MPS when the clients of one cannot be ended by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MpsClients {
    /// All leave, if all of them may be evicted; otherwise nobody does.
    #[default]
    Together,
    /// Nobody does.
    Stay,
}

impl Default for Preemption {
    fn default() -> Self {
        let core = prorata_core::Preemption::default();
        Self {
            enabled: core.enabled,
            min_runtime: core.min_runtime,
            loss_budget: core.loss_budget,
            fair_share: core.fair_share,
            victim_timeout: Duration::from_secs(2 * 60),
            mps_clients: MpsClients::default(),
        }
    }
}
