//! Mean completion times beside those that Muri's authors published for the same traces, both
//! read from the folder that `PRORATA_DATA` names. Where they are absent, the test says on stderr
//! that it checked nothing. A debug build checks one trace of four, unless `PRORATA_MURI=all`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prorata_core::Order;
use prorata_simulator::run::{Check, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::trace::Source;
use prorata_simulator::workload::draw;

const TRACES: [&str; 4] = ["trace3", "trace3_pr", "trace1", "trace1_pr"];

/// How far a mean may be from the published one, as a part of it.
const APART: f64 = 0.06;

#[test]
fn completion_times_are_within_six_percent_of_the_published_ones() {
    let Some(folder) = data("muri-philly-2022") else {
        return;
    };
    let published = fs::read_to_string(folder.join("published.csv")).unwrap();
    let all = !cfg!(debug_assertions) || env::var("PRORATA_MURI").is_ok_and(|v| v == "all");
    let traces = if all { TRACES.len() } else { 1 };
    for trace in &TRACES[..traces] {
        let scenario = with_trace(&folder.join(format!("{trace}.csv")));
        for (order, policy) in [(Order::Srtf, "SRTF"), (Order::Srsf, "SRSF")] {
            let theirs = mean_of(&published, policy, trace);
            let ours = mean_completion(&scenario, order);
            let ratio = ours / theirs;
            assert!(
                (ratio - 1.0).abs() <= APART,
                "{trace} under {policy}: {ours:.0} s, published {theirs:.0} s, ratio {ratio:.4}"
            );
        }
    }
}

/// In seconds.
fn mean_completion(scenario: &Scenario, order: Order) -> f64 {
    let work = draw(scenario, scenario.seed);
    let on = &mut |_| ControlFlow::Continue(());
    let run = run(scenario, order, &work, Check::Debug, on).unwrap();
    let completions: Vec<f64> = run
        .jobs
        .iter()
        .map(|fate| fate.completion().unwrap().as_secs_f64())
        .collect();
    assert_eq!(completions.len(), work.len());
    #[expect(clippy::cast_precision_loss, reason = "there are few jobs")]
    let jobs = completions.len() as f64;
    completions.iter().sum::<f64>() / jobs
}

/// The published mean completion time, in seconds.
fn mean_of(published: &str, policy: &str, trace: &str) -> f64 {
    let row = format!("{policy},JCT,{trace},");
    let mut rows = published.lines().filter_map(|line| line.strip_prefix(&row));
    rows.next().unwrap().trim().parse().unwrap()
}

fn with_trace(trace: &Path) -> Scenario {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/muri.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let scenario = Scenario::parse(&file.display().to_string(), &text).unwrap();
    let source: Source = format!("muri:{}", trace.display()).parse().unwrap();
    scenario.with_trace(&source).unwrap()
}

/// Where this part of the data lies; where it does not, says so.
fn data(path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = env::var_os("PRORATA_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    let path = path.display();
    let skipped = format!(
        "\nSKIPPED, NOT CHECKED: there is no {path}: set PRORATA_DATA to the folder of traces\n\n"
    );
    // The macro's output would be held back by the test runner.
    let _ = io::stderr().write_all(skipped.as_bytes());
    None
}
