//! How much of each node is held over time.

use std::collections::{BTreeMap, HashMap};

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use prorata_core::{JobId, NodeId, Placement, Resource, Resources, Time};

use super::ReportError;
use super::axes::over_time_of;
use super::canvas::{self, Area, TEXT, WIDE, fault, text};
use super::palette::{DOWN, HEAT};
use super::scene::Scene;
use crate::metrics::float;
use crate::run::Run;
use crate::world::Change;

/// Rows, each one node or several together.
const ROWS_MAX: usize = 64;
const COLUMNS: usize = 200;
/// Shades of what is held.
const SHADES: f64 = 8.0;
/// Names beside the rows, at most.
const NAMES_MAX: usize = 16;
/// Letters of a name that there is room for.
const LETTERS: usize = 14;

/// Nodes by time.
struct Grid {
    /// The row of each node.
    rows: BTreeMap<NodeId, usize>,
    /// The first node of each row.
    names: Vec<String>,
    /// Milli-GPU of each row.
    capacity: Vec<f64>,
    /// Milliseconds of a column.
    width: f64,
    /// By row and column, milli-GPU-milliseconds.
    held: Vec<[f64; COLUMNS]>,
    down: Vec<[f64; COLUMNS]>,
}

pub(super) fn inline(scene: &Scene<'_>, (run, order): (&Run, &str)) -> Result<String, ReportError> {
    let title = format!("Under {order}: how much of each node is held over time");
    let mut grid = Grid::new(scene);
    grid.fill(scene, run);
    let rows = grid.names.len();
    let row = if rows <= 24 { 16 } else { 7 };
    let height = u32::try_from(rows).unwrap_or(1) * row + TEXT * 5 / 2 + 12;
    canvas::inline(&title, (WIDE, height), |area| {
        draw(scene, area, &grid, i32::try_from(row).unwrap_or(1))
    })
}

/// How many nodes share a row.
pub(super) fn nodes_per_row(scene: &Scene<'_>) -> usize {
    let pools = scene.report.scenario.pools.iter();
    let nodes: usize = pools.map(|pool| pool.count as usize).sum();
    nodes.div_ceil(ROWS_MAX).max(1)
}

impl Grid {
    fn new(scene: &Scene<'_>) -> Self {
        let each = nodes_per_row(scene);
        let (mut rows, mut names, mut capacity) = (BTreeMap::new(), Vec::new(), Vec::new());
        let pools = scene.report.scenario.pools.iter();
        let nodes = pools.flat_map(|pool| {
            let milli = float(pool.offer().get(Resource::Gpu).into());
            pool.nodes().map(move |node| (node.id, milli))
        });
        for (index, (node, milli)) in nodes.enumerate() {
            if index % each == 0 {
                names.push(node.to_string());
                capacity.push(0.0);
            }
            rows.insert(node, index / each);
            capacity[index / each] += milli;
        }
        let end = scene.clock.end * scene.clock.unit * 3_600_000.0;
        Self {
            rows,
            width: end / float(COLUMNS as u128),
            held: vec![[0.0; COLUMNS]; names.len()],
            down: vec![[0.0; COLUMNS]; names.len()],
            names,
            capacity,
        }
    }

    fn fill(&mut self, scene: &Scene<'_>, run: &Run) {
        let scenario = scene.report.scenario;
        let tasks: HashMap<&JobId, Resources> =
            run.jobs.iter().map(|f| (&f.job.id, f.job.task)).collect();
        let mut open: BTreeMap<&JobId, (Time, &Placement)> = BTreeMap::new();
        for record in &run.records {
            match &record.what {
                Change::Admitted(placement) => {
                    open.insert(&record.job, (record.time, placement));
                }
                Change::Left(_) => {
                    if let Some((since, placement)) = open.remove(&record.job) {
                        self.hold(placement, &tasks[&record.job], (since, record.time));
                    }
                }
                _ => {}
            }
        }
        for (job, (since, placement)) in open {
            self.hold(placement, &tasks[job], (since, run.end));
        }
        let offers: BTreeMap<NodeId, f64> = scenario
            .pools
            .iter()
            .flat_map(|p| {
                let milli = float(p.offer().get(Resource::Gpu).into());
                p.nodes().map(move |node| (node.id, milli))
            })
            .collect();
        for fault in crate::workload::faults(scenario, scenario.seed) {
            let until = fault.until.unwrap_or(run.end).min(run.end);
            if let (Some(row), Some(milli)) = (self.rows.get(&fault.node), offers.get(&fault.node))
            {
                spread(&mut self.down[*row], self.width, (fault.at, until), *milli);
            }
        }
    }

