//! The loop: inbox → core → writes. It owns the core; nobody else may ask it to decide.
//!
//! A burst of changes costs one cycle. After a cycle the new picture is published, and then
//! whatever differs between what is wanted and what is there is written, job by job: one write
//! at a time for each job, admissions before reports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Decision, Policy, Scheduler, Snapshot, Time};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::desired;
use crate::effects::{Effect, Failure, Outcome, Writer};
use crate::observed::{News, Observed, Uid};
use crate::view::{View, Views};
use crate::watch::{Change, Kind, Object};

/// Writes under way at the same time.
const WRITES_MAX: usize = 32;
/// Of these, reports that no pod waits for.
const REPORTS_MAX: usize = 4;
/// Changes taken up at once.
const BURST_MAX: usize = 4096;

/// The loop's state.
pub struct Driver {
    scheduler: Scheduler,
    observed: Observed,
    views: Views,
    writer: Writer,
    gpu_resource: String,
    /// First lists that are still to come.
    unlisted: BTreeSet<Kind>,
    /// First lists that have come, until all have.
    listed: BTreeMap<Kind, Vec<Object>>,
    last_epoch: i64,
    /// Jobs about which something was learnt since the last cycle.
    touched: BTreeSet<Uid>,
    work: Work,
}

/// Jobs about which something may have to be written.
#[derive(Default)]
struct Work {
    admissions: VecDeque<Uid>,
    reports: BTreeSet<Uid>,
    /// A write about them is under way; true for a report.
    busy: BTreeMap<Uid, bool>,
    later: BTreeMap<Instant, Vec<Uid>>,
    attempts: BTreeMap<Uid, u32>,
    writes: JoinSet<Outcome>,
}

impl Driver {
    /// A driver that has seen nothing yet.
    #[must_use]
    pub fn new(policy: Policy, gpu_resource: &str, writer: Writer, views: Views) -> Self {
        Self {
            scheduler: Scheduler::new(policy),
            observed: Observed::new(gpu_resource),
            views,
            writer,
            gpu_resource: gpu_resource.to_owned(),
            unlisted: Kind::ALL.into(),
            listed: BTreeMap::new(),
            last_epoch: 0,
            touched: BTreeSet::new(),
            work: Work::default(),
        }
    }

