//! The pages in a real browser: nothing is complained of, nothing is fetched from elsewhere, and they
//! are read at a desk, in the dark, on a phone, by the keyboard, and without scripts.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use prorata_chromium::{Browser, Look, Opened};
use prorata_dashboard::Money;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::board::{Board, Costs};
use super::picture::{Facts, NodeFact, Picture};
use super::router::tests::own_of;
use crate::api::gpunode::{Gpu, Health};
use crate::api::{GpuNode, GpuNodeSpec, Tenant};
use crate::cli::queue::Entry;
use crate::cli::queue::tests::entry;

const PATHS: [&str; 6] = [
    "/",
    "/queue",
    "/jobs/speech/wait-0001",
    "/share",
    "/gpus",
    "/tenants",
];

const PHONE: Look = Look {
    width: 360,
    height: 740,
    ..Look::DESK
};

const NODES: u64 = 16;

/// Sixteen nodes of eight cards, five tenants of which one borrows, and so many jobs that wait.
fn facts(round: i64, waiting: i64) -> Facts {
    let owners = [
        ("vision", 32),
        ("speech", 32),
        ("text", 24),
        ("robots", 16),
        ("search", 16),
    ];
    let tenants = owners.map(|(name, gpus)| tenant(name, gpus));
    let held = [
        ("vision", 64),
        ("text", 24),
        ("robots", 8 + 4 * (round % 3)),
        ("search", 12),
    ];
    let mut entries: Vec<Entry> = held
        .iter()
        .map(|(name, gpus)| running(name, *gpus))
        .collect();
    entries.extend((0..waiting).map(wait));
    Facts {
        entries,
        is_all: true,
        tenants: tenants.to_vec(),
        nodes: Some((0..NODES).map(node).collect()),
        gpunodes: (0..NODES).map(agent).collect(),
        agents: (0..NODES).map(agent_pod).collect(),
        ..Facts::default()
    }
}

fn tenant(name: &str, gpus: u32) -> Tenant {
    let value = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
        "spec": {
            "guaranteed": {"gpu": gpus}, "limit": {"gpu": 96}, "displayName": format!("Team {name}"),
            "owner": format!("{name}@example.com"), "costCenter": "cc-4711", "department": "research",
        },
        "status": {"observedGeneration": 1, "share": "0.25", "borrowed": {"gpu": "8"}},
    });
    serde_json::from_value(value).unwrap()
}

fn running(tenant: &str, gpus: i64) -> Entry {
    let nodes: Vec<Value> = (0..gpus / 4)
        .map(|pod| json!({"node": format!("gpu-{:02}", pod % 16)}))
        .collect();
    let admission = json!({"epoch": 1, "placement": nodes});
    let change = json!({
        "metadata": {"namespace": tenant},
        "spec": {"tenant": tenant, "gpus": gpus.to_string(), "gang": gpus / 4, "admission": admission},
        "status": {"state": "Admitted", "reason": "Admitted", "message": "its places are decided"},
    });
    entry(&format!("train-{tenant}"), 600, change)
}

fn wait(number: i64) -> Entry {
    let tenants = ["speech", "text", "vision", "speech", "robots"];
    let reasons = [
        "CapacityFull",
        "Fragmented",
        "ShareExceeded",
        "CapacityFull",
        "ExceedsMaxQuota",
    ];
    let kind = usize::try_from(number % 5).unwrap();
    let message = match reasons[kind] {
        "ExceedsMaxQuota" => "it asks for 128 GPUs, and robots may hold 96",
        "ShareExceeded" => "speech/wait-0001 comes first: its tenant holds less of its share",
        _ => "8 GPUs are wanted on one node, and 4 are free on the best of 16",
    };
    let forecast = json!({
        "position": 1 + number / 5, "p50": "1970-01-01T03:05:00Z", "p90": "1970-01-01T05:40:00Z",
        "detail": "50 futures of this queue", "asOf": "1970-01-01T02:00:00Z",
    });
    let change = json!({
        "metadata": {"namespace": tenants[kind]},
        "spec": {"tenant": tenants[kind], "gpus": (4 * (1 + number % 4)).to_string()},
        "status": {"reason": reasons[kind], "message": message, "forecast": forecast},
    });
    entry(&format!("wait-{:04}", number + 1), 1_000 + number, change)
}

fn node(number: u64) -> NodeFact {
    NodeFact {
        name: format!("gpu-{number:02}"),
        ready: Some(if number == 13 { "False" } else { "True" }.to_owned()),
        takes_work: number != 13,
        milli_gpus: 8_000,
        model: "NVIDIA-H100-80GB-HBM3".to_owned(),
    }
}

