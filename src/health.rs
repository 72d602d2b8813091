//! Probes, on a port of their own: is the process alive, and does it know enough to answer?

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::view::Views;

/// Answers `/livez` and `/readyz` until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, views: Views) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
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
