//! The GPUs of every node, as its kubelet would hand them out.

use std::collections::BTreeMap;

/// A pod that a node had no room for. A correct scheduler never causes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The node to which it was bound.
    pub node: String,
    /// How many GPUs it wanted.
    pub requested: u64,
    /// How many the node had left.
    pub free: u64,
}

/// How many GPUs each node has, and which pods hold them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    allocatable: BTreeMap<String, u64>,
    /// By node and pod UID.
    held: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Devices {
    pub(crate) fn set_allocatable(&mut self, node: &str, gpus: u64) {
        self.allocatable.insert(node.to_owned(), gpus);
    }

    pub(crate) fn remove_node(&mut self, node: &str) {
        self.allocatable.remove(node);
        self.held.remove(node);
    }

    pub(crate) fn knows(&self, node: &str) -> bool {
        self.allocatable.contains_key(node)
    }

    /// Hands GPUs to a pod, or says how many are left when they do not suffice.
    pub(crate) fn admit(&mut self, node: &str, uid: &str, gpus: u64) -> Result<(), u64> {
        let held = self.held.entry(node.to_owned()).or_default();
        let allocatable = self.allocatable.get(node).copied().unwrap_or_default();
        let free = allocatable.saturating_sub(held.values().sum());
        if gpus > free {
            return Err(free);
        }
        held.insert(uid.to_owned(), gpus);
        Ok(())
    }

    /// Takes back what a pod held. It may be called any number of times.
    pub(crate) fn release(&mut self, node: &str, uid: &str) {
        if let Some(held) = self.held.get_mut(node) {
            held.remove(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_above_what_is_left_is_refused_until_another_ends() {
        let mut devices = Devices::default();
        devices.set_allocatable("node", 8);
        assert_eq!(devices.admit("node", "a", 6), Ok(()));
        assert_eq!(devices.admit("node", "b", 3), Err(2));
        devices.release("node", "a");
        devices.release("node", "a");
        assert_eq!(devices.admit("node", "b", 3), Ok(()));
    }

    #[test]
    fn a_pod_without_gpus_fits_on_a_full_node() {
        let mut devices = Devices::default();
        devices.set_allocatable("node", 0);
        assert_eq!(devices.admit("node", "a", 0), Ok(()));
    }
}
