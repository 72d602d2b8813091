//! The pages by their paths, and who is let in.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use prorata_dashboard::{Frame, Problem};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use super::board::Board;
use super::gate::{Gate, Refusal};
use super::picture::{Sees, Shown};
use super::{gpus, job, overview, queue, share, tenants};
use crate::cli::cluster::Cluster;
use crate::cli::explain;
use crate::cost;
use crate::cost::source::{self, Source};

/// Pages that are made at a time; whoever comes beyond waits.
const AT_ONCE: usize = 4;

/// Nothing but what comes from here, no script in a page, and in nobody's frame.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// What is let through to which pages.
pub(crate) enum Door {
    /// Whoever has a token of which the API server says what it may see.
    Gate(Gate),
    /// The user of this machine alone: pages show what they may read. A browser that was led here
    /// by another name is turned away.
    Own(Box<Cluster>),
}

/// What pages are made of.
pub(crate) struct Site {
    /// What is shown.
    pub(crate) board: Board,
    /// To whom.
    pub(crate) door: Door,
    /// What comes before each path: nothing, or `/` and a word.
    pub(crate) root: String,
    /// Which cluster, as readers know it.
    pub(crate) cluster: String,
    /// Where it is said what GPUs cost.
    costs: Option<Source>,
    room: Semaphore,
}

