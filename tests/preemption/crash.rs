//! The controller ends after its first write, after a later one, and so on through all that a
//! story takes. Another one takes over each time, and the story comes to the same as without.

mod standing;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::DeleteParams;
use prorata::api::State;
use prorata_controlplane::Process;
use serde_json::json;
use tokio::sync::Mutex;

use crate::outage::world::{NODES, World, gang, is_complete, with};
use standing::{Standing, namespace, told};

/// More writes than the story takes.
const WRITES_MAX: u32 = 160;
/// A crash after the first write, and after each so many more; `PRORATA_CRASH_EVERY` says otherwise.
const EVERY: u32 = 5;
/// Pods of each Job, which start together. A node has as many GPUs.
pub(crate) const GANG: usize = 64;
/// The Jobs of a story.
const ROLES: [&str; 3] = ["stays", "leaves", "claims"];
const NAMESPACES: [&str; 2] = ["red", "lab"];
/// What their users may be told, and nothing else: what comes between two of these is passed over by
/// one that takes over late.
const TOLD: [(&str, &[&str]); 3] = [
    ("stays", &[]),
    (
        "leaves",
        &[
            "Admitted",
            "BackoffAfterPreemption",
            "CapacityFull",
            "Evicted",
            "Stopping",
        ],
    ),
    ("claims", &["Admitted", "WaitingForPreemption"]),
];
/// How long what is shown may lag behind.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

/// What a story came to.
#[derive(Debug)]
struct Story {
    /// While the one that left waits.
    waiting: Standing,
    /// When all are over.
    over: Standing,
}

/// Plays the story in all worlds at the same time, one crash after the other in each.
pub(crate) async fn a_crash_after_any_write_changes_nothing(worlds: &[World]) {
    let every = std::env::var("PRORATA_CRASH_EVERY").ok();
    let step = every.and_then(|text| text.parse().ok()).unwrap_or(EVERY);
    let crashes = Crashes {
        step,
        next: AtomicU32::new(1),
        made: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
    };
    join_all(worlds.iter().map(|world| crashes.play(world))).await;
    let made = crashes.made.load(Ordering::SeqCst);
    eprintln!("{made} crashes came to the same");
    assert!(made > 10, "the story takes more writes than that");
}

/// After how many writes there is a crash in the next story.
struct Crashes {
    step: u32,
    next: AtomicU32,
    /// Stories with a crash.
    made: AtomicU32,
    /// A story has ended without a crash.
    is_over: AtomicBool,
}

