//! What one look shows of a GPU and of the pods on it.

use std::collections::BTreeMap;

use super::super::occupants::{Found, holder};
use super::super::reading::{Process, Seen};
use crate::api::gpunode::{Contention, Gpu};

/// What one look shows of a GPU, in percent. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Of the time in which a kernel ran.
    pub compute: Option<u32>,
    /// Of the time in which memory was read or written.
    pub bandwidth: Option<u32>,
    /// Of the memory in use.
    pub memory: Option<u32>,
    /// 100 where the limit of power holds the clocks back.
    pub power: Option<u32>,
    /// The slots of the GPU.
    pub slots: Option<u32>,
    /// Pods whose processes use it, by name.
    pub users: Vec<User>,
    /// Whether processes of no pod use it too.
    pub strangers: bool,
}

/// A pod whose processes use a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: Option<String>,
    /// Slots that it was given.
    pub slots: u32,
    /// Percent of the multiprocessors' time.
    pub compute: Option<u32>,
    /// Percent of the memory's bandwidth.
    pub bandwidth: Option<u32>,
    /// Percent of the memory.
    pub memory: Option<u32>,
}

impl Sample {
    /// How much is used of what is fought for.
    #[must_use]
    pub const fn of(&self, contention: Contention) -> Option<u32> {
        match contention {
            Contention::Compute => self.compute,
            Contention::Bandwidth => self.bandwidth,
            Contention::Memory => self.memory,
            Contention::Power => self.power,
        }
    }
}

/// What is seen of a GPU. Its pods are known already, and its slots where the kubelet says.
#[must_use]
pub fn sample(gpu: &Gpu, seen: &Seen, found: &Found, slots: Option<u32>) -> Sample {
    let load = &seen.load;
    let by_mps = gpu.compute_mode.as_deref() == Some("ExclusiveProcess");
    // Instances have their own memory and processors; they share the power.
    let divided = gpu.mig.as_ref().is_some_and(|mig| mig.enabled);
    let total = load.memory_total.filter(|total| *total > 0 && !divided);
    let percent = |bytes: u64| total.map(|total| percent_of(bytes, total));
    let processes: Vec<&Process> = seen.processes.iter().flatten().collect();
    let of_pods = |process: &&&Process| holder(found, process).is_some();
    // Who runs for the clients of MPS is their server.
    let strangers = !by_mps && processes.iter().any(|process| !of_pods(&process));
    let mut users: BTreeMap<(String, String), User> = BTreeMap::new();
    for process in processes.iter().filter(of_pods) {
        if let Some(user) = user_of(gpu, found, process, &mut users) {
            add(&mut user.compute, process.utilisation);
            add(&mut user.bandwidth, process.memory_utilisation);
            add(&mut user.memory, process.memory_used.and_then(percent));
        }
    }
    // The sum over processes is of their time; of the card as a whole, only whether any kernel ran.
    let told: Vec<u32> = processes.iter().filter_map(|p| p.utilisation).collect();
    let summed = (!told.is_empty()).then(|| told.iter().sum::<u32>().min(100));
    Sample {
        compute: summed.or(load.utilisation),
        bandwidth: load.memory_utilisation,
        memory: load.memory_used.and_then(percent),
        power: load.throttled_by.as_ref().map(|reasons| {
            let is_capped = reasons.contains(&"power-cap");
            if is_capped { 100 } else { 0 }
        }),
        slots,
        users: users.into_values().collect(),
        strangers,
    }
}

fn user_of<'a>(
    gpu: &Gpu,
    found: &Found,
    process: &Process,
    users: &'a mut BTreeMap<(String, String), User>,
) -> Option<&'a mut User> {
    let holder = holder(found, process)?;
    let uid = Some(&holder.pod_uid);
    let given = gpu.pods.iter().find(|pod| pod.uid.as_ref() == uid);
    let (namespace, name) = match given {
        Some(pod) => (pod.namespace.clone(), pod.name.clone()),
        None => holder.namespace.clone().zip(holder.pod.clone())?,
    };
    let user = users.entry((namespace.clone(), name.clone()));
    Some(user.or_insert_with(|| User {
        namespace,
        name,
        uid: uid.cloned(),
        slots: given.map_or(0, |pod| pod.slots),
        ..User::default()
    }))
}

fn add(sum: &mut Option<u32>, value: Option<u32>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or_default().saturating_add(value));
    }
}

fn percent_of(part: u64, whole: u64) -> u32 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u32::try_from(percent).unwrap_or(u32::MAX)
}
