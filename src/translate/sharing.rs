//! How the GPUs of a node are given out: by what its device plugin offers, and what NVIDIA's feature
//! discovery says of it.
//!
//! kube-scheduler and kubelet count what is offered, so no label makes more of it: where the two
//! disagree, the smaller slot and the fewer cards count. What is not understood offers no share.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as k8s;
use kube::ResourceExt;
use prorata_core::device::WHOLE;
use prorata_core::{Devices, Instance, Mode, Resource};
use prorata_simulator::quantity;

use crate::api::{labels, resources};

/// A card has room for seven compute slices.
const MIG_SLICES: u32 = 7;

/// As many clients as MPS takes.
const MPS_CLIENTS_MAX: u32 = 48;

/// The GPUs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cards {
    /// How many whole cards they are, or are made of.
    pub(super) count: u64,
    pub(super) mode: Mode,
    /// Memory of each card, in bytes; 0 where it is not counted.
    pub(super) memory: u64,
}

/// Who shares a card, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    TimeSlice,
    Mps,
}

/// How the GPUs of a node are given out.
pub(super) fn cards(node: &k8s::Node, gpu_resource: &str) -> Cards {
    let whole = offered(node, gpu_resource);
    if whole > 0 {
        return Cards {
            count: whole,
            ..Cards::default()
        };
    }
    let slots = offered(node, &resources::slots(gpu_resource));
    if let Some((strategy, per_card)) = strategy(node) {
        return split(node, strategy, per_card, slots);
    }
    match instances(node) {
        instances if instances.is_empty() => Cards::default(),
        instances => Cards {
            mode: Mode::Mig(instances.into()),
            ..Cards::default()
        },
    }
}

/// Cards that are split into slots, of which `offered` are there.
fn split(node: &k8s::Node, strategy: Strategy, per_card: u32, offered: u64) -> Cards {
    let known = number(node, labels::GPU_COUNT).map(u64::from);
    // More slots than the cards have by their label: each is smaller than it says.
    let least = known.filter(|count| *count > 0);
    let least = least.map_or(0, |count| offered.div_ceil(count));
    let per_card = u64::from(per_card).max(least);
    let max = match strategy {
        Strategy::TimeSlice => WHOLE,
        Strategy::Mps => MPS_CLIENTS_MAX,
    };
    let Some(slots) = u32::try_from(per_card).ok().filter(|slots| *slots <= max) else {
        return Cards::default();
    };
    let count = (offered / per_card).min(known.unwrap_or(u64::MAX));
    let mib = number(node, labels::GPU_MIB).filter(|mib| *mib > 0);
    Cards {
        count,
        mode: match strategy {
            Strategy::TimeSlice => Mode::TimeSlice(slots),
            Strategy::Mps => Mode::Mps(slots),
        },
        // Unknown memory would be taken for enough: a byte for each slot is enough for nobody who
        // asks for some.
        memory: mib.map_or(per_card, |mib| u64::from(mib) << 20),
    }
}

/// What the feature discovery says, or the name of the plugin's configuration where that names a
/// mode as we do.
fn strategy(node: &k8s::Node) -> Option<(Strategy, u32)> {
    let discovered = || {
        let strategy = match text(node, labels::SHARING_STRATEGY)? {
            "time-slicing" => Strategy::TimeSlice,
            "mps" => Strategy::Mps,
            _ => return None,
        };
        Some((strategy, number(node, labels::GPU_REPLICAS)?))
    };
    let configured = || {
        let config = text(node, labels::PLUGIN_CONFIG)?;
        let timeslice = config.strip_prefix("timeslice-");
        let (strategy, slots) = match timeslice {
            Some(slots) => (Strategy::TimeSlice, slots),
            None => (Strategy::Mps, config.strip_prefix("mps-")?),
        };
        Some((strategy, slots.parse().ok()?))
    };
    // A label of another strategy has the last word.
    let found = match text(node, labels::SHARING_STRATEGY) {
        Some(_) => discovered(),
        None => configured(),
    };
    found.filter(|(_, slots)| *slots >= 2)
}

/// The MIG instances that are offered, by profile.
fn instances(node: &k8s::Node) -> Vec<Instance> {
    let mut all = Vec::new();
    let status = node.status.as_ref();
    let allocatable = status.and_then(|status| status.allocatable.as_ref());
    let keys = allocatable.into_iter().flat_map(BTreeMap::keys);
    for (resource, profile) in keys.filter_map(|key| Some((key, resources::profile(key)?))) {
        let Some((slices, memory)) = size(profile) else {
            continue;
        };
        let mib = number(node, &format!("{resource}.memory"));
        let instance = Instance {
            profile: profile.into(),
            milli: slices * WHOLE / MIG_SLICES,
            memory: mib.map_or(memory, |mib| memory.min(u64::from(mib) << 20)),
        };
        let count = offered(node, resource).min(Devices::MAX.into());
        all.extend((0..count).map(|_| instance.clone()));
    }
    all.truncate(usize::try_from(Devices::MAX).unwrap_or(usize::MAX));
    all
}

/// Compute slices and memory of a profile such as `3g.40gb`.
fn size(profile: &str) -> Option<(u32, u64)> {
    let (slices, rest) = profile.split_once("g.")?;
    let (memory, _) = rest.split_once("gb")?;
    let slices = slices.parse().ok()?;
    let gib: u64 = memory.parse().ok()?;
    let sensible = (1..=MIG_SLICES).contains(&slices) && (1..=1024).contains(&gib);
    sensible.then_some((slices, gib << 30))
}

