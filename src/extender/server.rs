//! The extender's listener: HTTP/1.1 over TLS, and nobody without a certificate of the
//! authority that signs kube-scheduler's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::StreamExt;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::{FilterPolicy, Seats, answer};
use crate::api::extender_v1::{Args, PreemptResult};
use crate::config;
use crate::view::Views;

/// Names of 15,000 nodes take 570 KB.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Why the extender cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates or keys.
    #[error("{}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A certificate authority that cannot be one.
    #[error("{}", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: VerifierBuilderError,
    },
    /// Certificate and key do not fit together, or are not of a kind that is supported.
    #[error("the certificate and its key")]
    Tls(#[from] rustls::Error),
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
    seats: Seats,
    policy: FilterPolicy,
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
    let tls = RustlsConfig::from_config(Arc::new(tls(&config.tls)?));
    let shared = Arc::new(Shared {
        views,
        seats: Seats::default(),
        policy,
    });
    let routes = Router::new()
        .route("/filter", post(filter))
        .route("/preempt", post(preempt))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared);
    // Headers and body go out as two segments; without NoDelay the second waits for an ACK.
    let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor);
    let served = axum_server::bind(config.address)
        .acceptor(acceptor)
        .serve(routes.into_make_service());
    served.await.map_err(|source| Error::Listen {
        address: config.address,
        source,
    })
}

async fn filter(State(shared): State<Arc<Shared>>, Json(args): Json<Args>) -> Response {
    let view = shared.views.latest();
    if let Some(view) = view.as_ref() {
        shared.seats.forget(&view.plans);
    }
    let view = view.as_ref().as_ref();
    Json(answer(view, &shared.seats, &shared.policy, &args)).into_response()
}

/// kube-scheduler evicts nobody on behalf of a pod that asks for GPUs. The question is read to its
/// end all the same: an answer that comes before it, and the end of the connection, may get lost.
async fn preempt(question: Body) -> Json<PreemptResult> {
    let mut parts = question.into_data_stream();
    while let Some(Ok(_)) = parts.next().await {}
    Json(PreemptResult::default())
}

fn tls(files: &config::Tls) -> Result<rustls::ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.client_ca_file)? {
        roots.add(authority)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = verifier.build().map_err(|source| Error::Authority {
        file: files.client_ca_file.clone(),
        source,
    })?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|source| Error::Pem {
        file: files.key_file.clone(),
        source,
    })?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&files.cert_file)?, key)?;
    // Over HTTP/2 Go would stay on the connection to one replica, even one that hangs.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|source| Error::Pem {
        file: file.to_owned(),
        source,
    })
}
