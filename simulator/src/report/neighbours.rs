//! What sharing cards did, and what walls between tasks cost: by how cards are given out.

use std::collections::{BTreeMap, HashMap};

use prorata_core::{NodeId, Time};

use super::scene::Scene;
use super::table::Table;
use super::words::{percent, span};
use crate::metrics::percentile;
use crate::run::{Fate, millis};
use crate::summary::Neighbours;

/// What a number is told as that there is none of.
const NONE: &str = "–";

/// A row for each order and mode, whole cards beside the others; empty when no card was shared.
pub(super) fn table(scene: &Scene<'_>) -> Table {
    let header = [
        "Order",
        "Cards are",
        "Jobs",
        "p99 to the end",
        "p99 run time",
        "Jobs per card and day",
        "Jobs that shared",
        "Speed (mean)",
        "Speed (worst)",
        "Done on a shared card",
    ];
    let mut table = Table::new("What each way of giving out cards costs", &header);
    let fleet = Fleet::of(scene);
    let mut is_shared = false;
    for (_, order, run) in scene.runs() {
        let mut by_mode: BTreeMap<&str, Vec<&Fate>> = BTreeMap::new();
        for fate in &run.jobs {
            let slot = fate.placement.as_ref().and_then(|placed| placed.slot(0));
            if let Some(mode) = slot.and_then(|slot| fleet.modes.get(&slot.node)) {
                by_mode.entry(mode).or_default().push(fate);
            }
        }
        for (mode, fates) in by_mode {
            let shared = Neighbours::among(fates.iter().copied());
            is_shared |= shared.is_some();
            let cards = fleet.cards.get(mode).copied().unwrap_or_default();
            table.push(row((order, mode), &fates, cards, shared.as_ref()));
        }
    }
    if !is_shared {
        table.rows.clear();
    }
    table
}

/// How the nodes give out their cards, and how many cards there are of each kind.
struct Fleet {
    modes: HashMap<NodeId, String>,
    cards: BTreeMap<String, u64>,
}

impl Fleet {
    fn of(scene: &Scene<'_>) -> Self {
        let (mut modes, mut cards) = (HashMap::new(), BTreeMap::new());
        for pool in &scene.report.scenario.pools {
            let mode = pool.node.gpus.mode.to_string();
            for node in pool.nodes() {
                *cards.entry(mode.clone()).or_default() += u64::from(node.cards());
                modes.insert(node.id, mode.clone());
            }
        }
        Self { modes, cards }
    }
}

fn row(
    (order, mode): (&str, &str),
    fates: &[&Fate],
    cards: u64,
    shared: Option<&Neighbours>,
) -> Vec<String> {
    let ended: Vec<(&Fate, Time)> = fates
        .iter()
        .filter_map(|fate| Some((*fate, fate.finished?)))
        .collect();
    let p99 = |of: &dyn Fn(&(&Fate, Time)) -> u64| {
        let mut all: Vec<u64> = ended.iter().map(of).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| percentile(&all, 99))
    };
    let completion = p99(&|(fate, end)| millis(end.since(fate.job.submitted)));
    let ran = p99(&|(fate, _)| millis(fate.held));
    let text = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    vec![
        order.to_owned(),
        mode.to_owned(),
        fates.len().to_string(),
        text(completion.map(span)),
        text(ran.map(span)),
        text(per_card_and_day(&ended, cards)),
        text(shared.map(|them| them.jobs.to_string())),
        text(shared.map(|them| percent(them.degradation_mean))),
        text(shared.map(|them| percent(them.degradation_min))),
        text(shared.map(|them| format!("× {:.2}", them.net_gain))),
    ]
}

/// Jobs that ended, by cards and by days from the first submission to the last end.
fn per_card_and_day(ended: &[(&Fate, Time)], cards: u64) -> Option<String> {
    let first = ended.iter().map(|(fate, _)| fate.job.submitted).min()?;
    let last = ended.iter().map(|(_, end)| *end).max()?;
    let days = last.since(first).as_secs_f64() / 86_400.0;
    let card_days = days * cards as f64;
    (card_days > 0.0).then(|| format!("{:.1}", ended.len() as f64 / card_days))
}