/// How many of a resource the node offers; nothing where that cannot be read.
fn offered(node: &k8s::Node, resource: &str) -> u64 {
    let status = node.status.as_ref();
    let amount = status.and_then(|status| status.allocatable.as_ref()?.get(resource));
    let milli = amount.and_then(|q| quantity::parse(Resource::Gpu, &q.0).ok());
    milli.unwrap_or_default() / Resource::Gpu.scale()
}

fn text<'a>(node: &'a k8s::Node, label: &str) -> Option<&'a str> {
    node.labels().get(label).map(String::as_str)
}

fn number(node: &k8s::Node, label: &str) -> Option<u32> {
    text(node, label)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const GIB: u64 = 1 << 30;

    fn read(labels: Value, allocatable: Value) -> Cards {
        let node = json!({
            "metadata": {"name": "a", "labels": labels},
            "status": {"allocatable": allocatable},
        });
        cards(&serde_json::from_value(node).unwrap(), "nvidia.com/gpu")
    }

    fn shared(strategy: &str, replicas: &str, count: &str, offered: u32) -> Cards {
        let labels = json!({
            labels::SHARING_STRATEGY: strategy, labels::GPU_REPLICAS: replicas,
            labels::GPU_COUNT: count, labels::GPU_MIB: "46068",
        });
        let offered = offered.to_string();
        read(
            labels,
            json!({"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": offered}),
        )
    }

    fn with(mode: Mode, count: u64) -> Cards {
        Cards {
            count,
            mode,
            memory: 46068 << 20,
        }
    }

    #[test]
    fn slots_are_counted_by_what_is_offered() {
        let sliced = with(Mode::TimeSlice(4), 2);
        assert_eq!(shared("time-slicing", "4", "2", 8), sliced);
        assert_eq!(shared("mps", "8", "1", 8), with(Mode::Mps(8), 1));
        // The plugin is away, or a card of two is broken.
        assert_eq!(shared("mps", "8", "2", 0), with(Mode::Mps(8), 0));
        assert_eq!(shared("mps", "8", "2", 8), with(Mode::Mps(8), 1));
        assert_eq!(shared("mps", "8", "2", 15), with(Mode::Mps(8), 1));
    }

    /// Whoever can write labels makes no slot larger, and no card more, than what is offered.
    #[test]
    fn forged_labels_make_nothing_larger() {
        assert_eq!(shared("mps", "2", "2", 8), with(Mode::Mps(4), 2));
        assert_eq!(shared("mps", "2", "1", 8), with(Mode::Mps(8), 1));
        assert_eq!(shared("mps", "8", "99", 8), with(Mode::Mps(8), 1));
        assert_eq!(shared("mps", "2", "0", 8).count, 0);
        for (strategy, replicas) in [
            ("mps", "49"),
            ("mps", "many"),
            ("mps", "1"),
            ("mps", "0"),
            ("time-slicing", "1001"),
            ("none", "4"),
            ("", "4"),
        ] {
            let unknown = shared(strategy, replicas, "2", 8);
            assert_eq!(unknown, Cards::default(), "{strategy} {replicas}");
        }
        assert_eq!(shared("mps", "2", "1", 100), Cards::default());
    }

    #[test]
    fn a_configuration_by_our_name_stands_for_labels_that_are_missing() {
        let configured = |config: &str| {
            let labels = json!({labels::PLUGIN_CONFIG: config, labels::GPU_MIB: "1024"});
            read(labels, json!({"nvidia.com/gpu.shared": "8"}))
        };
        let cards = |mode, count| Cards {
            count,
            mode,
            memory: GIB,
        };
        assert_eq!(configured("timeslice-4"), cards(Mode::TimeSlice(4), 2));
        assert_eq!(configured("mps-8"), cards(Mode::Mps(8), 1));
        assert_eq!(configured("default"), Cards::default());
        let bare = read(json!({}), json!({"nvidia.com/gpu.shared": "8"}));
        assert_eq!(bare, Cards::default());
    }

    #[test]
    fn memory_that_nobody_knows_is_enough_for_nobody_who_asks_for_some() {
        let labels = json!({labels::SHARING_STRATEGY: "mps", labels::GPU_REPLICAS: "4"});
        let cards = read(labels, json!({"nvidia.com/gpu.shared": "4"}));
        assert_eq!((cards.count, cards.memory), (1, 4));
    }

    #[test]
    fn instances_are_those_that_are_offered() {
        let labels = json!({"nvidia.com/mig-1g.10gb.memory": "9728"});
        let offered = json!({
            "nvidia.com/mig-3g.40gb": "1", "nvidia.com/mig-1g.10gb": "2",
            "nvidia.com/mig-9g.10gb": "1", "nvidia.com/mig-nonsense": "1",
        });
        let Mode::Mig(instances) = read(labels, offered).mode else {
            panic!("another mode")
        };
        let instance = |profile: &str, milli, memory| Instance {
            profile: profile.into(),
            milli,
            memory,
        };
        let small = || instance("1g.10gb", 142, 9728 << 20);
        let expected = [small(), small(), instance("3g.40gb", 428, 40 * GIB)];
        assert_eq!(*instances, expected);
        let many = json!({"nvidia.com/mig-1g.10gb": "4000000000"});
        let Mode::Mig(instances) = read(json!({}), many).mode else {
            panic!("another mode")
        };
        assert_eq!(instances.len(), 128);
    }

    #[test]
    fn whole_cards_are_whole_whatever_labels_say() {
        let labels = json!({labels::SHARING_STRATEGY: "mps", labels::GPU_REPLICAS: "4"});
        let cards = read(labels, json!({"nvidia.com/gpu": "8"}));
        let whole = Cards {
            count: 8,
            ..Cards::default()
        };
        assert_eq!(cards, whole);
    }
}
