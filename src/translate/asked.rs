//! What a pod asks for of GPUs: whole cards, a slot of a card that is split, instances of one that is
//! partitioned. How large a slot has to be its annotations say.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as k8s;
use prorata_core::needs::Text;
use prorata_core::{Needs, Resource, Resources};
use prorata_simulator::quantity::{self, QuantityError};

use super::pod;
use crate::api::{labels, resources};

/// Annotations of a pod.
pub type Annotations = BTreeMap<String, String>;

/// Largest share of a slot, in thousandths: a card is split in two at least.
const SHARE_MAX: u64 = 500;

/// One slot, in the units in which cards are counted.
const ONE: u64 = 1000;

/// Why it cannot be told what a pod asks for. The text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// An amount of a resource cannot be read.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// The share is none.
    #[error(
        "annotation {key}: `{0}` is no share of a GPU: write thousandths of one, from 1m to 500m",
        key = labels::GPU_SHARE
    )]
    Share(String),
    /// The memory is none.
    #[error(
        "annotation {key}: `{0}` is no memory of a GPU: write an amount such as 8Gi or 512Mi",
        key = labels::GPU_MEMORY
    )]
    Memory(String),
    /// More slots than one.
    #[error(
        "it asks for {0} slots, and two may be of one card: ask for one, and say by annotation {key} \
         how large it has to be",
        key = labels::GPU_SHARE
    )]
    Slots(u64),
    /// Whole cards, slots or instances beside each other.
    #[error("it asks for {0} and {1} at once: keep one of the two")]
    Mixed(String, String),
}

/// What a pod takes of its node's GPUs, as its device plugin counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Whole cards, or nothing.
    #[default]
    Card,
    /// So many slots.
    Slot(u64),
    /// So many instances of this profile.
    Instance(Text, u64),
}

/// GPUs that a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Milli-GPU, and memory of a GPU beside a share of one.
    pub(super) gpus: Resources,
    pub(super) unit: Unit,
}

impl Asked {
    /// The profile of the instances that it asks for.
    pub(super) fn profile(&self) -> Option<Text> {
        match &self.unit {
            Unit::Instance(profile, _) => Some(profile.clone()),
            Unit::Card | Unit::Slot(_) => None,
        }
    }
}

/// What a pod asks for of GPUs.
pub(super) fn gpus(
    spec: &k8s::PodSpec,
    annotations: Option<&Annotations>,
    gpu_resource: &str,
) -> Result<Asked, AskError> {
    let (asked, others) = counted(spec, gpu_resource)?;
    if let Some(other) = others.into_iter().next() {
        return Err(AskError::Mixed(asked.name(gpu_resource), other));
    }
    match asked.unit {
        Unit::Slot(1) => Ok(Asked {
            gpus: slot(annotations)?,
            ..asked
        }),
        Unit::Slot(slots) => Err(AskError::Slots(slots)),
        Unit::Card | Unit::Instance(..) => Ok(asked),
    }
}

/// The GPUs that a pod asks for, and what it demands of its node by that.
///
/// # Errors
/// When an amount cannot be read, or GPUs are asked for in two ways.
pub fn demand(
    spec: &k8s::PodSpec,
    annotations: Option<&Annotations>,
    gpu_resource: &str,
) -> Result<(Resources, Needs), AskError> {
    let asked = gpus(spec, annotations, gpu_resource)?;
    let needs = Needs {
        profile: asked.profile(),
        ..Needs::default()
    };
    Ok((asked.gpus, needs))
}

/// What a pod takes of GPUs, whatever its annotations say: a slot is the least that there is of one.
pub(super) fn taken(spec: &k8s::PodSpec, gpu_resource: &str) -> Result<Asked, QuantityError> {
    Ok(counted(spec, gpu_resource)?.0)
}

/// Whether a container names a resource by which pods get GPUs, even with a zero.
pub(super) fn names(spec: &k8s::PodSpec, gpu_resource: &str) -> bool {
    let mut names = named(spec).into_iter();
    names.any(|name| resources::is_gpu(name, gpu_resource))
}

/// The resources that containers name.
pub(super) fn named(spec: &k8s::PodSpec) -> BTreeSet<&str> {
    let init = spec.init_containers.iter().flatten();
    let all = spec.containers.iter().chain(init);
    let all = all.filter_map(|container| container.resources.as_ref());
    let maps = all.flat_map(|r| [&r.requests, &r.limits]).flatten();
    maps.flat_map(|map| map.keys().map(String::as_str))
        .collect()
}

/// What is counted first of cards, slots and instances, and the names of the others.
fn counted(spec: &k8s::PodSpec, gpu_resource: &str) -> Result<(Asked, Vec<String>), QuantityError> {
    let slots = resources::slots(gpu_resource);
    let mut found: Vec<(String, Asked)> = Vec::new();
    for name in named(spec) {
        if !resources::is_gpu(name, gpu_resource) {
            continue;
        }
        let milli = pod::request(spec, Resource::Gpu, name)?;
        if milli == 0 {
            continue;
        }
        let unit = match resources::profile(name) {
            Some(profile) => Unit::Instance(profile.into(), milli / ONE),
            None if name == slots => Unit::Slot(milli / ONE),
            None => Unit::Card,
        };
        let milli = if let Unit::Slot(_) = unit { 1 } else { milli };
        let gpus = Resources::ZERO.with(Resource::Gpu, milli);
        found.push((name.to_owned(), Asked { gpus, unit }));
    }
    let mut found = found.into_iter();
    let first = found.next().map(|(_, asked)| asked).unwrap_or_default();
    Ok((first, found.map(|(name, _)| name).collect()))
}

