//! The scenario's file, field by field.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::written::{Mix, Text, Written, nothing_or};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) api_version: Text,
    pub(super) kind: Text,
    pub(super) name: Text,
    #[serde(default)]
    pub(super) description: String,
    pub(super) seed: Option<Text>,
    pub(super) pools: BTreeMap<String, Written<Pool>>,
    /// May be left out where a trace brings its own.
    pub(super) tenants: Option<Spanned<Vec<Written<Tenant>>>>,
    /// A file with the `Tenant` objects of a cluster, beside those above.
    pub(super) tenants_from: Option<Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) priority_classes: BTreeMap<String, Written<Class>>,
    pub(super) policy: Option<Written<Policy>>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) faults: Vec<Written<Fault>>,
    /// Exactly one of this and `trace`.
    pub(super) workload: Option<Spanned<Vec<Written<Stream>>>>,
    pub(super) trace: Option<Written<Trace>>,
    pub(super) until: Option<Text>,
    /// When it begins by the calendar (RFC 3339).
    pub(super) begins: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Pool {
    pub(super) count: Text,
    pub(super) gpus: Text,
    pub(super) model: Option<Text>,
    pub(super) mode: Option<Text>,
    pub(super) gpu_memory: Option<Text>,
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) labels: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) taints: Vec<Text>,
    pub(super) price: Option<Text>,
    pub(super) failures: Option<Written<Failures>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failures {
    pub(super) mtbf: Text,
    pub(super) repair: Text,
}

/// The same fields as the `Tenant` object of a cluster has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Tenant {
    pub(super) name: Text,
    pub(super) parent: Option<Text>,
    pub(super) weight: Option<Text>,
    pub(super) guaranteed: Option<Written<Amounts>>,
    pub(super) lending_limit: Option<Written<Amounts>>,
    pub(super) limit: Option<Written<Amounts>>,
    pub(super) node_pool: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Amounts {
    pub(super) gpu: Option<Text>,
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
    pub(super) gpu_memory: Option<Text>,
}

/// A PriorityClass; a single value is its `value`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Class {
    pub(super) value: Text,
    pub(super) cluster_wide: Option<Text>,
    pub(super) protected: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Policy {
    pub(super) orders: Option<Vec<Text>>,
    pub(super) place: Option<Text>,
    pub(super) preemption: Option<Written<Preemption>>,
    pub(super) reserve_after: Option<Text>,
    pub(super) half_life: Option<Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) values: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) topology: Vec<Text>,
    pub(super) mix: Option<Text>,
    pub(super) neighbours: Option<Text>,
}

/// A single value is its `enabled`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Preemption {
    pub(super) enabled: Option<Text>,
    pub(super) min_runtime: Option<Text>,
    pub(super) loss_budget: Option<Text>,
    pub(super) fair_share: Option<Text>,
}

/// Exactly one of `node` and `pool`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) at: Text,
    pub(super) node: Option<Text>,
    pub(super) pool: Option<Text>,
    #[serde(rename = "for")]
    pub(super) span: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Stream {
    pub(super) tenant: Text,
    pub(super) name: Text,
    pub(super) jobs: Text,
    pub(super) arrivals: Written<Arrivals>,
    pub(super) gang: Option<Spanned<Mix>>,
    pub(super) task: Written<Task>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) models: Vec<Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) select: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "nothing_or")]
    pub(super) tolerate: Vec<Text>,
    pub(super) duration: Written<Runtime>,
    pub(super) priority: Option<Text>,
    pub(super) max_duration: Option<Text>,
    pub(super) checkpoint: Option<Text>,
    pub(super) restart: Option<Text>,
    pub(super) busy: Option<Text>,
    pub(super) work: Option<Text>,
    pub(super) preemptible: Option<Text>,
}

/// At most one of `gpu` and `share`; `profile` goes with `gpu`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Task {
    pub(super) gpu: Option<Text>,
    pub(super) share: Option<Text>,
    pub(super) gpu_memory: Option<Text>,
    pub(super) profile: Option<Text>,
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
}

/// Exactly one of `at`, `every`, `poisson` and `diurnal`; `from` goes with all but the first,
/// `growth` with the last two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrivals {
    pub(super) at: Option<Text>,
    pub(super) every: Option<Text>,
    pub(super) poisson: Option<Written<Poisson>>,
    pub(super) diurnal: Option<Written<Diurnal>>,
    pub(super) from: Option<Text>,
    pub(super) growth: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Poisson {
    pub(super) mean: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Diurnal {
    pub(super) mean: Text,
    pub(super) peak: Text,
    pub(super) ratio: Text,
    pub(super) weekend: Option<Text>,
}

/// Exactly one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Runtime {
    pub(super) fixed: Option<Text>,
    pub(super) lognormal: Option<Written<Lognormal>>,
    /// Durations with weights.
    pub(super) empirical: Option<Spanned<Mix>>,
    pub(super) quantiles: Option<Written<Quantiles>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lognormal {
    pub(super) median: Text,
    pub(super) sigma: Text,
}

/// A column of a CSV file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantiles {
    pub(super) file: Text,
    pub(super) column: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Trace {
    /// May be left out where the command line names one.
    pub(super) source: Option<Text>,
    pub(super) tenants: Option<Text>,
    pub(super) days: Option<Text>,
    pub(super) jobs: Option<Text>,
    pub(super) gpus_per_task: Option<Text>,
    pub(super) cpu_per_gpu: Option<Text>,
    pub(super) memory_per_gpu: Option<Text>,
    pub(super) runtime: Option<Text>,
    #[serde(default)]
    pub(super) priorities: BTreeMap<String, Text>,
    pub(super) priority: Option<Text>,
    pub(super) max_duration: Option<Text>,
    pub(super) checkpoint: Option<Text>,
    pub(super) restart: Option<Text>,
    pub(super) busy: Option<Text>,
    pub(super) preemptible: Option<Text>,
}
