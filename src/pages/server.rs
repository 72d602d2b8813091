//! The controller's listener for the dashboard.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use kube::Client;

use super::board::Board;
use super::gate::Gate;
use super::router::{Door, Site, routes};
use super::{costs, follow};
use crate::config::{self, Configuration};
use crate::cost::source::Source;
use crate::extender::CertificateError;
use crate::extender::certificates::{Certificates, Files};
use crate::metrics::Metrics;
use crate::view::Views;

/// A connection that says nothing for so long is closed.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Why the dashboard cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate.
    #[error("dashboard.tls")]
    Certificates(#[from] CertificateError),
    /// The address.
    #[error("dashboard.address {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why it cannot be listened on.
        source: io::Error,
    },
}

/// Shows the queue to whoever may see it, until the process ends.
///
/// # Errors
/// When a certificate cannot be read or the address cannot be listened on.
pub async fn serve(
    dashboard: &config::Dashboard,
    config: &Configuration,
    client: &Client,
    views: &Views,
) -> Result<(), Error> {
    let board = Board::default();
    let gate = Gate::new(client.clone(), views.clone());
    let source = Source::of(config);
    let site = Site::new(board.clone(), Door::Gate(gate), "", &dashboard.cluster);
    let site = site.with_costs(source.clone());
    let costs = async {
        match source.zip(config.budgets.as_ref()) {
            Some((source, budgets)) => costs::follow(&source, budgets.every, &board).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = listen(dashboard, routes(site), views.metrics().clone()) => served,
        () = follow::follow(client.clone(), &config.gpu_resource, &board, views) => Ok(()),
        () = costs => Ok(()),
    }
}

async fn listen(config: &config::Dashboard, routes: Router, metrics: Metrics) -> Result<(), Error> {
    let routes = routes.into_make_service();
    let mut server = axum_server::bind(config.address).http1_only();
    let mut http = server.http_builder().http1();
    http.timer(TokioTimer::new()).header_read_timeout(QUIET_MAX);
    let served = match &config.tls {
        Some(tls) => {
            let files = Files {
                certificate: tls.cert_file.clone(),
                key: tls.key_file.clone(),
                authorities: None,
            };
            let certificates = Certificates::load(files)?.told_as("dashboard", metrics);
            let acceptor = RustlsAcceptor::new(certificates.config()).acceptor(NoDelayAcceptor);
            tokio::select! {
                served = server.acceptor(acceptor).serve(routes) => served,
                () = certificates.follow() => Ok(()),
            }
        }
        None => server.acceptor(NoDelayAcceptor).serve(routes).await,
    };
    served.map_err(|source| Error::Listen {
        address: config.address,
        source,
    })
}
