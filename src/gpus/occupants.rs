//! Which GPUs of its node each pod has, as the agent there says, as far as that can be. Pure.
//!
//! An agent says what it likes of its own node. What the node cannot have by what it offers and by its
//! labels is not believed, nor anything else of that node until it can be.

use std::collections::BTreeMap;

use prorata_core::{Devices, Mode, Node};

use crate::api::GpuNode;
use crate::api::gpunode::{Gpu, Health};
use crate::api::labels::{GPU_COUNT, GPU_MIB};

/// The GPUs of each pod, by UID, as the core numbers them.
///
/// # Errors
/// With the reason, when the agent cannot be right.
pub fn of(node: &GpuNode, offers: &Node) -> Result<BTreeMap<String, Devices>, String> {
    let gpus = node.status.as_ref().map_or(&[][..], |s| s.gpus.as_slice());
    let most = match offers.gpus.mode {
        Mode::Exclusive => 1,
        Mode::TimeSlice(slots) | Mode::Mps(slots) => slots,
        // Instances are not told apart by the card that they are of.
        Mode::Mig(_) | Mode::Fractional => return Ok(BTreeMap::new()),
    };
    check(gpus, offers, most)?;
    let numbers = numbers(gpus, offers.cards());
    let mut found: BTreeMap<String, Devices> = BTreeMap::new();
    for (gpu, number) in gpus.iter().zip(numbers) {
        let Some(number) = number else { continue };
        for pod in gpu.pods.iter().filter(|pod| pod.slots > 0) {
            if let Some(uid) = &pod.uid {
                found.entry(uid.clone()).or_default().add(number);
            }
        }
    }
    Ok(found)
}

fn check(gpus: &[Gpu], offers: &Node, most: u32) -> Result<(), String> {
    let label = |key: &str| -> Option<u64> { offers.labels.get(key)?.parse().ok() };
    let count = u64::try_from(gpus.len()).unwrap_or(u64::MAX);
    if let Some(there) = label(GPU_COUNT).filter(|there| count > *there) {
        return Err(format!(
            "{count} GPUs, and the node has {there} by its label {GPU_COUNT}"
        ));
    }
    for gpu in gpus {
        let given: u64 = gpu.pods.iter().map(|pod| u64::from(pod.slots)).sum();
        if given > u64::from(most) {
            return Err(format!(
                "{given} slots of GPU {} given out, and each has {most}",
                gpu.index
            ));
        }
        let memory = gpu
            .memory
            .as_deref()
            .and_then(|text| text.strip_suffix("Mi"));
        let memory: Option<u64> = memory.and_then(|text| text.parse().ok());
        let there = label(GPU_MIB).filter(|there| *there > 0);
        if let Some((memory, there)) = memory.zip(there).filter(|(m, there)| m > there) {
            return Err(format!(
                "{memory} MiB of GPU {}, and each has {there} by the node's label {GPU_MIB}",
                gpu.index
            ));
        }
    }
    Ok(())
}

/// How the core numbers these GPUs: as the driver does, where the device plugin offers all of them. It
/// leaves out those that do not work, and the core counts the others.
fn numbers(gpus: &[Gpu], cards: u32) -> Vec<Option<u32>> {
    let is_whole = u32::try_from(gpus.len()).is_ok_and(|count| count <= cards);
    let mut next = 0..cards;
    let number = |gpu: &Gpu| match is_whole {
        true => Some(gpu.index).filter(|index| *index < cards),
        false if matches!(gpu.health, Health::Healthy | Health::Degraded) => next.next(),
        false => None,
    };
    gpus.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::GpuNodeSpec;
    use crate::api::gpunode::GpuPod;
    use prorata_core::{Gpus, Resources};

    fn offers(cards: u64, mode: Mode, labels: &[(&str, &str)]) -> Node {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        Node {
            allocatable: Resources::gpus(cards),
            gpus: Gpus {
                mode,
                ..Gpus::default()
            },
            labels: std::sync::Arc::new(labels.collect()),
            ..Node::new("a")
        }
    }

    /// Each GPU with the pods on it, and how many slots these have.
    fn node(gpus: &[&[(&str, u32)]]) -> GpuNode {
        let mut node = GpuNode::new("a", GpuNodeSpec::default());
        let pod = |(uid, slots): &(&str, u32)| GpuPod {
            uid: Some((*uid).to_owned()),
            slots: *slots,
            ..GpuPod::default()
        };
        let gpus = (0..).zip(gpus).map(|(index, pods)| Gpu {
            index,
            memory: Some("16384Mi".to_owned()),
            pods: pods.iter().map(pod).collect(),
            ..Gpu::default()
        });
        node.status.get_or_insert_default().gpus = gpus.collect();
        node
    }

    fn seen(node: &GpuNode, offers: &Node) -> Result<Vec<(String, String)>, String> {
        let found = of(node, offers)?.into_iter();
        Ok(found
            .map(|(uid, devices)| (uid, devices.to_string()))
            .collect())
    }

    fn owned(all: &[(&str, &str)]) -> Vec<(String, String)> {
        let all = all.iter();
        all.map(|(uid, devices)| ((*uid).to_owned(), (*devices).to_owned()))
            .collect()
    }

    #[test]
    fn each_pod_has_the_gpus_that_its_agent_says() {
        let shared = offers(2, Mode::Mps(2), &[(GPU_COUNT, "2"), (GPU_MIB, "16384")]);
        let there = node(&[&[("x", 1), ("y", 1)], &[("z", 1), ("by-itself", 0)]]);
        let expected = owned(&[("x", "0"), ("y", "0"), ("z", "1")]);
        assert_eq!(seen(&there, &shared), Ok(expected));
        let whole = offers(2, Mode::Exclusive, &[]);
        let there = node(&[&[("x", 1)], &[("x", 1)]]);
        assert_eq!(seen(&there, &whole), Ok(owned(&[("x", "0-1")])));
    }

    #[test]
    fn what_the_node_cannot_have_is_not_believed() {
        let labels = [(GPU_COUNT, "1"), (GPU_MIB, "8192")];
        let told = |there: &GpuNode, labels| {
            let offers = offers(1, Mode::TimeSlice(2), labels);
            seen(there, &offers).unwrap_err()
        };
        let two = node(&[&[], &[]]);
        assert!(told(&two, &labels).contains("2 GPUs, and the node has 1"));
        let large = node(&[&[]]);
        assert!(told(&large, &labels).contains("16384 MiB of GPU 0, and each has 8192"));
        let crowded = node(&[&[("x", 1), ("y", 1), ("z", 1)]]);
        assert!(told(&crowded, &[]).contains("3 slots of GPU 0 given out, and each has 2"));
        let absurd = node(&[&[("x", u32::MAX), ("y", u32::MAX)]]);
        assert!(told(&absurd, &[]).contains("slots of GPU 0"));
    }

    #[test]
    fn gpus_that_are_not_offered_are_not_counted() {
        let mut there = node(&[&[], &[("x", 1)], &[("y", 1)]]);
        let gpus = &mut there.status.as_mut().unwrap().gpus;
        gpus[0].health = Health::Lost;
        let offers = offers(2, Mode::TimeSlice(4), &[(GPU_COUNT, "3")]);
        assert_eq!(seen(&there, &offers), Ok(owned(&[("x", "0"), ("y", "1")])));
    }
}
