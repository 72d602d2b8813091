//! What an administrator of the scenario's cluster chooses.

use std::time::Duration;

use prorata_core::{Order, Place, Policy, Preemption, Resource};

use super::fields::Fields;
use super::file;
use super::written::{Map, Written};
use super::{ORDERS, Pool};
use crate::problem::suggest;
use crate::quantity;

/// The first job in fair order that has waited so long for room gets nodes reserved.
const RESERVE_AFTER: Duration = Duration::from_secs(15 * 60);

/// How many percent of all tasks the typical ones make up.
const MIX_PERCENT: u64 = 95;

const PLACES: [(&str, Place); 5] = [
    ("prorata", Place::Prorata),
    ("fgd", Place::Fgd),
    ("best-fit", Place::BestFit),
    ("first-fit", Place::FirstFit),
    ("random", Place::Random(0)),
];

/// Orders to compare, all else, and how many percent of the tasks are typical.
pub(super) struct Choices {
    pub(super) orders: Vec<Order>,
    pub(super) policy: Policy,
    pub(super) mix_percent: u64,
    pub(super) heeds_neighbours: bool,
}

pub(super) fn policy(
    fields: &mut Fields<'_>,
    written: Option<&Written<file::Policy>>,
    pools: &[Pool],
) -> Choices {
    let mut choices = Choices {
        orders: vec![Order::Fifo, Order::Drf],
        policy: Policy {
            reserve_after: Some(RESERVE_AFTER),
            ..Policy::default()
        },
        mix_percent: MIX_PERCENT,
        heeds_neighbours: true,
    };
    let example = "policy: {orders: [fifo, drf]}";
    let Some(written) = written.and_then(|w| fields.below("policy", w, example)) else {
        return choices;
    };
    let policy = &mut choices.policy;
    if let Some(place) = &written.place {
        let place = fields.word("policy.place", place, "a way of placing", &PLACES);
        policy.place = place.unwrap_or_default();
    }
    if let Some(preemption) = &written.preemption {
        policy.preemption = self::preemption(fields, preemption);
    }
    if let Some(after) = &written.reserve_after {
        let never = after.value == "never";
        policy.reserve_after = (!never).then(|| fields.span("policy.reserveAfter", after));
    }
    let half_life = written.half_life.as_ref();
    policy.half_life = half_life.map(|h| fields.span("policy.halfLife", h));
    values(fields, written, pools, policy);
    topology(fields, written, pools, policy);
    if let Some(percent) = &written.mix {
        choices.mix_percent = mix_percent(fields.percent("policy.mix", percent, 0.0, 100.0));
    }
    if let Some(neighbours) = &written.neighbours {
        let words = [("heed", true), ("ignore", false)];
        let heeds = fields.word("policy.neighbours", neighbours, "heed or ignore", &words);
        choices.heeds_neighbours = heeds.unwrap_or(true);
    }
    if let Some(orders) = &written.orders {
        choices.orders = self::orders(fields, orders);
    }
    choices
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and 100"
)]
fn mix_percent(part: f64) -> u64 {
    (part * 100.0).round() as u64
}

fn orders(fields: &mut Fields<'_>, written: &[super::written::Text]) -> Vec<Order> {
    let mut orders = Vec::new();
    for (index, name) in written.iter().enumerate() {
        let field = format!("policy.orders[{index}]");
        match fields.word(&field, name, "an order", &ORDERS) {
            Some(order) if orders.contains(&order) => {
                let what = format!("`{}` is named twice", name.value);
                fields.wrong(name.referenced, &field, what, "keep one of them");
            }
            order => orders.extend(order),
        }
    }
    if orders.is_empty() {
        orders.extend([Order::Fifo, Order::Drf]);
    }
    orders
}

fn preemption(fields: &mut Fields<'_>, written: &Written<file::Preemption>) -> Preemption {
    let path = "policy.preemption";
    let mut preemption = Preemption::default();
    let written = match &written.value {
        Map::Scalar(text) => {
            preemption.enabled = fields.flag_at(path, text, written.referenced);
            return preemption;
        }
        Map::Fields(written) => written,
    };
    if let Some(enabled) = &written.enabled {
        preemption.enabled = fields.flag(&format!("{path}.enabled"), enabled);
    }
    if let Some(span) = &written.min_runtime {
        preemption.min_runtime = fields.duration(&format!("{path}.minRuntime"), span);
    }
    if let Some(budget) = &written.loss_budget {
        let field = format!("{path}.lossBudget");
        preemption.loss_budget = Some(fields.number(&field, budget, 0, 1 << 40));
    }
    if let Some(fair_share) = &written.fair_share {
        preemption.fair_share = fields.flag(&format!("{path}.fairShare"), fair_share);
    }
    preemption
}

/// What a GPU of each model is worth.
fn values(fields: &mut Fields<'_>, written: &file::Policy, pools: &[Pool], policy: &mut Policy) {
    for (model, text) in &written.values {
        let field = format!("policy.values.{model}");
        known_model(fields, &field, (model, text.referenced), pools);
        let value = quantity::parse(Resource::Gpu, &text.value).ok();
        match value.and_then(|value| u32::try_from(value).ok()) {
            Some(value @ 1..=1_000_000) => {
                policy.values.insert(model.as_str().into(), value);
            }
            _ => {
                let what = format!("`{}` is not the value of a GPU", text.value);
                let remedy = "write how many ordinary GPUs it is worth, such as 2.5, up to 1000";
                fields.wrong(text.referenced, &field, what, remedy);
            }
        }
    }
}

/// A model that some pool has.
pub(super) fn known_model(
    fields: &mut Fields<'_>,
    field: &str,
    (model, at): (&str, serde_saphyr::Location),
    pools: &[Pool],
) {
    let models = || pools.iter().map(|pool| pool.node.gpus.model.as_str());
    if !models().any(|known| known == model) {
        let remedy = suggest(model, models().filter(|known| !known.is_empty()));
        fields.wrong(
            at,
            field,
            format!("no pool has the model `{model}`"),
            remedy,
        );
    }
}

/// Labels that name what nodes have in common; some pool has to carry each.
fn topology(fields: &mut Fields<'_>, written: &file::Policy, pools: &[Pool], policy: &mut Policy) {
    let known = || pools.iter().flat_map(|pool| pool.node.labels.keys());
    for (index, key) in written.topology.iter().enumerate() {
        let field = format!("policy.topology[{index}]");
        fields.known(
            &field,
            key,
            "no pool has the label",
            known().map(|key| &**key),
        );
        policy.topology.push(key.value.as_str().into());
    }
}