fn agent(number: u64) -> GpuNode {
    let gpu = |index| Gpu {
        index,
        model: Some("NVIDIA H100 80GB HBM3".to_owned()),
        memory: Some("81559Mi".to_owned()),
        compute_mode: Some("Default".to_owned()),
        ..Gpu::default()
    };
    let mut node = GpuNode::new(&format!("gpu-{number:02}"), GpuNodeSpec::default());
    let status = node.status.get_or_insert_default();
    status.gpus = (0..8).map(gpu).collect();
    if number == 4 {
        status.gpus[2].health = Health::Degraded;
        status.gpus[2].message = Some("12 rows of its memory are remapped".to_owned());
        status.gpus[5].health = Health::Lost;
        status.gpus[5].message = Some("the driver does not find it any more".to_owned());
    }
    node
}

/// The kubelet says of that of the eighth node that it has not looked at its GPUs lately.
fn agent_pod(number: u64) -> Pod {
    let ready = if number == 7 { "False" } else { "True" };
    let value = json!({
        "spec": {"nodeName": format!("gpu-{number:02}"), "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    });
    serde_json::from_value(value).unwrap()
}

/// What two tenants with a budget have spent, and one without.
fn costs() -> Costs {
    let money = |tenant: &str, spent: &str, part: Option<u64>| {
        let money = Money {
            period: "January 1970".to_owned(),
            spent: format!("{spent} EUR"),
            budget: part.map(|_| "14,600.00 EUR".to_owned()),
            spent_per_mille: part,
            forecast: part.map(|_| "17,212.40 EUR".to_owned()),
        };
        (tenant.to_owned(), money)
    };
    [
        money("speech", "12,045.31", Some(825)),
        money("vision", "15,101.00", Some(1034)),
        money("text", "88.20", None),
    ]
    .into()
}

/// An hour and a half of it.
fn board(waiting: i64) -> Board {
    let board = Board::default();
    board.tell_costs(costs());
    for round in 0..=90 {
        let at = Timestamp::from_second(1_800 + round * 60).unwrap();
        let few = if round < 90 { 5 } else { waiting };
        board.show(Picture::new(facts(round / 10, few), at));
    }
    board
}

/// The pages, somewhere on this machine.
async fn served(board: Board) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, own_of(board, "")).await });
    url
}

fn open(browser: &mut Browser, url: &str, path: &str, look: Look) -> Opened {
    let opened = browser
        .open(&format!("{url}{path}"), look, &json!({}))
        .unwrap();
    assert_eq!(opened.code, 200, "{path}");
    assert!(
        opened.complaints.is_empty(),
        "{path}: {:?}",
        opened.complaints
    );
    for asked in &opened.requests {
        assert!(asked.starts_with(url), "{path} asks for {asked}");
    }
    opened
}

/// Waits until an expression is true on the page, which may be another one by then.
fn until(browser: &mut Browser, holds: &str) {
    for _ in 0..400 {
        if browser.evaluate(holds).is_ok_and(|held| held == true) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not within 20 s: {holds}");
}

/// Where somebody wants to look at the pictures, they are kept.
fn picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("PICTURES") {
        let file = Path::new(&directory).join(format!("{name}.png"));
        browser.picture(&file).unwrap();
    }
}

