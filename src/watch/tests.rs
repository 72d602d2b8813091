//! Followers against an API server that says what the test wants it to say. Time is the runtime's
//! own, so an hour takes no time.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, Uri};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tower::service_fn;

use super::follow::Follower;
use super::{Change, Heard, Kind, Object, namespace};
use crate::metrics::Metrics;

/// What the API server answers to one request.
enum Reply {
    /// A status, and an object.
    Object(u16, Value),
    /// The events of a watch, and whether it ends then; it goes on for ever otherwise.
    Events(Vec<Value>, bool),
    /// A watch with a bookmark every minute.
    Bookmarks,
    /// Nothing, for ever.
    Silence,
}

/// The replies to come, and the requests so far.
#[derive(Clone, Default)]
struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let server = Self::default();
        server.then(replies);
        server
    }

    fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            let uri = request.uri().clone();
            async move { Ok::<_, Infallible>(server.answer(&uri).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, uri: &Uri) -> Response<Body> {
        let query = uri.query().unwrap_or_default().to_owned();
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
        };
        let asked = match (value("watch"), value("continue")) {
            (Some(_), _) => format!("watch {}", value("resourceVersion").unwrap()),
            (None, Some(token)) => format!("list {token}"),
            (None, None) => "list".to_owned(),
        };
        self.requests.lock().unwrap().push(asked);
        let reply = self.replies.lock().unwrap().pop_front();
        let (status, body) = match reply.unwrap_or(Reply::Silence) {
            Reply::Silence => std::future::pending().await,
            Reply::Object(status, object) => (status, Body::from(object.to_string().into_bytes())),
            Reply::Events(events, ends) => {
                let events = stream::iter(events);
                match ends {
                    true => (200, lines(events)),
                    false => (200, lines(events.chain(stream::pending()))),
                }
            }
            Reply::Bookmarks => {
                let every_minute = stream::unfold(2, async |version| {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    Some((bookmark(version), version + 1))
                });
                (200, lines(every_minute))
            }
        };
        Response::builder().status(status).body(body).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

struct Following {
    inbox: mpsc::Receiver<Change>,
    heard: Heard,
}

/// Follows namespaces.
fn follow(server: &Server) -> Following {
    follow_as(server, false)
}

fn follow_as(server: &Server, is_optional: bool) -> Following {
    let (sender, inbox) = mpsc::channel(16);
    let heard = Heard::default();
    let follower = Follower {
        kind: Kind::Namespace,
        api: Api::<Namespace>::all(server.client()),
        fields: None,
        is_optional,
        told: watch::Sender::new(BTreeSet::new()),
        view: namespace,
        heard: heard.clone(),
        metrics: Metrics::default(),
        inbox: sender,
    };
    tokio::spawn(follower.run());
    Following { inbox, heard }
}

impl Following {
    /// The next change, in short.
    async fn next(&mut self) -> String {
        let name = |object: &Object| object.key();
        match self.inbox.recv().await.unwrap() {
            Change::Listed(_, objects) => {
                let names: Vec<String> = objects.iter().map(name).collect();
                format!("= {}", names.join(" "))
            }
            Change::Applied(object) => format!("+ {}", name(&object)),
            Change::Deleted(object) => format!("- {}", name(&object)),
            other => format!("{other:?}"),
        }
    }
}

fn object(name: &str, version: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "resourceVersion": version.to_string() },
    })
}

fn list(version: u32, names: &[&str]) -> Reply {
    page(version, names, "")
}

fn page(version: u32, names: &[&str], next: &str) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| object(name, version)).collect();
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": next });
    Reply::Object(
        200,
        json!({ "apiVersion": "v1", "kind": "NamespaceList", "metadata": metadata, "items": items }),
    )
}

fn event(kind: &str, name: &str, version: u32) -> Value {
    json!({ "type": kind, "object": object(name, version) })
}

fn bookmark(version: u32) -> Value {
    let metadata = json!({ "resourceVersion": version.to_string() });
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
    json!({ "type": "BOOKMARK", "object": object })
}

/// A body with a line for each event.
fn lines(events: impl stream::Stream<Item = Value> + Send + 'static) -> Body {
    let lines = events.map(|event| Ok::<_, Infallible>(format!("{event}\n")));
    Body::from_stream(lines)
}

