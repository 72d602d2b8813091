//! `prorata agent`: reads the GPUs of the node that it runs on, and tells others of them.
//!
//! ```text
//! nvml ─► reader ─► inventory ─► publish ─► GpuNode
//!            │         │
//!            ▼         ▼
//!         holders ─► picture ─► server ◄── Prometheus, controller
//!            ▲
//!         kubelet
//! ```
//!
//! Only [`nvml`] knows the driver, and only the thread of [`reader`] calls it: it may hang. What the
//! readings mean is decided without I/O, in [`health`], [`inventory`], [`occupants`], [`noise`],
//! [`usage`] and [`cgroup`].

pub mod callers;
pub mod cgroup;
pub mod health;
pub mod holders;
pub mod inventory;
pub mod kubelet;
pub mod metrics;
pub mod mps;
pub mod noise;
pub mod nvml;
pub mod occupants;
pub mod orders;
pub mod picture;
pub mod publish;
pub mod reader;
pub mod reading;
pub mod server;
pub mod usage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::api::GpuNodeStatus;
use callers::Callers;
use holders::{Holders, Places};
use inventory::Inventory;
use kubelet::{Kubelet, Word};
use mps::{Mps, Outcomes};
use noise::{Listener, Thresholds};
use picture::{Picture, Pictures};
use reader::Reader;
use reading::{Card, Look, Reading};
use usage::Meter;

/// Looks that may be missed until the agent is not ready any more.
const MISSED: u32 = 10;

