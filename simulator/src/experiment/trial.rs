//! One run of an experiment: a scenario, a seed and an order in, measures out. The only file of
//! the experiments that knows scenarios, workloads, runs and summaries.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use prorata_core::Order;
use sha2::{Digest, Sha256};

use super::flat::{Metrics, flatten};
use crate::problem::{Problem, suggest};
use crate::run::{Check, Fate, Run, run};
use crate::scenario::{ORDERS, Scenario, order_name};
use crate::summary::summarise;
use crate::workload::{self, Drawn};

pub use crate::metrics::rounded;
pub use crate::report::words::{percent, span};
pub use crate::run::Interrupted;

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Subject(Scenario);

/// What a run measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The jobs that arrived before the run ended.
    pub jobs: Vec<JobRow>,
    /// The numbers of `summary.json` for this order, by their path in it.
    pub metrics: Metrics,
    /// SHA-256 of the work as drawn: equal when two runs had the same work to do.
    pub workload: String,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// Whose it is.
    pub tenant: String,
    /// The value of its PriorityClass.
    pub priority: i32,
    /// GPUs of the whole gang.
    pub gpus: f64,
    /// When it was submitted, from the beginning of the simulation.
    pub submitted: Duration,
    /// How long it waited; when it never started, how long it waited until the run's end.
    pub wait: Duration,
    /// How long it runs when nothing disturbs it.
    pub runtime: Duration,
    /// From submission to end, if it ended.
    pub completion: Option<Duration>,
    /// Whether it ever started.
    pub started: bool,
    /// Whether it waits for something that will never come.
    pub hopeless: bool,
}

/// PriorityClasses of a scenario, with their values.
pub type Classes = BTreeMap<String, i32>;

impl Subject {
    /// Reads a scenario. `file` is only for the messages.
    ///
    /// # Errors
    /// As [`Scenario::parse`].
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Scenario::parse(file, text).map(Self)
    }

    /// What is odd about it, although it can be run.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.0.warnings
    }

    /// SHA-256 of all that it was read from, in hexadecimal.
    #[must_use]
    pub fn input_hash(&self) -> &str {
        &self.0.input_hash
    }

    /// The orders that it is to be run under.
    #[must_use]
    pub fn orders(&self) -> Vec<&'static str> {
        self.0.orders.iter().copied().map(order_name).collect()
    }

    /// Who shares the cluster.
    #[must_use]
    pub fn tenants(&self) -> Vec<&str> {
        self.0.tenants.iter().map(|t| t.id.as_str()).collect()
    }

    /// The PriorityClasses that it names; scenarios give numbers so far.
    #[must_use]
    pub const fn classes(&self) -> Classes {
        Classes::new()
    }

    /// Runs it with the work that `seed` draws. `poll` is asked after every step whether to go on.
    ///
    /// # Errors
    /// When `poll` says no.
    ///
    /// # Panics
    /// When `order` is none that [`order`] let through, or the core breaks an invariant.
    pub fn run(
        &self,
        seed: u64,
        order: &str,
        poll: &dyn Fn() -> ControlFlow<()>,
    ) -> Result<Outcome, Interrupted> {
        let scenario = Scenario {
            seed,
            ..self.0.clone()
        };
        let order = known(order).expect("orders are checked where they are read");
        let work = workload::draw(&scenario, seed);
        let run = run(&scenario, order, &work, Check::Debug, &mut |_| poll())?;
        let summary = summarise(&scenario, std::slice::from_ref(&run));
        let summary = serde_json::to_value(&summary).expect("a summary has names for keys");
        Ok(Outcome {
            jobs: rows(&run),
            metrics: flatten(&summary),
            workload: hash(&work),
        })
    }
}

/// Takes the name of an order.
///
/// # Errors
/// When there is none of that name; the text says which there are.
pub fn order(name: &str) -> Result<String, String> {
    let remedy = || suggest(name, ORDERS.map(|(known, _)| known));
    known(name).map(|_| name.to_owned()).ok_or_else(remedy)
}

/// A measure as a whole number; what is negative counts as nothing, as no time is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measure for people, and casts saturate"
)]
#[must_use]
pub fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn known(name: &str) -> Option<Order> {
    let known = ORDERS.iter().find(|(known, _)| *known == name);
    known.map(|(_, order)| *order)
}

fn rows(run: &Run) -> Vec<JobRow> {
    let arrived = run.jobs.iter().filter(|f| f.job.submitted <= run.end);
    arrived.map(|fate| row(run, fate)).collect()
}

fn row(run: &Run, fate: &Fate) -> JobRow {
    JobRow {
        tenant: fate.job.tenant.to_string(),
        priority: fate.job.priority,
        gpus: crate::fairness::gpus(&fate.request()),
        submitted: Duration::from_millis(fate.job.submitted.as_millis()),
        wait: fate.wait(run.end),
        runtime: fate.runtime,
        completion: fate.completion(),
        started: fate.started.is_some(),
        hopeless: fate.is_hopeless(),
    }
}

fn hash(work: &[Drawn]) -> String {
    let mut digest = Sha256::new();
    for drawn in work {
        digest.update(format!("{drawn:?}\n"));
    }
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
