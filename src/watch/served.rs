//! Kinds that come and go with their operators. What the API server serves is asked at a steady
//! rate; a kind that it does not serve has no objects, and nobody watches it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, ListParams};
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

/// Asks for ever, and tells every answer, also one that is like the last. A kind that was served is
/// so until two answers in a row do not name it, and it cannot be listed either.
pub(super) async fn discover(client: Client, served: watch::Sender<Served>) {
    let mut missed = BTreeSet::new();
    let mut troubles = Troubles::default();
    loop {
        let answer = match timeout(ANSWER_WITHIN, ask(&client, &mut troubles)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
        };
        troubles.note(None, answer.as_ref().err());
        if let Ok(named) = answer {
            let known = served.borrow().clone();
            let kinds = confirm(&client, known.as_ref(), named, &mut missed).await;
            served.send_replace(Some(kinds));
        }
        sleep(ASK_EVERY).await;
    }
}

/// What goes wrong with a kind, or with all of them: told when it begins, and not at every attempt.
#[derive(Default)]
struct Troubles(BTreeMap<Option<Kind>, String>);

impl Troubles {
    /// What is wrong now; whether it was told.
    fn note(&mut self, kind: Option<Kind>, error: Option<&String>) -> bool {
        let Some(error) = error else {
            self.0.remove(&kind);
            return false;
        };
        let is_news = self.0.insert(kind, error.clone()).as_ref() != Some(error);
        match kind.filter(|_| is_news) {
            Some(kind) => warn!(%kind, %error, "whether it is served cannot be learnt"),
            None if is_news => warn!(%error, "what the API server serves cannot be learnt"),
            None => {}
        }
        is_news
    }
}

/// What is served, where an answer names these: also what is missing in it for the first time, or
/// can be listed. `missed` are those that the last answer did not name.
async fn confirm(
    client: &Client,
    known: Option<&BTreeSet<Kind>>,
    named: BTreeSet<Kind>,
    missed: &mut BTreeSet<Kind>,
) -> BTreeSet<Kind> {
    let mut kinds = named.clone();
    let mut missing = BTreeSet::new();
    for (kind, composite) in Kind::ALL.into_iter().filter_map(with_composite) {
        let is_known = match known {
            Some(known) => known.contains(&kind),
            // Nothing is known yet, and one answer is too few.
            None => version_in(&named, kind).is_none(),
        };
        if named.contains(&kind) || !is_known {
            continue;
        }
        let is_doubtful = known.is_some() && !missed.contains(&kind);
        missing.insert(kind);
        if is_doubtful || !is_absent(client, composite).await {
            // Of two versions it stays the one that is followed.
            kinds.retain(|other| !is_same(*other, kind));
            kinds.insert(kind);
        }
    }
    *missed = missing;
    kinds
}

/// Whether a kind cannot be listed because it is not there, or nobody may list it.
async fn is_absent(client: &Client, composite: &Composite) -> bool {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(composite));
    let params = ListParams::default().limit(1);
    let listed = timeout(ANSWER_WITHIN, api.list(&params)).await;
    matches!(listed, Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404))
}

fn with_composite(kind: Kind) -> Option<(Kind, &'static Composite)> {
    Some((kind, kind.composite()?))
}

/// Whether both are versions of one kind.
fn is_same(one: Kind, other: Kind) -> bool {
    let name = |kind: Kind| Some((kind.composite()?.group(), kind.composite()?.plural));
    name(one) == name(other)
}

/// The version of a kind among these.
fn version_in(kinds: &BTreeSet<Kind>, kind: Kind) -> Option<Kind> {
    let mut kinds = kinds.iter();
    kinds.find(|other| is_same(**other, kind)).copied()
}

/// The kinds that an answer names: of each in the first version that is served.
async fn ask(client: &Client, troubles: &mut Troubles) -> kube::Result<BTreeSet<Kind>> {
    let groups = client.list_api_groups().await?.groups;
    let versions: BTreeSet<String> = groups
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.group_version)
        .collect();
    let mut served = BTreeSet::new();
    for (kind, composite) in Kind::ALL.into_iter().filter_map(with_composite) {
        let is_there = versions.contains(composite.api_version);
        if !is_there || version_in(&served, kind).is_some() {
            continue;
        }
        let resources = client.list_api_group_resources(composite.api_version);
        let resources = resources.await;
        let is_broken =
            |error: &&kube::Error| matches!(error, kube::Error::Api(status) if status.code != 404);
        let error = resources.as_ref().err().filter(is_broken);
        troubles.note(Some(kind), error.map(ToString::to_string).as_ref());
        let is_served = match resources {
            Ok(all) => all.resources.iter().any(|r| r.name == composite.plural),
            // It has gone meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            // One group that is broken says nothing of the others: its list tells.
            Err(kube::Error::Api(_)) => true,
            Err(error) => return Err(error),
        };
        if is_served {
            served.insert(kind);
        }
    }
    Ok(served)
}

/// What is served as far as is known now.
fn known(served: &mut watch::Receiver<Served>) -> BTreeSet<Kind> {
    served.borrow_and_update().clone().unwrap_or_default()
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
    /// The kinds of which a list was told.
    pub(super) told: watch::Sender<BTreeSet<Kind>>,
    pub(super) metrics: Metrics,
    pub(super) inbox: mpsc::Sender<Change>,
}

