//! Keeps what Tenants with environments want: whatever is missing or has been changed is written,
//! and nothing else. Only the controller that leads runs one.

mod outcome;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::object::Kind;
use super::plan::Settings;
use super::store::Store;
use crate::api::labels;
use crate::leader::Tenure;
use outcome::{Outcome, Writer};
use work::Work;

/// Tenants that are written for at the same time.
const TENANTS_MAX: usize = 8;
/// The longest time until what failed is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

type Events = SelectAll<BoxStream<'static, (Kind, watcher::Result<watcher::Event<DynamicObject>>)>>;

/// Who keeps it.
pub struct Keeper {
    reads: Client,
    writer: Writer,
    settings: Settings,
    store: Store,
    /// Tenants to look at.
    due: BTreeSet<String>,
    busy: BTreeSet<String>,
    later: BTreeMap<String, (u32, Instant)>,
    writes: JoinSet<Outcome>,
}

impl Keeper {
    /// One that has seen nothing yet. It reads by the one client and writes by the other.
    #[must_use]
    pub fn new(reads: Client, writes: Client, settings: Settings) -> Self {
        Self {
            reads,
            writer: Writer::new(writes),
            settings,
            store: Store::default(),
            due: BTreeSet::new(),
            busy: BTreeSet::new(),
            later: BTreeMap::new(),
            writes: JoinSet::new(),
        }
    }

    /// Keeps what is wanted while the tenure lasts.
    pub async fn run(mut self, mut tenure: Tenure) {
        let mut events = self.follow();
        while tenure.is_held() {
            let retry = self.later.values().map(|(_, at)| *at).min();
            tokio::select! {
                Some(event) = events.next() => {
                    self.take(event);
                    // A burst of them is looked at once.
                    while let Some(Some(event)) = events.next().now_or_never() {
                        self.take(event);
                    }
                }
                Some(done) = self.writes.join_next() => {
                    // A write that panicked leaves its tenant busy for ever.
                    self.conclude(done.expect("a write does not panic"));
                }
                () = sleep_until(retry) => self.retry(),
                () = tenure.change() => {}
            }
            self.note_touched();
            if self.store.is_complete() && tenure.is_held() {
                self.look();
            }
        }
    }

    /// A stream of everything that is kept, and of all Tenants.
    fn follow(&self) -> Events {
        let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
        let stream = |kind: Kind| {
            let api: Api<DynamicObject> = Api::all_with(self.reads.clone(), &kind.resource());
            let config = match kind {
                Kind::Tenant => watcher::Config::default(),
                _ => watcher::Config::default().labels(&ours),
            };
            let events = watcher(api, config).default_backoff();
            events.map(move |event| (kind, event)).boxed()
        };
        Kind::ALL.into_iter().map(stream).collect()
    }

    fn take(&mut self, (kind, event): (Kind, watcher::Result<watcher::Event<DynamicObject>>)) {
        match event {
            Ok(event) => self.store.take(kind, event),
            Err(error) => warn!(?kind, %error, "a watch for tenants' objects broke off"),
        }
    }

    /// What was learnt of a Tenant is a reason to look at it, unless it failed and its time has not come:
    /// the news may be no more than what it shows.
    fn note_touched(&mut self) {
        let (now, later) = (Instant::now(), &self.later);
        let is_put_off = |team: &String| later.get(team).is_some_and(|(_, at)| *at > now);
        let touched = self.store.touched().into_iter();
        self.due.extend(touched.filter(|team| !is_put_off(team)));
    }

    /// Begins to write for tenants that have to be looked at.
    fn look(&mut self) {
        let free = self.due.iter().filter(|team| !self.busy.contains(*team));
        let free: Vec<String> = free.cloned().collect();
        for team in free {
            if self.writes.len() >= TENANTS_MAX {
                return;
            }
            self.due.remove(&team);
            if let Some(work) = Work::of(&team, &self.store, &self.settings) {
                let writer = self.writer.clone();
                self.busy.insert(team);
                self.writes.spawn(async move { writer.perform(work).await });
            } else {
                self.later.remove(&team);
            }
        }
    }

    fn conclude(&mut self, outcome: Outcome) {
        let Outcome {
            team,
            written,
            removed,
            failures,
        } = outcome;
        self.busy.remove(&team);
        let count = written.len() + removed;
        for (kind, object) in written {
            self.store.answered(kind, object);
        }
        if failures.is_empty() {
            self.later.remove(&team);
            info!(tenant = team, objects = count, "as its Tenant wants it");
        } else {
            let attempts = self.later.get(&team).map_or(0, |(attempts, _)| *attempts);
            let pause = PAUSE_MAX.min(Duration::from_secs(1 << attempts.min(6)));
            warn!(
                tenant = team,
                failures = failures.join("; "),
                "not all could be written"
            );
            self.later
                .insert(team, (attempts + 1, Instant::now() + pause));
        }
    }

    /// What failed is tried again, however often; each time it is put off for longer.
    fn retry(&mut self) {
        let now = Instant::now();
        for (team, (_, at)) in &mut self.later {
            if *at <= now {
                *at = now + PAUSE_MAX;
                self.due.insert(team.clone());
            }
        }
    }
}

/// Waits until then; for ever where nothing is due.
pub(super) async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