    /// Runs until nobody sends changes any more.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Change>) {
        let mut burst = Vec::new();
        loop {
            let due = self.work.later.keys().next().copied();
            tokio::select! {
                count = inbox.recv_many(&mut burst, BURST_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.take_up(burst.drain(..));
                }
                Some(done) = self.work.writes.join_next() => {
                    if let Ok(outcome) = done {
                        self.conclude(outcome);
                    }
                }
                () = sleep_until(due) => self.work.retry(Instant::now()),
            }
            if self.unlisted.is_empty() {
                self.write();
            }
        }
    }

    fn take_up(&mut self, changes: impl Iterator<Item = Change>) {
        let mut news = News::default();
        for change in changes {
            match change {
                Change::Listed(kind, objects) if self.unlisted.contains(&kind) => {
                    self.listed.insert(kind, objects);
                    self.unlisted.remove(&kind);
                    if self.unlisted.is_empty() {
                        self.begin();
                    }
                }
                change => {
                    let more = self.observed.apply(change);
                    news.facts.extend(more.facts);
                    news.touched.extend(more.touched);
                }
            }
        }
        self.learn(news);
        if self.unlisted.is_empty() {
            self.cycle();
        }
    }

    /// Everything has been listed once: take up what was decided before a restart.
    fn begin(&mut self) {
        let news = self.observed.begin(std::mem::take(&mut self.listed));
        self.last_epoch = self.observed.last_epoch();
        info!(
            jobs = news.touched.len(),
            epoch = self.last_epoch,
            "everything is listed"
        );
        self.learn(news);
    }

    fn learn(&mut self, news: News) {
        news.facts
            .into_iter()
            .for_each(|fact| self.scheduler.observe(fact));
        self.touched.extend(news.touched.iter().cloned());
        self.work.reports.extend(news.touched);
    }

    fn cycle(&mut self) {
        let cycle = self.scheduler.cycle(now());
        for Decision::Admit(job, placement) in cycle.decisions {
            self.last_epoch += 1;
            info!(%job, epoch = self.last_epoch, %placement, "admitted");
            self.observed.admit(&job, self.last_epoch, placement);
            self.work.admissions.push_back(job.uid().to_owned());
        }
        for (job, verdict) in cycle.changed {
            debug!(%job, ?verdict, "verdict");
            self.work.reports.insert(job.uid().to_owned());
        }
        let snapshot = self.scheduler.snapshot();
        for uid in std::mem::take(&mut self.touched) {
            self.observed.settle(&uid, &snapshot);
        }
        self.views.publish(View {
            snapshot,
            plans: self.observed.plans().clone(),
            namespaces: self.observed.namespaces().clone(),
        });
    }

    /// Starts as many writes as there may be.
    fn write(&mut self) {
        let snapshot = self.scheduler.snapshot();
        while let Some((uid, effect)) = self.next_effect(&snapshot) {
            let is_report = effect.release.is_none();
            self.work.busy.insert(uid, is_report);
            let writer = self.writer.clone();
            self.work
                .writes
                .spawn(async move { writer.perform(effect).await });
        }
    }

    fn next_effect(&mut self, snapshot: &Snapshot) -> Option<(Uid, Effect)> {
        while self.work.writes.len() < WRITES_MAX {
            let uid = self.work.next()?;
            let effect = desired::effect(
                &self.observed,
                snapshot,
                &self.gpu_resource,
                &uid,
                Timestamp::now(),
            );
            if let Some(effect) = effect {
                return Some((uid, effect));
            }
        }
        None
    }

    /// A write is done: what it says of the objects is as good as news from the watch.
    fn conclude(&mut self, outcome: Outcome) {
        let uid = outcome.job.uid().to_owned();
        self.work.busy.remove(&uid);
        let record = outcome
            .record
            .map(|record| Object::QueuedJob(Box::new(record)));
        let view = outcome.view.map(|view| Object::Job(Box::new(view)));
        for object in record.into_iter().chain(view) {
            let news = self.observed.apply_written(object);
            self.learn(news);
        }
        match outcome.failure {
            None => {
                self.work.attempts.remove(&uid);
                self.work.reports.insert(uid);
            }
            Some(failure) => {
                let wait = self.work.put_off(&uid);
                if failure == Failure::Stale {
                    debug!(job = %outcome.job, "a write was based on what is no longer so");
                } else {
                    warn!(job = %outcome.job, %failure, retry_in = ?wait, "a write failed");
                }
            }
        }
    }
}

impl Work {
    /// The next job to look at: admissions in order, then reports if there are few under way.
    fn next(&mut self) -> Option<Uid> {
        let free = |uid: &Uid, busy: &BTreeMap<Uid, bool>| !busy.contains_key(uid);
        if let Some(position) = self.admissions.iter().position(|uid| free(uid, &self.busy)) {
            let uid = self.admissions.remove(position)?;
            self.reports.remove(&uid);
            return Some(uid);
        }
        let reports = self.busy.values().filter(|is_report| **is_report).count();
        if reports >= REPORTS_MAX {
            return None;
        }
        let uid = self
            .reports
            .iter()
            .find(|uid| free(uid, &self.busy))?
            .clone();
        self.reports.take(&uid)
    }

    /// Looks at the job again after a while, twice as long after each failure.
    fn put_off(&mut self, uid: &str) -> Duration {
        let attempts = self.attempts.entry(uid.to_owned()).or_default();
        let wait = Duration::from_millis(100 << (*attempts).min(9));
        *attempts += 1;
        self.later
            .entry(Instant::now() + wait)
            .or_default()
            .push(uid.to_owned());
        wait
    }

    fn retry(&mut self, now: Instant) {
        let still_later = self.later.split_off(&(now + Duration::from_nanos(1)));
        let due = std::mem::replace(&mut self.later, still_later);
        self.reports.extend(due.into_values().flatten());
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
