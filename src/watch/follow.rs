//! One kind of objects, followed for ever: listed, then watched from there. Whenever that cannot go
//! on, because the version is gone, nothing is heard or an hour has passed, it is listed anew; a
//! list undoes whatever was missed.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use super::heard::SILENT_MAX;
use super::{Change, Heard, Kind, Object};
use crate::metrics::Metrics;

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Even events that the API server never sent are made up for within that time.
const RELIST_EVERY: Duration = Duration::from_secs(60 * 60);
/// A list that takes longer is begun anew.
const LIST_WITHIN: Duration = Duration::from_secs(60);
/// What does not gate others is waited for so long, while the API server refuses to list it.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Between two attempts to list what the others can do without: it may be broken for days.
const PAUSE_IF_OPTIONAL: Duration = Duration::from_secs(60);

/// A kind that is followed.
pub(super) struct Follower<K, V> {
    pub(super) kind: Kind,
    pub(super) api: Api<K>,
    /// Only objects with these fields.
    pub(super) fields: Option<&'static str>,
    /// Whether it may be that the API server does not know it, and the others go on without it.
    pub(super) is_optional: bool,
    /// The kinds of which a list was told.
    pub(super) told: watch::Sender<BTreeSet<Kind>>,
    /// What is kept of an object.
    pub(super) view: V,
    pub(super) heard: Heard,
    pub(super) metrics: Metrics,
    pub(super) inbox: mpsc::Sender<Change>,
}

/// Why a watch is not taken up again, or a kind is not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What was missed can be learnt from a list only.
    Outdated,
    /// The API server does not know the kind, which may come and go.
    Unserved,
    /// Nobody listens any more.
    Unwanted,
}

/// Why there is no list.
enum Unlisted {
    /// The API server does not know the kind.
    Unserved,
    /// It failed.
    Failed {
        error: String,
        /// It is the kind that fails, not the way to the API server.
        is_its_own: bool,
    },
}

impl<K, V> Follower<K, V>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Fn(&K) -> Option<Object> + Send,
{
    /// Runs until nobody listens any more, or what may go is gone.
    pub(super) async fn run(self) -> End {
        let (began, mut pause) = (Instant::now(), Pause::default());
        loop {
            let (version, objects) = match self.list_in_time().await {
                Ok(listed) => listed,
                Err(Unlisted::Unserved) => return End::Unserved,
                Err(Unlisted::Failed { error, is_its_own }) => {
                    warn!(kind = %self.kind, %error, "a list failed; it is begun anew");
                    self.metrics.broke_off(self.kind);
                    let gives_up = is_its_own && began.elapsed() >= PATIENCE;
                    if gives_up && self.do_without().await.is_none() {
                        return End::Unwanted;
                    }
                    match self.is_optional {
                        true => pause.wait_up_to(PAUSE_IF_OPTIONAL).await,
                        false => pause.wait().await,
                    }
                    continue;
                }
            };
            debug!(kind = ?self.kind, objects = objects.len(), version, "listed");
            self.heard.word(self.kind);
            if self.tell_all(objects).await.is_none() {
                return End::Unwanted;
            }
            if let End::Unwanted = self.watch(version, &mut pause).await {
                return End::Unwanted;
            }
        }
    }

    async fn list_in_time(&self) -> Result<(String, Vec<Object>), Unlisted> {
        let failed = |error, is_its_own| Unlisted::Failed { error, is_its_own };
        match tokio::time::timeout(LIST_WITHIN, self.list()).await {
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && self.is_optional => {
                Err(Unlisted::Unserved)
            }
            Ok(Err(error @ kube::Error::Api(_))) => Err(failed(error.to_string(), true)),
            Ok(listed) => listed.map_err(|error| failed(error.to_string(), false)),
            Err(_) => Err(failed(format!("no answer within {LIST_WITHIN:?}"), true)),
        }
    }

    /// Nobody waits for the first list of a kind that others can do without. Once there was one,
    /// what it said stands.
    async fn do_without(&self) -> Option<()> {
        if !self.is_optional || self.told.borrow().contains(&self.kind) {
            return Some(());
        }
        warn!(kind = %self.kind, "it cannot be listed: the queue goes on without its objects");
        self.tell_all(Vec::new()).await
    }

