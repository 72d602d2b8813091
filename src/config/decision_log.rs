//! Where decisions are logged.

use std::path::PathBuf;

use prorata_core::Resource;
use prorata_simulator::quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// A log of decisions. It holds the names and requests of all jobs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionLog {
    /// The file. Older ones have `.1`, `.2` and so on behind its name.
    pub path: PathBuf,
    /// After about so much the next file begins. As `64Mi`.
    #[serde(default = "default_log_size", deserialize_with = "read_bytes")]
    #[schemars(with = "String")]
    pub max_size: u64,
    /// Files that are kept, this one included.
    #[serde(default = "default_log_files")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub files: u32,
}

const fn default_log_size() -> u64 {
    64 << 20
}

const fn default_log_files() -> u32 {
    3
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    quantity::parse(Resource::Memory, &text).map_err(de::Error::custom)
}
