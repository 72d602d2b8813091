//! The GPUs of every node, as its kubelet and NVIDIA's device plugin would hand them out: whole
//! cards, slots of a card and MIG instances, each by its id.

use std::collections::{BTreeMap, BTreeSet};

/// What ends the name of a resource of which a pod gets no more than one.
const SLOTS: &str = ".shared";

/// How a plugin chooses among cards that are split: its flag `shared-devices-allocation-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// The card with the most free slots.
    #[default]
    Distributed,
    /// The card with the fewest.
    Packed,
}

/// A pod that a node had no room for. A correct scheduler never causes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The node to which it was bound.
    pub node: String,
    /// The resource.
    pub resource: String,
    /// How many devices of it the pod wanted.
    pub requested: u64,
    /// How many the node had left, or would give to one pod.
    pub free: u64,
}

/// The devices that a pod has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// UID of the pod.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Their ids: `GPU-…` is a card, `GPU-…::1` a slot of it.
    pub ids: Vec<String>,
}

/// What a pod asks for, or a node offers: devices by resource.
pub(crate) type Amounts = BTreeMap<String, u64>;

/// The resource that falls short, with what was wanted and what there is.
pub(crate) type Shortage = (String, u64, u64);

/// The devices of each node, and which pods hold them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    allocation: Allocation,
    offers: BTreeMap<String, Offer>,
    /// By node and pod UID.
    held: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// What a node offers.
#[derive(Debug)]
struct Offer {
    amounts: Amounts,
    /// Slots of a card.
    per_card: u64,
}

impl Devices {
    pub(crate) fn new(allocation: Allocation) -> Self {
        Self {
            allocation,
            ..Self::default()
        }
    }

    /// Whoever has a device that is not offered any more keeps it.
    pub(crate) fn set_allocatable(&mut self, node: &str, amounts: Amounts, per_card: u64) {
        let per_card = per_card.max(1);
        self.offers
            .insert(node.to_owned(), Offer { amounts, per_card });
    }

    pub(crate) fn remove_node(&mut self, node: &str) {
        self.offers.remove(node);
        self.held.remove(node);
    }

    pub(crate) fn knows(&self, node: &str) -> bool {
        self.offers.contains_key(node)
    }

    /// Hands devices to a pod, or says what does not suffice.
    pub(crate) fn admit(
        &mut self,
        node: &str,
        uid: &str,
        wanted: &Amounts,
    ) -> Result<(), Shortage> {
        let mut ids = Vec::new();
        for (resource, count) in wanted {
            ids.extend(self.choose(node, resource, *count)?);
        }
        let held = self.held.entry(node.to_owned()).or_default();
        held.insert(uid.to_owned(), ids);
        Ok(())
    }

    /// Takes back what a pod held. It may be called any number of times.
    pub(crate) fn release(&mut self, node: &str, uid: &str) {
        if let Some(held) = self.held.get_mut(node) {
            held.remove(uid);
        }
    }

    /// What every pod holds.
    pub(crate) fn grants(&self) -> Vec<Grant> {
        let all = self.held.iter();
        let grants = all.flat_map(|(node, held)| {
            held.iter().map(|(uid, ids)| Grant {
                uid: uid.clone(),
                node: node.clone(),
                ids: ids.clone(),
            })
        });
        grants.collect()
    }

    fn choose(&self, node: &str, resource: &str, count: u64) -> Result<Vec<String>, Shortage> {
        let mut free = self.free(node, resource);
        let there = u64::try_from(free.len()).unwrap_or(u64::MAX);
        let is_slot = resource.ends_with(SLOTS);
        // The plugin fails requests for more than one slot.
        let most = if is_slot { there.min(1) } else { there };
        if count > most {
            return Err((resource.to_owned(), count, most));
        }
        if is_slot {
            let left = |id: &String| {
                let left = free.iter().filter(|other| card(other) == card(id));
                left.count()
            };
            let best = match self.allocation {
                Allocation::Distributed => free.iter().rev().max_by_key(|id| left(id)),
                Allocation::Packed => free.iter().min_by_key(|id| left(id)),
            };
            free = best.cloned().into_iter().collect();
        }
        free.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(free)
    }

