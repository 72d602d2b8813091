//! Ends what was admitted after its run time, in the place of kubelets and the Job controller.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
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
    /// Writes of the runner.
    pub(crate) writes: usize,
}

/// Follows all Jobs in the background.
pub(crate) struct Runner {
    ends: mpsc::UnboundedReceiver<End>,
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
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
        let writer = Writer {
            client: client.clone(),
            writes: Arc::default(),
        };
        let writes = writer.writes.clone();
        let task = tokio::spawn(follow(writer, load.jobs(), sender));
        Self {
            ends,
            task,
            writes,
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
            writes: 0,
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
        observed.writes = self.writes.load(Ordering::Relaxed);
        self.task.abort();
        observed
    }
}

async fn follow(writer: Writer, jobs: usize, ends: mpsc::UnboundedSender<End>) {
    let all: Api<Job> = Api::all(writer.client.clone());
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
                let end = take_up(&writer, &job, &mut seen, &mut timers);
                left -= usize::from(matches!(end, Some(End::Done { .. })));
                end.map(|end| ends.send(end));
            }
            Some(_) = timers.join_next() => {}
        }
    }
}

/// A Job is new, has been started, stopped or ended.
fn take_up(
    writer: &Writer,
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
            let timer = timers.spawn(writer.clone().run(job.clone(), CLASSES[class].runs));
            known.running = Some((Instant::now(), timer));
            None
        }
        (Some((since, timer)), false) => {
            timer.abort();
            timers.spawn(writer.clone().stop(job.clone()));
            let held = since.elapsed();
            known.running = None;
            Some(End::Evicted { class, held })
        }
        _ => None,
    }
}

/// Who writes what the Job controller would.
#[derive(Clone)]
struct Writer {
    client: Client,
    writes: Arc<AtomicUsize>,
}

impl Writer {
    /// Runs a Job, and says that it is complete.
    async fn run(self, job: Job, runs: Duration) {
        let started = Timestamp::now();
        let clock = Instant::now();
        if is_stopped(&job) {
            let resumed = json!({ "conditions": [condition("Suspended", "False")] });
            self.write(&job, resumed).await;
        }
        tokio::time::sleep_until(clock + runs).await;
        let status = json!({
            "startTime": started,
            "completionTime": Timestamp::now(),
            "succeeded": 1,
            "conditions": [condition("SuccessCriteriaMet", "True"), condition("Complete", "True")],
        });
        self.write(&job, status).await;
    }

    /// Says that an evicted Job has no pods any more.
    async fn stop(self, job: Job) {
        let stopped = json!({ "conditions": [condition("Suspended", "True")] });
        self.write(&job, stopped).await;
    }

    async fn write(&self, job: &Job, status: Value) {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &job.namespace().unwrap());
        let patch = Patch::Strategic(json!({ "metadata": { "uid": job.uid() }, "status": status }));
        self.writes.fetch_add(1, Ordering::Relaxed);
        api.patch_status(&job.name_any(), &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "lastTransitionTime": Timestamp::now() })
}

/// Whether its last word is that it has no pods.
fn is_stopped(job: &Job) -> bool {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Suspended" && condition.status == "True")
}

fn class(name: &str) -> usize {
    let (_, job) = name.split_once('/').unwrap();
    let of = CLASSES.iter().position(|class| job.starts_with(class.name));
    of.unwrap()
}
