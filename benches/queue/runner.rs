//! Ends what was admitted after its run time, in the place of kubelets and the Job controller.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::load::{CLASSES, Load};

/// What came of the load.
pub(crate) struct Observed {
    /// From the first creation to the last end.
    pub(crate) makespan: Duration,
    /// From the creation of each Job to its last admission, by class.
    pub(crate) waits: [Vec<Duration>; CLASSES.len()],
    /// GPUs that were admitted, times how long.
    pub(crate) held_gpu_seconds: f64,
    pub(crate) evictions: usize,
    /// Jobs that were ended.
    pub(crate) ends: usize,
}

/// Follows all Jobs in the background.
pub(crate) struct Runner {
    ends: mpsc::UnboundedReceiver<End>,
    task: JoinHandle<()>,
    begun: Instant,
}

enum End {
    Done {
        class: usize,
        wait: Duration,
        held: Duration,
    },
    Evicted {
        class: usize,
        held: Duration,
    },
}

/// A Job that has been seen.
struct Seen {
    created: Instant,
    /// Since when it is admitted, and who will end it.
    running: Option<(Instant, tokio::task::AbortHandle)>,
}

impl Runner {
    /// Begins to follow.
    pub(crate) fn start(client: &Client, load: &Load) -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        let task = tokio::spawn(follow(client.clone(), load.jobs(), sender));
        Self {
            ends,
            task,
            begun: Instant::now(),
        }
    }

    /// Waits until so many Jobs have ended.
    pub(crate) async fn until_ended(mut self, jobs: usize, patience: Duration) -> Observed {
        let mut observed = Observed {
            makespan: Duration::ZERO,
            waits: [const { Vec::new() }; CLASSES.len()],
            held_gpu_seconds: 0.0,
            evictions: 0,
            ends: 0,
        };
        while observed.ends < jobs {
            let end = tokio::time::timeout(patience, self.ends.recv()).await;
            let end = end.unwrap_or_else(|_| panic!("{} of {jobs} Jobs ended", observed.ends));
            let (class, held) = match end.unwrap() {
                End::Done { class, wait, held } => {
                    observed.waits[class].push(wait);
                    observed.ends += 1;
                    (class, held)
                }
                End::Evicted { class, held } => {
                    observed.evictions += 1;
                    (class, held)
                }
            };
            observed.held_gpu_seconds += f64::from(CLASSES[class].gpus) * held.as_secs_f64();
        }
        observed.makespan = self.begun.elapsed();
        self.task.abort();
        observed
    }
}

async fn follow(client: Client, jobs: usize, ends: mpsc::UnboundedSender<End>) {
    let all: Api<Job> = Api::all(client.clone());
    let mut events = pin!(
        watcher(all, watcher::Config::default())
            .default_backoff()
            .applied_objects()
    );
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut timers = JoinSet::new();
    let mut left = jobs;
    while left > 0 {
        tokio::select! {
            job = events.next() => {
                let job = job.unwrap().unwrap();
                let end = take_up(&client, &job, &mut seen, &mut timers);
                left -= usize::from(matches!(end, Some(End::Done { .. })));
                end.map(|end| ends.send(end));
            }
            Some(_) = timers.join_next() => {}
        }
    }
}

/// A Job is new, has been started, stopped or ended.
fn take_up(
    client: &Client,
    job: &Job,
    seen: &mut BTreeMap<String, Seen>,
    timers: &mut JoinSet<()>,
) -> Option<End> {
    let name = format!("{}/{}", job.namespace().unwrap(), job.name_any());
    let class = class(&name);
    if job
        .status
        .as_ref()
        .is_some_and(|status| status.completion_time.is_some())
    {
        let Seen { created, running } = seen.get_mut(&name)?;
        // Its end may have been on its way when it was evicted.
        let since = running.take().map_or_else(Instant::now, |(since, _)| since);
        let (wait, held) = (since - *created, since.elapsed());
        seen.remove(&name);
        return Some(End::Done { class, wait, held });
    }
    let known = seen.entry(name).or_insert_with(|| Seen {
        created: Instant::now(),
        running: None,
    });
    let runs = job.spec.as_ref()?.suspend == Some(false);
    match (&known.running, runs) {
        (None, true) => {
            let timer = timers.spawn(end(client.clone(), job.clone(), CLASSES[class].runs));
            known.running = Some((Instant::now(), timer));
            None
        }
        (Some((since, timer)), false) => {
            timer.abort();
            let held = since.elapsed();
            known.running = None;
            Some(End::Evicted { class, held })
        }
        _ => None,
    }
}

/// Runs a Job, and says that it is complete.
async fn end(client: Client, job: Job, runs: Duration) {
    let started = Timestamp::now();
    tokio::time::sleep(runs).await;
    let now = Timestamp::now();
    let condition =
        |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    let patch = json!({ "metadata": { "uid": job.uid() }, "status": {
        "startTime": started,
        "completionTime": now,
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    } });
    let api: Api<Job> = Api::namespaced(client, &job.namespace().unwrap());
    let patch = Patch::Strategic(patch);
    api.patch_status(&job.name_any(), &PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn class(name: &str) -> usize {
    let (_, job) = name.split_once('/').unwrap();
    let of = CLASSES.iter().position(|class| job.starts_with(class.name));
    of.unwrap()
}
