//! Who had to leave for whom, and what that cost.

use std::collections::HashMap;

use prorata_core::{JobId, Resource};

use super::scene::Scene;
use super::words::amount;
use crate::fairness::hours;
use crate::metrics::float;
use crate::run::{Fate, Run};
use crate::world::Change;

/// A table of one order.
pub(super) struct Matrix {
    pub(super) order: &'static str,
    /// For whom, and for each that had to leave, how often and at what cost.
    pub(super) rows: Vec<(String, Vec<Cell>)>,
}

/// What one tenant did to another.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// How often.
    pub(super) count: usize,
    /// GPU-hours: work that was lost, leaving, and loading afterwards.
    lost: f64,
    /// From 0 to 4: how much of the most.
    pub(super) shade: u8,
}

impl Cell {
    /// `12 × · 3.4 GPU-h`, or nothing.
    pub(super) fn text(&self) -> String {
        match self.count {
            0 => "–".to_owned(),
            count => format!("{count} × · {} GPU-h", amount(self.lost)),
        }
    }
}

/// The table of each order under which somebody had to leave.
pub(super) fn matrices(scene: &Scene<'_>) -> Vec<Matrix> {
    let of = |(_, order, run): (usize, &'static str, &Run)| matrix(scene, order, run);
    scene.runs().filter_map(of).collect()
}

fn matrix(scene: &Scene<'_>, order: &'static str, run: &Run) -> Option<Matrix> {
    let fates: HashMap<&JobId, &Fate> = run.jobs.iter().map(|f| (&f.job.id, f)).collect();
    let number = |job: &JobId| scene.cast.number(&fates[job].job.tenant);
    let mut cells = vec![vec![Cell::default(); scene.cast.len()]; scene.cast.len()];
    let mut causes: HashMap<&JobId, Cause> = HashMap::new();
    for record in &run.records {
        match &record.what {
            Change::Evicted(by, _) => {
                let pair = (number(by), number(&record.job));
                cells[pair.0][pair.1].count += 1;
                causes.entry(&record.job).or_default().leaves = Some(pair);
            }
            Change::Left(spell) => {
                let Some(cause) = causes.get_mut(&record.job) else {
                    continue;
                };
                let gpus = gpus(fates[&record.job]);
                let left = spell.redo + spell.grace;
                for (pair, span) in [(cause.loads, spell.restart), (cause.leaves, left)] {
                    if let Some((by, whom)) = pair {
                        cells[by][whom].lost += gpus * hours(span);
                    }
                }
                cause.loads = cause.leaves.take();
            }
            _ => {}
        }
    }
    shade(&mut cells);
    let rows: Vec<(String, Vec<Cell>)> = scene.cast.names().iter().cloned().zip(cells).collect();
    let any = rows.iter().flat_map(|(_, row)| row).any(|c| c.count > 0);
    any.then_some(Matrix { order, rows })
}

/// For whom a job had to leave, and who had to.
#[derive(Clone, Copy, Default)]
struct Cause {
    /// The last time: what it loads now is because of that.
    loads: Option<(usize, usize)>,
    /// Now.
    leaves: Option<(usize, usize)>,
}

fn gpus(fate: &Fate) -> f64 {
    float(fate.takes().get(Resource::Gpu).into()) / 1000.0
}

fn shade(cells: &mut [Vec<Cell>]) {
    let most = cells.iter().flatten().map(|cell| cell.count).max();
    for cell in cells.iter_mut().flatten() {
        let shade = (cell.count * 4).div_ceil(most.unwrap_or(1).max(1));
        cell.shade = u8::try_from(shade).unwrap_or(4);
    }
}
