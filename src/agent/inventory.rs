//! What the node's `GpuNode` is to say: which GPUs there are, and how they are. Pure.

mod occupancy;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::health::Record;
use super::reading::{Card, Error, Look, Reading};
use crate::api::gpunode::{DRIVER_READY, GPUS_HEALTHY, Gpu, GpuNodeStatus, Health};

/// A driver that is loaded anew is away for a moment; so many looks may fail before that is told.
const FAILURES: u32 = 3;

/// What is known of the node's GPUs.
#[derive(Debug)]
pub struct Inventory {
    status: GpuNodeStatus,
    record: Record,
    failures: u32,
    /// Whether this process has seen its cards.
    has_seen: bool,
}

impl Inventory {
    /// Nothing yet. An error of the driver counts for so long.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self {
            status: GpuNodeStatus::default(),
            record: Record::new(hold),
            failures: 0,
            has_seen: false,
        }
    }

    /// What is to be told, but for what [`continued`] adds.
    #[must_use]
    pub fn status(&self) -> &GpuNodeStatus {
        &self.status
    }

    /// Takes in what came of a look.
    pub fn observe(&mut self, now: Timestamp, look: &Look) {
        match look {
            Look::Taken(reading) => self.taken(now, reading),
            Look::Stuck => self.failed(now, "Stuck", "calls to the driver do not return"),
            Look::Failed(error) => {
                self.record.clear();
                let reason = match error {
                    Error::NoLibrary(_) => "NoLibrary",
                    Error::NoDriver(_) => "NoDriver",
                    Error::Ended(_) => "Ended",
                };
                self.failed(now, reason, &error.to_string());
            }
        }
    }

    fn taken(&mut self, now: Timestamp, reading: &Reading) {
        self.failures = 0;
        self.record.note(now, &reading.xids);
        let gpus = self.gpus(reading);
        self.has_seen = true;
        self.status.driver = Some(reading.driver.clone());
        show(&mut self.status, gpus);
        self.condition(now, DRIVER_READY, "True", "Answers", "");
        self.tell_health(now);
    }

    /// The cards of a reading, and those that were there before and are missing now.
    fn gpus(&self, reading: &Reading) -> Vec<Gpu> {
        let silent: BTreeSet<u32> = reading
            .cards
            .iter()
            .filter(|card| matches!(card, Card::Silent { .. }))
            .map(Card::index)
            .collect();
        let mut gpus: BTreeMap<u32, Gpu> = BTreeMap::new();
        for card in &reading.cards {
            let (health, message) = self.record.judge(card);
            let gpu = Gpu {
                health,
                message,
                ..self.identity(card, &silent)
            };
            gpus.insert(gpu.index, gpu);
        }
        if self.has_seen {
            self.add_missing(&mut gpus);
        }
        gpus.into_values().collect()
    }

    /// What a card is. What it was is kept for one that is silent, and so are ways to such a one.
    fn identity(&self, card: &Card, silent: &BTreeSet<u32>) -> Gpu {
        let index = card.index();
        let before = self.status.gpus.iter().find(|gpu| gpu.index == index);
        let Card::Seen(seen) = card else {
            let nothing = Gpu {
                index,
                ..Gpu::default()
            };
            return before.cloned().unwrap_or(nothing);
        };
        let mut gpu = Gpu::clone(&seen.identity);
        if let Some(before) = before {
            keep_ways(&mut gpu, before, silent);
        }
        gpu
    }

    /// Others may have moved up to the number of one that is missing.
    fn add_missing(&self, gpus: &mut BTreeMap<u32, Gpu>) {
        let present: BTreeSet<_> = gpus.values().filter_map(|gpu| gpu.uuid.clone()).collect();
        let known = self.status.gpus.iter();
        let missing = known.filter(|gpu| gpu.uuid.as_ref().is_some_and(|id| !present.contains(id)));
        for gone in missing.cloned().collect::<Vec<_>>() {
            let free = (0..).find(|number| !gpus.contains_key(number));
            let index = match gpus.contains_key(&gone.index) {
                true => free.unwrap_or(gone.index),
                false => gone.index,
            };
            let message = Some("the driver does not list it any more".to_owned());
            let health = Health::Lost;
            gpus.insert(
                index,
                Gpu {
                    index,
                    health,
                    message,
                    ..gone
                },
            );
        }
    }

    fn failed(&mut self, now: Timestamp, reason: &str, message: &str) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES && self.has_seen {
            return;
        }
        self.status.driver = None;
        let gpus = unanswered(&self.status.gpus);
        show(&mut self.status, gpus);
        self.condition(now, DRIVER_READY, "False", reason, message);
        self.condition(now, GPUS_HEALTHY, "Unknown", "DriverNotReady", message);
    }

    fn tell_health(&mut self, now: Timestamp) {
        let sick = self.status.gpus.iter().filter_map(|gpu| {
            let message = gpu.message.as_deref().unwrap_or_default();
            let is_sick = gpu.health != Health::Healthy;
            is_sick.then(|| format!("GPU {} is {}: {message}", gpu.index, gpu.health.name()))
        });
        let sick: Vec<String> = sick.collect();
        match sick.is_empty() {
            true => self.condition(now, GPUS_HEALTHY, "True", "AllHealthy", ""),
            false => self.condition(now, GPUS_HEALTHY, "False", "SomeAreNot", &sick.join("; ")),
        }
    }

    fn condition(&mut self, now: Timestamp, name: &str, status: &str, reason: &str, message: &str) {
        let conditions = &mut self.status.conditions;
        let before = conditions.iter().find(|condition| condition.type_ == name);
        let since = before
            .filter(|condition| condition.status == status)
            .map_or(Time(now), |condition| {
                condition.last_transition_time.clone()
            });
        conditions.retain(|condition| condition.type_ != name);
        conditions.push(Condition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: since,
            observed_generation: None,
        });
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
}

