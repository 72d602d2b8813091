//! The controller ends after its first write, after a later one, and so on through all that a
//! story takes. Another one takes over each time, and the story comes to the same as without; no gang
//! that stays is bound in part for longer than kube-scheduler takes for all of it.

mod pods;
mod standing;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::api::DeleteParams;
use prorata::api::State;
use prorata_controlplane::Process;
use serde_json::json;
use tokio::sync::Mutex;

use super::whole::{BOUND_WITHIN, Watched};
use crate::outage::world::{NODES, World, gang, is_complete, with};
use standing::{Standing, namespace, told};

/// The story takes more writes than the one, and fewer than the other.
const WRITES: (u32, u32) = (25, 80);
/// A crash after the first write, and after each so many more, in one world or the other; by
/// `PRORATA_CRASH_EVERY` after each so many in each of them, and by `PRORATA_CRASH_FROM` not before.
const EVERY: u32 = 3;
/// Pods of each Job, which start together, by world. A node has as many GPUs.
pub(crate) const GANGS: [usize; 2] = [4, 64];
/// How long a step of the story may take: 64 pods start and end one by one on a machine that is busy.
const STEP_WITHIN: Duration = Duration::from_secs(120);
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
            "DependencyGate",
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
    let number = |variable| std::env::var(variable).ok()?.parse().ok();
    let from: u32 = number("PRORATA_CRASH_FROM").unwrap_or(1);
    // Whoever says how often has all of them in each world; otherwise the worlds take turns.
    let (step, apart) = match number("PRORATA_CRASH_EVERY") {
        Some(every) => (every, 0),
        None => (EVERY * 2, EVERY),
    };
    let worlds = (0..).zip(worlds.iter().zip(GANGS));
    let plays = worlds.map(async |(number, (world, pods))| {
        let from = from + number * apart;
        let mut made = play(world, pods, from, step).await;
        if pods == GANGS[0] {
            made += pods::a_crash_after_any_write_changes_nothing(world, from, step).await;
        }
        made
    });
    let made: u32 = join_all(plays).await.into_iter().sum();
    eprintln!("{made} crashes came to the same");
}

async fn play(world: &World, pods: usize, from: u32, step: u32) -> u32 {
    let story = Teller {
        world,
        pods,
        whole: None,
    };
    let (whole, crashed) = story.tell("whole", None).await;
    assert!(!crashed);
    let story = Teller {
        whole: Some(whole),
        ..story
    };
    let tell = async |name: &str, writes: u32| story.tell(name, Some(writes)).await.1;
    every(&format!("gangs of {pods}"), (from, step), WRITES, tell).await
}

/// A crash after so many writes, after so many more, and so on until the story takes no more; how many
/// there were. Whoever tells it answers whether there was one.
async fn every(
    what: &str,
    (from, step): (u32, u32),
    bounds: (u32, u32),
    tell: impl AsyncFn(&str, u32) -> bool,
) -> u32 {
    let (mut writes, mut made) = (from, 0);
    loop {
        assert!(
            writes <= bounds.1,
            "the story takes fewer than {writes} writes"
        );
        let began = Instant::now();
        let crashed = tell(&format!("after{writes}"), writes).await;
        let took = began.elapsed();
        eprintln!("{what}, after {writes} writes: crashed={crashed}, {took:?}");
        if !crashed {
            assert!(writes > bounds.0, "the story takes more writes than that");
            return made;
        }
        (writes, made) = (writes + step, made + 1);
    }
}

/// Our controller, and the one that takes over.
struct Watchdog<'a> {
    world: &'a World,
    story: &'a str,
    /// Of each Job.
    pods: usize,
    process: Mutex<(Process, bool)>,
}

impl<'a> Watchdog<'a> {
    /// Starts our controller, which is to end after so many writes.
    fn start(world: &'a World, story: &'a str, pods: usize, crash: Option<u32>) -> Self {
        let text = crash.map(|writes| writes.to_string());
        let variable = text.as_deref();
        let variable = variable.map(|text| ("PRORATA_CRASH_AFTER_WRITES", text));
        let (site, plane) = (&world.site, &world.cluster.plane);
        Self {
            world,
            story,
            pods,
            process: Mutex::new((site.launch_in(plane, variable.as_slice()), false)),
        }
    }

    /// Ends whoever runs now; answers whether there was a crash.
    async fn end(self) -> bool {
        let (mut process, mut crashed) = self.process.into_inner();
        // What is said last may be said a moment later.
        tokio::time::sleep(Duration::from_millis(300)).await;
        crashed |= process.check().is_err();
        // Its end is waited for, but not by the other worlds.
        let gone = tokio::task::spawn_blocking(move || drop(process));
        gone.await.unwrap();
        crashed
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.world
            .until_within(what, STEP_WITHIN, async || {
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
            self.world.nodes_of(namespace(role), &job).await == vec![node; self.pods]
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
    async fn standing(
        &self,
        wanted: Option<&Standing>,
        read: impl AsyncFn() -> Standing,
    ) -> Standing {
        let began = Instant::now();
        let (mut last, mut since) = (read().await, Instant::now());
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
            let now = read().await;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

/// Who plays the story in a world.
struct Teller<'a> {
    world: &'a World,
    /// Of each Job.
    pods: usize,
    /// What it comes to without a crash; not known before it was played so.
    whole: Option<Story>,
}

impl Teller<'_> {
    /// Plays it, with a crash after so many writes; answers too whether there was one.
    async fn tell(&self, name: &str, crash: Option<u32>) -> (Story, bool) {
        let dog = Watchdog::start(self.world, name, self.pods, crash);
        let watched = ["stays", "claims"].map(|role| {
            let job = dog.name(role);
            Watched::start(self.world, namespace(role), &job, self.pods)
        });
        let story = self.play(&dog).await;
        assert_told(self.world, name).await;
        for watched in &watched {
            assert_eq!(watched.most(), self.pods, "{name}: all of it was seen");
            let parts = watched.parts();
            let is_whole = |&(lasted, bound)| lasted < BOUND_WITHIN && bound == self.pods;
            assert!(parts.iter().all(is_whole), "{name}, in part: {parts:?}");
        }
        let crashed = dog.end().await;
        clear(self.world, name).await;
        (story, crashed)
    }

    /// Two jobs run; one leaves for a third, and runs again when that is over.
    async fn play(&self, dog: &Watchdog<'_>) -> Story {
        let (world, whole) = (self.world, self.whole.as_ref());
        let job = |role| gang(&dog.name(role), self.pods);
        let urgent = [("/spec/template/spec", "priorityClassName", json!("urgent"))];
        world.submit("red", &with(&job("stays"), &urgent)).await;
        dog.until_running("stays", NODES[0]).await;
        world.submit("red", &job("leaves")).await;
        dog.until_running("leaves", NODES[1]).await;
        world.submit("lab", &job("claims")).await;
        dog.until_running("claims", NODES[1]).await;
        dog.until("who left waits", async || {
            let stands = world.stands("red", &dog.name("leaves")).await;
            stands.is_some_and(|(state, reason)| {
                state == State::Waiting && reason != "Evicted" && reason != "Stopping"
            })
        })
        .await;
        let read = async || Standing::read(world, dog.story).await;
        let waiting = dog.standing(whole.map(|whole| &whole.waiting), read).await;
        dog.complete("claims").await;
        dog.until_running("leaves", NODES[1]).await;
        dog.complete("leaves").await;
        dog.complete("stays").await;
        let over = dog.standing(whole.map(|whole| &whole.over), read).await;
        Story { waiting, over }
    }
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
    until_cleared(world).await;
}

async fn until_cleared(world: &World) {
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
