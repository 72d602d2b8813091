//! Nodes that fail when the scenario says so.

use std::collections::BTreeSet;

use prorata_core::{NodeId, Time};

use super::Pool;
use super::fields::Fields;
use super::file::{self, File};
use super::written::Text;
use crate::workload::Fault;

pub(super) fn faults(fields: &mut Fields<'_>, written: &File, pools: &[Pool]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, fault) in written.faults.iter().enumerate() {
        let path = format!("faults[{index}]");
        let example = "- {at: 2h, node: gpu-01, for: 1h}";
        let Some(told) = fields.below(&path, fault, example) else {
            continue;
        };
        let at = Time::ZERO + fields.duration(&format!("{path}.at"), &told.at);
        let span = told.span.as_ref();
        let span = span.map(|span| fields.span(&format!("{path}.for"), span));
        let until = span.map(|span| at + span);
        let nodes = match nodes(fields, &path, told, pools) {
            Some(nodes) => nodes,
            None => {
                let what = "does not say what fails";
                let remedy = "write one of `node: gpu-01` and `pool: gpu`, all of its nodes";
                fields.wrong(fault.referenced, &path, what, remedy);
                continue;
            }
        };
        faults.extend(nodes.into_iter().map(|node| Fault { at, node, until }));
    }
    faults
}

/// Which nodes fail; `None` if it is not said in one way.
fn nodes(
    fields: &mut Fields<'_>,
    path: &str,
    written: &file::Fault,
    pools: &[Pool],
) -> Option<Vec<NodeId>> {
    match (&written.node, &written.pool) {
        (Some(node), None) => Some(known(fields, &format!("{path}.node"), node, pools)),
        (None, Some(name)) => {
            let names = pools.iter().map(|pool| pool.name.as_str());
            fields.known(&format!("{path}.pool"), name, "no pool is called", names);
            let named = pools.iter().filter(|pool| pool.name == name.value);
            Some(named.flat_map(Pool::nodes).map(|node| node.id).collect())
        }
        _ => None,
    }
}

fn known(fields: &mut Fields<'_>, field: &str, name: &Text, pools: &[Pool]) -> Vec<NodeId> {
    let id = NodeId::from(name.value.as_str());
    let all: BTreeSet<NodeId> = pools
        .iter()
        .flat_map(|pool| pool.nodes().map(|n| n.id))
        .collect();
    if all.contains(&id) {
        return vec![id];
    }
    let ends = |pool: &Pool| {
        let first = pool.nodes().next().map(|node| node.id.to_string());
        let last = pool.nodes().last().map(|node| node.id.to_string());
        Some(format!("{} to {}", first?, last?))
    };
    let ranges: Vec<String> = pools.iter().filter_map(ends).collect();
    let what = format!("no node is called `{}`", name.value);
    let remedy = format!("write one of {}", ranges.join(", "));
    fields.wrong(name.referenced, field, what, remedy);
    Vec::new()
}
