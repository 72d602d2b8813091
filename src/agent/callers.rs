//! Who may ask an agent how busy pods were: the controller alone, by a token that is for agents.
//!
//! What is measured of a team's pods is nobody else's. A token for agents opens nothing else: whoever
//! has caught it knows how busy a node was, and cannot speak to the API server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use kube::Client;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use crate::api::labels;
use crate::identity;

/// How long an answer of the API server holds.
const HOLDS: Duration = Duration::from_secs(60);

/// Who asks the API server. Copies share what they know.
#[derive(Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    client: Option<Client>,
    /// The controller's token, and until when that is known.
    known: Mutex<Option<(String, Instant)>>,
    /// One token at a time of those who are not known: whoever sends many that are made up keeps nobody
    /// busy.
    room: Semaphore,
}

impl Callers {
    /// Nobody has called yet. Without a client nobody can be asked who somebody is.
    #[must_use]
    pub fn new(client: Option<Client>) -> Self {
        Self(Arc::new(Inner {
            client,
            known: Mutex::default(),
            room: Semaphore::new(1),
        }))
    }

    /// Whether somebody is answered; without an API server, whoever is on this machine.
    ///
    /// # Errors
    /// What to answer otherwise, and why.
    pub(super) async fn admit(
        &self,
        from: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        let Some(client) = &self.0.client else {
            let is_near = from.ip().to_canonical().is_loopback();
            let why = "this agent knows no API server that says who you are";
            return is_near.then_some(()).ok_or((StatusCode::FORBIDDEN, why));
        };
        let token = bearer(headers).ok_or((StatusCode::UNAUTHORIZED, "who are you?"))?;
        if self.knows(token) {
            return Ok(());
        }
        let busy = |_| (StatusCode::SERVICE_UNAVAILABLE, "another is asked about");
        let _room = match self.was_known(token) {
            true => None,
            false => Some(self.0.room.try_acquire().map_err(busy)?),
        };
        let asked = identity::of_token(client, token, Some(labels::AGENT_AUDIENCE)).await;
        let user = asked.map_err(|error| {
            warn!(%error, "a token cannot be reviewed");
            let why = "the API server does not say who you are";
            (StatusCode::SERVICE_UNAVAILABLE, why)
        })?;
        let user = user.ok_or((StatusCode::UNAUTHORIZED, "who are you?"))?;
        if user.username.as_deref() != Some(labels::CONTROLLER_USER) {
            return Err((StatusCode::FORBIDDEN, "the controller alone is told"));
        }
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((token.to_owned(), Instant::now() + HOLDS));
        Ok(())
    }

    fn knows(&self, token: &str) -> bool {
        self.known_until(token)
            .is_some_and(|until| Instant::now() < until)
    }

    /// Whether this was the controller's the last time that anybody asked.
    fn was_known(&self, token: &str) -> bool {
        self.known_until(token).is_some()
    }

    fn known_until(&self, token: &str) -> Option<Instant> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|(of, _)| of == token);
        known.map(|(_, until)| *until)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let shown = headers.get(AUTHORIZATION)?.to_str().ok()?;
    shown.strip_prefix("Bearer ")
}
