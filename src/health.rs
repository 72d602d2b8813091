//! Probes and metrics, on a port of their own: is the process alive, does it know enough to answer,
//! and what does it do?

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::MEDIA_TYPE;
use crate::view::Views;

/// Answers `/livez`, `/readyz` and `/metrics` until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, views: Views) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(views);
    axum::serve(TcpListener::bind(address).await?, routes).await
}

async fn ready(State(views): State<Views>) -> (StatusCode, String) {
    if views.is_ready() {
        return (StatusCode::OK, "ok".to_owned());
    }
    let (kind, age) = views.heard().quietest();
    let why = match views.heard().is_fresh() {
        true => "not everything has been listed yet".to_owned(),
        false => format!("nothing was heard of {kind:?} for {} s", age.as_secs()),
    };
    (StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn metrics(State(views): State<Views>) -> Response {
    // With very many jobs this takes longer than others should wait.
    let rendered = tokio::task::spawn_blocking(move || views.metrics().render(&views)).await;
    match rendered {
        Ok(Ok(text)) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
