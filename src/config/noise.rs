//! What becomes of pods that disturb others on a shared GPU.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::read_duration;

/// What becomes of pods that disturb others on a shared GPU. From when on they do, the agents are
/// told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Noise {
    /// What is done about it.
    pub action: Action,
    /// For so long after that a job that is moved is not started where it disturbed others.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub moved_for: Duration,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            action: Action::default(),
            moved_for: Duration::from_secs(60 * 60),
        }
    }
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
    /// The same as `report`, and the job of the pod to blame is started elsewhere the next time.
    /// Nobody is stopped for it.
    MoveAtRestart,
}
