//! The GPUs that a node has, whoever holds them.

use std::collections::BTreeMap;

use prorata_core::{Node, NodeId, Resource};
use prorata_ledger::entry::Entry;
use prorata_ledger::record::Stock;

use super::Accounting;
use crate::api::labels;
use crate::observed::Observed;

impl Accounting {
    pub(super) fn settle_stock(&mut self, node: &NodeId, observed: &Observed) {
        let name = node.as_str();
        let node = observed.node(node);
        let pool = node.and_then(|node| node.labels.get(labels::NODE_POOL));
        let pool = pool.map(|pool| pool.to_string()).unwrap_or_default();
        let offers = node.map(offered);
        let taken = within(name, &self.taken);
        let wanted = there(offers, &taken);
        for (model, milli) in taken {
            if milli == 0 {
                self.taken.remove(&(name.to_owned(), model));
            }
        }
        let first = (name.to_owned(), String::new());
        let known = self.accounts.stock.range(first..);
        let known = known.take_while(|((of, _), _)| of == name);
        let known: Vec<Stock> = known.map(|(_, stock)| stock.clone()).collect();
        for stock in &known {
            // What is not known to be of a pool any more is where it was.
            let same_pool = node.is_none() || stock.pool == pool;
            let is_same = wanted.get(&stock.model) == Some(&stock.gpu_milli) && same_pool;
            if !is_same {
                let is_replaced = wanted.contains_key(&stock.model);
                self.gone(stock, is_replaced);
            }
        }
        for (model, gpu_milli) in wanted {
            let key = (name.to_owned(), model.clone());
            if !self.accounts.stock.contains_key(&key) {
                self.appeared(key, gpu_milli, &pool);
            }
        }
    }

    fn gone(&mut self, stock: &Stock, is_replaced: bool) {
        let key = (stock.node.clone(), stock.model.clone());
        self.accounts.stock.remove_mut(&key);
        // There is no moment without any where something else is there from now on.
        let at_ms = match is_replaced {
            true => self.begins(&key),
            false => self.now_ms,
        };
        self.log(Entry::Gone {
            node: stock.node.clone(),
            model: stock.model.clone(),
            at_ms: at_ms.max(stock.from_ms),
            estimated: false,
        });
    }

    /// When the next span of what is there begins: two that begin at the same moment could not be
    /// told apart.
    fn begins(&self, key: &(String, String)) -> u64 {
        let before = self.since.get(key);
        before.map_or(self.now_ms, |before| self.now_ms.max(before + 1))
    }

    fn appeared(&mut self, key: (String, String), gpu_milli: u64, pool: &str) {
        let from_ms = self.begins(&key);
        self.since.insert(key.clone(), from_ms);
        let stock = Stock {
            node: key.0.clone(),
            pool: pool.to_owned(),
            model: key.1.clone(),
            gpu_milli,
            from_ms,
            until_ms: None,
        };
        self.accounts.stock.insert_mut(key, stock.clone());
        self.log(Entry::There(stock));
    }
}

/// The model of a node's GPUs, and how many there are.
fn offered(node: &Node) -> (String, u64) {
    let milli = node.allocatable.bounded().get(Resource::Gpu);
    (node.gpus.model.to_string(), milli)
}

/// What is held on a node, by model.
fn within(node: &str, taken: &BTreeMap<(String, String), u64>) -> BTreeMap<String, u64> {
    let first = (node.to_owned(), String::new());
    let all = taken.range(first..).take_while(|((of, _), _)| of == node);
    all.map(|((_, model), milli)| (model.clone(), *milli))
        .collect()
}

/// What there is: what the node offers, and never less than what is held there. A node that is gone
/// lasts until the last that was held there is free.
fn there(offers: Option<(String, u64)>, taken: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut there = taken.clone();
    if let Some((model, milli)) = offers {
        let all: u64 = taken.values().sum();
        let others = all - taken.get(&model).copied().unwrap_or_default();
        there.insert(model, milli.max(all) - others);
    }
    there.retain(|_, milli| *milli > 0);
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let own = |(model, milli): &(&str, u64)| ((*model).to_owned(), *milli);
        all.iter().map(own).collect()
    }

    #[test]
    fn there_is_never_less_than_is_held() {
        let offers = |milli| Some(("L4".to_owned(), milli));
        let eight = amounts(&[("L4", 8000)]);
        assert_eq!(there(offers(8000), &amounts(&[("L4", 2000)])), eight);
        assert_eq!(there(offers(0), &eight), eight);
        assert_eq!(there(None, &eight), eight);
        assert_eq!(there(None, &amounts(&[("L4", 0)])), amounts(&[]));
        // Its model was not known when two of them were taken.
        let unknown = amounts(&[("", 2000)]);
        let both = amounts(&[("", 2000), ("L4", 6000)]);
        assert_eq!(there(offers(8000), &unknown), both);
    }
}