impl Optional {
    /// Runs until nobody listens any more.
    pub(super) async fn run(self, mut served: watch::Receiver<Served>) {
        let mut was_there = false;
        let mut is_first = true;
        if served.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            if self.is_among(&known(&mut served)) != was_there {
                was_there = !was_there;
                self.heard.serves(self.kind, was_there);
                info!(kind = %self.kind, is_there = was_there, "the API server has changed what it serves");
            }
            if was_there && self.follow(&mut served).await == End::Unwanted {
                return;
            }
            if self.is_over(&known(&mut served), is_first) {
                is_first = false;
                if self.tell_none().await.is_none() {
                    return;
                }
            }
            if served.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_among(&self, kinds: &BTreeSet<Kind>) -> bool {
        kinds.contains(&self.kind)
    }

    /// Whether it has no objects, and that is news. What is known stands while it cannot be listed
    /// for a moment, and until all is known of the version that it is followed in from now on.
    fn is_over(&self, kinds: &BTreeSet<Kind>, is_first: bool) -> bool {
        let told = self.told.borrow();
        if !told.contains(&self.kind) {
            return is_first;
        }
        let next = version_in(kinds, self.kind);
        next.is_none_or(|next| next != self.kind && told.contains(&next))
    }

    /// What was there is gone with its kind.
    async fn tell_none(&self) -> Option<()> {
        let nothing = Change::Listed(self.kind, Vec::new());
        self.inbox.send(nothing).await.ok()?;
        self.told.send_modify(|told| {
            told.remove(&self.kind);
        });
        Some(())
    }

    /// Follows it until it is not served any more.
    async fn follow(&self, served: &mut watch::Receiver<Served>) -> End {
        let (composite, gpu_resource) = (self.composite, self.gpu_resource.clone());
        let follower = Follower {
            kind: self.kind,
            api: Api::<DynamicObject>::all_with(self.client.clone(), &resource(composite)),
            fields: None,
            is_optional: true,
            told: self.told.clone(),
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::{Request, Response};
    use tower::service_fn;

    use super::*;

    const JOB_SETS: Kind = Kind::Composite(1);
    const MPI_JOBS: [Kind; 2] = [Kind::Composite(7), Kind::Composite(8)];

    /// An API server that answers this to everything.
    fn answering(code: u16) -> Client {
        let service = service_fn(move |_: Request<kube::client::Body>| async move {
            let object = match code {
                200 => {
                    serde_json::json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []})
                }
                _ => serde_json::json!({"apiVersion": "v1", "kind": "Status", "code": code}),
            };
            let body = Body::from(object.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_kind_is_gone_when_two_answers_in_a_row_and_its_list_say_so() {
        let (there, gone) = (answering(200), answering(404));
        let known: BTreeSet<Kind> = [JOB_SETS].into();
        let none = BTreeSet::new();
        let mut missed = BTreeSet::new();
        let kinds = confirm(&gone, Some(&known), none.clone(), &mut missed).await;
        assert_eq!(kinds, known, "one answer is too few");
        confirm(&gone, Some(&known), known.clone(), &mut missed).await;
        let kinds = confirm(&gone, Some(&known), none.clone(), &mut missed).await;
        assert_eq!(kinds, known, "they were not in a row");
        let kinds = confirm(&there, Some(&known), none.clone(), &mut missed).await;
        assert_eq!(kinds, known, "it can be listed");
        let kinds = confirm(&gone, Some(&known), none.clone(), &mut missed).await;
        assert_eq!(kinds, none);
    }

    #[test]
    fn what_goes_on_being_wrong_is_told_once() {
        let mut troubles = Troubles::default();
        let [refused, timed_out] = ["refused", "timed out"].map(str::to_owned);
        assert!(troubles.note(None, Some(&refused)));
        assert!(!troubles.note(None, Some(&refused)));
        assert!(troubles.note(Some(JOB_SETS), Some(&refused)), "of its own");
        assert!(troubles.note(None, Some(&timed_out)));
        assert!(!troubles.note(None, None));
        assert!(troubles.note(None, Some(&timed_out)), "it had passed");
    }

    #[tokio::test]
    async fn a_first_answer_alone_is_not_believed_either() {
        let kinds = confirm(&answering(404), None, BTreeSet::new(), &mut BTreeSet::new()).await;
        assert!(kinds.is_empty());
        let named = [MPI_JOBS[0]].into();
        let kinds = confirm(&answering(200), None, named, &mut BTreeSet::new()).await;
        assert!(kinds.contains(&JOB_SETS));
        assert!(kinds.contains(&MPI_JOBS[0]) && !kinds.contains(&MPI_JOBS[1]));
    }

    /// Its objects stay known until all of them are in the next version.
    #[tokio::test]
    async fn another_version_takes_over_once_the_one_before_is_gone_and_all_is_listed() {
        let [new, old] = MPI_JOBS.map(|kind| BTreeSet::from([kind]));
        let mut missed = BTreeSet::new();
        for _ in 0..3 {
            let both = answering(200);
            let kinds = confirm(&both, Some(&old), new.clone(), &mut missed).await;
            assert_eq!(kinds, old, "it stays in the version that it is followed in");
        }
        let kinds = confirm(&answering(404), Some(&old), new.clone(), &mut missed).await;
        assert_eq!(kinds, new);
        let optional = Optional {
            kind: MPI_JOBS[1],
            composite: MPI_JOBS[1].composite().unwrap(),
            gpu_resource: String::new(),
            client: answering(404),
            heard: Heard::default(),
            told: watch::Sender::new(old),
            metrics: Metrics::default(),
            inbox: mpsc::channel(1).0,
        };
        assert!(
            !optional.is_over(&kinds, false),
            "the next is not listed yet"
        );
        optional.told.send_modify(|told| {
            told.insert(MPI_JOBS[0]);
        });
        assert!(optional.is_over(&kinds, false));
    }
}
