//! Medians and ranges, as a table for people and as raw figures for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::machine::Machine;
use crate::meter::{Figure, Figures};
use crate::options::Options;
use crate::setup::Setup;

/// One measurement.
#[derive(Serialize)]
pub(crate) struct Sample {
    pub(crate) nodes: u32,
    pub(crate) setup: Setup,
    pub(crate) round: usize,
    pub(crate) figures: Figures,
    /// Of how many Jobs or pods our controller had not yet written that they run.
    pub(crate) unreported: usize,
    /// Cores that were busy with something else meanwhile.
    pub(crate) elsewhere: f64,
}

/// All measurements.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    jobs: usize,
    pods_per_job: usize,
    /// What kube-scheduler may use of the cores.
    scheduler_cores: Option<f64>,
    samples: Vec<Sample>,
}

/// More than so many cores busy elsewhere, and a figure is worth little.
const ELSEWHERE_MAX: f64 = 0.2;

/// Figure, heading, and digits after the point.
const COLUMNS: [(Figure, &str, usize); 9] = [
    (Figure::PodsPerSecond, "pods/s", 0),
    (Figure::SchedulerMsPerPod, "kube-scheduler", 2),
    (Figure::ApiServerMsPerPod, "kube-apiserver", 2),
    (Figure::ControllerMsPerPod, "prorata", 2),
    (Figure::ControllerManagerMsPerPod, "controller-manager", 2),
    (Figure::EtcdMsPerPod, "etcd", 2),
    (Figure::AllMsPerPod, "together", 2),
    (Figure::WritesPerPod, "writes", 2),
    (Figure::ControllerPeakMib, "prorata's memory", 0),
];

/// What is compared with what.
const PAIRS: [(Setup, Setup); 3] = [
    (Setup::Stock, Setup::Released),
    (Setup::Stock, Setup::Prorata),
    (Setup::StockPods, Setup::ProrataPods),
];

impl Sample {
    /// In one line, while others are still to come.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{:>5} nodes  {:<13}", self.nodes, self.setup.name());
        for (figure, heading, digits) in COLUMNS {
            let _ = write!(line, " {heading} {:.digits$} ", self.figures[&figure]);
        }
        if self.unreported > 0 {
            let _ = write!(line, " ({} not yet reported as running)", self.unreported);
        }
        if self.elsewhere > ELSEWHERE_MAX {
            let _ = write!(
                line,
                " (NOT QUIET: others took {:.1} cores)",
                self.elsewhere
            );
        }
        line
    }
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            machine: Machine::this(),
            jobs: options.jobs,
            pods_per_job: options.pods_per_job,
            scheduler_cores: options.scheduler_cores,
            samples: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Writes the raw figures, and says where.
    pub(crate) fn save(&self) -> PathBuf {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/throughput.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, serde_json::to_string_pretty(self).unwrap()).unwrap();
        file
    }

    /// Two tables: the figures, and how others compare with stock.
    pub(crate) fn markdown(&self) -> String {
        let Machine { processor, cores } = &self.machine;
        let limit = self.scheduler_cores.map_or(String::new(), |cores| {
            format!(" of which kube-scheduler may use {cores}")
        });
        let intro = format!(
            "{} Jobs × {} pods of 1 GPU, or as many as the nodes hold; {cores} × {processor}{limit}. \
             Median (least–most); milliseconds of processor time and \
             everybody's writes per pod; memory is the peak, in MiB.",
            self.jobs, self.pods_per_job
        );
        let figures = table(["nodes", "set-up"], &self.rows());
        let ratios = table(["nodes", "against stock"], &self.ratios());
        [intro, figures, ratios].join("\n\n")
    }

    /// Every number of nodes with every set-up, in the order of measurement and of [`Setup`].
    fn cells(&self) -> Vec<(u32, Setup)> {
        let mut cells: Vec<_> = self.samples.iter().map(|s| (s.nodes, s.setup)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let row = |(nodes, setup): (u32, Setup)| {
            let figures =
                COLUMNS.map(|(figure, _, digits)| self.range(nodes, setup, figure, digits));
            [nodes.to_string(), setup.name().to_owned()]
                .into_iter()
                .chain(figures)
                .collect()
        };
        self.cells().into_iter().map(row).collect()
    }

    fn ratios(&self) -> Vec<Vec<String>> {
        let cells = self.cells();
        let mut sizes: Vec<u32> = cells.iter().map(|(nodes, _)| *nodes).collect();
        sizes.dedup();
        let mut rows = Vec::new();
        for nodes in sizes {
            for (stock, ours) in PAIRS {
                if [stock, ours]
                    .iter()
                    .all(|setup| cells.contains(&(nodes, *setup)))
                {
                    let figures =
                        COLUMNS.map(|(figure, ..)| self.ratio(nodes, (stock, ours), figure));
                    let names = [nodes.to_string(), ours.name().to_owned()];
                    rows.push(names.into_iter().chain(figures).collect());
                }
            }
        }
        rows
    }

    fn range(&self, nodes: u32, setup: Setup, figure: Figure, digits: usize) -> String {
        let all = self.sorted(nodes, setup, figure);
        let (least, most) = (all[0], all[all.len() - 1]);
        if most == 0.0 {
            return "–".to_owned();
        }
        format!(
            "{:.digits$} ({least:.digits$}–{most:.digits$})",
            median(&all)
        )
    }

    fn ratio(&self, nodes: u32, (stock, ours): (Setup, Setup), figure: Figure) -> String {
        let of = |setup| median(&self.sorted(nodes, setup, figure));
        let (stock, ours) = (of(stock), of(ours));
        if stock == 0.0 {
            return "–".to_owned();
        }
        format!("{:.2}", ours / stock)
    }

    fn sorted(&self, nodes: u32, setup: Setup, figure: Figure) -> Vec<f64> {
        let cell = self
            .samples
            .iter()
            .filter(|s| s.nodes == nodes && s.setup == setup);
        let mut all: Vec<f64> = cell.map(|sample| sample.figures[&figure]).collect();
        all.sort_unstable_by(f64::total_cmp);
        all
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// A Markdown table whose columns also line up as text.
fn table(first: [&str; 2], rows: &[Vec<String>]) -> String {
    let headings = first
        .into_iter()
        .chain(COLUMNS.map(|(_, heading, _)| heading));
    let headings: Vec<String> = headings.map(str::to_owned).collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&headings])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        cells.fold("|".to_owned(), |line, (cell, width)| {
            format!("{line} {cell:<width$} |")
        })
    };
    let rule = widths.iter().fold("|".to_owned(), |rule, width| {
        format!("{rule}{:-<1$}|", "", width + 2)
    });
    let lines = [line(&headings), rule]
        .into_iter()
        .chain(rows.iter().map(line));
    lines.collect::<Vec<_>>().join("\n")
}
