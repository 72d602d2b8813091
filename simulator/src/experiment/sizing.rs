//! The smallest value of a field with which a scenario meets its objective.
//!
//! More of something mostly helps, but not always: a larger cluster places gangs otherwise. So the
//! boundary is found by bisection, and then the values just below it are tried as well.

use std::collections::BTreeMap;

use super::ExperimentError;
use super::crew::Crew;
use super::estimate::{Estimate, float};
use super::path::Path;
use super::slo::Slo;
use super::trial::{Outcome, Subject};
use super::variant::Base;
use crate::problem::Problem;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The scenario.
    pub base: &'a Base,
    /// The field.
    pub path: &'a Path,
    /// The values that it may have, rising.
    pub values: &'a [u64],
    /// The objective.
    pub slo: &'a Slo,
    /// The seeds to run each value with.
    pub seeds: &'a [u64],
    /// The order.
    pub order: &'a str,
    /// Whether to try every value instead of bisecting.
    pub all: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The smallest of the tried values that meets the objective.
    pub smallest: Option<u64>,
    /// All that was tried, by rising value.
    pub tried: Vec<Tried>,
    /// The scenario's own value, tried as well, though it may be none of the question's.
    pub current: Option<u64>,
}

/// A value, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// The value.
    pub value: u64,
    /// The objective's statistic over the seeds.
    pub estimate: Estimate,
    /// Whether the objective is met: its whole interval keeps within the bound.
    pub met: bool,
    /// The most jobs of one seed that can never start, because they ask for what is not there.
    pub hopeless: usize,
    /// The mean of each number of the runs' summaries, over the seeds that have it.
    pub metrics: BTreeMap<String, f64>,
}

/// How many values below the boundary are tried.
const NEIGHBOURS: usize = 3;

/// Looks for the smallest value that meets the objective.
///
/// # Errors
/// When a value makes no scenario that can be run, which is told before anything runs; when fewer
/// than two seeds have jobs that the objective is about; when somebody wants it to stop.
pub fn size(crew: &Crew<'_>, question: &Question<'_>) -> Result<Answer, ExperimentError> {
    let current = question.base.value(question.path)?;
    let current = current.and_then(|value| value.parse().ok());
    check(crew, question)?;
    let mut tried = BTreeMap::new();
    let mut meets = |index: usize| {
        let value = question.values[index];
        let found = self::tried(crew, question, value)?;
        let met = found.met;
        tried.insert(value, found);
        Ok::<bool, ExperimentError>(met)
    };
    let smallest = match question.all {
        true => every(question.values.len(), &mut meets)?,
        false => search(question.values.len(), &mut meets)?,
    };
    if let Some(current) = current.filter(|value| !tried.contains_key(value)) {
        tried.insert(current, self::tried(crew, question, current)?);
    }
    Ok(Answer {
        smallest: smallest.map(|index| question.values[index]),
        tried: tried.into_values().collect(),
        current,
    })
}

/// Whether each value makes a scenario that can be run.
fn check(crew: &Crew<'_>, question: &Question<'_>) -> Result<(), ExperimentError> {
    let checked = crew.each(question.values, |value, _| {
        Ok(variant(question, *value).err())
    })?;
    match checked.into_iter().flatten().next() {
        Some(problems) => Err(ExperimentError::Input(problems)),
        None => Ok(()),
    }
}

fn variant(question: &Question<'_>, value: u64) -> Result<Subject, Vec<Problem>> {
    question.base.with(&[(question.path, &value.to_string())])
}

fn tried(crew: &Crew<'_>, question: &Question<'_>, value: u64) -> Result<Tried, ExperimentError> {
    let subject = variant(question, value).map_err(ExperimentError::Input)?;
    let outcomes = crew.each(question.seeds, |seed, poll| {
        subject.run(*seed, question.order, poll)
    })?;
    let statistics = outcomes
        .iter()
        .filter_map(|o| question.slo.statistic(&o.jobs));
    let statistics: Vec<f64> = statistics.collect();
    let estimate = Estimate::of(&statistics).ok_or_else(|| {
        let (some, all) = (statistics.len(), outcomes.len());
        let what = format!("only {some} of {all} seeds have a job that it is about");
        let remedy = "measure jobs that the scenario has, with two seeds or more";
        Problem::new("--slo", question.slo.measured(), what, remedy)
    })?;
    let hopeless = |o: &Outcome| o.jobs.iter().filter(|job| job.hopeless).count();
    Ok(Tried {
        value,
        estimate,
        met: question.slo.is_met(&estimate),
        hopeless: outcomes.iter().map(hopeless).max().unwrap_or_default(),
        metrics: means(&outcomes),
    })
}

