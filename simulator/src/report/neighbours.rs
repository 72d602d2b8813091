//! What sharing cards did, by how they are shared.

use std::collections::{BTreeMap, HashMap};

use prorata_core::NodeId;

use super::scene::Scene;
use super::table::Table;
use super::words::percent;
use crate::run::Fate;
use crate::summary::Neighbours;

/// A row for each order and sharing mode; empty when no card was shared.
pub(super) fn table(scene: &Scene<'_>) -> Table {
    let header = [
        "Order",
        "Cards are",
        "Jobs that shared",
        "Speed (mean)",
        "Speed (worst)",
        "p99 run time",
        "Done on a shared card",
    ];
    let mut table = Table::new("Jobs that shared a card with others", &header);
    let pools = scene.report.scenario.pools.iter();
    let modes: HashMap<NodeId, String> = pools
        .flat_map(|pool| {
            let mode = pool.node.gpus.mode.to_string();
            pool.nodes().map(move |node| (node.id, mode.clone()))
        })
        .collect();
    for (_, order, run) in scene.runs() {
        let mut by_mode: BTreeMap<&str, Vec<&Fate>> = BTreeMap::new();
        for fate in &run.jobs {
            let slot = fate.placement.as_ref().and_then(|placed| placed.slot(0));
            if let Some(mode) = slot.and_then(|slot| modes.get(&slot.node)) {
                by_mode.entry(mode).or_default().push(fate);
            }
        }
        for (mode, fates) in by_mode {
            if let Some(them) = Neighbours::among(fates.into_iter()) {
                table.push(row(order, mode, &them));
            }
        }
    }
    table
}

fn row(order: &str, mode: &str, them: &Neighbours) -> Vec<String> {
    vec![
        order.to_owned(),
        mode.to_owned(),
        them.jobs.to_string(),
        percent(them.degradation_mean),
        percent(them.degradation_min),
        them.tail_inflation
            .map_or_else(|| "–".to_owned(), |tail| format!("× {tail:.2}")),
        format!("× {:.2}", them.net_gain),
    ]
}
