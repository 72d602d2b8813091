//! Two scenarios side by side: the same seeds drive both, so that each seed gives one difference,
//! and what is left of chance is told by the interval of their mean.

use std::collections::BTreeSet;

use serde::Serialize;

use super::crew::Crew;
use super::estimate::{Estimate, float};
use super::trial::{Interrupted, Outcome, Subject, rounded};

/// One of the two: a scenario under an order.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The scenario.
    pub subject: &'a Subject,
    /// The order.
    pub order: &'a str,
}

/// How they compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Each number that both have, by its name.
    pub metrics: Vec<Compared>,
    /// The seeds that drew different work for the two.
    pub differing_work: Vec<u64>,
}

/// How they compare in one number. Numbers are rounded to four decimals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its path in `summary.json`.
    pub name: String,
    /// Which direction is better, where that is known.
    pub better: Option<Better>,
    /// How many seeds gave it for both.
    pub pairs: usize,
    /// The mean over these seeds of the first.
    pub a: f64,
    /// The mean over these seeds of the second.
    pub b: f64,
    /// The mean of second − first.
    pub difference: f64,
    /// Lower end of the difference's 95 % confidence interval: paired Student t.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What the second is, compared with the first.
    pub verdict: Verdict,
}

/// Which direction of a number is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Better {
    /// Waiting, cost, …
    Less,
    /// Use, fairness, …
    More,
}

/// What the interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It leaves no doubt that the second is better.
    Better,
    /// It leaves no doubt that the second is worse.
    Worse,
    /// It leaves no doubt that they differ, but neither direction is better.
    Different,
    /// It takes in zero.
    NoClearDifference,
}

/// Which direction is better, by a word of the number's name.
const DIRECTIONS: [(&str, Better); 17] = [
    ("allocation", Better::More),
    ("cost", Better::Less),
    ("deficit", Better::Less),
    ("evictions", Better::Less),
    ("fragmentation", Better::Less),
    ("gap", Better::Less),
    ("goodput", Better::More),
    ("jain", Better::More),
    ("jct", Better::Less),
    ("lost", Better::Less),
    ("makespan", Better::Less),
    ("preemptions", Better::Less),
    ("slowdown", Better::Less),
    ("unfinished", Better::Less),
    ("utilisation", Better::More),
    ("violations", Better::Less),
    ("wait", Better::Less),
];

impl Better {
    /// Which direction of this number is better.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let is = |word: &str| DIRECTIONS.iter().find(|(known, _)| *known == word);
        let counts = matches!(name.rsplit('.').next(), Some("count" | "jobs" | "finished"));
        let found = name.split(['.', '_']).find_map(is).filter(|_| !counts);
        found.map(|(_, better)| *better)
    }
}

impl Compared {
    /// Whether it belongs to the few that tell the story: over all jobs, with a better direction,
    /// and of a distribution its mean, median and 95th percentile.
    #[must_use]
    pub fn is_headline(&self) -> bool {
        let parts: Vec<&str> = self.name.split('.').collect();
        let told = match parts.as_slice() {
            [_] => true,
            [first, last] => *first != "tenant" && !FINE.contains(last),
            _ => false,
        };
        told && self.better.is_some()
    }
}

/// What a distribution says beyond the headlines.
const FINE: [&str; 7] = ["count", "min", "p10", "p75", "p90", "p99", "max"];

