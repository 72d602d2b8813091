//! The dashboard on a real control plane: who sees what, by the tokens and rights of Kubernetes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use prorata_chromium::{Browser, Look};
use serde_json::{Value, json};

use crate::cluster::requests::eventually;
use world::World;

/// Every page.
const PATHS: [&str; 6] = [
    "/",
    "/queue",
    "/share",
    "/gpus",
    "/tenants",
    "/jobs/red/waits",
];

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_what_their_rights_say() {
    let Some(world) = World::start().await else {
        return;
    };
    nobody_sees_anything_without_a_token(&world).await;
    platform_people_see_all(&world).await;
    a_tenants_user_sees_its_own_and_sums_of_others(&world).await;
    each_sees_its_own_money(&world).await;
    what_was_decided_about_a_job_stands_beside_it(&world).await;
    a_right_that_is_taken_away_ends(&world).await;
    the_command_shows_what_its_user_may_read(&world).await;
    what_a_tenant_writes_does_nothing_in_a_browser(&world).await;
}

async fn nobody_sees_anything_without_a_token(world: &World) {
    for path in PATHS {
        for token in [None, Some("made-up")] {
            let (code, text) = world.ask(path, token).await;
            assert_eq!(code, 401, "{path}: {text}");
            assert!(!text.contains("waits"), "{text}");
        }
    }
    let stranger = world.token("default", "stranger");
    let (code, text) = world.ask("/queue", Some(&stranger)).await;
    assert_eq!(code, 403, "{text}");
    let (code, style) = world.ask("/style.css", None).await;
    assert_eq!((code, style.contains("--ink")), (200, true));
}

async fn platform_people_see_all(world: &World) {
    let token = world.token("default", "platform");
    for (path, texts) in [
        ("/", &["red", "blue", "CapacityFull"][..]),
        ("/queue", &["runs", "waits", "secret-project"]),
        ("/share", &["red", "blue"]),
        ("/gpus", &["node-0001", "node-0002"]),
        ("/jobs/blue/secret-project", &["tenant blue"]),
    ] {
        let (code, html) = world.ask(path, Some(&token)).await;
        assert_eq!(code, 200, "{path}: {html}");
        for text in texts {
            assert!(html.contains(text), "{path}: no {text} in {html}");
        }
    }
    // What the page says of a job is what the command says.
    let told = world.explain("waits", "red").await;
    let (_, html) = world.ask("/jobs/red/waits", Some(&token)).await;
    let why = told.lines().find(|line| line.starts_with("  Why")).unwrap();
    assert!(
        html.contains(why.trim_start_matches("  Why").trim()),
        "{told}\n{html}"
    );
}

async fn a_tenants_user_sees_its_own_and_sums_of_others(world: &World) {
    let token = world.token("red", "member");
    for path in PATHS {
        let (code, html) = world.ask(path, Some(&token)).await;
        assert_eq!(code, 200, "{path}: {html}");
        for foreign in ["blue", "secret-project", "node-0001"] {
            assert!(!html.contains(foreign), "{path}: {foreign} in {html}");
        }
    }
    let (_, queue) = world.ask("/queue", Some(&token)).await;
    assert!(queue.contains("runs") && queue.contains("waits"), "{queue}");
    let (_, share) = world.ask("/share", Some(&token)).await;
    assert!(share.contains("everybody else"), "{share}");
    let (code, _) = world.ask("/jobs/blue/secret-project", Some(&token)).await;
    assert_eq!(code, 404);
    let (_, chosen) = world.ask("/queue?tenant=blue", Some(&token)).await;
    assert!(!chosen.contains("secret-project"), "{chosen}");
}