/// Runs what waits for the browser where it holds no server up.
async fn with_browser(look: impl FnOnce(&mut Browser) + Send + 'static) {
    let looked = tokio::task::spawn_blocking(move || {
        if let Some(mut browser) = Browser::start_or_skip() {
            look(&mut browser);
        }
    });
    looked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_at_a_desk_in_the_dark_and_on_a_phone() {
    let url = served(board(60)).await;
    with_browser(move |browser| {
        let looks = [
            ("desk", Look::DESK),
            (
                "dark",
                Look {
                    dark: true,
                    ..Look::DESK
                },
            ),
            ("phone", PHONE),
        ];
        for (name, look) in looks {
            for path in PATHS {
                let opened = open(browser, &url, path, look);
                let asked = opened.requests.len();
                assert!(
                    (3..=4).contains(&asked),
                    "page, style, script, perhaps the icon: {opened:?}"
                );
                let wide =
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(
                    browser.evaluate(wide).unwrap(),
                    0,
                    "{path} is wider than the {name}"
                );
                let paper = "getComputedStyle(document.body).backgroundColor";
                let paper = browser.evaluate(paper).unwrap();
                assert_eq!(paper == "rgb(255, 255, 255)", !look.dark, "{name}: {paper}");
                let page = path.trim_matches('/').replace('/', "-");
                picture(
                    browser,
                    &format!(
                        "{name}-{}",
                        if page.is_empty() { "overview" } else { &page }
                    ),
                );
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_drawn_can_be_seen_in_the_light_and_in_the_dark() {
    /// The least contrast of any text on the page with what is behind it, times a hundred.
    const CONTRAST: &str = "(() => {
      const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)); return .2126 * r + .7152 * g + .0722 * b; };
      const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
      let least = [99, ''];
      for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || e.closest('svg, .unseen, .skip')) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < least[0]) least = [ratio, e.className + ' ' + e.textContent.slice(0, 40)];
      }
      return least;
    })()";
    let url = served(board(60)).await;
    with_browser(move |browser| {
        for dark in [false, true] {
            for path in PATHS {
                open(browser, &url, path, Look { dark, ..Look::DESK });
                let least = browser.evaluate(CONTRAST).unwrap();
                assert!(least[0].as_f64().unwrap() >= 4.5, "dark {dark}, {path}: {least}");
                let drawn = "[...document.querySelectorAll('svg.chart [class^=\"f-\"], svg.stack rect')].every((e) => getComputedStyle(e).fill !== 'rgb(0, 0, 0)')";
                assert_eq!(browser.evaluate(drawn).unwrap(), true, "{path}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_jobs_that_wait_are_a_page_of_a_hundred() {
    let url = served(board(5_000)).await;
    with_browser(move |browser| {
        open(browser, &url, "/queue", Look::DESK);
        let rows = "document.querySelectorAll('tbody tr').length";
        assert_eq!(browser.evaluate(rows).unwrap(), 100);
        let status = browser
            .evaluate("document.querySelector('[role=status]').textContent")
            .unwrap();
        assert_eq!(status, "Jobs 1 to 100 of 5004; 4904 more follow.");
        browser
            .evaluate("document.querySelector('[rel=next]').click()")
            .unwrap();
        open(browser, &url, "/queue?page=2&reason=Fragmented", Look::DESK);
        let first = "document.querySelector('tbody tr b').textContent";
        assert_eq!(browser.evaluate(first).unwrap(), "Fragmented");
        open(browser, &url, "/", PHONE);
        picture(browser, "phone-overview-5000");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_goes_everywhere_and_is_seen() {
    let url = served(board(60)).await;
    with_browser(move |browser| {
        open(browser, &url, "/queue", Look::DESK);
        browser.press("Tab", 9).unwrap();
        let active = "document.activeElement.textContent.trim()";
        assert_eq!(browser.evaluate(active).unwrap(), "Skip to the content");
        let ring = "getComputedStyle(document.activeElement).outlineStyle + document.activeElement.getBoundingClientRect().top";
        assert_eq!(browser.evaluate(ring).unwrap(), "solid0");
        browser.press("Enter", 13).unwrap();
        assert_eq!(browser.evaluate("document.activeElement.id").unwrap(), "main");
        for _ in 0..3 {
            browser.press("Tab", 9).unwrap();
        }
        assert_eq!(browser.evaluate("document.activeElement.name").unwrap(), "tenant");
        let unnamed = "[...document.querySelectorAll('a, button, input, select')].filter((e) => !(e.textContent.trim() || e.labels?.length || e.ariaLabel)).length";
        assert_eq!(browser.evaluate(unnamed).unwrap(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_the_same_is_said_and_a_filter_still_works() {
    let url = served(board(60)).await;
    with_browser(move |browser| {
        let bare = Look { scripts: false, ..Look::DESK };
        let opened = open(browser, &url, "/queue?tenant=speech", bare);
        assert!(opened.requests.iter().all(|asked| !asked.ends_with(".js")), "{opened:?}");
        open(browser, &url, "/queue", Look::DESK);
        let choose = "(() => { const s = document.querySelector('[name=tenant]'); s.value = 'text'; s.dispatchEvent(new Event('change', {bubbles: true})); })()";
        browser.evaluate(choose).unwrap();
        let sent = "location.search.includes('tenant=text') && document.readyState === 'complete'";
        until(browser, sent);
        let tenants = "[...new Set([...document.querySelectorAll('tbody [data-label=Tenant]')].map((e) => e.textContent))].join()";
        assert_eq!(browser.evaluate(tenants).unwrap(), "text");
    })
    .await;
}
