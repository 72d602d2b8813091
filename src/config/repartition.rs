//! How nodes come to divide their GPUs in another way.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::read_duration;
use crate::gpus::partition::Partition;

/// How nodes come to divide their GPUs in another way. What an administrator writes into
/// `spec.partition` of a GpuNode is done in any case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Repartition {
    /// What becomes of changes that the jobs that wait would gain by.
    pub mode: Mode,
    /// The modes that may be proposed, such as `exclusive` and `timeslice-4`: the device plugin must
    /// have a configuration of each name. By default those that nodes are in whose label
    /// `nvidia.com/device-plugin.config` says so.
    #[serde(deserialize_with = "read_modes")]
    #[schemars(with = "BTreeSet<String>")]
    pub modes: BTreeSet<Partition>,
    /// For so long jobs must have waited for the same mode.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub after: Duration,
    /// For so long a node stays as it is, at least, once it has been changed: what is gained counts
    /// for this time.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub stays: Duration,
    /// A node that is not empty after so long is given up, and takes pods again.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
    /// A node that does not offer its GPUs in the new mode after so long is reported.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub switch_timeout: Duration,
}

/// What becomes of changes that the jobs that wait would gain by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Nobody looks for any.
    Off,
    /// They are shown and told: an administrator may do as they say.
    #[default]
    Propose,
    /// They are made, one at a time.
    Apply,
}

impl Default for Repartition {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            modes: BTreeSet::new(),
            after: Duration::from_secs(10 * 60),
            stays: Duration::from_secs(60 * 60),
            drain_timeout: Duration::from_secs(30 * 60),
            switch_timeout: Duration::from_secs(10 * 60),
        }
    }
}

fn read_modes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Partition>, D::Error> {
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    let modes = texts.iter().map(|text| text.parse());
    modes
        .collect::<Result<_, String>>()
        .map_err(de::Error::custom)
}