/// Both tenants have a budget; red alone holds GPUs, eight of them at a unit each in a second.
async fn each_sees_its_own_money(world: &World) {
    let platform = world.token("default", "platform");
    let member = world.token("red", "member");
    eventually("the dashboard shows what tenants cost", || async {
        let (_, html) = world.ask("/tenants", Some(&platform)).await;
        html.contains(" EUR of 77,777.00 EUR")
    })
    .await;
    let (_, all) = world.ask("/tenants", Some(&platform)).await;
    assert!(all.contains(" EUR of 1,000,000.00 EUR"), "{all}");
    let (_, own) = world.ask("/tenants", Some(&member)).await;
    assert!(own.contains(" EUR of 1,000,000.00 EUR"), "{own}");
    assert!(!own.contains("77,777"), "{own}");

    let asked = "/allocation?window=month&aggregate=namespace&includeIdle=true";
    let (code, all) = world.ask(asked, Some(&platform)).await;
    let all: Value = serde_json::from_str(&all).unwrap_or_else(|_| panic!("{all}"));
    assert_eq!(code, 200, "{all}");
    let names = |told: &Value| {
        let names = told["data"][0].as_object().unwrap().keys();
        names.cloned().collect::<Vec<_>>()
    };
    // How much was idle before red's Jobs came depends on the moment.
    let held = names(&all).into_iter().filter(|name| name != "__idle__");
    assert_eq!(held.collect::<Vec<_>>(), ["red"]);
    assert!(
        all["data"][0]["red"]["totalCost"].as_f64() > Some(0.0),
        "{all}"
    );
    let (code, own) = world.ask(asked, Some(&member)).await;
    let own: Value = serde_json::from_str(&own).unwrap();
    assert_eq!((code, names(&own)), (200, vec!["red".to_owned()]));
    let (code, wrong) = world.ask("/allocation?window=soon", Some(&member)).await;
    assert_eq!(code, 400, "{wrong}");
    for token in [None, Some("made-up")] {
        assert_eq!(world.ask(asked, token).await.0, 401);
    }
}

/// Whoever sees a job sees what the controller decided about it, and nothing of others' Events.
async fn what_was_decided_about_a_job_stands_beside_it(world: &World) {
    let member = world.token("red", "member");
    eventually("the job's page has its log", || async {
        let (code, html) = world.ask("/jobs/red/waits", Some(&member)).await;
        assert_eq!(code, 200, "{html}");
        assert!(!html.contains("Job suspended"), "another's: {html}");
        html.contains(" ago: CapacityFull: ")
    })
    .await;
}

/// Answers hold for half a minute, and no longer.
async fn a_right_that_is_taken_away_ends(world: &World) {
    let token = world.token("red", "member");
    world.revoke("red");
    for _ in 0..600 {
        let (code, _) = world.ask("/queue", Some(&token)).await;
        if code == 403 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("a right that was taken away still holds after a minute");
}

/// Alice sees the jobs of every namespace, and neither tenants nor nodes.
async fn the_command_shows_what_its_user_may_read(world: &World) {
    let mut ran = world.command().await;
    let url = ran.url.clone();
    let page = |path: &str| format!("{url}{path}");
    let (code, queue) = world::get(&page("queue"), None).await;
    assert_eq!(code, 200, "{queue}");
    assert!(queue.contains("secret-project"), "{queue}");
    assert!(queue.contains("you may not list nodes"), "{queue}");
    let (code, job) = world::get(&page("jobs/red/waits"), None).await;
    assert_eq!(code, 200, "{job}");
    let bare = url.split('/').take(3).collect::<Vec<_>>().join("/");
    let (code, text) = world::get(&format!("{bare}/queue"), None).await;
    assert_eq!((code, text.contains("waits")), (404, false));
    assert!(ran.interrupt(), "Ctrl-C is how it ends");
}

async fn what_a_tenant_writes_does_nothing_in_a_browser(world: &World) {
    let (token, url) = (world.token("default", "platform"), world.url());
    let looked = tokio::task::spawn_blocking(move || {
        let Some(mut browser) = Browser::start_trusting_or_skip() else {
            return;
        };
        let headers = json!({"Authorization": format!("Bearer {token}")});
        for path in PATHS {
            let opened = browser
                .open(&format!("{url}{path}"), Look::DESK, &headers)
                .unwrap();
            assert_eq!(opened.code, 200, "{path}");
            assert!(
                opened.complaints.is_empty(),
                "{path}: {:?}",
                opened.complaints
            );
            assert!(
                opened.requests.iter().all(|asked| asked.starts_with(&url)),
                "{opened:?}"
            );
            assert_eq!(
                browser.evaluate("window.hostile === undefined").unwrap(),
                true
            );
        }
        browser
            .open(&format!("{url}/tenants"), Look::DESK, &headers)
            .unwrap();
        let shown = "document.querySelector('main').textContent.includes('<script>window.hostile')";
        assert_eq!(browser.evaluate(shown).unwrap(), true);
    });
    looked.await.unwrap();
}
