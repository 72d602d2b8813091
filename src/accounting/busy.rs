//! How busy the GPUs were that somebody held: the agents are asked every few minutes, and what they
//! have measured since becomes samples in the book.
//!
//! The agents add up and answer; nothing of it goes through the API server. A status that changed with
//! every load would be written by every node for ever, and sent to everybody who follows GpuNodes. An
//! agent is believed about its own node alone, and only about pods that hold something there.

mod ask;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use prorata_ledger::entry::{Busy, Entry, Held, PlaceId};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Accounts;
use crate::agent::usage::Usage;
use crate::api::labels;
use crate::clock::Clock;
use crate::gpus::agents;
use crate::view::{View, Views};

/// Agents that are asked at the same time.
const AT_ONCE: usize = 16;

/// Asks the agents, for as long as the accounts are kept that it reads.
pub struct Sampler {
    reads: Client,
    every: Duration,
    /// Where the token is that agents know us by.
    token: Option<PathBuf>,
    views: Views,
    accounts: watch::Receiver<Accounts>,
    samples: mpsc::Sender<Vec<Entry>>,
    known: Known,
}

impl Sampler {
    /// One that has asked nobody. It finds agents by the client, and shows them the token in the file.
    #[must_use]
    pub fn new(
        reads: Client,
        (every, token): (Duration, Option<PathBuf>),
        views: Views,
        accounts: watch::Receiver<Accounts>,
        samples: mpsc::Sender<Vec<Entry>>,
    ) -> Self {
        Self {
            reads,
            every,
            token,
            views,
            accounts,
            samples,
            known: Known::default(),
        }
    }

    /// Asks again and again, until nobody wants to know.
    pub async fn run(mut self) {
        loop {
            match self.ask().await {
                Ok(samples) if samples.is_empty() => {}
                Ok(samples) => {
                    if self.samples.send(samples).await.is_err() {
                        return;
                    }
                }
                Err(error) => warn!(%error, "the agents are not asked how busy GPUs were"),
            }
            sleep(self.every).await;
        }
    }

    async fn ask(&mut self) -> kube::Result<Vec<Entry>> {
        let pods: Api<Pod> = Api::namespaced(self.reads.clone(), labels::AGENT_NAMESPACE);
        let params = ListParams::default().labels(agents::SELECTOR);
        // What is listed may be a little old.
        let pods = pods.list(&params.match_any()).await?;
        let agents = pods.items.iter().filter_map(agent);
        // It is replaced before it ends.
        let token = self.token.as_ref().map(std::fs::read_to_string);
        let token = token.and_then(|read| {
            read.inspect_err(|error| warn!(%error, "ledger.agentTokenFile"))
                .ok()
        });
        let token = token.as_deref().map(str::trim);
        let asked = stream::iter(agents.collect::<Vec<_>>()).map(|(node, address)| async move {
            let answer = ask::usages(address, token).await;
            (node, answer)
        });
        let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        let latest = self.views.latest();
        let Some(view) = latest.as_ref() else {
            return Ok(Vec::new());
        };
        let (seats, accounts) = (seats(view), self.accounts.borrow().clone());
        let now_ms = Clock::default().now().as_millis();
        let (mut samples, mut silent, count) = (Vec::new(), None, answers.len());
        for (node, answer) in answers {
            match answer {
                Ok(usages) => {
                    let own = |usage: &Usage| holder(&node, usage, &seats, &accounts);
                    samples.extend(self.known.samples(&node, &usages, own, now_ms));
                }
                Err(error) => {
                    debug!(node, %error, "an agent does not say how busy its GPUs were");
                    let (silent, ..) = silent.get_or_insert((0, node, error));
                    *silent += 1;
                }
            }
        }
        if let Some((silent, node, error)) = silent {
            warn!(silent, of = count, node, %error, "agents do not say how busy their GPUs were");
        }
        Ok(samples)
    }
}

/// The node of an agent's pod that runs, and where it answers.
fn agent(pod: &Pod) -> Option<(String, SocketAddr)> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let runs = status.phase.as_deref() == Some("Running");
    let containers = spec.containers.iter();
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some("health"))?;
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    let port = u16::try_from(port.container_port).ok()?;
    let node = spec.node_name.clone()?;
    let is_there = runs && pod.metadata.deletion_timestamp.is_none();
    is_there.then(|| (node, SocketAddr::new(address, port)))
}

