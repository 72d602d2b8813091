//! What a run costs at the prices of a price file, by the very code that bills a cluster.

use std::collections::BTreeMap;

use prorata_core::{JobId, NodeId, Placement, Resource, Time};
use prorata_ledger::bill::{self, Bill, Kind};
use prorata_ledger::price::{Gpus, Unpriced};
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::{End, Extract, Hold, HoldId, Payer, Stock, Why};
use serde::Serialize;

use crate::metrics::{float, rounded};
use crate::run::{Fate, Run, millis};
use crate::scenario::Scenario;
use crate::world::{Change, Record, Spell};

/// Prices, and the moment at which a scenario begins that is priced by them.
#[derive(Clone, Debug)]
pub struct Pricing {
    file: PriceFile,
    /// In milliseconds of Unix time.
    start_ms: u64,
}

/// What a run costs, from the first submission to its end, in units of the currency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Priced {
    /// In which currency.
    pub currency: String,
    /// All of it: the GPUs that there were, working or not, and what is due each month.
    pub total: f64,
    /// What jobs held.
    pub held: f64,
    /// Of that, for nothing: see [`crate::summary::GpuHours::lost`].
    pub lost: f64,
    /// What no tenant owes: idle GPUs, unless the price file has tenants pay for those, and discounts.
    pub nobody: f64,
    /// By tenant, those that owe most first.
    pub tenants: Vec<TenantPriced>,
}

/// What one tenant owes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantPriced {
    /// Its name.
    pub tenant: String,
    /// All of it.
    pub cost: f64,
    /// For GPUs that its jobs held to some end.
    pub used: f64,
    /// For GPUs that they held for nothing.
    pub lost: f64,
    /// Its part of what is shared out: idle time, services, what is due each month.
    pub shared: f64,
}

impl Pricing {
    /// Prices of a file, for a scenario that begins at a moment; without one, when the prices last
    /// changed.
    #[must_use]
    pub fn new(file: PriceFile, start_ms: Option<u64>) -> Self {
        let last = file.prices.iter().map(|price| price.from_ms).max();
        let start_ms = start_ms.or(last).unwrap_or_default();
        Self { file, start_ms }
    }

    /// Whether every pool has a price when the scenario begins, so that this is known before it runs.
    ///
    /// # Errors
    /// When one has none.
    pub fn check(&self, scenario: &Scenario) -> Result<(), Unpriced> {
        for pool in &scenario.pools {
            let gpus = Gpus {
                model: pool.node.gpus.model.as_str(),
                pool: &pool.name,
                priority_class: "",
            };
            if pool.node.cards() > 0 {
                self.file
                    .prices
                    .stretches(gpus, self.start_ms, self.start_ms + 1)?;
            }
        }
        Ok(())
    }

    /// What a run costs.
    ///
    /// # Errors
    /// When a part of it has no price.
    pub fn price(&self, scenario: &Scenario, run: &Run) -> Result<Priced, bill::Error> {
        let (extract, wasted) = self.book(scenario, run);
        let bill = bill::bill(&extract, &self.file)?;
        Ok(priced(&bill, &wasted))
    }

    /// What the ledger of a cluster would say of the run, and which part of each hold was for nothing.
    fn book(&self, scenario: &Scenario, run: &Run) -> (Extract, Vec<(u64, u64)>) {
        let moment = |time: Time| self.start_ms + time.as_millis();
        let first = run
            .jobs
            .iter()
            .map(|fate| fate.job.submitted)
            .min()
            .unwrap_or(run.end);
        let (from_ms, until_ms) = (moment(first), moment(run.end));
        let mut extract = Extract {
            from_ms,
            until_ms,
            kept_until_ms: until_ms,
            ..Extract::default()
        };
        for pool in &scenario.pools {
            let gpu_milli = pool.offer().get(Resource::Gpu);
            let stock = |node: NodeId| Stock {
                node: node.to_string(),
                pool: pool.name.clone(),
                model: pool.node.gpus.model.to_string(),
                gpu_milli,
                from_ms,
                until_ms: None,
            };
            extract.stock.extend(
                pool.nodes()
                    .map(|node| stock(node.id))
                    .filter(|stock| stock.gpu_milli > 0),
            );
        }
        let kinds = Kinds::of(scenario);
        let mut wasted = Vec::new();
        for stay in stays(run) {
            let spell = stay.spell.unwrap_or(Spell {
                since: stay.since,
                until: run.end,
                ..Spell::default()
            });
            for hold in kinds.holds(&stay, self.start_ms) {
                extract.holds.push(hold);
                let for_nothing = millis(spell.restart + spell.redo + spell.grace);
                wasted.push((for_nothing, millis(spell.until.since(spell.since))));
            }
        }
        (extract, wasted)
    }
}

/// From a start of a job until its GPUs were free again, or the end of the run.
struct Stay<'a> {
    fate: &'a Fate,
    /// Which of its starts.
    epoch: i64,
    placement: &'a Placement,
    since: Time,
    spell: Option<Spell>,
    why: Why,
}

