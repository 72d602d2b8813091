//! Between our processes and the API server: requests on their way there, and watches on their way
//! back.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tower::{BoxError, Service, service_fn};

use super::server::is_watched;
use super::store::{Kind, Store};

/// A request that has been sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Who sent it.
    pub(crate) process: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    query: String,
    pub(crate) media_type: String,
    pub(crate) body: Value,
    /// What its sender knew when it sent this.
    pub(crate) knew: Knew,
    pub(crate) reply: oneshot::Sender<Response<Body>>,
}

/// Up to which version a process has been told of what there is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Knew {
    pub(crate) records: u64,
    pub(crate) nodes: u64,
}

impl Sent {
    /// A parameter of its query.
    pub(crate) fn asked(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET"
    }
}

/// Requests that have been sent and not arrived.
pub(crate) type Outbox = Arc<Mutex<Vec<Sent>>>;

/// What the clients of a process send by.
pub(crate) fn service(
    process: usize,
    outbox: Outbox,
) -> impl Service<
    Request<kube::client::Body>,
    Response = Response<Body>,
    Error = BoxError,
    Future = impl Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
> + Clone
+ Send
+ 'static {
    service_fn(move |request: Request<kube::client::Body>| {
        let outbox = outbox.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
            let media_type = parts.headers.get("content-type");
            let media_type = media_type.and_then(|value| value.to_str().ok());
            let (reply, answer) = oneshot::channel();
            outbox.lock().unwrap().push(Sent {
                process,
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                media_type: media_type.unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                knew: Knew::default(),
                reply,
            });
            let answer = answer.await;
            answer.map_err(|_| BoxError::from("the connection is reset"))
        }
    })
}

/// An object as an answer.
pub(crate) fn response(code: u16, object: &Value) -> Response<Body> {
    let body = Body::from(object.to_string());
    Response::builder().status(code).body(body).unwrap()
}

/// A watch that is open.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) process: usize,
    pub(crate) kind: Kind,
    /// What has been said, up to this version.
    pub(crate) version: u64,
    /// It says nothing before that.
    pub(crate) stalled_until_ms: u64,
    lines: mpsc::UnboundedSender<String>,
}

impl Stream {
    /// One from a version on, and the answer that opens it.
    pub(crate) fn open(process: usize, kind: Kind, version: u64) -> (Self, Response<Body>) {
        let (lines, rest) = mpsc::unbounded_channel();
        let stream = stream::unfold(rest, async |mut rest: mpsc::UnboundedReceiver<String>| {
            let line = rest.recv().await?;
            Some((Ok::<_, Infallible>(line), rest))
        });
        let response = Response::builder().body(Body::from_stream(stream)).unwrap();
        let stream = Self {
            process,
            kind,
            version,
            stalled_until_ms: 0,
            lines,
        };
        (stream, response)
    }

    /// Whether anybody still listens.
    pub(crate) fn is_open(&self) -> bool {
        !self.lines.is_closed()
    }

    /// Whether there is more to say. What is of other kinds is passed over.
    pub(crate) fn lags(&mut self, store: &Store) -> bool {
        let from = usize::try_from(self.version).unwrap();
        let mut rest = store.log[from..].iter();
        let others = rest.position(|change| change.key.kind == self.kind);
        self.version += others.unwrap_or(store.log.len() - from) as u64;
        others.is_some()
    }

    /// Says the next thing, so many times.
    pub(crate) fn advance(&mut self, store: &Store, times: u32) {
        let from = usize::try_from(self.version).unwrap();
        let mut rest = store.log[from..].iter();
        let Some(change) = rest.find(|change| change.key.kind == self.kind) else {
            return;
        };
        self.version = change.version;
        let seen = |object: &&super::store::Object| is_watched(self.kind, object);
        let (before, after) = (
            change.before.as_ref().filter(seen),
            change.after.as_ref().filter(seen),
        );
        let (type_, object) = match (before, after) {
            (None, None) => return,
            (None, Some(after)) => ("ADDED", Value::clone(after)),
            (Some(_), Some(after)) => ("MODIFIED", Value::clone(after)),
            (Some(before), None) => {
                let mut last = Value::clone(change.after.as_ref().unwrap_or(before));
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                ("DELETED", last)
            }
        };
        for _ in 0..times {
            self.say(type_, &object);
        }
    }

    /// Says how far it has come.
    pub(crate) fn bookmark(&mut self, store: &Store) {
        self.version = store.version();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        let (api_version, kind) = match self.kind {
            Kind::Job => ("batch/v1", "Job"),
            Kind::Tenant => ("prorata.dev/v1alpha1", "Tenant"),
            Kind::QueuedJob => ("prorata.dev/v1alpha1", "QueuedJob"),
            Kind::PriorityClass => ("scheduling.k8s.io/v1", "PriorityClass"),
            Kind::Node => ("v1", "Node"),
            Kind::Namespace => ("v1", "Namespace"),
            Kind::Pod | Kind::Lease => ("v1", "Pod"),
        };
        self.say(
            "BOOKMARK",
            &json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}),
        );
    }

    /// Says that what comes next cannot be said any more.
    pub(crate) fn outdate(&self) {
        self.say(
            "ERROR",
            &super::server::status(410, "Expired", "too old resource version"),
        );
    }

    fn say(&self, type_: &str, object: &Value) {
        let line = json!({"type": type_, "object": object});
        // Whoever does not listen any more is found out later.
        let _ = self.lines.send(format!("{line}\n"));
    }
}