/// How the agent works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// NVML's library; the system's where none is named.
    pub library: Option<PathBuf>,
    /// Whose `GpuNode` is written; nobody's where none is named.
    pub node: Option<String>,
    /// How often it looks.
    pub interval: Duration,
    /// How long a call to the driver may take.
    pub deadline: Duration,
    /// How long an error that the driver has told is held against its card.
    pub hold: Duration,
    /// Where probes and metrics are asked for.
    pub address: SocketAddr,
    /// What the host shows of its processes.
    pub places: Places,
    /// Where the kubelet tells what it has given to whom.
    pub kubelet: PathBuf,
    /// From when on pods disturb each other.
    pub noise: Thresholds,
    /// Where MPS is controlled.
    pub mps: Mps,
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its port.
    #[error("cannot listen on {0}")]
    Address(SocketAddr, #[source] std::io::Error),
    /// Signals, or its port later on.
    #[error("the agent")]
    Io(#[from] std::io::Error),
}

/// Looks, tells and answers until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot listen.
pub async fn run(settings: Settings, client: Option<Client>) -> Result<(), Error> {
    let address = settings.address;
    let listener = server::listen(address).await;
    let listener = listener.map_err(|error| Error::Address(address, error))?;
    info!(address = %listener.local_addr()?, node = settings.node, "looking at the GPUs");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let pictures = Pictures::default();
    let (tell, told) = watch::channel(None);
    let stale = (settings.interval + settings.deadline) * MISSED;
    let (ask, asked) = watch::channel(Vec::new());
    let (ended, outcomes) = watch::channel(Outcomes::new());
    let callers = Callers::new(client.clone());
    let publish = async {
        match (client, &settings.node) {
            (Some(client), Some(node)) => {
                tokio::join!(
                    publish::run(client.clone(), node, told),
                    orders::follow(client, node, ask),
                );
            }
            _ => std::future::pending().await,
        }
    };
    let ending = mps::run(
        settings.mps.clone(),
        settings.deadline,
        pictures.clone(),
        asked,
        ended,
    );
    tokio::select! {
        () = watch_gpus(&settings, &pictures, (&tell, outcomes)) => Ok(()),
        () = publish => Ok(()),
        () = ending => Ok(()),
        ended = server::serve(listener, pictures.clone(), stale, callers) => Ok(ended?),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Looks for ever.
async fn watch_gpus(
    settings: &Settings,
    pictures: &Pictures,
    (tell, outcomes): (
        &watch::Sender<Option<GpuNodeStatus>>,
        watch::Receiver<Outcomes>,
    ),
) {
    let mut watcher = Watcher::new(settings);
    let mut ticks = interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ended = outcomes.borrow().values().cloned().collect();
        watcher.inventory.end(Timestamp::now(), ended);
        let picture = watcher.look().await;
        tell.send_if_modified(|told| {
            let is_new = told.as_ref() != Some(&picture.status);
            if is_new {
                *told = Some(picture.status.clone());
            }
            is_new
        });
        pictures.show(picture);
    }
}

/// Looks at the GPUs, and remembers what has to be.
pub struct Watcher {
    reader: Reader,
    inventory: Inventory,
    holders: Holders,
    kubelet: Kubelet,
    listener: Listener,
    meter: Meter,
    /// When it began.
    since: Instant,
    xids: BTreeMap<(u32, Option<u64>), u64>,
    looks: u64,
    failures: u64,
}

impl Watcher {
    /// One that has not looked yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let (library, pci) = (settings.library.clone(), settings.places.pci.clone());
        let (socket, containers) = (settings.kubelet.clone(), settings.places.containers.clone());
        Self {
            kubelet: Kubelet::new(socket, containers, settings.deadline),
            listener: Listener::new(settings.noise),
            meter: Meter::new((settings.interval + settings.deadline) * MISSED),
            since: Instant::now(),
            reader: Reader::new(library, pci, settings.deadline),
            inventory: Inventory::new(settings.hold),
            holders: Holders::new(settings.places.clone()),
            xids: BTreeMap::new(),
            looks: 0,
            failures: 0,
        }
    }

    /// Looks once.
    pub async fn look(&mut self) -> Picture {
        let at = Instant::now();
        let look = self.reader.look().await;
        let duration = at.elapsed();
        self.looks += 1;
        let now = Timestamp::now();
        self.inventory.observe(now, &look);
        let reading = match look {
            Look::Taken(reading) => Some(reading),
            Look::Failed(_) | Look::Stuck => {
                self.failures += 1;
                None
            }
        };
        for xid in reading.iter().flat_map(|reading| &reading.xids) {
            *self.xids.entry((xid.card, xid.code)).or_default() += 1;
        }
        let holders = match &reading {
            Some(reading) => self.holders.find(reading).await.clone(),
            None => BTreeMap::new(),
        };
        let word = self.kubelet.look().await;
        let kubelet_answers = matches!(word, Word::Given(_));
        let given = word.given().cloned();
        let inventory = &mut self.inventory;
        inventory.occupy(now, reading.as_ref(), &holders, word);
        if let Some(reading) = &reading {
            let samples = samples(inventory.status(), reading, &holders, given.as_ref());
            let at = self.since.elapsed();
            self.meter.see(at, inventory.status(), &samples);
            self.listener.hear(now, at, samples);
            inventory.hear(now, |card| self.listener.noises(card));
        }
        Picture {
            given,
            kubelet_answers,
            at,
            duration,
            looks: self.looks,
            failures: self.failures,
            reading,
            holders,
            xids: self.xids.clone(),
            usages: self.meter.usages(),
            status: self.inventory.status().clone(),
        }
    }
}

/// What is seen of each card and its pods.
fn samples(
    status: &GpuNodeStatus,
    reading: &Reading,
    found: &occupants::Found,
    given: Option<&kubelet::Given>,
) -> BTreeMap<u32, noise::Sample> {
    let sample = |card: &Card| {
        let Card::Seen(seen) = card else {
            return None;
        };
        let index = card.index();
        let gpu = status.gpus.iter().find(|gpu| gpu.index == index)?;
        let slots = occupants::slots(gpu, given);
        Some((index, noise::sample(gpu, seen, found, slots)))
    };
    reading.cards.iter().filter_map(sample).collect()
}
