//! A scenario: the cluster, the tenants, the orders to compare and the work that arrives, as
//! checked and ready to run. Its file format is in `scenario/file.rs`, its checks in
//! `scenario/check.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use prorata_core::{Mix, Mode, Node, NodeId, Order, Place, Policy, Resource, Resources, Tenant};
use sha2::{Digest, Sha256};

use crate::calendar::Terms;
use crate::interference::Interference;
use crate::problem::Problem;
use crate::trace::Source;
use crate::workload::{Drawn, Failures, Fault, Fleet, Replay, Stream, Trace};

mod arrivals;
mod changes;
mod check;
mod classes;
mod conduct;
mod durations;
mod faults;
mod fields;
mod file;
mod manifests;
mod policy;
mod pools;
mod replay;
mod streams;
mod tenants;
mod written;

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is about, for people.
    pub description: String,
    /// Where the draws begin. The same seed draws the same work.
    pub seed: u64,
    /// The machines, alike within a pool.
    pub pools: Vec<Pool>,
    /// Who shares them: parents and their children. Only leaves have jobs.
    pub tenants: Vec<Tenant>,
    /// What of them changes over time. Above they are as they are at the beginning.
    pub terms: Vec<Terms>,
    /// When it begins by the calendar.
    pub begins: Timestamp,
    /// The value of each PriorityClass.
    pub classes: BTreeMap<String, i32>,
    /// The orders to run the same work under.
    pub orders: Vec<Order>,
    /// All else that an administrator chooses; its order says nothing. See
    /// [`Scenario::policy_under`].
    pub policy: Policy,
    /// How many percent of the tasks the typical ones make up that placement keeps room for;
    /// 0: it does not.
    pub mix_percent: u64,
    /// Whether placement goes by the pairs that the table of interference has.
    pub heeds_neighbours: bool,
    /// The work that arrives, unless a trace tells it.
    pub streams: Vec<Stream>,
    /// How a trace becomes work.
    pub replay: Replay,
    /// The trace that tells the work.
    pub trace: Option<Trace>,
    /// Nodes that fail when the scenario says so.
    pub faults: Vec<Fault>,
    /// How tasks that share a card slow each other.
    pub interference: Interference,
    /// How long an evicted job still holds its GPUs.
    pub grace: Duration,
    /// When to stop, if not when all is done.
    pub until: Option<Duration>,
    /// SHA-256 of all files that it was read from, in hexadecimal.
    pub input_hash: String,
    /// What is odd about the files, although it can be run.
    pub warnings: Vec<Problem>,
}

/// Machines that are alike.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name, which its nodes' names begin with.
    pub name: String,
    /// How many nodes.
    pub count: u32,
    /// What each of them is, but for its name.
    pub node: Node,
    /// What an hour of one of its GPUs costs, in a currency of the reader's choice.
    pub price: Option<f64>,
    /// How often its nodes fail, if they do.
    pub failures: Option<Failures>,
}

/// The orders that there are, with their names.
pub const ORDERS: [(&str, Order); 6] = [
    ("fifo", Order::Fifo),
    ("priority", Order::Priority),
    ("srtf", Order::Srtf),
    ("srsf", Order::Srsf),
    ("las", Order::Las),
    ("drf", Order::Drf),
];

/// The name of an order.
#[must_use]
pub fn order_name(order: Order) -> &'static str {
    let named = ORDERS.iter().find(|(_, known)| *known == order);
    named.map_or("unnamed", |(name, _)| name)
}

