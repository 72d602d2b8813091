//! The loop: inbox → core → writes. It owns the core; nobody else may ask it to decide.
//!
//! A burst of changes costs one cycle. After a cycle the new picture is published, and then
//! whatever differs between what is wanted and what is there is written, job by job: one write
//! at a time for each job, admissions before reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Decision, Event, Policy, Scheduler, Snapshot, Time};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::decisions::Decisions;
use crate::effects::Writer;
use crate::explained::Explained;
use crate::forecast;
use crate::leader::Tenure;
use crate::observed::{Classes, Expired, News, Observed, Patience, Uid};
use crate::view::{View, Views};
use crate::watch::{Change, Kind, Object};

mod shown;
#[cfg(test)]
mod tests;
mod work;
mod writes;

use shown::Shown;
use work::Work;

/// Changes taken up at once.
const BURST_MAX: usize = 4096;

/// The loop's state.
pub struct Driver {
    scheduler: Scheduler,
    observed: Observed,
    views: Views,
    writer: Writer,
    /// Until when we may decide.
    tenure: Tenure,
    /// Whether we do; otherwise we go by what another controller records.
    leads: bool,
    /// Whether the extender answers; no job is started while it does not.
    answers: watch::Receiver<bool>,
    gpu_resource: String,
    /// First lists that are still to come.
    unlisted: BTreeSet<Kind>,
    /// First lists that have come, until all have.
    listed: BTreeMap<Kind, Vec<Object>>,
    /// Changes since, in order.
    early: Vec<Change>,
    last_epoch: i64,
    /// Jobs about which something was learnt since the last cycle.
    touched: BTreeSet<Uid>,
    explained: Explained,
    shown: Shown,
    decisions: Decisions,
    work: Work,
}

/// What an administrator chooses.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How the core decides.
    pub policy: Policy,
    /// The resource that pods name to get a GPU.
    pub gpu_resource: String,
    /// What is said of PriorityClasses.
    pub classes: Classes,
    /// How long what may pass by itself is waited for.
    pub patience: Patience,
}

/// Why a driver has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody sends changes any more.
    Unheard,
    /// It led and may not any more, or the reverse: the next one lists everything anew, because
    /// what another controller wrote last may not have been seen yet.
    Succeeded,
}

impl Driver {
    /// A driver that has seen nothing yet, and leads without end.
    #[must_use]
    pub fn new(settings: Settings, writer: Writer, views: Views) -> Self {
        let Settings {
            policy,
            gpu_resource,
            classes,
            patience,
        } = settings;
        Self {
            scheduler: Scheduler::new(policy),
            observed: Observed::new(&gpu_resource, classes, patience),
            views,
            writer,
            tenure: Tenure::default(),
            leads: true,
            answers: watch::channel(true).1,
            gpu_resource,
            shown: Shown::new(Instant::now()),
            unlisted: Kind::ALL.into(),
            listed: BTreeMap::new(),
            early: Vec::new(),
            last_epoch: 0,
            touched: BTreeSet::new(),
            explained: Explained::new(Instant::now()),
            decisions: Decisions::default(),
            work: Work::default(),
        }
    }

    /// The same, and what it does is logged.
    #[must_use]
    pub fn logging(self, decisions: Decisions) -> Self {
        Self { decisions, ..self }
    }

    /// The same, which leads while this tenure lasts if it lasts now, and follows otherwise.
    #[must_use]
    pub fn under(mut self, tenure: Tenure) -> Self {
        self.leads = tenure.is_held();
        self.tenure = tenure;
        if !self.leads {
            self.observed.follow();
        }
        self
    }

    /// The same, which starts no job while the extender does not answer.
    #[must_use]
    pub fn probing(mut self, answers: watch::Receiver<bool>) -> Self {
        self.answers = answers;
        self
    }

