//! Experiments: many runs that answer one question, with how sure the answer is.
//!
//! | to do this | read |
//! |---|---|
//! | run once: a seed and an order in, measures out | [`trial`], [`flat`] |
//! | change fields of a scenario | [`tree`], [`path`], [`variant`], [`values`] |
//! | run many at once | [`crew`] |
//! | say how sure a mean is | [`estimate`] |
//! | compare two scenarios, seed by seed | [`comparison`] |
//! | find the smallest size that meets a goal | [`slo`], [`sizing`] |
//! | tabulate a grid of points, also in parts on many machines | [`sweep`], [`shard`] |
//!
//! All variants of an experiment run the same seeds, so that what differs comes from the variant
//! and not from the draw. Nothing here depends on the number of threads.

use crate::problem::Problem;

pub mod comparison;
pub mod crew;
pub mod estimate;
pub mod flat;
pub mod path;
pub mod shard;
pub mod sizing;
pub mod slo;
pub mod sweep;
pub mod tree;
pub mod trial;
pub mod values;
pub mod variant;

use trial::{Interrupted, Subject};

/// Why an experiment gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// An input makes no sense.
    #[error("the input makes no sense")]
    Input(Vec<Problem>),
    /// It was told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<Problem> for ExperimentError {
    fn from(problem: Problem) -> Self {
        Self::Input(vec![problem])
    }
}

/// The order to run a scenario under, where only one can be: `chosen`, or the scenario's only
/// one, or `drf` if it is one of several.
///
/// # Errors
/// When the scenario leaves the choice open.
pub fn one_order(file: &str, subject: &Subject, chosen: Option<&str>) -> Result<String, Problem> {
    let orders = subject.orders();
    match (chosen, orders.as_slice()) {
        (Some(chosen), _) => Ok(chosen.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) if several.contains(&DEFAULT_ORDER) => Ok(DEFAULT_ORDER.to_owned()),
        (None, several) => {
            let what = format!("names several orders: {}", several.join(", "));
            let remedy = "choose one of them with --order";
            Err(Problem::new(file, "policy.orders", what, remedy))
        }
    }
}

/// The order that a cluster is given.
const DEFAULT_ORDER: &str = "drf";