    /// The ids of devices that nobody has, in order.
    fn free(&self, node: &str, resource: &str) -> Vec<String> {
        let Some(offer) = self.offers.get(node) else {
            return Vec::new();
        };
        let held: BTreeSet<&String> = self
            .held
            .get(node)
            .into_iter()
            .flatten()
            .flat_map(|h| h.1)
            .collect();
        let count = offer.amounts.get(resource).copied().unwrap_or_default();
        let ids = (0..count).map(|index| match resource.split_once("/mig-") {
            Some((_, profile)) => format!("MIG-{node}-{profile}-{index}"),
            None if resource.ends_with(SLOTS) => {
                let (card, slot) = (index / offer.per_card, index % offer.per_card);
                format!("GPU-{node}-{card}::{slot}")
            }
            None => format!("GPU-{node}-{index}"),
        });
        ids.filter(|id| !held.contains(id)).collect()
    }
}

/// The card of a slot.
fn card(id: &str) -> &str {
    id.split_once("::").map_or(id, |(card, _)| card)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(resource: &str, count: u64) -> Amounts {
        [(resource.to_owned(), count)].into()
    }

    fn ids(devices: &Devices, uid: &str) -> Vec<String> {
        let grants = devices.grants();
        let grant = grants.iter().find(|grant| grant.uid == uid).unwrap();
        grant.ids.clone()
    }

    #[test]
    fn a_pod_above_what_is_left_is_refused_until_another_ends() {
        let gpus = |count| amounts(crate::GPU, count);
        let mut devices = Devices::default();
        devices.set_allocatable("node", gpus(8), 1);
        assert_eq!(devices.admit("node", "a", &gpus(6)), Ok(()));
        let short = (crate::GPU.to_owned(), 3, 2);
        assert_eq!(devices.admit("node", "b", &gpus(3)), Err(short));
        devices.release("node", "a");
        devices.release("node", "a");
        assert_eq!(devices.admit("node", "b", &gpus(3)), Ok(()));
        assert_eq!(ids(&devices, "b").len(), 3);
    }

    #[test]
    fn a_pod_without_gpus_fits_on_a_full_node() {
        let mut devices = Devices::default();
        devices.set_allocatable("node", Amounts::new(), 1);
        assert_eq!(devices.admit("node", "a", &Amounts::new()), Ok(()));
    }

    #[test]
    fn slots_are_spread_over_cards_or_fill_one_after_the_other() {
        let slots = |count| amounts("nvidia.com/gpu.shared", count);
        for (allocation, second) in [
            (Allocation::Distributed, "GPU-node-1::0"),
            (Allocation::Packed, "GPU-node-0::1"),
        ] {
            let mut devices = Devices::new(allocation);
            devices.set_allocatable("node", slots(4), 2);
            assert_eq!(devices.admit("node", "a", &slots(1)), Ok(()));
            assert_eq!(devices.admit("node", "b", &slots(1)), Ok(()));
            assert_eq!(ids(&devices, "a"), ["GPU-node-0::0"]);
            assert_eq!(ids(&devices, "b"), [second]);
            let two = ("nvidia.com/gpu.shared".to_owned(), 2, 1);
            assert_eq!(devices.admit("node", "c", &slots(2)), Err(two));
        }
    }

    #[test]
    fn a_plugin_that_is_away_gives_nothing_and_takes_nothing_back() {
        let slots = |count| amounts("nvidia.com/gpu.shared", count);
        let mut devices = Devices::default();
        devices.set_allocatable("node", slots(4), 4);
        assert_eq!(devices.admit("node", "a", &slots(1)), Ok(()));
        devices.set_allocatable("node", slots(0), 4);
        assert!(devices.admit("node", "b", &slots(1)).is_err());
        devices.set_allocatable("node", slots(1), 4);
        assert!(devices.admit("node", "b", &slots(1)).is_err(), "a has it");
        devices.set_allocatable("node", slots(4), 4);
        assert_eq!(devices.admit("node", "b", &slots(1)), Ok(()));
        assert_eq!(ids(&devices, "b"), ["GPU-node-0::1"]);
    }
}
