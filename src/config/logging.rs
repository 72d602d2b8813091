//! What is logged, and how.

use schemars::JsonSchema;
use serde::Deserialize;

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Logging {
    /// The least important message that is still written.
    pub level: Level,
    /// What a message looks like.
    pub format: Format,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// What an operator wants to have read.
    #[default]
    Info,
    /// What explains a decision.
    Debug,
    /// Everything.
    Trace,
}

/// What a message looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}
