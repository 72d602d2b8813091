//! Which pods disturb each other on a GPU: what is used of it over a while, and who uses more than its
//! part. Pure.
//!
//! A GPU is noisy when something of it has been short for a whole window while at least two use it,
//! and is not any more when it has been plentiful for a while. The numbers that are told are those of
//! when it began, so that what is told changes seldom.

mod offender;
mod sample;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::gpunode::{Contention, Noise, PodName};
pub use sample::{Sample, User, sample};
use window::Window;

/// Percent below a threshold at which it is not exceeded any more.
const MARGIN: u32 = 10;
/// Disturbed pods that are named.
const DISTURBED_MAX: usize = 16;

/// From when on pods disturb each other. `docs/noise.md` says where the defaults are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Over how long what is used is averaged.
    pub window: Duration,
    /// How long it has to be quiet until that is told.
    pub calm: Duration,
    /// Percent of the time in which kernels run.
    pub compute: u32,
    /// Percent of the time in which memory is read or written.
    pub bandwidth: u32,
    /// Percent of the memory.
    pub memory: u32,
    /// Percent of the time in which the limit of power holds the clocks back.
    pub power: u32,
    /// Percent by which a pod uses more than its part before that is held against it.
    pub excess: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            calm: Duration::from_secs(120),
            compute: 95,
            bandwidth: 60,
            memory: 95,
            power: 20,
            excess: 25,
        }
    }
}

impl Thresholds {
    const fn of(&self, contention: Contention) -> u32 {
        match contention {
            Contention::Compute => self.compute,
            Contention::Bandwidth => self.bandwidth,
            Contention::Memory => self.memory,
            Contention::Power => self.power,
        }
    }
}

/// Listens to the GPUs of a node.
#[derive(Debug)]
pub struct Listener {
    thresholds: Thresholds,
    cards: BTreeMap<u32, Card>,
}

/// What is remembered of a card.
#[derive(Debug, Default)]
struct Card {
    window: Window,
    noises: BTreeMap<Contention, Heard>,
}

#[derive(Debug)]
struct Heard {
    noise: Noise,
    /// Since when it has been quiet.
    quiet: Option<Duration>,
}

impl Listener {
    /// One that has heard nothing.
    #[must_use]
    pub const fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            cards: BTreeMap::new(),
        }
    }

    /// Takes in what a look shows of the cards. `now` is for people, `at` only ever grows. Cards that
    /// are not seen are forgotten.
    pub fn hear(&mut self, now: Timestamp, at: Duration, seen: BTreeMap<u32, Sample>) {
        self.cards.retain(|card, _| seen.contains_key(card));
        for (index, sample) in seen {
            let card = self.cards.entry(index).or_default();
            card.window.push(at, sample, self.thresholds.window);
            for contention in Contention::ALL {
                card.judge(contention, &self.thresholds, now, at);
            }
        }
    }

    /// What the pods on a card fight for, if they disturb each other.
    #[must_use]
    pub fn noises(&self, card: u32) -> Vec<Noise> {
        let heard = self.cards.get(&card).into_iter();
        let heard = heard.flat_map(|card| card.noises.values());
        heard.map(|heard| heard.noise.clone()).collect()
    }
}

impl Card {
    fn judge(&mut self, contention: Contention, limits: &Thresholds, now: Timestamp, at: Duration) {
        let threshold = limits.of(contention);
        let measured = self.window.mean(contention);
        let is_shared = self.window.is_shared();
        let is_short = |than: u32| is_shared && measured.is_some_and(|percent| percent >= than);
        let Some(heard) = self.noises.get_mut(&contention) else {
            if self.window.is_full() && is_short(threshold) {
                let noise = Noise {
                    contention,
                    since: Time(now),
                    measured: measured.unwrap_or_default(),
                    threshold,
                    offender: None,
                    disturbed: Vec::new(),
                };
                let noise = attributed(noise, &self.window, limits.excess);
                self.noises.insert(contention, Heard { noise, quiet: None });
            }
            return;
        };
        if is_short(threshold.saturating_sub(MARGIN).max(1)) {
            heard.quiet = None;
            let noise = heard.noise.clone();
            heard.noise = attributed(noise, &self.window, limits.excess);
        } else {
            let since = *heard.quiet.get_or_insert(at);
            if at.saturating_sub(since) >= limits.calm {
                self.noises.remove(&contention);
            }
        }
    }
}

/// With who is to blame, and who bears it. Who was to blame stays so while it uses more than its part.
fn attributed(mut noise: Noise, window: &Window, excess: u32) -> Noise {
    let still = noise.offender.take().filter(|offender| {
        let now = offender::excesses(window, noise.contention, 0);
        now.iter().any(|one| offender::is_same(one, offender))
    });
    noise.offender = still.or_else(|| {
        let all = offender::excesses(window, noise.contention, excess);
        all.into_iter().next()
    });
    let blamed = noise.offender.as_ref();
    let others = window.users().iter().map(|user| PodName {
        namespace: user.namespace.clone(),
        name: user.name.clone(),
    });
    let others = others.filter(|pod| {
        blamed.is_none_or(|one| (&one.namespace, &one.name) != (&pod.namespace, &pod.name))
    });
    noise.disturbed = others.take(DISTURBED_MAX).collect();
    noise
}

#[cfg(test)]
mod tests;
