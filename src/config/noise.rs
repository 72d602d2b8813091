//! What becomes of pods that disturb others on a shared GPU.

use schemars::JsonSchema;
use serde::Deserialize;

/// What becomes of pods that disturb others on a shared GPU. From when on they do, the agents are
/// told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Noise {
    /// What is done about it.
    pub action: Action,
}

/// What is done about pods that disturb others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Events tell the users of the pods, and an Event of the node its administrators.
    #[default]
    Report,
    /// The same, and while it lasts the shared GPUs of that node take nobody new. Whoever is there
    /// stays.
    StopSharing,
}