    async fn tell_all(&self, objects: Vec<Object>) -> Option<()> {
        self.send(Change::Listed(self.kind, objects)).await?;
        self.told.send_modify(|told| {
            told.insert(self.kind);
        });
        Some(())
    }

    /// Every object, and the version from which to watch.
    async fn list(&self) -> kube::Result<(String, Vec<Object>)> {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector = self.fields.map(str::to_owned);
        let mut objects = Vec::new();
        loop {
            let page = self.api.list(&params).await?;
            objects.extend(page.items.iter().filter_map(&self.view));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok((page.metadata.resource_version.unwrap_or_default(), objects)),
            }
        }
    }

    /// Watches from a version on, however often the connection breaks.
    async fn watch(&self, mut version: String, pause: &mut Pause) -> End {
        let params = WatchParams {
            field_selector: self.fields.map(str::to_owned),
            ..WatchParams::default()
        };
        let relist = Instant::now() + RELIST_EVERY;
        loop {
            let due = self.due(relist);
            let stream = match timeout_at(due, self.api.watch(&params, &version)).await {
                Err(_) => return End::Outdated,
                // The version is so old that the API server cannot say what has happened since.
                Ok(Err(kube::Error::Api(status))) if status.code == 410 => return End::Outdated,
                Ok(Err(kube::Error::Api(status))) if status.code == 404 && self.is_optional => {
                    return End::Outdated;
                }
                Ok(Err(error)) => {
                    warn!(kind = ?self.kind, %error, "a watch cannot be opened");
                    self.metrics.broke_off(self.kind);
                    pause.wait().await;
                    continue;
                }
                Ok(Ok(stream)) => stream,
            };
            let mut stream = pin!(stream);
            loop {
                let event = match timeout_at(self.due(relist), stream.next()).await {
                    Err(_) => return End::Outdated,
                    Ok(None) => break,
                    Ok(Some(event)) => event,
                };
                match self.take(event, &mut version).await {
                    Ok(()) => pause.reset(),
                    Err(Some(end)) => return end,
                    Err(None) => break,
                }
            }
            // It ends by itself every few minutes, or because somebody cuts it again and again.
            pause.wait().await;
        }
    }

    /// When to list anew unless something is heard before.
    fn due(&self, relist: Instant) -> Instant {
        relist.min(self.heard.last(self.kind) + SILENT_MAX)
    }

    /// Takes up one event; `None` where the watch has broken off.
    async fn take(
        &self,
        event: kube::Result<WatchEvent<K>>,
        version: &mut String,
    ) -> Result<(), Option<End>> {
        let (object, is_gone) = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, false),
            Ok(WatchEvent::Deleted(object)) => (object, true),
            Ok(WatchEvent::Bookmark(bookmark)) => {
                *version = bookmark.metadata.resource_version;
                self.heard.word(self.kind);
                return Ok(());
            }
            Ok(WatchEvent::Error(status)) if status.code == 410 => {
                return Err(Some(End::Outdated));
            }
            Ok(WatchEvent::Error(status)) => {
                warn!(kind = ?self.kind, error = status.message, "a watch broke off");
                self.metrics.broke_off(self.kind);
                return Err(None);
            }
            Err(error) => {
                warn!(kind = ?self.kind, %error, "a watch broke off");
                self.metrics.broke_off(self.kind);
                return Err(None);
            }
        };
        *version = object.resource_version().unwrap_or_default();
        self.heard.word(self.kind);
        let Some(object) = (self.view)(&object) else {
            return Ok(());
        };
        let change = match is_gone {
            true => Change::Deleted(object),
            false => Change::Applied(object),
        };
        self.send(change).await.ok_or(Some(End::Unwanted))
    }

    async fn send(&self, change: Change) -> Option<()> {
        self.inbox.send(change).await.ok()
    }
}

/// Pauses between attempts, twice as long each time.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pause {
    async fn wait(&mut self) {
        self.wait_up_to(PAUSE_MAX).await;
    }

    async fn wait_up_to(&mut self, most: Duration) {
        let pause = self.0.min(most);
        sleep(pause).await;
        self.0 = (pause * 2).min(most);
    }

    fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }
}