/// The job, start and place of each pod that has one, by the pod's UID.
type Seats = BTreeMap<String, (String, i64, u32)>;

fn seats(view: &View) -> Seats {
    let plans = view.plans.iter();
    let seats = plans.flat_map(|(job, plan)| {
        let seated = plan.seated();
        seated.map(move |(seat, pod)| (pod.clone(), (job.clone(), plan.epoch(), seat)))
    });
    seats.collect()
}

/// What a pod holds on a node, as far as the book is to have it.
fn holder(node: &str, usage: &Usage, seats: &Seats, accounts: &Accounts) -> Option<Held> {
    let uid = usage.uid.as_ref()?;
    // Whoever has no place in a job holds what it holds by itself.
    let (job_uid, epoch, seat) = seats.get(uid).cloned().unwrap_or((uid.clone(), 0, 0));
    let id = PlaceId {
        job_uid,
        epoch,
        seat,
        node: node.to_owned(),
    };
    accounts.held.get(&id).map(|held| Held::clone(held))
}

/// What each agent said last.
#[derive(Debug, Default)]
struct Known {
    /// By node.
    said: BTreeMap<String, Said>,
}

/// What one agent said last, and when.
#[derive(Debug, Default)]
struct Said {
    at_ms: u64,
    /// By the pod's UID, with what it holds.
    pods: BTreeMap<String, (Usage, Option<Place>)>,
}

/// What is held by whoever is measured.
#[derive(Clone, Debug)]
struct Place {
    id: PlaceId,
    gpu_milli: u64,
    /// Until when it is measured already, or since when it is held.
    from_ms: u64,
}

impl Known {
    /// What has been measured since the agent of a node answered last.
    fn samples(
        &mut self,
        node: &str,
        usages: &[Usage],
        holder: impl Fn(&Usage) -> Option<Held>,
        now_ms: u64,
    ) -> Vec<Entry> {
        let said = self.said.entry(node.to_owned()).or_default();
        let mut samples = Vec::new();
        let mut there = BTreeSet::new();
        for usage in usages {
            let Some(uid) = usage.uid.clone() else {
                continue;
            };
            let before = said.pods.remove(&uid);
            let mut place = before.as_ref().and_then(|(_, place)| place.clone());
            if place.is_none() {
                place = holder(usage).map(Place::of);
            }
            // What was measured before anybody asked may be in the book already, unless all of it is
            // of a place that was taken since.
            let is_new = said.at_ms > 0 && place.as_ref().is_some_and(|p| p.from_ms >= said.at_ms);
            let last = before.map(|(last, _)| last);
            let last = last.or_else(|| is_new.then(Usage::default));
            if let Some((last, place)) = last.zip(place.as_mut()) {
                samples.extend(place.sample(&since(usage, &last), now_ms));
            }
            there.insert(uid.clone());
            said.pods.insert(uid, (usage.clone(), place));
        }
        said.pods.retain(|uid, _| there.contains(uid));
        said.at_ms = now_ms;
        samples
    }
}

/// What came to it. An agent that was started anew counts from nothing.
fn since(usage: &Usage, last: &Usage) -> Usage {
    let is_anew = usage.measured < last.measured || usage.busy < last.busy;
    let (measured, busy) = match is_anew {
        true => (usage.measured, usage.busy),
        false => (usage.measured - last.measured, usage.busy - last.busy),
    };
    Usage {
        measured,
        busy,
        ..Usage::default()
    }
}

impl Place {
    fn of(held: Held) -> Self {
        Self {
            id: held.id,
            gpu_milli: held.gpu_milli,
            from_ms: held.from_ms,
        }
    }

    /// The sample that ends now, as long as what was measured, and no longer than since the last one.
    fn sample(&mut self, usage: &Usage, now_ms: u64) -> Option<Entry> {
        let span_ms = usage.measured.checked_div(self.gpu_milli)?;
        let from_ms = now_ms.saturating_sub(span_ms).max(self.from_ms);
        let thousandths = (usage.busy * 1000).checked_div(usage.measured)?;
        if from_ms >= now_ms {
            return None;
        }
        self.from_ms = now_ms;
        Some(Entry::Busy(Busy {
            id: self.id.clone(),
            from_ms,
            until_ms: now_ms,
            milli: u32::try_from(thousandths).unwrap_or(1000).min(1000),
        }))
    }
}

#[cfg(test)]
mod tests;
