//! Gavel's measurements of pairs of jobs on one GPU, as a table of interference.
//!
//! The file is `simulation_throughputs.json` of the Gavel repository (Narayanan et al., OSDI 2020). It
//! is not part of the project: whoever wants its figures names the file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{ONE, TABLE};
use crate::problem::Problem;

/// What is measured of one kind of GPU, by job: alone, and beside each other job.
type Measured = BTreeMap<String, BTreeMap<String, Throughput>>;

/// Steps in a second: of a job alone, or of it and of its neighbour.
#[derive(Deserialize)]
#[serde(untagged)]
enum Throughput {
    Alone(f64),
    Pair([f64; 2]),
}

/// A table with the pairs that Gavel measured on a kind of GPU, such as `v100`: of each job on one
/// GPU, its throughput beside each other one, divided by what it does alone. Pairs that did not fit
/// into memory have a speed of 0. `file` is only for the messages.
///
/// # Errors
/// When the text is no such file, or has nothing of this kind of GPU.
pub fn table(file: &str, text: &str, gpu: &str) -> Result<String, Problem> {
    let remedy = "name Gavel's scheduler/simulation_throughputs.json";
    let read: Result<BTreeMap<String, Measured>, _> = serde_json::from_str(text);
    let all = read.map_err(|error| Problem::new(file, "JSON", error.to_string(), remedy))?;
    let Some(measured) = all.get(gpu) else {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        let remedy = format!("write one of {}", known.join(", "));
        return Err(Problem::new(file, gpu, "was not measured", remedy));
    };
    let jobs: Vec<(String, &BTreeMap<String, Throughput>)> = measured
        .iter()
        .filter_map(|(key, beside)| Some((work(key)?, beside)))
        .collect();
    let mut out = TABLE.to_owned();
    let _ = write!(
        out,
        "\n# Basis: measured pairs of training jobs on {gpu} (Gavel, OSDI 2020, simulation_throughputs.json).\n\
         pairs:\n"
    );
    for (own, beside) in &jobs {
        let speeds = measured.keys().filter_map(|key| {
            let other = work(key)?;
            Some(format!("{other}: {}", speed(beside, key)))
        });
        let _ = writeln!(
            out,
            "  {own}: {{{}}}",
            speeds.collect::<Vec<_>>().join(", ")
        );
    }
    Ok(out)
}

/// `('ResNet-18 (batch size 16)', 1)` is `resnet-18-16`; `None` for jobs on several GPUs.
fn work(key: &str) -> Option<String> {
    let name = key.strip_prefix("('")?.strip_suffix("', 1)")?;
    let name = name.replace(" (batch size ", "-").replace(')', "");
    Some(name.to_lowercase().replace(' ', "-"))
}

/// The speed of a job beside another, in millionths of what it does alone. What was not measured is
/// told as if nobody slowed it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and a million"
)]
fn speed(beside: &BTreeMap<String, Throughput>, other: &str) -> u64 {
    let alone = match beside.get("null") {
        Some(Throughput::Alone(steps)) if *steps > 0.0 => *steps,
        _ => return ONE,
    };
    match beside.get(other) {
        Some(Throughput::Pair([steps, _])) => {
            (steps / alone * ONE as f64).round().clamp(0.0, ONE as f64) as u64
        }
        _ => ONE,
    }
}
