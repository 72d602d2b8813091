//! The agent's port: is it alive, has it looked lately, what does it see, and how busy were pods?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::callers::Callers;
use super::metrics;
use super::picture::Pictures;
use crate::metrics::MEDIA_TYPE;

#[derive(Clone)]
struct Shown {
    pictures: Pictures,
    /// A picture older than that says nothing any more.
    stale: Duration,
    callers: Callers,
}

/// Answers `/livez`, `/readyz`, `/metrics` and `/usage` until the process ends. The agent is ready while it has
/// looked within `stale`, whatever it has seen: that is what it is there to tell. `/usage` is for those
/// callers alone.
///
/// # Errors
/// When serving fails.
pub async fn serve(
    listener: TcpListener,
    pictures: Pictures,
    stale: Duration,
    callers: Callers,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(measures))
        .route("/usage", get(usage))
        .with_state(Shown {
            pictures,
            stale,
            callers,
        });
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
}

/// Listens.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, String) {
    let Some(picture) = shown.pictures.latest() else {
        let why = "nobody has looked at the GPUs yet".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let age = picture.at.elapsed();
    match age <= shown.stale {
        true => (StatusCode::OK, "ok".to_owned()),
        false => {
            let why = format!("the last look at the GPUs was {} s ago", age.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

/// How busy pods kept what they were given, since the agent began.
async fn usage(
    State(shown): State<Shown>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = shown.callers.admit(from, &headers).await {
        return refusal.into_response();
    }
    match shown.pictures.latest() {
        Some(picture) => Json(picture.usages.clone()).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn measures(State(shown): State<Shown>) -> Response {
    let Some(picture) = shown.pictures.latest() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match metrics::render(&picture) {
        Ok(text) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
