//! Whose jobs a reader may see, as the API server says: who has the token, and where whoever that is
//! may list the queue. Nothing is decided here but by its answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use super::picture::Sees;
use crate::api::GROUP;
use crate::identity::{self, TOKEN_BYTES_MAX};
use crate::view::Views;

/// How long an answer holds. A right that is taken away ends as late.
const HOLDS: Duration = Duration::from_secs(30);
/// Readers that are known at a time.
const KNOWN_MAX: usize = 1024;
/// Readers that the API server is asked about at once, and questions about each.
const READERS_AT_ONCE: usize = 4;
const QUESTIONS_AT_ONCE: usize = 16;

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No token, or none that the API server knows.
    #[error("who are you?")]
    Unknown,
    /// Somebody who may see no job.
    #[error("`{0}` may list queuedjobs.prorata.dev in no namespace of a tenant")]
    Nothing(String),
    /// The API server does not answer.
    #[error("the API server does not say who you are")]
    Unasked(#[from] kube::Error),
}

/// Who asks the API server. Copies share what they know.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    client: Client,
    views: Views,
    known: Mutex<HashMap<String, (Instant, Arc<Sees>)>>,
    room: Semaphore,
}

impl Gate {
    /// A gate that nobody has come to. `views` has the namespaces of tenants.
    pub(crate) fn new(client: Client, views: Views) -> Self {
        Self(Arc::new(Inner {
            client,
            views,
            known: Mutex::default(),
            room: Semaphore::new(READERS_AT_ONCE),
        }))
    }

    /// Whose jobs the bearer of this token may see.
    ///
    /// # Errors
    /// When that is nobody, sees nothing, or cannot be found out.
    pub(crate) async fn sees(&self, token: &str) -> Result<Arc<Sees>, Refusal> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Unknown);
        }
        if let Some(sees) = self.known(token) {
            return Ok(sees);
        }
        // Whoever waited for room may find that another has asked meanwhile.
        let room = self.0.room.acquire().await;
        let _room = room.map_err(|_| Refusal::Unknown)?;
        if let Some(sees) = self.known(token) {
            return Ok(sees);
        }
        let user = self.review(token).await?;
        let sees = Arc::new(self.ask(&user).await?);
        self.learn(token, sees.clone());
        Ok(sees)
    }

    /// Who asks the API server.
    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    fn known(&self, token: &str) -> Option<Arc<Sees>> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, sees) = known.get(token)?;
        (Instant::now() < *until).then(|| sees.clone())
    }

    fn learn(&self, token: &str, sees: Arc<Sees>) {
        let now = Instant::now();
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (until, _)| now < *until);
        if known.len() < KNOWN_MAX {
            known.insert(token.to_owned(), (now + HOLDS, sees));
        }
    }

    async fn review(&self, token: &str) -> Result<UserInfo, Refusal> {
        let known = identity::of_token(&self.0.client, token, None).await;
        let known = known.inspect_err(|error| warn!(%error, "a token cannot be reviewed"))?;
        known.ok_or(Refusal::Unknown)
    }

    async fn ask(&self, user: &UserInfo) -> Result<Sees, Refusal> {
        if self.may_list(user, None).await? {
            return Ok(Sees::All);
        }
        let spaces: Vec<(String, String)> = match self.0.views.latest().as_ref() {
            Some(view) => view
                .namespaces
                .iter()
                .map(|(space, tenant)| (space.clone(), tenant.to_string()))
                .collect(),
            None => Vec::new(),
        };
        let asked = stream::iter(spaces).map(|(space, tenant)| async move {
            let may = self.may_list(user, Some(&space)).await?;
            Ok::<_, Refusal>(may.then_some((space, tenant)))
        });
        let seen: Vec<_> = asked
            .buffer_unordered(QUESTIONS_AT_ONCE)
            .try_collect()
            .await?;
        let seen: BTreeMap<String, String> = seen.into_iter().flatten().collect();
        match seen.is_empty() {
            true => Err(Refusal::Nothing(user.username.clone().unwrap_or_default())),
            false => Ok(Sees::Namespaces(seen)),
        }
    }

    /// Whether somebody may list the queue of a namespace, or of all.
    async fn may_list(&self, user: &UserInfo, namespace: Option<&str>) -> Result<bool, Refusal> {
        let question = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                uid: user.uid.clone(),
                groups: user.groups.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some("queuedjobs".to_owned()),
                    verb: Some("list".to_owned()),
                    namespace: namespace.map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.0.client.clone());
        let answer = reviews.create(&PostParams::default(), &question).await;
        let answer = answer.inspect_err(|error| warn!(%error, "a right cannot be reviewed"))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
