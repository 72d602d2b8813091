//! Kinds that come and go with their operators. What the API server serves is asked at a steady
//! rate; a kind that it does not serve has no objects, and nobody watches it.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::follow::{End, Follower};
use super::{Change, Heard, Kind, Object};
use crate::kinds::Composite;
use crate::metrics::Metrics;
use crate::translate::JobView;

/// How often the API server is asked what it serves.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is served, once that is known.
type Served = Option<BTreeSet<Kind>>;

/// Asks for ever, and tells every answer, also one that is like the last.
pub(super) async fn discover(client: Client, heard: Heard, served: watch::Sender<Served>) {
    loop {
        match timeout(ANSWER_WITHIN, ask(&client)).await {
            Ok(Ok(kinds)) => {
                let absent = |kind: &Kind| kind.composite().is_some() && !kinds.contains(kind);
                // Of those nothing is to be heard but this.
                Kind::ALL
                    .into_iter()
                    .filter(absent)
                    .for_each(|kind| heard.word(kind));
                served.send_replace(Some(kinds));
            }
            Ok(Err(error)) => warn!(%error, "what the API server serves cannot be learnt"),
            Err(_) => warn!("the API server does not say what it serves"),
        }
        sleep(ASK_EVERY).await;
    }
}

/// The kinds that are served: of each in the first version that is.
async fn ask(client: &Client) -> kube::Result<BTreeSet<Kind>> {
    let groups = client.list_api_groups().await?.groups;
    let versions: BTreeSet<String> = groups
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.group_version)
        .collect();
    let mut served = BTreeSet::new();
    let mut names = BTreeSet::new();
    for kind in Kind::ALL {
        let Some(composite) = kind.composite() else {
            continue;
        };
        let name = (composite.group(), composite.plural);
        if !versions.contains(composite.api_version) || names.contains(&name) {
            continue;
        }
        let resources = client.list_api_group_resources(composite.api_version);
        let resources = match resources.await {
            Ok(resources) => resources.resources,
            // It has gone meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error),
        };
        if resources.iter().any(|known| known.name == composite.plural) {
            served.insert(kind);
            names.insert(name);
        }
    }
    Ok(served)
}

/// The resource of a kind, as a client asks for it.
pub(crate) fn resource(composite: &Composite) -> ApiResource {
    let kind = GroupVersionKind::gvk(composite.group(), composite.version(), composite.kind);
    ApiResource::from_gvk_with_plural(&kind, composite.plural)
}

/// A kind that is followed while it is served.
pub(super) struct Optional {
    pub(super) kind: Kind,
    pub(super) composite: &'static Composite,
    pub(super) gpu_resource: String,
    pub(super) client: Client,
    pub(super) heard: Heard,
    pub(super) metrics: Metrics,
    pub(super) inbox: mpsc::Sender<Change>,
}

impl Optional {
    /// Runs until nobody listens any more.
    pub(super) async fn run(self, mut served: watch::Receiver<Served>) {
        let mut was_there = None;
        loop {
            let there = |known: &Served| known.as_ref().is_some_and(|all| all.contains(&self.kind));
            let is_there = match served.wait_for(Option::is_some).await {
                Ok(known) => there(&known),
                Err(_) => return,
            };
            if was_there != Some(is_there) && (is_there || was_there.is_some()) {
                info!(kind = %self.kind, is_there, "the API server has changed what it serves");
            }
            if is_there && self.follow(&mut served).await == End::Unwanted {
                return;
            }
            // What was there is gone with its kind.
            let is_news = was_there.replace(is_there) != Some(false) || is_there;
            let nothing = Change::Listed(self.kind, Vec::new());
            if is_news && self.inbox.send(nothing).await.is_err() {
                return;
            }
            if served.changed().await.is_err() {
                return;
            }
        }
    }

    /// Follows it until it is not served any more.
    async fn follow(&self, served: &mut watch::Receiver<Served>) -> End {
        let (composite, gpu_resource) = (self.composite, self.gpu_resource.clone());
        let follower = Follower {
            kind: self.kind,
            api: Api::<DynamicObject>::all_with(self.client.clone(), &resource(composite)),
            fields: None,
            is_optional: true,
            view: move |object: &DynamicObject| {
                let view = JobView::of_composite(composite, object, &gpu_resource);
                Some(Object::Job(Box::new(view)))
            },
            heard: self.heard.clone(),
            metrics: self.metrics.clone(),
            inbox: self.inbox.clone(),
        };
        let gone = |known: &Served| known.as_ref().is_some_and(|all| !all.contains(&self.kind));
        tokio::select! {
            end = follower.run() => end,
            gone = served.wait_for(gone) => match gone {
                Ok(_) => End::Unserved,
                Err(_) => End::Unwanted,
            },
        }
    }
}