impl Site {
    /// A site of these pages.
    pub(crate) fn new(board: Board, door: Door, root: &str, cluster: &str) -> Self {
        Self {
            board,
            door,
            root: root.to_owned(),
            cluster: cluster.to_owned(),
            costs: None,
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// The same, which tells programs what GPUs cost too.
    pub(crate) fn with_costs(self, costs: Option<Source>) -> Self {
        Self { costs, ..self }
    }
}

type Shared = Arc<Site>;

/// Every path of the site.
pub(crate) fn routes(site: Site) -> Router {
    let root = site.root.clone();
    let at = |path: &str| format!("{root}{path}");
    let site = Arc::new(site);
    let pages = Router::new()
        .route(&at("/"), get(overview))
        .route(&at("/queue"), get(queue))
        .route(&at("/jobs/{namespace}/{name}"), get(job))
        .route(&at("/share"), get(share))
        .route(&at("/gpus"), get(gpus))
        .route(&at("/tenants"), get(tenants))
        .route(&at("/allocation"), get(allocation))
        .route(&at("/allocation/compute"), get(allocation))
        .layer(from_fn_with_state(site.clone(), admit));
    // What says nothing of the cluster is given to anybody, so that refusals look like pages.
    let script = prorata_dashboard::SCRIPT;
    let icon = prorata_dashboard::ICON;
    let assets = Router::new()
        .route(
            &at("/style.css"),
            get(asset("text/css; charset=utf-8", prorata_dashboard::style())),
        )
        .route(
            &at("/script.js"),
            get(asset("text/javascript; charset=utf-8", script.to_owned())),
        )
        .route(
            &at("/icon.svg"),
            get(asset("image/svg+xml", icon.to_owned())),
        );
    pages
        .merge(assets)
        .fallback(nowhere)
        .with_state(site)
        .layer(from_fn(strict))
}

/// A file that is the same for everybody.
fn asset(kind: &'static str, text: String) -> impl Fn() -> std::future::Ready<Response> + Clone {
    let text: Arc<str> = text.into();
    move || std::future::ready(([(CONTENT_TYPE, kind)], text.to_string()).into_response())
}

/// What a browser is told about every answer.
async fn strict(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let told: [(HeaderName, &'static str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "authorization"),
    ];
    for (name, value) in told {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Lets a reader in with what it may see, or says why not.
async fn admit(State(site): State<Shared>, mut request: Request, next: Next) -> Response {
    let sees = match &site.door {
        Door::Own(_) if !is_loopback(request.headers()) => {
            let remedy = "Open the address that `prorata dashboard` has printed.";
            return problem(
                &site,
                StatusCode::MISDIRECTED_REQUEST,
                "Not by this name",
                remedy,
            );
        }
        Door::Own(_) => Arc::new(Sees::All),
        Door::Gate(gate) => match gate.sees(bearer(request.headers())).await {
            Ok(sees) => sees,
            Err(refusal) => return refused(&site, &refusal),
        },
    };
    request.extensions_mut().insert(sees);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let (scheme, token) = value
        .and_then(|value| value.split_once(' '))
        .unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        token.trim()
    } else {
        ""
    }
}

/// Whether a browser came here by an address of this machine.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

fn refused(site: &Site, refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Unknown => {
            let remedy = "Send `Authorization: Bearer` with a token of this cluster, such as a proxy \
                 in front of this address adds to each request; or run `prorata dashboard`, which \
                 goes by your kubeconfig.";
            let mut answer = problem(site, StatusCode::UNAUTHORIZED, "Who are you?", remedy);
            let how = HeaderValue::from_static("Bearer realm=\"prorata\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, how);
            answer
        }
        Refusal::Nothing(_) => {
            let remedy = format!(
                "{refusal}. Ask an administrator: `prorata-view` is the role that shows the queue."
            );
            problem(
                site,
                StatusCode::FORBIDDEN,
                "Nothing here is yours to see",
                &remedy,
            )
        }
        Refusal::Unasked(_) => {
            let remedy = "Look again in a moment.";
            let what = "The API server does not say who you are";
            problem(site, StatusCode::SERVICE_UNAVAILABLE, what, remedy)
        }
    }
}

fn problem(site: &Site, code: StatusCode, what: &str, remedy: &str) -> Response {
    let problem = Problem {
        root: site.root.clone(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    };
    page(problem.html(), code)
}

fn page(html: Result<String, prorata_dashboard::Error>, code: StatusCode) -> Response {
    match html {
        Ok(html) => (code, [(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Err(error) => {
            error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn nowhere(State(site): State<Shared>) -> Response {
    let remedy = "The pages are named at the top of each.";
    problem(
        &site,
        StatusCode::NOT_FOUND,
        "There is no such page",
        remedy,
    )
}

type Html = Result<String, prorata_dashboard::Error>;
type Reader = Extension<Arc<Sees>>;

/// Makes a page of the newest picture, as much of it as a reader sees. That takes a while, so it is
/// done where it holds nobody up.
async fn show<F>(site: Shared, sees: &Arc<Sees>, make: F) -> Response
where
    F: FnOnce(&Shown<'_>, &Board, Frame) -> Option<Html> + Send + 'static,
{
    let Some(picture) = site.board.picture() else {
        let (what, remedy) = ("Nothing has been read yet", "Look again in a moment.");
        return problem(&site, StatusCode::SERVICE_UNAVAILABLE, what, remedy);
    };
    let Ok(_room) = site.room.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (of, sees) = (site.clone(), sees.clone());
    let made = tokio::task::spawn_blocking(move || {
        let shown = picture.seen_by(&sees);
        let frame = shown.frame(&of.root, &of.cluster);
        make(&shown, &of.board, frame)
    });
    match made.await {
        Ok(Some(html)) => page(html, StatusCode::OK),
        Ok(None) => {
            let remedy = "It is over and gone, or never was, or is not yours to see.";
            problem(&site, StatusCode::NOT_FOUND, "There is no such job", remedy)
        }
        Err(error) => {
            error!(%error, "a page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn overview(State(site): State<Shared>, Extension(sees): Reader) -> Response {
    let make =
        |shown: &Shown<'_>, board: &Board, frame| Some(overview::page(shown, board, frame).html());
    show(site, &sees, make).await
}

async fn queue(
    State(site): State<Shared>,
    Extension(sees): Reader,
    Query(asked): Query<queue::Asked>,
) -> Response {
    let make =
        move |shown: &Shown<'_>, _: &Board, frame| Some(queue::page(shown, &asked, frame).html());
    show(site, &sees, make).await
}

async fn job(
    State(site): State<Shared>,
    Extension(sees): Reader,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let events = events(&site, &sees, &namespace, &name).await;
    let make = move |shown: &Shown<'_>, _: &Board, frame| {
        let entry = job::find(shown, &namespace, &name)?;
        Some(job::page(shown, entry, events, frame).html())
    };
    show(site, &sees, make).await
}

/// What happened to a job last that its reader sees. By the reader's own rights that is all; by the
/// controller's it is what the controller decided.
async fn events(site: &Site, sees: &Sees, namespace: &str, name: &str) -> Vec<explain::Happened> {
    let Some(picture) = site.board.picture() else {
        return Vec::new();
    };
    let found = job::find(&picture.seen_by(sees), namespace, name).cloned();
    let Some(entry) = found else {
        return Vec::new();
    };
    match &site.door {
        Door::Own(cluster) => explain::events(cluster, &entry).await.unwrap_or_default(),
        Door::Gate(gate) => {
            let decided = explain::decisions(gate.client(), &entry).await;
            let decided = decided.inspect_err(|error| warn!(%error, "Events cannot be listed"));
            decided.unwrap_or_default()
        }
    }
}

/// What GPUs cost, for programs: of what its reader sees.
async fn allocation(
    State(site): State<Shared>,
    Extension(sees): Reader,
    Query(asked): Query<cost::Asked>,
) -> Response {
    let Some(source) = &site.costs else {
        let why = "nobody keeps a ledger with prices here";
        return cost::refused(StatusCode::NOT_FOUND, why).into_response();
    };
    let Ok(_room) = site.room.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let opened = async { Ok::<_, source::Error>((source.prices()?, source.open().await?)) };
    let (file, book) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            error!(%error, "nothing can be said of costs");
            let why = "the ledger or the prices cannot be read";
            return cost::refused(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        }
    };
    let within = match &*sees {
        Sees::All => None,
        Sees::Namespaces(spaces) => Some(spaces.keys().cloned().collect()),
    };
    let ledger = cost::Ledger::Book(book.clone());
    let answer = cost::allocations(&ledger, Arc::new(file), &asked, within).await;
    book.close().await;
    answer.into_response()
}

async fn share(State(site): State<Shared>, Extension(sees): Reader) -> Response {
    let make =
        |shown: &Shown<'_>, board: &Board, frame| Some(share::page(shown, board, frame).html());
    show(site, &sees, make).await
}

async fn gpus(State(site): State<Shared>, Extension(sees): Reader) -> Response {
    let make = |shown: &Shown<'_>, _: &Board, frame| Some(gpus::page(shown, frame).html());
    show(site, &sees, make).await
}

async fn tenants(State(site): State<Shared>, Extension(sees): Reader) -> Response {
    let make =
        |shown: &Shown<'_>, board: &Board, frame| Some(tenants::page(shown, board, frame).html());
    show(site, &sees, make).await
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::picture::tests::picture;
    use super::*;
    use axum::body::{Body, to_bytes};
    use kube::Client;
    use tower::ServiceExt;

    fn own() -> Router {
        let board = Board::default();
        board.show(picture());
        own_of(board, "/s3cret")
    }

    /// What `prorata dashboard` serves, where its user may read nothing more.
    pub(in crate::pages) fn own_of(board: Board, root: &str) -> Router {
        let service = tower::service_fn(|_: axum::http::Request<kube::client::Body>| async {
            let answer = axum::http::Response::builder().status(403);
            answer.body(kube::client::Body::empty())
        });
        let cluster = Cluster::new(Client::new(service, "default"), "default");
        routes(Site::new(
            board,
            Door::Own(Box::new(cluster)),
            root,
            "a cluster",
        ))
    }

    async fn ask(routes: &Router, path: &str, host: &str) -> (StatusCode, HeaderMap, String) {
        let request = axum::http::Request::builder().uri(path).header(HOST, host);
        let request = request.body(Body::empty()).unwrap();
        let answer = routes.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (
            head.status,
            head.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn every_page_is_there_and_strict() {
        let routes = own();
        for path in [
            "/",
            "/queue?tenant=vision",
            "/jobs/speech/asr",
            "/share",
            "/gpus",
            "/tenants",
        ] {
            let (code, headers, html) =
                ask(&routes, &format!("/s3cret{path}"), "127.0.0.1:1").await;
            assert_eq!(code, StatusCode::OK, "{path}\n{html}");
            assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY);
            assert!(headers.get("set-cookie").is_none());
            assert!(html.contains("<main id=\"main\"") && html.contains("Skip to the content"));
            assert!(
                !html.contains("style=") && !html.contains("<style") && !html.contains("onclick")
            );
            assert_eq!(
                html.matches("<script").count(),
                html.matches("<script src=\"/s3cret/script.js\" defer></script>")
                    .count()
            );
            assert_eq!(
                html.matches("<table").count(),
                html.matches("<caption>").count(),
                "{path}"
            );
        }
        for path in ["/jobs/speech/none", "/else"] {
            let (code, _, _) = ask(&routes, &format!("/s3cret{path}"), "localhost:1").await;
            assert_eq!(code, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn another_user_of_the_machine_or_another_name_of_it_gets_nothing() {
        let routes = own();
        let (code, _, _) = ask(&routes, "/queue", "127.0.0.1:1").await;
        assert_eq!(code, StatusCode::NOT_FOUND);
        for host in ["evil.example:80", "127.0.0.1.evil.example", ""] {
            let (code, _, html) = ask(&routes, "/s3cret/queue", host).await;
            assert_eq!(code, StatusCode::MISDIRECTED_REQUEST, "{host}");
            assert!(!html.contains("asr"), "{html}");
        }
    }

    #[test]
    fn only_a_bearer_is_a_bearer() {
        let told = |value: &'static str| {
            let headers = [(AUTHORIZATION, HeaderValue::from_static(value))];
            bearer(&headers.into_iter().collect()).to_owned()
        };
        assert_eq!([told("Bearer abc"), told("bearer  abc ")], ["abc", "abc"]);
        assert_eq!([told("Basic abc"), told("abc"), told("")], ["", "", ""]);
    }
}
