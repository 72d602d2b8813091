//! What the controller shows: the objects followed by watches of the dashboard's own, of each as
//! much as a page needs. The queue never waits for it, and does not know of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prorata_dashboard::Note;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::board::Board;
use super::picture::{Facts, NodeFact, Picture};
use crate::api::{GpuNode, QueuedJob, Tenant, labels};
use crate::cli::queue::Entry;
use crate::gpus::agents;
use crate::view::Views;

/// The least time between two pictures.
const PAUSE: Duration = Duration::from_secs(1);
/// How many of those go by, where nothing has changed, before one is taken all the same: so that
/// its history goes on.
const IDLE_MAX: u32 = 10;

/// What is kept of the objects of one kind, by namespace and name.
#[derive(Debug)]
struct Shelf<V>(Arc<Kept<V>>);

#[derive(Debug)]
struct Kept<V> {
    objects: Mutex<BTreeMap<String, V>>,
    /// Everything has been listed once.
    is_listed: AtomicBool,
    has_changed: AtomicBool,
}

impl<V> Clone for Shelf<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        Self(Arc::new(Kept {
            objects: Mutex::default(),
            is_listed: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
        }))
    }
}

impl<V: Clone> Shelf<V> {
    fn all(&self) -> Vec<V> {
        let objects = self
            .0
            .objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        objects.values().cloned().collect()
    }

    fn is_listed(&self) -> bool {
        self.0.is_listed.load(Ordering::Acquire)
    }

    fn take_change(&self) -> bool {
        self.0.has_changed.swap(false, Ordering::AcqRel)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, V>)) {
        change(
            &mut self
                .0
                .objects
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.0.has_changed.store(true, Ordering::Release);
    }

    /// Keeps what `keep` makes of each object that is selected, for ever.
    async fn fill<K>(self, (api, select): (Api<K>, Config), keep: impl Fn(K) -> V)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let mut events = std::pin::pin!(watcher(api, select).default_backoff());
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(key(&object), keep(object));
                }
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    self.change(|objects| *objects = listed);
                    self.0.is_listed.store(true, Ordering::Release);
                }
                Ok(Event::Apply(object)) => self.change(|objects| {
                    objects.insert(key(&object), keep(object));
                }),
                Ok(Event::Delete(object)) => self.change(|objects| {
                    objects.remove(&key(&object));
                }),
                Err(error) => debug!(%error, "the dashboard's watch is begun anew"),
            }
        }
    }
}

fn key(object: &impl ResourceExt) -> String {
    let space = object.namespace().unwrap_or_default();
    format!("{space}/{}", object.name_any())
}

/// Follows the objects and shows what they say, for ever.
pub(super) async fn follow(client: Client, gpu_resource: &str, board: &Board, views: &Views) {
    let shelves = Shelves::default();
    let shelf = shelves.clone();
    let agents = Api::namespaced(client.clone(), labels::AGENT_NAMESPACE);
    let of_agents = Config::default().labels(agents::SELECTOR);
    let fact = |node: Node| NodeFact::new(&node, gpu_resource);
    tokio::join!(
        shelf
            .jobs
            .fill(all(&client), |job: QueuedJob| Entry::new(&job)),
        shelf.tenants.fill(all(&client), |tenant: Tenant| tenant),
        shelf.nodes.fill(all(&client), fact),
        shelf.gpunodes.fill(all(&client), |node: GpuNode| node),
        shelf.agents.fill((agents, of_agents), |pod: Pod| pod),
        shelves.paint(board, views),
    );
}

/// All objects of a kind.
fn all<K>(client: &Client) -> (Api<K>, Config)
where
    K: Resource<DynamicType = ()>,
{
    (Api::all(client.clone()), Config::default())
}

/// What is shown may be old: the API server has not been heard for a while.
fn silence(views: &Views) -> Option<Note> {
    let (kind, age) = views.heard().quietest();
    (!views.heard().is_fresh()).then(|| Note {
        without: "news".to_owned(),
        why: format!("nothing was heard of {kind} for {} s", age.as_secs()),
    })
}

#[derive(Clone, Default)]
struct Shelves {
    jobs: Shelf<Entry>,
    tenants: Shelf<Tenant>,
    nodes: Shelf<NodeFact>,
    gpunodes: Shelf<GpuNode>,
    agents: Shelf<Pod>,
}

impl Shelves {
    async fn paint(&self, board: &Board, views: &Views) {
        let mut idle = 0;
        loop {
            tokio::time::sleep(PAUSE).await;
            idle += 1;
            // What cannot be listed is left out, but without the queue there is nothing to show.
            if self.jobs.is_listed() && (self.have_changed() || idle >= IDLE_MAX) {
                let (shelves, board) = (self.clone(), board.clone());
                let silence = silence(views);
                let painted = tokio::task::spawn_blocking(move || {
                    let mut facts = shelves.facts();
                    facts.notes.extend(silence);
                    board.show(Picture::new(facts, Timestamp::now()));
                });
                let _ = painted.await;
                idle = 0;
            }
        }
    }

    fn have_changed(&self) -> bool {
        let jobs_or_tenants = self.jobs.take_change() | self.tenants.take_change();
        let nodes = self.nodes.take_change() | self.gpunodes.take_change();
        jobs_or_tenants | nodes | self.agents.take_change()
    }

    fn facts(&self) -> Facts {
        let missing = [
            ("tenants", self.tenants.is_listed()),
            ("nodes", self.nodes.is_listed()),
            ("cards", self.gpunodes.is_listed()),
        ];
        let missing = missing.into_iter().filter(|(_, is_listed)| !is_listed);
        let notes = missing.map(|(without, _)| Note {
            without: without.to_owned(),
            why: "the API server has not listed them yet, or does not let the controller"
                .to_owned(),
        });
        Facts {
            entries: self.jobs.all(),
            is_all: true,
            tenants: self.tenants.all(),
            nodes: self.nodes.is_listed().then(|| self.nodes.all()),
            gpunodes: self.gpunodes.all(),
            agents: self.agents.all(),
            notes: notes.collect(),
        }
    }
}