/// What is to be told after what was told before, perhaps by another process: it counts the changes of
/// the inventory, keeps the time since when a condition holds, and remembers what silent cards are.
#[must_use]
pub fn continued(
    mut seen: GpuNodeStatus,
    told: Option<&GpuNodeStatus>,
    generation: Option<i64>,
) -> GpuNodeStatus {
    if seen.driver.is_none() && seen.gpus.is_empty() {
        // It was away since this process began; the cards are those that were there before.
        show(&mut seen, unanswered(told.map_or(&[], |told| &told.gpus)));
    }
    let known: BTreeSet<_> = seen
        .gpus
        .iter()
        .filter_map(|gpu| gpu.uuid.clone())
        .collect();
    let silent = seen.gpus.iter().filter(|gpu| gpu.uuid.is_none());
    let silent: BTreeSet<u32> = silent.map(|gpu| gpu.index).collect();
    let before = told.map(|told| told.gpus.as_slice()).unwrap_or_default();
    for gpu in seen.gpus.iter_mut().filter(|gpu| gpu.uuid.is_none()) {
        let mut same = before.iter().filter(|before| before.index == gpu.index);
        let forgotten = same.find(|gpu| gpu.uuid.as_ref().is_some_and(|id| !known.contains(id)));
        if let Some(was) = forgotten {
            let now = std::mem::take(gpu);
            *gpu = Gpu {
                health: now.health,
                message: now.message,
                mode: now.mode,
                pods: now.pods,
                more_pods: now.more_pods,
                noise: now.noise,
                ..was.clone()
            };
        }
    }
    for gpu in &mut seen.gpus {
        if let Some(before) = before.iter().find(|before| before.index == gpu.index) {
            keep_ways(gpu, before, &silent);
        }
    }
    let is_same = before
        .iter()
        .map(identity)
        .eq(seen.gpus.iter().map(identity));
    let last = told.map_or(0, |told| told.inventory);
    // Without a driver nothing is known of what there is.
    let counts = seen.driver.is_some() && (!is_same || last == 0);
    seen.inventory = last + i64::from(counts);
    if let Some(told) = told {
        // These are the controller's.
        seen.repartition.clone_from(&told.repartition);
        seen.demand.clone_from(&told.demand);
        seen.proposal.clone_from(&told.proposal);
        occupancy::keep_occupancy(&mut seen, told);
        let is_other = !occupancy::is_same_occupancy(&seen, told);
        seen.occupancy = told.occupancy + i64::from(is_other);
    }
    seen.observed_generation = generation;
    for condition in &mut seen.conditions {
        let mut old = told.iter().flat_map(|told| &told.conditions);
        let same = old.find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(same) = same {
            condition.last_transition_time = same.last_transition_time.clone();
        }
        condition.observed_generation = generation;
    }
    seen
}

fn show(status: &mut GpuNodeStatus, gpus: Vec<Gpu>) {
    let healthy = gpus.iter().filter(|gpu| gpu.health == Health::Healthy);
    status.healthy = u32::try_from(healthy.count()).unwrap_or(u32::MAX);
    status.count = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
    status.gpus = gpus;
}

/// The cards of a driver that does not answer.
fn unanswered(gpus: &[Gpu]) -> Vec<Gpu> {
    let unanswered = gpus.iter().map(|gpu| Gpu {
        health: Health::Unresponsive,
        message: Some("the driver does not answer".to_owned()),
        ..gpu.clone()
    });
    unanswered.collect()
}

/// Nobody can ask for the way to a silent card, and it is as it was.
fn keep_ways(gpu: &mut Gpu, before: &Gpu, silent: &BTreeSet<u32>) {
    if before.uuid != gpu.uuid {
        return;
    }
    let told: BTreeSet<u32> = gpu.peers.iter().map(|peer| peer.index).collect();
    let kept = before.peers.iter();
    let kept = kept.filter(|peer| silent.contains(&peer.index) && !told.contains(&peer.index));
    gpu.peers.extend(kept.cloned());
    gpu.peers.sort_by_key(|peer| peer.index);
    // Links to a silent card cannot be told from links to a switch.
    if gpu.peers.iter().any(|peer| silent.contains(&peer.index)) {
        gpu.switch_links = gpu.switch_links.or(before.switch_links);
    }
}

/// What a GPU is, without how it is and who is on it.
fn identity(gpu: &Gpu) -> Gpu {
    Gpu {
        health: Health::default(),
        message: None,
        mode: None,
        pods: Vec::new(),
        more_pods: None,
        noise: Vec::new(),
        ..gpu.clone()
    }
}

#[cfg(test)]
mod tests;