fn stays(run: &Run) -> Vec<Stay<'_>> {
    let fates: BTreeMap<&JobId, &Fate> = run.jobs.iter().map(|fate| (&fate.job.id, fate)).collect();
    let mut open: BTreeMap<&JobId, Stay<'_>> = BTreeMap::new();
    let (mut stays, mut epoch) = (Vec::new(), 0);
    for Record { time, job, what } in &run.records {
        match (what, open.get_mut(job)) {
            (Change::Admitted(placement), _) => {
                let Some(fate) = fates.get(job) else { continue };
                epoch += 1;
                open.insert(
                    job,
                    Stay {
                        fate,
                        epoch,
                        placement,
                        since: *time,
                        spell: None,
                        why: Why::Unknown,
                    },
                );
            }
            (Change::Evicted(..), Some(stay)) => stay.why = Why::Preempted,
            (Change::Failed(_), Some(stay)) => stay.why = Why::Requeued,
            (Change::Finished, Some(stay)) => stay.why = Why::Finished,
            (Change::Left(spell), Some(_)) => {
                let stay = open.remove(job);
                stays.extend(stay.map(|stay| Stay {
                    spell: Some(*spell),
                    ..stay
                }));
            }
            _ => {}
        }
    }
    stays.extend(open.into_values());
    stays
}

/// What nodes and priorities are called.
struct Kinds<'a> {
    nodes: BTreeMap<NodeId, (&'a str, &'a str)>,
    classes: BTreeMap<i32, &'a str>,
}

impl<'a> Kinds<'a> {
    fn of(scenario: &'a Scenario) -> Self {
        let nodes = scenario.pools.iter().flat_map(|pool| {
            let kind = (pool.name.as_str(), pool.node.gpus.model.as_str());
            pool.nodes().map(move |node| (node.id, kind))
        });
        let classes = scenario
            .classes
            .iter()
            .map(|(name, value)| (*value, name.as_str()));
        Self {
            nodes: nodes.collect(),
            classes: classes.collect(),
        }
    }

    /// A hold for each node of a stay.
    fn holds(&self, stay: &Stay<'_>, start_ms: u64) -> Vec<Hold> {
        let job = &stay.fate.job;
        let mut nodes: BTreeMap<&NodeId, u64> = BTreeMap::new();
        for slot in stay.placement.slots() {
            *nodes.entry(&slot.node).or_default() += slot.takes(&job.task).get(Resource::Gpu);
        }
        let class = self.classes.get(&job.priority).copied().unwrap_or_default();
        let hold = |(node, gpu_milli): (&NodeId, u64)| {
            let (pool, model) = self.nodes.get(node).copied().unwrap_or_default();
            Hold {
                id: HoldId {
                    job_uid: job.id.to_string(),
                    epoch: stay.epoch,
                    node: node.to_string(),
                    model: model.to_owned(),
                },
                payer: Payer {
                    tenant: job.tenant.to_string(),
                    namespace: job.id.namespace().to_owned(),
                    ..Payer::default()
                },
                kind: "Job".to_owned(),
                job: job.id.name().to_owned(),
                priority_class: class.to_owned(),
                pool: pool.to_owned(),
                mode: String::new(),
                gpu_milli,
                from_ms: start_ms + stay.since.as_millis(),
                end: stay.spell.map(|spell| End {
                    at_ms: start_ms + spell.until.as_millis(),
                    why: stay.why,
                    estimated: false,
                }),
                busy_milli: Some(stay.fate.busy),
                measured: None,
            }
        };
        nodes
            .into_iter()
            .filter(|(_, gpu_milli)| *gpu_milli > 0)
            .map(hold)
            .collect()
    }
}

fn priced(bill: &Bill, wasted: &[(u64, u64)]) -> Priced {
    let mut tenants: BTreeMap<&str, [i128; 3]> = BTreeMap::new();
    let (mut held, mut nobody) = (0, 0);
    for line in &bill.lines {
        let Some(tenant) = line.tenant() else {
            nobody += line.micros;
            continue;
        };
        let [used, lost, shared] = tenants.entry(tenant).or_default();
        let Kind::Held(index) = line.kind else {
            *shared += line.micros;
            continue;
        };
        let (for_nothing, all) = wasted.get(index).copied().unwrap_or_default();
        let part = line.micros * i128::from(for_nothing.min(all)) / i128::from(all.max(1));
        *used += line.micros - part;
        *lost += part;
        held += line.micros;
    }
    let mut owed: Vec<(&str, [i128; 3])> = tenants.into_iter().collect();
    owed.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.iter().sum::<i128>()));
    Priced {
        currency: bill.currency.clone(),
        total: units(bill.total_micros()),
        held: units(held),
        lost: units(owed.iter().map(|(_, [_, lost, _])| lost).sum()),
        nobody: units(nobody),
        tenants: owed
            .into_iter()
            .map(|(tenant, [used, lost, shared])| TenantPriced {
                tenant: tenant.to_owned(),
                cost: units(used + lost + shared),
                used: units(used),
                lost: units(lost),
                shared: units(shared),
            })
            .collect(),
    }
}

/// Units of the currency.
fn units(micros: i128) -> f64 {
    let units = float(micros.unsigned_abs()) / 1_000_000.0;
    rounded(if micros < 0 { -units } else { units })
}
