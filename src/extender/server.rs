//! The extender's listener: HTTP/1.1 over TLS, and nobody without a certificate of the
//! authority that signs kube-scheduler's; or plain HTTP where the configuration says so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use futures::StreamExt;
use hyper_util::rt::TokioTimer;
use tracing::warn;

use super::answer::refusal;
use super::certificates::{self, Certificates, Files};
use super::limits::{self, BODY_BYTES_MAX, QUIET_MAX, Room};
use super::{FilterPolicy, Told, answer, scores};
use crate::api::extender_v1::{Args, PreemptResult};
use crate::config;
use crate::view::{View, Views};

/// Why the extender cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificates.
    #[error("extender.tls")]
    Certificates(#[from] certificates::Error),
    /// The address.
    #[error("extender.address {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why it cannot be listened on.
        source: io::Error,
    },
}

struct Shared {
    views: Views,
    told: Told,
    policy: FilterPolicy,
}

impl Shared {
    /// The view, while the API server is heard: by what may have been true long ago nobody is let
    /// through, and no node is better than another.
    fn fresh<'a>(&self, view: &'a Option<View>) -> Option<&'a View> {
        view.as_ref().filter(|_| self.views.heard().is_fresh())
    }
}

/// Answers kube-scheduler until the process ends.
///
/// # Errors
/// When a certificate cannot be read or the address cannot be listened on.
pub async fn serve(
    config: &config::Extender,
    policy: FilterPolicy,
    views: Views,
) -> Result<(), Error> {
    let metrics = views.metrics().clone();
    let routes = routes(policy, views).into_make_service();
    let mut server = axum_server::bind(config.address).http1_only();
    let mut http = server.http_builder().http1();
    http.timer(TokioTimer::new()).header_read_timeout(QUIET_MAX);
    // Headers and body go out as two segments; without NoDelay the second waits for an ACK.
    let served = match &config.tls {
        Some(tls) => {
            let certificates = Certificates::load(Files {
                certificate: tls.cert_file.clone(),
                key: tls.key_file.clone(),
                authorities: Some(tls.client_ca_file.clone()),
            });
            let certificates = certificates?.told_as("extender", metrics);
            let acceptor = RustlsAcceptor::new(certificates.config()).acceptor(NoDelayAcceptor);
            tokio::select! {
                served = server.acceptor(acceptor).serve(routes) => served,
                () = certificates.follow() => Ok(()),
            }
        }
        None => {
            warn!("the extender answers anybody, over plain HTTP");
            server.acceptor(NoDelayAcceptor).serve(routes).await
        }
    };
    served.map_err(|source| Error::Listen {
        address: config.address,
        source,
    })
}

fn routes(policy: FilterPolicy, views: Views) -> Router {
    let room = Room::new(views.metrics().clone());
    let shared = Arc::new(Shared {
        views,
        told: Told::default(),
        policy,
    });
    Router::new()
        .route("/filter", post(filter))
        .route("/prioritize", post(prioritize))
        .route("/preempt", post(preempt))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(room, limits::limited))
        .with_state(shared)
}

async fn filter(State(shared): State<Arc<Shared>>, Json(args): Json<Args>) -> Response {
    let view = shared.views.latest();
    if let Some(view) = view.as_ref() {
        shared.told.seats.forget(&view.plans);
    }
    let view = shared.fresh(&view);
    let answered = answer(view, &shared.told, &shared.policy, &args);
    if let Some(reason) = refusal(&answered) {
        shared.views.metrics().refused(reason);
    }
    Json(answered).into_response()
}

async fn prioritize(State(shared): State<Arc<Shared>>, Json(args): Json<Args>) -> Response {
    let view = shared.views.latest();
    Json(scores(shared.fresh(&view), &shared.policy, &args)).into_response()
}

/// kube-scheduler evicts nobody on behalf of a pod that asks for GPUs. The question is read to its
/// end all the same: an answer that comes before it, and the end of the connection, may get lost.
async fn preempt(question: Body) -> Json<PreemptResult> {
    let mut parts = question.into_data_stream();
    while let Some(Ok(_)) = parts.next().await {}
    Json(PreemptResult::default())
}
