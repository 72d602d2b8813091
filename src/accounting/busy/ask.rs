//! One question to one agent.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::usage::Usage;

/// How long an agent may take. Whoever does not answer is asked again the next time.
const WITHIN: Duration = Duration::from_secs(3);
/// No agent has more to say: a node has 64 cards at most, and a card as many pods.
const BYTES_MAX: usize = 1 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How busy pods kept what they were given on the agent's node, for whoever has this token.
pub(super) async fn usages(agent: SocketAddr, token: Option<&str>) -> Result<Vec<Usage>, BoxError> {
    match timeout(WITHIN, get(agent, token)).await {
        Ok(answer) => Ok(serde_json::from_slice(&answer?)?),
        Err(_) => Err(format!("no answer within {WITHIN:?}").into()),
    }
}

async fn get(agent: SocketAddr, token: Option<&str>) -> Result<Vec<u8>, BoxError> {
    let stream = TcpStream::connect(agent).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut question = Request::get("/usage").header(HOST, agent.to_string());
    if let Some(token) = token {
        question = question.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let question = question.body(Body::empty())?;
    let answer = async {
        let answer = sender.send_request(question).await?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()).into());
        }
        let body = to_bytes(Body::new(answer.into_body()), BYTES_MAX).await?;
        Ok::<_, BoxError>(body.to_vec())
    };
    tokio::select! {
        answer = answer => answer,
        ended = connection => {
            ended?;
            Err("the connection ended without an answer".into())
        }
    }
}
