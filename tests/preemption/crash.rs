//! The controller ends after its first write, after a later one, and so on through all that a
//! story takes. Another one takes over each time, and the story ends the same.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use prorata::api::State;
use prorata_controlplane::Process;
use serde_json::json;
use tokio::sync::Mutex;

use crate::outage::world::{NODES, World, gang, is_complete, with};

/// More writes than the story takes.
const WRITES_MAX: u32 = 80;
/// A crash after the first write, and after each so many more; `PRORATA_CRASH_EVERY` says otherwise.
const EVERY: u32 = 3;

/// What is left of a story but for names and UIDs.
#[derive(Debug, PartialEq)]
struct End {
    /// Who was evicted.
    evicted: Vec<String>,
    /// How many admissions the three jobs ended with, none of them shared.
    epochs: usize,
    /// How many pods count as failed.
    failed: i32,
}

/// Plays the story in all worlds at the same time, one crash after the other in each.
pub(crate) async fn a_crash_after_any_write_changes_nothing(worlds: &[World]) {
    let every = std::env::var("PRORATA_CRASH_EVERY").ok();
    let step = every.and_then(|text| text.parse().ok()).unwrap_or(EVERY);
    let crashes = Crashes {
        step,
        next: AtomicU32::new(1),
        is_over: AtomicBool::new(false),
    };
    join_all(worlds.iter().map(|world| crashes.play(world))).await;
}

/// After how many writes there is a crash in the next story.
struct Crashes {
    step: u32,
    next: AtomicU32,
    /// A story has ended without a crash.
    is_over: AtomicBool,
}

impl Crashes {
    async fn play(&self, world: &World) {
        let expected = End {
            evicted: vec!["leaves".to_owned()],
            epochs: 3,
            failed: 0,
        };
        while !self.is_over.load(Ordering::SeqCst) {
            let writes = self.next.fetch_add(self.step, Ordering::SeqCst);
            assert!(
                writes <= WRITES_MAX,
                "the story takes more than {WRITES_MAX} writes"
            );
            let (end, crashed) = story(world, writes).await;
            assert_eq!(end, expected, "after {writes} writes");
            if !crashed {
                eprintln!("the story takes fewer than {writes} writes");
                self.is_over.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Our controller, and the one that takes over.
struct Watchdog<'a> {
    world: &'a World,
    process: Mutex<(Process, bool)>,
}

impl Watchdog<'_> {
    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.world
            .until(what, async || {
                let mut process = self.process.lock().await;
                if process.0.check().is_err() {
                    let next = self.world.site.start(&self.world.cluster.plane).await;
                    *process = (next, true);
                }
                drop(process);
                holds().await
            })
            .await;
    }

    async fn until_running(&self, namespace: &str, job: &str, node: &str) {
        self.until(&format!("{namespace}/{job} runs on {node}"), async || {
            self.world.nodes_of(namespace, job).await == [node; 4]
        })
        .await;
    }

    async fn complete(&self, namespace: &str, job: &str) {
        self.world.kubelet.finish(namespace, job).await.unwrap();
        self.until(&format!("{namespace}/{job} is over"), async || {
            let stands = self.world.stands(namespace, job).await;
            is_complete(&self.world.job(namespace, job).await)
                && stands.is_some_and(|(state, _)| state == State::Finished)
        })
        .await;
    }
}

/// Two jobs run; one leaves for a third, and runs again when that is over.
async fn story(world: &World, writes: u32) -> (End, bool) {
    let text = writes.to_string();
    let variables = [("PRORATA_CRASH_AFTER_WRITES", text.as_str())];
    let process = world.site.launch_in(&world.cluster.plane, &variables);
    let dog = Watchdog {
        world,
        process: Mutex::new((process, false)),
    };
    let name = |role: &str| format!("{role}-{writes}");
    let (stays, leaves, claims) = (name("stays"), name("leaves"), name("claims"));
    let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
    world.submit("red", &with(&gang(&stays, 4), &urgent)).await;
    dog.until_running("red", &stays, NODES[0]).await;
    world.submit("red", &gang(&leaves, 4)).await;
    dog.until_running("red", &leaves, NODES[1]).await;
    world.submit("lab", &gang(&claims, 4)).await;
    dog.until_running("lab", &claims, NODES[1]).await;
    dog.until("who left waits", async || {
        let stands = world.stands("red", &leaves).await;
        let waits = stands.is_some_and(|(state, reason)| {
            state == State::Waiting && reason != "Evicted" && reason != "Stopping"
        });
        waits
            && world
                .record("red", &leaves)
                .await
                .unwrap()
                .spec
                .admission
                .is_none()
    })
    .await;
    let mut evicted = Vec::new();
    for (job, role) in [(&stays, "stays"), (&leaves, "leaves")] {
        let record = world.record("red", job).await.unwrap();
        evicted.extend(record.spec.eviction.map(|_| role.to_owned()));
    }
    dog.complete("lab", &claims).await;
    dog.until_running("red", &leaves, NODES[1]).await;
    let mut failed = 0;
    let mut epochs = std::collections::BTreeSet::new();
    for (namespace, job) in [("red", &leaves), ("red", &stays), ("lab", &claims)] {
        if namespace == "red" {
            dog.complete(namespace, job).await;
        }
        let job = world.job(namespace, job).await;
        failed += job.status.unwrap().failed.unwrap_or_default();
        epochs.extend(
            job.metadata
                .annotations
                .unwrap()
                .remove("internal.prorata.dev/epoch"),
        );
    }
    let end = End {
        evicted,
        epochs: epochs.len(),
        failed,
    };
    let (mut process, mut crashed) = dog.process.into_inner();
    // What is said last may be said a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    crashed |= process.check().is_err();
    // Its end is waited for, but not by the other worlds.
    let gone = tokio::task::spawn_blocking(move || drop(process));
    gone.await.unwrap();
    (end, crashed)
}
