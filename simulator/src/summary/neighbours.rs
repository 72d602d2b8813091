//! What sharing cards did to those that shared.

use serde::Serialize;

use crate::interference::ONE;
use crate::metrics::{float, percentile, rounded};
use crate::run::{Fate, Run, millis};
use crate::world::Sharing;

/// What became of the jobs that shared a card with another task at some time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Neighbours {
    /// How many there were.
    pub jobs: usize,
    /// Throughput while it shared ÷ throughput alone: the mean over their pods.
    pub degradation_mean: f64,
    /// The least of any pod.
    pub degradation_min: f64,
    /// p99 of the time that they ran ÷ p99 of the time that they run alone, of those that ended.
    pub tail_inflation: Option<f64>,
    /// What the tasks on a shared card got done together ÷ what one could alone on it: below 1,
    /// sharing lost work.
    pub net_gain: f64,
    /// Of pairs that met on a card and whose work was measured beside each other: those that get
    /// less done than one alone would, and all; absent where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losing_pairs: Option<(u64, u64)>,
}

impl Neighbours {
    /// Of a run; `None` when no card was shared.
    pub(super) fn of(run: &Run) -> Option<Self> {
        let (met, losing) = run.pairs;
        let losing_pairs = (met > 0).then_some((losing, met));
        let shared = Self::among(run.jobs.iter())?;
        Some(Self {
            losing_pairs,
            ..shared
        })
    }

    /// Of some jobs of a run; `None` when none of them shared a card.
    pub(crate) fn among<'a>(fates: impl Iterator<Item = &'a Fate>) -> Option<Self> {
        let shared = |fate: &&Fate| !fate.spells.shared.time.is_zero();
        let jobs: Vec<&Fate> = fates.filter(shared).collect();
        if jobs.is_empty() {
            return None;
        }
        let pods: f64 = jobs.iter().map(|fate| f64::from(fate.job.gang)).sum();
        let rates = jobs
            .iter()
            .map(|fate| (rate(&fate.spells.shared), f64::from(fate.job.gang)));
        let least = rates.clone().map(|(rate, _)| rate);
        let tasks: u128 = jobs.iter().map(|fate| fate.spells.shared.tasks.0).sum();
        let cards: u128 = jobs.iter().map(|fate| fate.spells.shared.cards).sum();
        Some(Self {
            jobs: jobs.len(),
            degradation_mean: rounded(rates.map(|(rate, pods)| rate * pods).sum::<f64>() / pods),
            degradation_min: rounded(least.fold(f64::INFINITY, f64::min)),
            tail_inflation: tail_inflation(&jobs).map(rounded),
            net_gain: rounded(float(tasks) / float(cards.max(1))),
            losing_pairs: None,
        })
    }
}

fn rate(shared: &Sharing) -> f64 {
    float(shared.done.0) / (float(shared.time.as_millis()) * float(ONE.into()))
}

fn tail_inflation(jobs: &[&Fate]) -> Option<f64> {
    let ended: Vec<&&Fate> = jobs.iter().filter(|fate| fate.finished.is_some()).collect();
    let p99 = |of: &dyn Fn(&Fate) -> u64| {
        let mut spans: Vec<u64> = ended.iter().map(|fate| of(fate)).collect();
        spans.sort_unstable();
        (!spans.is_empty()).then(|| float(percentile(&spans, 99).into()))
    };
    let ran = |fate: &Fate| {
        let spells = &fate.spells;
        millis(
            fate.held
                .saturating_sub(spells.restart + spells.redo + spells.grace),
        )
    };
    Some(p99(&ran)? / p99(&|fate| millis(fate.runtime))?.max(1.0))
}
