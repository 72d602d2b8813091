//! Where the files of a run go: each to a place of its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Failure, run::Args};
use crate::problem::Problem;

pub(super) struct Targets {
    pub(super) folder: PathBuf,
    pub(super) summary: PathBuf,
    pub(super) jobs: PathBuf,
    pub(super) timeline: PathBuf,
    pub(super) events: PathBuf,
    pub(super) report: PathBuf,
    pub(super) svg: Option<PathBuf>,
}

impl Targets {
    /// Where `args` want the files, unless one would replace another, or the scenario.
    pub(super) fn new(args: &Args) -> Result<Self, Failure> {
        let report = args.report.clone();
        let targets = Self {
            folder: args.out.clone(),
            summary: args.out.join("summary.json"),
            jobs: args.out.join("jobs.csv"),
            timeline: args.out.join("timeline.csv"),
            events: args.out.join("events.jsonl"),
            report: report.unwrap_or_else(|| args.out.join("report.html")),
            svg: args.svg.clone(),
        };
        let mut taken = vec![("the scenario", place(&args.scenario))];
        let read = args
            .interference
            .iter()
            .map(|table| ("the table", place(table)));
        taken.extend(read);
        let read = args
            .trace
            .iter()
            .map(|trace| ("the trace", place(&trace.file())));
        taken.extend(read);
        let read = args.prices.iter();
        taken.extend(read.map(|prices| ("the price file", place(prices))));
        for (name, path) in targets.named() {
            let place = place(path);
            if let Some((other, _)) = taken.iter().find(|(_, known)| *known == place) {
                return Err(collision(path, name, other));
            }
            taken.push((name, place));
        }
        Ok(targets)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let always = [
            ("summary.json", &self.summary),
            ("jobs.csv", &self.jobs),
            ("timeline.csv", &self.timeline),
            ("events.jsonl", &self.events),
            ("the report", &self.report),
        ];
        let svg = self.svg.as_ref().map(|svg| ("the chart (--svg)", svg));
        always.into_iter().chain(svg)
    }
}

fn collision(path: &Path, name: &str, other: &str) -> Failure {
    let what = format!("would be the same file as {other}");
    let remedy = "choose other names with --out, --report and --svg";
    let file = path.display().to_string();
    Failure::Input(vec![Problem::new(&file, name, what, remedy)])
}

/// The same for all ways to write the same place, as far as its folders are there already.
fn place(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = absolute.ancestors().skip(1).find_map(|folder| {
        let rest = absolute.strip_prefix(folder).ok()?;
        Some(fs::canonicalize(folder).ok()?.join(rest))
    });
    known.unwrap_or(absolute)
}