fn gone() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version",
    })
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_when_a_watch_starts_is_listed_anew() {
    let server = Server::new([
        list(1, &["a"]),
        Reply::Object(410, gone()),
        list(7, &["b"]),
        Reply::Events(vec![event("ADDED", "c", 8)], false),
    ]);
    let mut following = follow(&server);
    for expected in ["= a", "= b", "+ c"] {
        assert_eq!(following.next().await, expected);
    }
    let asked = server.requests();
    assert_eq!(asked[..4], ["list", "watch 1", "list", "watch 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_within_a_watch_is_listed_anew() {
    let error = json!({ "type": "ERROR", "object": gone() });
    let server = Server::new([
        list(1, &["a"]),
        Reply::Events(vec![event("ADDED", "b", 2), error], false),
        list(7, &["c"]),
    ]);
    let mut following = follow(&server);
    for expected in ["= a", "+ b", "= c"] {
        assert_eq!(following.next().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let broken = json!({ "type": "ERROR", "object": { "code": 500, "message": "etcd is away" } });
    let server = Server::new([
        list(1, &[]),
        Reply::Events(vec![event("ADDED", "a", 4)], true),
        Reply::Events(vec![event("DELETED", "a", 5), bookmark(9)], true),
        Reply::Object(503, json!({ "code": 503, "message": "starting" })),
        Reply::Events(vec![broken], false),
        Reply::Events(vec![event("MODIFIED", "b", 10)], false),
    ]);
    let mut following = follow(&server);
    for expected in ["= ", "+ a", "- a", "+ b"] {
        assert_eq!(following.next().await, expected);
    }
    let asked = server.requests();
    let from: Vec<&str> = asked.iter().map(String::as_str).collect();
    assert_eq!(from[..3], ["list", "watch 1", "watch 4"]);
    // The client itself may ask again after a 503.
    assert!(
        from[3..].iter().all(|asked| *asked == "watch 9"),
        "{from:?}"
    );
}

/// A list of several pages is told whole, or not at all.
#[tokio::test(start_paused = true)]
async fn a_list_whose_second_page_is_gone_is_begun_anew() {
    let server = Server::new([
        page(1, &["a"], "two"),
        Reply::Object(410, gone()),
        page(5, &["b"], "two"),
        list(5, &["c"]),
    ]);
    let mut following = follow(&server);
    assert_eq!(following.next().await, "= b c");
    let asked = server.requests();
    assert_eq!(asked[..4], ["list", "list two", "list", "list two"]);
}

/// A connection that is dead on the other side says nothing at all.
#[tokio::test(start_paused = true)]
async fn silence_is_ended_by_a_list_and_told_when_that_does_not_help() {
    let server = Server::new([list(1, &["a"]), Reply::Silence, list(9, &["b"])]);
    let mut following = follow(&server);
    assert_eq!(following.next().await, "= a");
    for kind in Kind::ALL {
        following.heard.word(kind);
    }
    let clock = tokio::time::Instant::now();
    assert_eq!(following.next().await, "= b");
    assert_eq!(clock.elapsed().as_secs(), 90);
    assert!(following.heard.is_fresh());
    // From now on nobody answers.
    while following.heard.is_fresh() {
        for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Namespace) {
            following.heard.word(kind);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(clock.elapsed().as_secs(), 90 + 150);
    assert_eq!(following.heard.quietest().0, Kind::Namespace);
    let asked = server.requests();
    assert_eq!(asked[..4], ["list", "watch 1", "list", "watch 9"]);
    assert!(asked[4..].iter().all(|asked| asked == "list"), "{asked:?}");

    server.then([list(20, &["c"])]);
    assert_eq!(following.next().await, "= c");
    assert!(following.heard.is_fresh());
}

/// What was never sent is made up for, though the connection is good and a bookmark comes every minute.
#[tokio::test(start_paused = true)]
async fn a_good_watch_is_checked_by_a_list_every_hour() {
    let server = Server::new([list(1, &["a"]), Reply::Bookmarks, list(90, &["b"])]);
    let mut following = follow(&server);
    assert_eq!(following.next().await, "= a");
    let clock = tokio::time::Instant::now();
    assert_eq!(following.next().await, "= b");
    assert_eq!(clock.elapsed().as_secs(), 3600);
    assert_eq!(server.requests()[..3], ["list", "watch 1", "list"]);
}

/// Of the table no row is forgotten.
#[test]
fn each_kind_of_operators_is_followed() {
    for (place, row) in crate::kinds::COMPOSITES.iter().enumerate() {
        let kind = Kind::of(crate::translate::Form::Composite(row));
        assert_eq!(kind, Kind::Composite(u8::try_from(place).unwrap()));
        assert_eq!(Kind::ALL[kind.index()], kind);
    }
}

/// Kinds that are not its own do not keep the queue from beginning.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_listed_is_done_without() {
    let refused = || Reply::Object(500, json!({ "code": 500, "message": "conversion failed" }));
    let server = Server::new((0..100).map(|_| refused()));
    let mut following = follow_as(&server, true);
    let clock = tokio::time::Instant::now();
    assert_eq!(following.next().await, "= ");
    assert!((10..15).contains(&clock.elapsed().as_secs()));
    let refusals = server.requests().len();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(server.requests().len() > refusals, "it is tried again");
    server.replies.lock().unwrap().clear();
    server.then([list(1, &["a"])]);
    assert_eq!(
        following.next().await,
        "= a",
        "and nothing was told meanwhile"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_its_own_is_waited_for() {
    let refused = || Reply::Object(500, json!({ "code": 500, "message": "no" }));
    let server = Server::new((0..20).map(|_| refused()));
    let mut following = follow(&server);
    server.then([list(1, &["a"])]);
    assert_eq!(following.next().await, "= a");
}