fn means(outcomes: &[Outcome]) -> BTreeMap<String, f64> {
    let mut numbers: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, number) in outcomes.iter().flat_map(|o| &o.metrics) {
        numbers.entry(name).or_default().push(*number);
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / float(all.len());
    let named = numbers
        .into_iter()
        .map(|(name, all)| (name.to_owned(), mean(&all)));
    named.collect()
}

/// Tries all of `count` values; tells the first that meets.
fn every<E>(
    count: usize,
    meets: &mut dyn FnMut(usize) -> Result<bool, E>,
) -> Result<Option<usize>, E> {
    let mut first = None;
    for index in 0..count {
        if meets(index)? && first.is_none() {
            first = Some(index);
        }
    }
    Ok(first)
}

/// Looks for the first of `count` values that meets, without trying all: bisects below one that
/// meets, then goes on down as long as one of the [`NEIGHBOURS`] below meets as well. Where the
/// last does not meet, three quarters, half, a quarter and the first are asked before giving up.
fn search<E>(
    count: usize,
    meets: &mut dyn FnMut(usize) -> Result<bool, E>,
) -> Result<Option<usize>, E> {
    let mut known = BTreeMap::new();
    let mut ask = |index: usize| match known.get(&index) {
        Some(met) => Ok(*met),
        None => {
            let met = meets(index)?;
            known.insert(index, met);
            Ok(met)
        }
    };
    let last = count.saturating_sub(1);
    let mut upper = None;
    for index in [last, last * 3 / 4, last / 2, last / 4, 0] {
        if count > 0 && upper.is_none() && ask(index)? {
            upper = Some(index);
        }
    }
    let Some(mut upper) = upper else {
        return Ok(None);
    };
    let mut below = 0;
    while below < upper {
        let middle = below.midpoint(upper);
        match ask(middle)? {
            true => upper = middle,
            false => below = middle + 1,
        }
    }
    let mut missed = 0;
    while missed < NEIGHBOURS && missed < upper {
        missed += 1;
        if ask(upper - missed)? {
            upper -= missed;
            missed = 0;
        }
    }
    Ok(Some(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found among values that meet like this, and what was asked.
    fn found(values: &str) -> (Option<usize>, Vec<usize>) {
        let mut asked = Vec::new();
        let meets = |index: usize| {
            asked.push(index);
            Ok::<bool, ()>(&values[index..=index] == "+")
        };
        let mut meets = meets;
        let first = search(values.len(), &mut meets).unwrap();
        (first, asked)
    }

    #[test]
    fn the_boundary_is_found_wherever_it_is() {
        for count in 1..40 {
            for boundary in 0..=count {
                let values = "-".repeat(boundary) + &"+".repeat(count - boundary);
                let (first, asked) = found(&values);
                assert_eq!(first, (boundary < count).then_some(boundary), "{values}");
                let mut once = asked.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), asked.len(), "{values}: {asked:?}");
                assert!(asked.len() <= 6 + 2 + NEIGHBOURS, "{values}: {asked:?}");
            }
        }
        assert_eq!(found(""), (None, vec![]));
    }

    #[test]
    fn a_smaller_one_that_meets_just_below_is_found_too() {
        assert_eq!(found("----+-++++++++++").0, Some(4));
        assert_eq!(found("-+-+--++++++++++").0, Some(1));
        let (_, asked) = found("-----------+++++");
        assert!(
            [8, 9, 10].iter().all(|index| asked.contains(index)),
            "{asked:?}"
        );
    }

    #[test]
    fn the_last_need_not_meet() {
        assert_eq!(found("---+++++-").0, Some(3));
        assert_eq!(found("+--------").0, Some(0));
        assert_eq!(found("---------").0, None);
    }

    #[test]
    fn all_can_be_asked() {
        let mut asked = 0;
        let mut meets = |index: usize| {
            asked += 1;
            Ok::<bool, ()>(index == 1 || index == 3)
        };
        assert_eq!(every(5, &mut meets), Ok(Some(1)));
        assert_eq!(asked, 5);
    }
}
