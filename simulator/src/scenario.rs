//! A scenario: the cluster, the tenants, the orders to compare and the work that arrives, as
//! checked and ready to run. Its file format is in `scenario/file.rs`, its checks in
//! `scenario/check.rs`.

use std::time::Duration;

use prorata_core::{Node, Order, Resource, Resources, Tenant};
use sha2::{Digest, Sha256};

use crate::problem::Problem;
use crate::workload::Stream;

mod check;
mod fields;
mod file;
mod streams;

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
    /// Who shares them.
    pub tenants: Vec<Tenant>,
    /// The orders to run the same work under.
    pub orders: Vec<Order>,
    /// The work that arrives.
    pub streams: Vec<Stream>,
    /// When to stop, if not when all is done.
    pub until: Option<Duration>,
    /// SHA-256 of the file, in hexadecimal.
    pub input_hash: String,
    /// What is odd about the file, although it can be run.
    pub warnings: Vec<Problem>,
}

/// Machines that are alike.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name, which its nodes' names begin with.
    pub name: String,
    /// How many nodes.
    pub count: u32,
    /// What each node offers.
    pub offer: Resources,
    /// Which GPUs they are, for people.
    pub model: Option<String>,
}

/// The orders that there are, with their names.
pub const ORDERS: [(&str, Order); 2] = [("fifo", Order::Fifo), ("drf", Order::Drf)];

/// The name of an order.
#[must_use]
pub fn order_name(order: Order) -> &'static str {
    let named = ORDERS.iter().find(|(_, known)| *known == order);
    named.map_or("unnamed", |(name, _)| name)
}

impl Scenario {
    /// Reads a scenario. `file` is only for the messages.
    ///
    /// # Errors
    /// All problems that can be told at once: one if the file is not well-formed, otherwise one
    /// for each field that makes no sense.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let written =
            serde_saphyr::from_str(text).map_err(|error| vec![Problem::of_yaml(file, &error)])?;
        let scenario = check::check(file, &written)?;
        Ok(Self {
            input_hash: hash(text),
            ..scenario
        })
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
}

impl Pool {
    fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        let width = self.count.to_string().len().max(2);
        (1..=self.count).map(move |number| Node {
            allocatable: self.offer,
            ..Node::new(&format!("{}-{number:0width$}", self.name))
        })
    }

    /// `8 × 8 H100`, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let gpus = self.offer.get(Resource::Gpu) / Resource::Gpu.scale();
        let model = self.model.as_deref().unwrap_or("GPUs");
        format!("{}: {} nodes × {gpus} {model}", self.name, self.count)
    }
}

fn capacity(pools: &[Pool]) -> Resources {
    let add = |sum: Resources, pool: &Pool| {
        let all = pool.offer.checked_mul(pool.count);
        all.and_then(|all| sum.checked_add(&all)).unwrap_or(sum)
    };
    pools.iter().fold(Resources::ZERO, add)
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