/// Runs both with every seed.
///
/// # Errors
/// When somebody wants it to stop.
pub fn compare(
    crew: &Crew<'_>,
    a: Side<'_>,
    b: Side<'_>,
    seeds: &[u64],
) -> Result<Comparison, Interrupted> {
    let runs: Vec<(Side<'_>, u64)> = seeds
        .iter()
        .flat_map(|seed| [(a, *seed), (b, *seed)])
        .collect();
    let outcomes = crew.each(&runs, |(side, seed), poll| {
        side.subject.run(*seed, side.order, poll)
    })?;
    let pairs: Vec<(&Outcome, &Outcome)> =
        outcomes.chunks_exact(2).map(|p| (&p[0], &p[1])).collect();
    let differs =
        |(seed, (a, b)): (&u64, &(&Outcome, &Outcome))| (a.workload != b.workload).then_some(*seed);
    let names: BTreeSet<&String> = outcomes.iter().flat_map(|o| o.metrics.keys()).collect();
    Ok(Comparison {
        metrics: names
            .into_iter()
            .filter_map(|name| compared(name, &pairs))
            .collect(),
        differing_work: seeds.iter().zip(&pairs).filter_map(differs).collect(),
    })
}

/// One number, if at least two seeds gave it for both.
fn compared(name: &str, pairs: &[(&Outcome, &Outcome)]) -> Option<Compared> {
    let both = |(a, b): &(&Outcome, &Outcome)| Some((*a.metrics.get(name)?, *b.metrics.get(name)?));
    let numbers: Vec<(f64, f64)> = pairs.iter().filter_map(both).collect();
    let differences: Vec<f64> = numbers.iter().map(|(a, b)| b - a).collect();
    let estimate = Estimate::of(&differences)?;
    let count = float(numbers.len());
    let better = Better::of(name);
    Some(Compared {
        name: name.to_owned(),
        better,
        pairs: numbers.len(),
        a: rounded(numbers.iter().map(|(a, _)| a).sum::<f64>() / count),
        b: rounded(numbers.iter().map(|(_, b)| b).sum::<f64>() / count),
        difference: rounded(estimate.mean),
        low: rounded(estimate.low),
        high: rounded(estimate.high),
        verdict: verdict(better, &estimate),
    })
}

fn verdict(better: Option<Better>, difference: &Estimate) -> Verdict {
    let less = difference.high < 0.0;
    let more = difference.low > 0.0;
    match better {
        _ if !less && !more => Verdict::NoClearDifference,
        None => Verdict::Different,
        Some(Better::Less) if less => Verdict::Better,
        Some(Better::More) if more => Verdict::Better,
        Some(_) => Verdict::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::super::flat::Metrics;
    use super::*;

    fn outcome(metrics: &[(&str, f64)]) -> Outcome {
        let metrics = metrics.iter().map(|(name, n)| ((*name).to_owned(), *n));
        Outcome {
            jobs: Vec::new(),
            metrics: metrics.collect::<Metrics>(),
            workload: String::new(),
        }
    }

    #[test]
    fn pairs_tell_what_means_alone_would_not() {
        // Seeds differ by hundreds, the two by 10 ± 1: t(4) · √2.5 / √5 = 1.9632.
        let levels = [100.0, 400.0, 50.0, 900.0, 300.0];
        let a = levels.map(|n| outcome(&[("wait_ms.mean", n)]));
        let b = [8.0, 9.0, 10.0, 11.0, 12.0].map(|d| d);
        let b: Vec<Outcome> = levels
            .iter()
            .zip(b)
            .map(|(n, d)| outcome(&[("wait_ms.mean", n - d)]))
            .collect();
        let pairs: Vec<_> = a.iter().zip(&b).collect();
        let found = compared("wait_ms.mean", &pairs).unwrap();
        assert_eq!(
            (found.pairs, found.a, found.b, found.difference),
            (5, 350.0, 340.0, -10.0)
        );
        assert_eq!((found.low, found.high), (-11.9632, -8.0368));
        assert_eq!(found.verdict, Verdict::Better);
    }

    #[test]
    fn a_verdict_needs_an_interval_without_zero_and_a_direction() {
        let found = |name: &str, differences: &[f64]| {
            let a = outcome(&[(name, 5.0)]);
            let b: Vec<Outcome> = differences
                .iter()
                .map(|d| outcome(&[(name, 5.0 + d)]))
                .collect();
            let pairs: Vec<_> = b.iter().map(|b| (&a, b)).collect();
            compared(name, &pairs).unwrap().verdict
        };
        assert_eq!(
            found("jain_index", &[0.1, 0.1, 0.2]),
            Verdict::NoClearDifference
        );
        assert_eq!(found("jain_index", &[0.1, 0.1, 0.11]), Verdict::Better);
        assert_eq!(found("makespan_ms", &[0.1, 0.1, 0.11]), Verdict::Worse);
        assert_eq!(found("allocation_ratio", &[-1.0, -1.0]), Verdict::Worse);
        assert_eq!(found("gpus", &[8.0, 8.0]), Verdict::Different);
        assert_eq!(found("gpus", &[0.0, 0.0]), Verdict::NoClearDifference);
    }

    #[test]
    fn only_seeds_that_have_the_number_for_both_count() {
        let (with, without) = (outcome(&[("jain_index", 0.5)]), outcome(&[]));
        assert_eq!(
            compared("jain_index", &[(&with, &without), (&with, &with)]),
            None
        );
        let pairs = [(&with, &with), (&without, &with), (&with, &with)];
        assert_eq!(compared("jain_index", &pairs).unwrap().pairs, 2);
    }

    #[test]
    fn headlines_are_over_all_jobs() {
        let headline = |name: &str| {
            let same = outcome(&[(name, 1.0)]);
            compared(name, &[(&same, &same), (&same, &same)])
                .unwrap()
                .is_headline()
        };
        for name in [
            "wait_ms.p95",
            "jct_ms.mean",
            "makespan_ms",
            "jain_index",
            "unfinished",
            "allocation_ratio",
        ] {
            assert!(headline(name), "{name}");
        }
        for name in [
            "wait_ms.p99",
            "wait_ms.count",
            "tenant.wait_ms",
            "tenant.red.wait_ms.p95",
            "gpus",
            "jobs",
        ] {
            assert!(!headline(name), "{name}");
        }
    }
}
