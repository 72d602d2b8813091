//! What the `GpuNode` says of the pods on the GPUs: who they are, and whether they disturb each other.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::Inventory;
use crate::agent::kubelet::Word;
use crate::agent::occupants::{self, Found};
use crate::agent::reading::{Card, Reading, Seen};
use crate::api::gpunode::{
    CLIENTS_END, Ended, Ending, GpuNodeStatus, KUBELET_ANSWERS, NOISY, Noise,
};

impl Inventory {
    /// Takes in who is on the GPUs: what the kubelet says, and whose processes were seen.
    pub fn occupy(
        &mut self,
        now: Timestamp,
        reading: Option<&Reading>,
        found: &Found,
        word: Word<'_>,
    ) {
        let cards: BTreeMap<u32, &Seen> = reading.into_iter().flat_map(seen).collect();
        let given = word.given();
        for gpu in &mut self.status.gpus {
            let seen = cards.get(&gpu.index).copied();
            (gpu.pods, gpu.more_pods) = occupants::pods(gpu, seen, found, given);
            gpu.mode = occupants::mode(gpu, seen, given);
        }
        self.status.mode = occupants::mode_of_all(&self.status.gpus);
        let (status, reason, message) = match word {
            Word::Unheard => ("Unknown", "Unheard", String::new()),
            Word::Given(_) => ("True", "Answers", String::new()),
            Word::Away(error, _) => ("False", error.reason(), error.to_string()),
        };
        self.condition(now, KUBELET_ANSWERS, status, reason, &message);
    }

    /// Takes in what has become of clients of MPS that were to be terminated.
    pub fn end(&mut self, now: Timestamp, ended: Vec<Ended>) {
        let why = ended.iter().find(|one| one.how == Ending::Failed);
        let why = why.map(|one| one.message.clone().unwrap_or_default());
        let is_told = self
            .status
            .conditions
            .iter()
            .any(|c| c.type_ == CLIENTS_END);
        match why {
            Some(why) => self.condition(now, CLIENTS_END, "False", "Failed", &why),
            None if is_told => self.condition(now, CLIENTS_END, "True", "Ended", ""),
            None => {}
        }
        self.status.ended = ended;
    }

    /// Takes in what the pods on each GPU fight for.
    pub fn hear(&mut self, now: Timestamp, noises: impl Fn(u32) -> Vec<Noise>) {
        let mut told = Vec::new();
        for gpu in &mut self.status.gpus {
            gpu.noise = noises(gpu.index);
            let noise = gpu.noise.iter();
            told.extend(noise.map(|noise| format!("GPU {}: {}", gpu.index, sentence(noise))));
        }
        match told.is_empty() {
            true => self.condition(now, NOISY, "False", "Quiet", ""),
            false => self.condition(now, NOISY, "True", "Contention", &told.join("; ")),
        }
    }
}

/// Until the kubelet has been heard, what was told before stands: it is most likely still so.
pub(super) fn keep_occupancy(seen: &mut GpuNodeStatus, told: &GpuNodeStatus) {
    let is_unheard = |status: &GpuNodeStatus| {
        let mut conditions = status.conditions.iter();
        conditions.any(|c| c.type_ == KUBELET_ANSWERS && c.status == "Unknown")
    };
    if !is_unheard(seen) {
        return;
    }
    seen.mode.clone_from(&told.mode);
    for gpu in &mut seen.gpus {
        let same = told.gpus.iter().find(|other| other.index == gpu.index);
        if let Some(before) = same.filter(|other| other.uuid == gpu.uuid) {
            gpu.mode.clone_from(&before.mode);
            gpu.pods.clone_from(&before.pods);
            gpu.more_pods = before.more_pods;
        }
    }
    let before = told.conditions.iter().find(|c| c.type_ == KUBELET_ANSWERS);
    if let Some(before) = before {
        seen.conditions.retain(|c| c.type_ != KUBELET_ANSWERS);
        seen.conditions.push(before.clone());
        seen.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
}

/// Whether the same pods are on the same GPUs.
pub(super) fn is_same_occupancy(seen: &GpuNodeStatus, told: &GpuNodeStatus) -> bool {
    let pods = |status: &GpuNodeStatus| {
        let gpus = status.gpus.iter();
        let on = gpus.map(|gpu| (gpu.uuid.clone(), gpu.pods.clone(), gpu.more_pods));
        on.collect::<Vec<_>>()
    };
    pods(seen) == pods(told)
}

fn sentence(noise: &Noise) -> String {
    let what = noise.contention.name().to_lowercase();
    let measured = format!("{what} at {}% (from {}%)", noise.measured, noise.threshold);
    match &noise.offender {
        Some(one) => {
            let of = if one.by_memory { " of the memory" } else { "" };
            let pod = format!("{}/{}", one.namespace, one.name);
            format!(
                "{measured}, {pod} uses {}%{of} and {}% is its part",
                one.uses, one.part
            )
        }
        None => measured,
    }
}

fn seen(reading: &Reading) -> impl Iterator<Item = (u32, &Seen)> {
    reading.cards.iter().filter_map(|card| match card {
        Card::Seen(seen) => Some((seen.identity.index, &**seen)),
        Card::Silent { .. } => None,
    })
}