/// How large a slot has to be; any will do where nothing is said.
fn slot(annotations: Option<&Annotations>) -> Result<Resources, AskError> {
    let said = |key: &str| annotations.and_then(|all| all.get(key));
    let share = said(labels::GPU_SHARE).map_or(Ok(1), |text| share(text))?;
    let memory = said(labels::GPU_MEMORY).map_or(Ok(0), |text| memory(text))?;
    let gpus = Resources::ZERO.with(Resource::Gpu, share);
    Ok(gpus.with(Resource::GpuMemory, memory))
}

fn share(text: &str) -> Result<u64, AskError> {
    let digits = text.strip_suffix('m');
    let milli = digits.and_then(|digits| digits.parse().ok());
    milli
        .filter(|milli| (1..=SHARE_MAX).contains(milli))
        .ok_or_else(|| AskError::Share(text.to_owned()))
}

fn memory(text: &str) -> Result<u64, AskError> {
    let is_binary = text.ends_with("Mi") || text.ends_with("Gi");
    let bytes = quantity::parse(Resource::GpuMemory, text).ok();
    bytes
        .filter(|bytes| is_binary && *bytes > 0)
        .ok_or_else(|| AskError::Memory(text.to_owned()))
}

impl Asked {
    /// The name of its resource.
    fn name(&self, gpu_resource: &str) -> String {
        match &self.unit {
            Unit::Card => gpu_resource.to_owned(),
            Unit::Slot(_) => resources::slots(gpu_resource),
            Unit::Instance(profile, _) => resources::instances(profile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const GPU: &str = "nvidia.com/gpu";

    fn asked(limits: Value, annotations: &[(&str, &str)]) -> Result<Asked, String> {
        let container = json!({"name": "c", "resources": {"limits": limits}});
        let spec = serde_json::from_value(json!({"containers": [container]})).unwrap();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let annotations: Annotations = annotations.iter().map(owned).collect();
        gpus(&spec, Some(&annotations), GPU).map_err(|error| error.to_string())
    }

    fn slot(share: u64, memory: u64) -> Asked {
        let gpus = Resources::ZERO.with(Resource::Gpu, share);
        Asked {
            gpus: gpus.with(Resource::GpuMemory, memory),
            unit: Unit::Slot(1),
        }
    }

    #[test]
    fn a_slot_is_as_large_as_annotations_say() {
        let one = || json!({"nvidia.com/gpu.shared": 1});
        let (share, memory) = (labels::GPU_SHARE, labels::GPU_MEMORY);
        assert_eq!(asked(one(), &[]), Ok(slot(1, 0)));
        assert_eq!(asked(one(), &[(share, "250m")]), Ok(slot(250, 0)));
        assert_eq!(asked(one(), &[(memory, "8Gi")]), Ok(slot(1, 8 << 30)));
        assert_eq!(
            asked(one(), &[(share, "500m"), (memory, "512Mi")]),
            Ok(slot(500, 512 << 20))
        );
        for wrong in ["0m", "501m", "0.5", "half", "", "-1m", "250"] {
            let error = asked(one(), &[(share, wrong)]).unwrap_err();
            assert!(error.contains("from 1m to 500m"), "{wrong}: {error}");
        }
        for wrong in ["0Gi", "8", "8G", "much", "-8Gi", "999999999Gi"] {
            let error = asked(one(), &[(memory, wrong)]).unwrap_err();
            assert!(error.contains("such as 8Gi"), "{wrong}: {error}");
        }
    }

    /// Whoever asks for no slot may carry what annotations it likes.
    #[test]
    fn annotations_mean_nothing_without_a_slot() {
        let garbage = [(labels::GPU_SHARE, "garbage")];
        let whole = asked(json!({GPU: 2}), &garbage).unwrap();
        assert_eq!(whole.gpus, Resources::gpus(2));
        assert_eq!(asked(json!({"cpu": 1}), &garbage), Ok(Asked::default()));
    }

    #[test]
    fn instances_are_of_one_profile() {
        let two = asked(json!({"nvidia.com/mig-1g.10gb": 2}), &[]).unwrap();
        assert_eq!(two.gpus, Resources::gpus(2));
        assert_eq!(two.profile().as_deref(), Some("1g.10gb"));
        let mixed = json!({"nvidia.com/mig-1g.10gb": 1, "nvidia.com/mig-3g.40gb": 1});
        assert!(asked(mixed, &[]).unwrap_err().contains("at once"));
    }

    #[test]
    fn two_slots_or_a_slot_beside_a_card_are_refused() {
        let two = asked(json!({"nvidia.com/gpu.shared": 2}), &[]).unwrap_err();
        assert!(two.contains("asks for 2 slots"), "{two}");
        let both = asked(json!({"nvidia.com/gpu.shared": 1, GPU: 1}), &[]).unwrap_err();
        assert!(both.contains("keep one of the two"), "{both}");
        let zero = json!({"nvidia.com/gpu.shared": 1, GPU: 0});
        assert_eq!(asked(zero, &[]), Ok(slot(1, 0)));
    }
}