impl Scenario {
    /// Reads a scenario, and the files that it names. Their paths are relative to `file`, which
    /// is otherwise only for the messages.
    ///
    /// # Errors
    /// All problems that can be told at once: one if the file is not well-formed, otherwise one
    /// for each field that makes no sense.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let written =
            serde_saphyr::from_str(text).map_err(|error| vec![Problem::of_yaml(file, &error)])?;
        let checked = check::check(file, &written)?;
        let scenario = Self {
            input_hash: hash(&[text, &checked.also_read].concat()),
            ..checked.scenario
        };
        match checked.source {
            Some(source) => scenario.with_trace(&source),
            None => Ok(scenario),
        }
    }

    /// The same with another trace for its work.
    ///
    /// # Errors
    /// When the trace cannot be read, or has tenants that the scenario does not describe and that
    /// it does not take from the trace.
    pub fn with_trace(mut self, source: &Source) -> Result<Self, Vec<Problem>> {
        if let Some(before) = self.trace.take() {
            self.tenants
                .truncate(self.tenants.len() - before.tenants_added);
            self.warnings
                .retain(|warning| !before.warnings.contains(warning));
        }
        let trace = self.replay.read(source, &self.fleet(), &mut self.tenants)?;
        self.input_hash = hash(&[&*self.input_hash, &*trace.hash].concat());
        self.warnings.extend(trace.warnings.iter().cloned());
        self.streams.clear();
        self.trace = Some(trace);
        Ok(self)
    }

    /// What is wrong if nothing ever arrives: the scenario is for a trace, and none is named.
    #[must_use]
    pub fn without_work(&self, file: &str, text: &str) -> Option<Problem> {
        let what = "does not name its source, so there is no work";
        let remedy = "add `source: philly:FILE` below it, or name a trace on the command line: --trace philly:FILE";
        let line = text.lines().position(|line| line.starts_with("trace:"));
        let problem =
            Problem::new(file, "trace", what, remedy).at_line(line.map_or(0, |at| at + 1));
        let missing = self.trace.is_none() && self.streams.is_empty();
        missing.then_some(problem)
    }

    /// The whole policy under one order, for this work: with the tasks that are typical of it,
    /// and random placement drawn from the scenario's seed.
    #[must_use]
    pub fn policy_under(&self, order: Order, work: &[Drawn]) -> Policy {
        let mut policy = self.policy.clone();
        policy.order = order;
        if matches!(policy.place, Place::Random(_)) {
            policy.place = Place::Random(self.seed);
        }
        if self.mix_percent > 0 {
            let seen =
                |Drawn { job, .. }: &Drawn| (job.task, job.needs.clone(), u64::from(job.gang));
            policy.mix = Mix::of(work.iter().map(seen), self.mix_percent).into();
        }
        if self.heeds_neighbours {
            policy.pairs = self.interference.pairs().clone();
        }
        policy
    }

    /// The nodes of all pools: `POOL-01`, `POOL-02`, …
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.pools.iter().flat_map(Pool::nodes).collect()
    }

    /// What all nodes offer together.
    #[must_use]
    pub fn capacity(&self) -> Resources {
        capacity(&self.pools)
    }

    fn fleet(&self) -> Fleet {
        Fleet {
            cards_max: self
                .pools
                .iter()
                .map(|pool| pool.node.cards())
                .max()
                .unwrap_or(0),
            has_models: self
                .pools
                .iter()
                .any(|pool| !pool.node.gpus.model.as_str().is_empty()),
            capacity: self.capacity(),
        }
    }
}

impl Pool {
    /// Its nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        let width = self.count.to_string().len().max(2);
        (1..=self.count).map(move |number| Node {
            id: NodeId::from(&*format!("{}-{number:0width$}", self.name)),
            ..self.node.clone()
        })
    }

    /// What each node offers when nothing of it is taken.
    #[must_use]
    pub fn offer(&self) -> Resources {
        let (gpus, cards) = (&self.node.gpus, self.node.cards());
        let devices = (0..gpus.devices(cards)).map(|index| gpus.device(cards, index));
        let milli = devices.map(|device| u64::from(device.milli)).sum();
        self.node.allocatable.with(Resource::Gpu, milli)
    }

    /// `gpu: 8 nodes × 8 H100`, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let gpus = match self.node.gpus.model.as_str() {
            "" => "GPUs",
            model => model,
        };
        let mode = match &self.node.gpus.mode {
            Mode::Exclusive => String::new(),
            mode => format!(", {mode}"),
        };
        format!(
            "{}: {} nodes × {} {gpus}{mode}",
            self.name,
            self.count,
            self.node.cards()
        )
    }
}

fn capacity(pools: &[Pool]) -> Resources {
    let add = |sum: Resources, pool: &Pool| {
        let all = pool.offer().checked_mul(pool.count);
        all.and_then(|all| sum.checked_add(&all)).unwrap_or(sum)
    };
    pools.iter().fold(Resources::ZERO, add)
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