    fn hold(&mut self, placement: &Placement, task: &Resources, during: (Time, Time)) {
        for slot in placement.slots() {
            let milli = float(slot.takes(task).get(Resource::Gpu).into());
            if let Some(row) = self.rows.get(&slot.node) {
                spread(&mut self.held[*row], self.width, during, milli);
            }
        }
    }

    /// The part of what works that is held, in shades; `None` where less than half works.
    fn shade(&self, row: usize, column: usize) -> Option<u8> {
        let all = self.capacity[row] * self.width;
        let works = all - self.down[row][column];
        if works < all / 2.0 {
            return None;
        }
        let part = (self.held[row][column] / works).clamp(0.0, 1.0);
        let shades = (1_u8..=8).rev();
        let above = |shade: &u8| part > (f64::from(*shade) - 1.0) / SHADES + 1e-9;
        Some(shades.into_iter().find(above).unwrap_or(0))
    }
}

/// Adds an amount over time to the columns that it touches.
fn spread(row: &mut [f64; COLUMNS], width: f64, (since, until): (Time, Time), amount: f64) {
    let [since, until] = [since, until].map(|time| float(time.as_millis().into()));
    for (column, sum) in row.iter_mut().enumerate() {
        let from = width * float(column as u128);
        let overlap = until.min(from + width) - since.max(from);
        if overlap > 0.0 {
            *sum += overlap * amount;
        } else if from > until {
            break;
        }
    }
}

fn draw(scene: &Scene<'_>, area: &Area<'_>, grid: &Grid, row: i32) -> Result<(), ReportError> {
    let (left, right) = area.split_horizontally(150);
    let rows = float(grid.names.len() as u128);
    let mut chart = over_time_of(&right, &scene.clock, rows)?;
    let mut cells: BTreeMap<Option<u8>, Vec<(usize, usize, usize)>> = BTreeMap::new();
    for line in 0..grid.names.len() {
        let mut from = 0;
        for column in 1..=COLUMNS {
            let shade = grid.shade(line, from);
            if column == COLUMNS || grid.shade(line, column) != shade {
                cells.entry(shade).or_default().push((line, from, column));
                from = column;
            }
        }
    }
    let across = |column: usize| scene.clock.end * float(column as u128) / float(COLUMNS as u128);
    for (shade, cells) in cells.iter().filter(|(shade, _)| **shade != Some(0)) {
        let fill = match shade {
            Some(shade) => HEAT.mix(f64::from(*shade) / SHADES),
            None => DOWN.mix(0.9),
        };
        let cell = |(line, from, to): &(usize, usize, usize)| {
            let top = float(*line as u128);
            let corners = [(across(*from), top), (across(*to), top + 1.0)];
            Rectangle::new(corners, fill.filled())
        };
        chart.draw_series(cells.iter().map(cell)).map_err(fault)?;
    }
    let every = grid.names.len().div_ceil(NAMES_MAX);
    for (line, name) in grid.names.iter().enumerate().step_by(every) {
        let middle = 6 + i32::try_from(line).unwrap_or(0) * row + row / 2;
        let style = text(TEXT - 2).pos(Pos::new(HPos::Right, VPos::Center));
        left.draw(&Text::new(cut(name), (144, middle), style))
            .map_err(fault)?;
    }
    Ok(())
}

/// The end of a long name, which tells nodes apart.
fn cut(name: &str) -> String {
    let letters = name.chars().count();
    match letters > LETTERS {
        true => format!(
            "…{}",
            name.chars().skip(letters + 1 - LETTERS).collect::<String>()
        ),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_spread_over_the_columns_that_it_touches() {
        let mut row = [0.0; COLUMNS];
        let during = (Time::from_millis(50), Time::from_millis(250));
        spread(&mut row, 100.0, during, 8.0);
        assert_eq!(row[..4], [400.0, 800.0, 400.0, 0.0]);
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(cut("gpu-01"), "gpu-01");
        assert_eq!(cut("a-very-long-pool-0001"), "…ong-pool-0001");
    }
}
