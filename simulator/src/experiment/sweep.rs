//! A grid of points: every combination of the values, run with every seed under every order, as
//! one table with a row for each run. What a row says depends on the run alone, so that parts of
//! the table can be made anywhere; see [`super::shard`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::ExperimentError;
use super::crew::Crew;
use super::flat::Metrics;
use super::shard::{Shard, Table};
use super::trial::Interrupted;
use super::values::Setting;
use super::variant::{Base, Change};
use crate::problem::Problem;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// The scenario.
    pub base: &'a Base,
    /// The fields with their values; the last varies fastest.
    pub settings: &'a [Setting],
    /// The seeds.
    pub seeds: &'a [u64],
    /// The orders; none: each point's own.
    pub orders: &'a [String],
}

/// A grid that was checked.
#[derive(Clone, Debug)]
pub struct Sweep<'a> {
    grid: Grid<'a>,
    /// Every run there is, in the table's order.
    runs: Vec<Planned>,
    /// Points with odd scenarios: how many, and what the first of them is told.
    odd: (usize, Vec<Problem>),
    hash: String,
}

/// A run that is to be made.
#[derive(Clone, Debug)]
struct Planned {
    point: usize,
    seed: u64,
    order: String,
}

/// What checking a point gives.
struct Checked {
    orders: Vec<String>,
    input_hash: String,
    warnings: Vec<Problem>,
}

/// More would not fit into memory; shards do not help, as each checks all points.
const RUNS_MAX: usize = 1_000_000;

impl<'a> Grid<'a> {
    /// Checks every point.
    ///
    /// # Errors
    /// When a field is named twice or is not there, when a point makes no scenario that can be
    /// run (the problems name the point), or when somebody wants it to stop.
    pub fn check(self, crew: &Crew<'_>) -> Result<Sweep<'a>, ExperimentError> {
        if self.most_runs().is_none_or(|runs| runs > RUNS_MAX) {
            let what = format!("make more than {RUNS_MAX} runs");
            let remedy = "try fewer values, seeds or orders at once";
            return Err(Problem::new(self.base.file(), "--set", what, remedy).into());
        }
        let paths: BTreeSet<_> = self.settings.iter().map(|s| &s.path).collect();
        if paths.len() < self.settings.len() {
            let what = "names a field twice";
            let remedy = "write all values of a field in one --set, with commas between";
            return Err(Problem::new(self.base.file(), "--set", what, remedy).into());
        }
        let points: Vec<usize> = (0..self.points()).collect();
        let checked = crew.each(&points, |point, _| Ok(self.check_point(*point)))?;
        let checked: Result<Vec<Checked>, _> = checked.into_iter().collect();
        let checked = checked.map_err(ExperimentError::Input)?;
        let odd = checked.iter().filter(|point| !point.warnings.is_empty());
        Ok(Sweep {
            grid: self,
            runs: self.runs(&checked),
            odd: (
                odd.clone().count(),
                odd.clone()
                    .next()
                    .map(|first| first.warnings.clone())
                    .unwrap_or_default(),
            ),
            hash: self.hash(&checked),
        })
    }

    /// The runs, as far as they can be told before the points are checked.
    fn most_runs(&self) -> Option<usize> {
        let counts = self.settings.iter().map(|setting| setting.values.len());
        let others = [self.seeds.len(), self.orders.len().max(1)];
        counts.chain(others).try_fold(1, usize::checked_mul)
    }

    fn points(&self) -> usize {
        self.settings
            .iter()
            .map(|setting| setting.values.len())
            .product()
    }

    /// The values of a point, the last field's varying fastest.
    fn changes(&self, point: usize) -> Vec<Change<'a>> {
        let mut rest = point;
        let mut changes: Vec<Change<'a>> = Vec::new();
        for Setting { path, values } in self.settings.iter().rev() {
            changes.push((path, &values[rest % values.len()]));
            rest /= values.len();
        }
        changes.reverse();
        changes
    }