impl Crashes {
    async fn play(&self, world: &World) {
        let (whole, crashed) = play(world, "whole", None, None).await;
        assert!(!crashed);
        while !self.is_over.load(Ordering::SeqCst) {
            let writes = self.next.fetch_add(self.step, Ordering::SeqCst);
            assert!(
                writes <= WRITES_MAX,
                "the story takes more than {WRITES_MAX} writes"
            );
            let began = Instant::now();
            let name = format!("after{writes}");
            let (_, crashed) = play(world, &name, Some(writes), Some(&whole)).await;
            eprintln!(
                "after {writes} writes: crashed={crashed}, {:?}",
                began.elapsed()
            );
            if crashed {
                self.made.fetch_add(1, Ordering::SeqCst);
            } else {
                self.is_over.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Our controller, and the one that takes over.
struct Watchdog<'a> {
    world: &'a World,
    story: &'a str,
    process: Mutex<(Process, bool)>,
}

impl Watchdog<'_> {
    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.world
            .until(what, async || {
                self.watch().await;
                holds().await
            })
            .await;
    }

    /// Has another take over when it has ended.
    async fn watch(&self) {
        let mut process = self.process.lock().await;
        if process.0.check().is_err() {
            let next = self.world.site.start(&self.world.cluster.plane).await;
            *process = (next, true);
        }
    }

    fn name(&self, role: &str) -> String {
        format!("{role}-{}", self.story)
    }

    async fn until_running(&self, role: &str, node: &str) {
        let job = self.name(role);
        self.until(&format!("{job} runs on {node}"), async || {
            self.world.nodes_of(namespace(role), &job).await == [node; GANG]
        })
        .await;
    }

    async fn complete(&self, role: &str) {
        let (namespace, job) = (namespace(role), self.name(role));
        self.world.kubelet.finish(namespace, &job).await.unwrap();
        self.until(&format!("{job} is over"), async || {
            let stands = self.world.stands(namespace, &job).await;
            is_complete(&self.world.job(namespace, &job).await)
                && stands.is_some_and(|(state, _)| state == State::Finished)
        })
        .await;
    }

    /// What stands when it is as it is to be; as it is when nothing changes any more, where nobody
    /// says how it is to be.
    async fn standing(&self, wanted: Option<&Standing>) -> Standing {
        let began = Instant::now();
        let (mut last, mut since) = (Standing::read(self.world, self.story).await, Instant::now());
        loop {
            if wanted == Some(&last) {
                return last;
            }
            if wanted.is_none() && since.elapsed() > SHOWN_WITHIN / 4 {
                return last;
            }
            if let Some(wanted) = wanted.filter(|_| began.elapsed() > SHOWN_WITHIN) {
                panic!("{}:\n{}", self.story, last.difference(wanted));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.watch().await;
            let now = Standing::read(self.world, self.story).await;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

/// Two jobs run; one leaves for a third, and runs again when that is over.
async fn play(
    world: &World,
    story: &str,
    crash: Option<u32>,
    whole: Option<&Story>,
) -> (Story, bool) {
    let text = crash.map(|writes| writes.to_string());
    let variable = text
        .as_deref()
        .map(|text| ("PRORATA_CRASH_AFTER_WRITES", text));
    let process = world
        .site
        .launch_in(&world.cluster.plane, variable.as_slice());
    let dog = Watchdog {
        world,
        story,
        process: Mutex::new((process, false)),
    };
    let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
    let stays = with(&gang(&dog.name("stays"), GANG), &urgent);
    world.submit("red", &stays).await;
    dog.until_running("stays", NODES[0]).await;
    world.submit("red", &gang(&dog.name("leaves"), GANG)).await;
    dog.until_running("leaves", NODES[1]).await;
    world.submit("lab", &gang(&dog.name("claims"), GANG)).await;
    dog.until_running("claims", NODES[1]).await;
    dog.until("who left waits", async || {
        let stands = world.stands("red", &dog.name("leaves")).await;
        stands.is_some_and(|(state, reason)| {
            state == State::Waiting && reason != "Evicted" && reason != "Stopping"
        })
    })
    .await;
    let waiting = dog.standing(whole.map(|whole| &whole.waiting)).await;
    dog.complete("claims").await;
    dog.until_running("leaves", NODES[1]).await;
    dog.complete("leaves").await;
    dog.complete("stays").await;
    let over = dog.standing(whole.map(|whole| &whole.over)).await;
    assert_told(world, story).await;
    let (mut process, mut crashed) = dog.process.into_inner();
    // What is said last may be said a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    crashed |= process.check().is_err();
    // Its end is waited for, but not by the other worlds.
    let gone = tokio::task::spawn_blocking(move || drop(process));
    gone.await.unwrap();
    clear(world, story).await;
    (Story { waiting, over }, crashed)
}

/// Users were told what the story has for them, and nothing else.
async fn assert_told(world: &World, story: &str) {
    let allowed: BTreeSet<(String, String)> = TOLD
        .iter()
        .flat_map(|(role, reasons)| {
            reasons
                .iter()
                .map(|why| ((*role).to_owned(), (*why).to_owned()))
        })
        .collect();
    let told = told(world, story).await;
    let others: Vec<_> = told.difference(&allowed).collect();
    assert!(others.is_empty(), "{story}: {others:?}");
}

/// Deletes what the story leaves behind.
async fn clear(world: &World, story: &str) {
    for role in ROLES {
        let jobs = world.jobs(namespace(role));
        let job = format!("{role}-{story}");
        jobs.delete(&job, &DeleteParams::background())
            .await
            .unwrap();
    }
    let patience = Duration::from_secs(60);
    let is_cleared = async || {
        let mut left = 0;
        for namespace in NAMESPACES {
            left += world.pods(namespace).await.len();
        }
        left == 0
    };
    world
        .until_within("nothing is left of it", patience, is_cleared)
        .await;
}