    /// Runs until nobody sends changes any more, or another controller takes over or has ended.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Change>) -> End {
        let mut burst = Vec::new();
        let mut forecasts = forecast::start(self.views.clone(), self.leads);
        while self.tenure.is_held() == self.leads {
            let later = self.work.later.keys().next().copied();
            let due = later.into_iter().chain(self.explained.due());
            let due = due.chain(self.wakeup()).min();
            tokio::select! {
                count = inbox.recv_many(&mut burst, BURST_MAX) => {
                    if count == 0 {
                        return End::Unheard;
                    }
                    self.take_up(burst.drain(..));
                }
                Some(done) = self.work.writes.join_next() => {
                    // A write that panicked leaves its job busy for ever.
                    self.conclude(done.expect("a write does not panic"));
                }
                Some(round) = self.shown.writes.join_next() => {
                    // One that panicked would leave the tenants as they were last shown.
                    let round = round.expect("a write does not panic");
                    if !round.is_complete {
                        self.shown.outdate();
                    }
                    self.take_up(round.written.into_iter());
                }
                Some(batch) = forecasts.recv() => self.foretell(batch),
                () = sleep_until(due) => self.retry(),
                () = self.tenure.change() => {}
                Ok(()) = self.answers.changed() => self.look_at_plans(),
            }
            if self.unlisted.is_empty() && self.leads {
                self.explain();
                self.write();
                self.show_tenants();
            }
        }
        End::Succeeded
    }

    /// When time alone changes something, for whoever decides.
    fn wakeup(&self) -> Option<Instant> {
        let core = self.scheduler.next_wakeup().into_iter();
        let at = core.chain(self.observed.next_deadline()).min();
        let at = at.map(|at| Instant::now() + at.since(now()));
        let first = at.into_iter().chain(self.shown.due()).min();
        first.filter(|_| self.leads && self.unlisted.is_empty())
    }

    fn take_up(&mut self, changes: impl Iterator<Item = Change>) {
        for change in changes {
            match change {
                change if self.unlisted.is_empty() => self.apply(change),
                Change::Listed(kind, objects) if self.unlisted.remove(&kind) => {
                    self.listed.insert(kind, objects);
                    if self.unlisted.is_empty() {
                        self.begin();
                    }
                }
                change => self.early.push(change),
            }
        }
        if self.unlisted.is_empty() {
            self.cycle();
        }
    }

    fn apply(&mut self, change: Change) {
        let news = self.observed.apply(change);
        self.learn(news);
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
        for change in std::mem::take(&mut self.early) {
            self.apply(change);
        }
    }

    fn learn(&mut self, news: News) {
        let News { facts, touched } = news;
        if !facts.is_empty() {
            self.shown.outdate();
        }
        let now = now();
        let known = |fact| match fact {
            // Nobody saves work that is still to be done.
            Event::JobCheckpointed(job, at) => Event::JobCheckpointed(job, at.min(now)),
            fact => fact,
        };
        let facts: Vec<Event> = facts.into_iter().map(known).collect();
        self.decisions.told(now, &facts);
        facts
            .into_iter()
            .for_each(|fact| self.scheduler.observe(now, fact));
        for uid in touched {
            // Whoever follows writes nothing.
            if self.leads {
                self.look_at(uid.clone());
            }
            self.touched.insert(uid);
        }
    }

    fn cycle(&mut self) {
        if self.leads {
            self.decide();
        }
        let snapshot = self.scheduler.snapshot();
        let mut news = News::default();
        for uid in std::mem::take(&mut self.touched) {
            news.facts
                .extend(self.observed.settle(&uid, &snapshot).facts);
        }
        self.views.publish(View {
            snapshot,
            plans: self.observed.plans().clone(),
            bypassing: self.observed.bypassing().clone(),
            namespaces: self.observed.namespaces().clone(),
            groups: self.observed.groups().clone(),
            owners: self.observed.owners().clone(),
        });
        if !news.facts.is_empty() {
            self.learn(news);
            self.cycle();
        }
    }

    fn decide(&mut self) {
        let began = Instant::now();
        let now = now();
        let cycle = self.scheduler.cycle(now);
        self.views.metrics().decided(began.elapsed());
        self.decisions
            .decided(now, &cycle.decisions, &self.scheduler);
        let snapshot = self.scheduler.snapshot();
        for decision in cycle.decisions {
            self.take_down(&snapshot, decision);
        }
        self.explained.outdate();
        for (job, verdict) in cycle.changed {
            debug!(%job, ?verdict, "verdict");
            self.work.report(job.uid());
        }
    }

    fn take_down(&mut self, snapshot: &Snapshot, decision: Decision) {
        match decision {
            Decision::Admit(id, placement) => {
                let job = snapshot.job(&id).expect("what was admitted is known");
                self.last_epoch += 1;
                info!(job = %id, epoch = self.last_epoch, %placement, "admitted");
                let waited = now().since(job.submitted);
                self.views.metrics().admitted(&job.tenant, waited);
                self.observed.admit(job, self.last_epoch, placement);
                self.work.admissions.push_back(id.uid().to_owned());
            }
            Decision::Evict {
                victim,
                preemptor,
                rule,
            } => {
                info!(%victim, %preemptor, %rule, "has to leave");
                let both = snapshot.job(&victim).zip(snapshot.job(&preemptor));
                let (job, by) = both.expect("those that were decided about are known");
                let news = self.observed.evict(job, by, rule, Timestamp::now());
                self.learn(news);
                // The room is on its record before anybody leaves it.
                self.work.admissions.push_back(preemptor.uid().to_owned());
            }
        }
    }

    /// Says why jobs wait, if it is time.
    fn explain(&mut self) {
        if self.explained.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        for job in self.explained.ask(&mut self.scheduler) {
            self.work.report(job.uid());
        }
    }

    /// Has what is foretold written.
    fn foretell(&mut self, batch: forecast::Batch) {
        batch.iter().for_each(|(uid, _)| self.work.report(uid));
        self.explained.foretell(batch, &self.scheduler.snapshot());
    }

    /// Shows what tenants hold, if it is time.
    fn show_tenants(&mut self) {
        if self.shown.due().is_some_and(|due| due <= Instant::now()) {
            let snapshot = self.scheduler.snapshot();
            self.shown.show(&self.observed, &snapshot, &self.writer);
        }
    }

    /// Something may have to be written about the job; what starts or stops it goes first.
    fn look_at(&mut self, uid: Uid) {
        let leaving: Vec<Uid> = self.observed.leaving_for(&uid).cloned().collect();
        self.work.admissions.extend(leaving);
        if self.observed.plan(&uid).is_some() || self.observed.leaver(&uid).is_some() {
            self.work.admissions.push_back(uid);
        } else {
            self.work.report(&uid);
        }
    }

    /// What has been held back may be started now.
    fn look_at_plans(&mut self) {
        let waiting = self.observed.plans().iter();
        let waiting = waiting.filter(|(_, plan)| !plan.is_full());
        self.work
            .admissions
            .extend(waiting.map(|(uid, _)| uid.clone()));
    }

    fn retry(&mut self) {
        let due = self.work.due(Instant::now());
        let now = now();
        let mut decide = self.scheduler.next_wakeup().is_some_and(|at| at <= now);
        if self.leads && self.observed.next_deadline().is_some_and(|at| at <= now) {
            let Expired { news, paused } = self.observed.expire(now);
            self.learn(news);
            for (uid, pause) in paused {
                self.work.look_again(&uid, pause);
            }
            decide = true;
        }
        for uid in due {
            if let Some(news) = self.observed.forgive(&uid) {
                self.learn(news);
                decide = true;
            }
            if self.observed.job(&uid).is_none() {
                self.work.attempts.remove(&uid);
            }
            self.look_at(uid);
        }
        if decide {
            self.cycle();
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// This moment, as the core counts: Unix time.
pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