    fn check_point(&self, point: usize) -> Result<Checked, Vec<Problem>> {
        let changes = self.changes(point);
        let subject = self.base.with(&changes)?;
        let own = || subject.orders().into_iter().map(str::to_owned).collect();
        Ok(Checked {
            orders: if self.orders.is_empty() {
                own()
            } else {
                self.orders.to_vec()
            },
            input_hash: subject.input_hash().to_owned(),
            warnings: self.base.warnings(&changes, &subject),
        })
    }

    fn runs(&self, checked: &[Checked]) -> Vec<Planned> {
        let mut runs = Vec::new();
        for (point, checked) in checked.iter().enumerate() {
            for seed in self.seeds {
                runs.extend(checked.orders.iter().map(|order| Planned {
                    point,
                    seed: *seed,
                    order: order.clone(),
                }));
            }
        }
        runs
    }

    /// SHA-256 of all that decides what the table says: the version, the file, and of each point
    /// the values, the inputs, the seeds and the orders.
    fn hash(&self, checked: &[Checked]) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update(text.len().to_le_bytes());
            digest.update(text);
        };
        add(env!("CARGO_PKG_VERSION"));
        add(self.base.text());
        for (point, checked) in checked.iter().enumerate() {
            add(&super::variant::label(&self.changes(point)));
            add(&checked.input_hash);
            add(&checked.orders.join(","));
        }
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        add(&seeds.join(","));
        let digest = digest.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Sweep<'_> {
    /// How many of its points have odd scenarios, and what is odd about the first of them.
    #[must_use]
    pub fn odd(&self) -> (usize, &[Problem]) {
        (self.odd.0, &self.odd.1)
    }

    /// How many runs it has in all.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Names it, with all that its table depends on.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Makes the runs of a part, and tabulates them.
    ///
    /// # Errors
    /// When the file changed since it was checked, or somebody wants it to stop.
    pub fn run(&self, crew: &Crew<'_>, shard: Shard) -> Result<Table, ExperimentError> {
        let runs: Vec<&Planned> = shard.of(&self.runs).collect();
        let names = Names::default();
        let rows = crew.each(&runs, |run, poll| {
            let subject = match self.grid.base.with(&self.grid.changes(run.point)) {
                Ok(subject) => subject,
                Err(problems) => return Ok(Err(problems)),
            };
            let outcome = subject.run(run.seed, &run.order, poll)?;
            Ok::<_, Interrupted>(Ok(names.row(outcome.metrics)))
        })?;
        let rows: Result<Vec<Row>, _> = rows.into_iter().collect();
        let rows = rows.map_err(ExperimentError::Input)?;
        Ok(self.table(&runs, &rows))
    }

    fn table(&self, runs: &[&Planned], rows: &[Row]) -> Table {
        let paths = self
            .grid
            .settings
            .iter()
            .map(|setting| setting.path.to_string());
        let metrics: BTreeSet<&String> = rows.iter().flat_map(|row| row.names.iter()).collect();
        let cells = |(run, row): (&&Planned, &Row)| {
            let changes = self.grid.changes(run.point).into_iter();
            let values = changes.map(|(_, value)| value.to_owned());
            let keys = values.chain([run.seed.to_string(), run.order.clone()]);
            let numbers: BTreeMap<_, _> = row.names.iter().zip(&row.numbers).collect();
            let cell = |name: &&String| {
                numbers
                    .get(name)
                    .map_or_else(String::new, ToString::to_string)
            };
            keys.chain(metrics.iter().map(cell)).collect()
        };
        Table {
            keys: paths.chain(["seed", "order"].map(str::to_owned)).collect(),
            rows: runs.iter().zip(rows).map(cells).collect(),
            metrics: metrics.iter().copied().cloned().collect(),
        }
    }
}

/// The numbers of a run. Most runs have the same names, so these are kept once.
struct Row {
    names: Arc<[String]>,
    numbers: Vec<f64>,
}

#[derive(Default)]
struct Names(Mutex<BTreeSet<Arc<[String]>>>);

impl Names {
    fn row(&self, metrics: Metrics) -> Row {
        let (names, numbers): (Vec<String>, Vec<f64>) = metrics.into_iter().unzip();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = known.get(names.as_slice()).cloned().unwrap_or_else(|| {
            let names: Arc<[String]> = names.into();
            known.insert(Arc::clone(&names));
            names
        });
        Row { names, numbers }
    }
}
