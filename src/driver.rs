//! The loop: inbox → core → writes. It owns the core; nobody else may ask it to decide.
//!
//! A burst of changes costs one cycle. After a cycle the new picture is published, and then
//! whatever differs between what is wanted and what is there is written, job by job: one write
//! at a time for each job, admissions before reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prorata_core::{Decision, Event, JobId, Policy, Reason, Scheduler, Snapshot, Verdict};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::accounting::Accounting;
use crate::clock::Clock;
use crate::decisions::Decisions;
use crate::effects::Writer;
use crate::explained::Explained;
use crate::forecast;
use crate::leader::Tenure;
use crate::observed::{Classes, Expired, News, Observed, Patience, Uid};
use crate::view::{View, Views};
use crate::watch::{Change, Kind, Object};

mod bucket;
mod happening;
mod shown;
#[cfg(test)]
mod tests;
mod work;
mod writes;

use happening::{Happening, Sources};
use shown::Shown;
use work::Work;

/// A timer goes no further ahead: clocks of machines are set.
const FAR_AHEAD: Duration = Duration::from_secs(60);

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
    clock: Clock,
    /// Whether it is foretold when jobs start.
    foretells: bool,
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
    /// Who holds what, where there is a ledger.
    accounting: Option<Accounting>,
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
            clock: Clock::default(),
            foretells: true,
            gpu_resource,
            shown: Shown::new(Instant::now()),
            unlisted: Kind::ALL.into(),
            listed: BTreeMap::new(),
            early: Vec::new(),
            last_epoch: 0,
            touched: BTreeSet::new(),
            explained: Explained::new(Instant::now()),
            decisions: Decisions::default(),
            accounting: None,
            work: Work::default(),
        }
    }

    /// The same, and what it does is logged.
    #[must_use]
    pub fn logging(self, decisions: Decisions) -> Self {
        Self { decisions, ..self }
    }

    /// The same, and who holds what is accounted for.
    #[must_use]
    pub fn accounting(self, accounting: Accounting) -> Self {
        Self {
            accounting: Some(accounting),
            ..self
        }
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

    /// The same, which reads the time there, and does not foretell when jobs start, for that is
    /// worked out on another thread: what it does depends on nothing but what it is told.
    #[must_use]
    pub fn repeatable(self, clock: Clock) -> Self {
        Self {
            clock,
            foretells: false,
            ..self
        }
    }

    /// Runs until nobody sends changes any more, or another controller takes over or has ended.
    pub async fn run(mut self, inbox: mpsc::Receiver<Change>) -> End {
        let writes = self.leads && self.foretells;
        let mut sources = Sources::new(inbox, forecast::start(self.views.clone(), writes));
        while self.tenure.is_held() == self.leads {
            match self.next(&mut sources).await {
                Happening::Heard(changes) if changes.is_empty() => return End::Unheard,
                Happening::Heard(changes) => self.take_up(changes.into_iter()),
                Happening::Written(outcome) => self.conclude(*outcome),
                Happening::Shown(round) => {
                    if !round.is_complete {
                        self.shown.outdate();
                    }
                    self.take_up(round.written.into_iter());
                }
                Happening::Foretold(batch) => self.foretell(batch),
                Happening::Due => self.retry(),
                Happening::Succession if !self.leads && self.unlisted.is_empty() => self.cycle(),
                Happening::Succession => {}
                Happening::Probed => self.look_at_plans(),
            }
            if self.unlisted.is_empty() && self.leads {
                self.explain();
                self.write();
                self.show_tenants();
            }
        }
        End::Succeeded
    }

    /// When time alone changes something.
    fn wakeup(&self) -> Option<Instant> {
        let core = self.scheduler.next_wakeup().filter(|_| self.leads);
        let at = core.into_iter().chain(self.observed.next_deadline()).min();
        let at = at.map(|at| Instant::now() + at.since(self.clock.now()));
        let shown = self.shown.due().filter(|_| self.leads);
        // What is due to tenants is the same to whoever follows.
        let all = at.into_iter().chain(shown).chain(self.next_turn()).min();
        all.filter(|_| self.unlisted.is_empty())
    }

    /// When something else is due to a tenant, as far ahead as a timer goes.
    fn next_turn(&self) -> Option<Instant> {
        let wait = self
            .observed
            .next_turn()?
            .duration_since(self.clock.timestamp());
        let wait = Duration::try_from(wait).unwrap_or_default();
        Some(Instant::now() + wait.min(FAR_AHEAD))
    }

    /// What is due to tenants at this moment; whether that is something else than before.
    fn turn(&mut self) -> bool {
        let news = self.observed.turn(self.clock.timestamp());
        let is_else = !news.facts.is_empty();
        if is_else {
            self.learn(news);
        }
        is_else
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
            self.turn();
            self.cycle();
        }
    }

    fn apply(&mut self, change: Change) {
        let news = match change {
            Change::Drained(node) => {
                let snapshot = self.scheduler.snapshot();
                let now = self.clock.timestamp();
                self.observed.drain(&node, &snapshot, now)
            }
            Change::Disturbing(pods, lasts) => {
                self.observed.disturb(&pods, lasts, self.clock.now())
            }
            change => self.observed.apply(change),
        };
        self.learn(news);
    }

    /// Everything has been listed once: take up what was decided before a restart.
    fn begin(&mut self) {
        self.turn();
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
        let now = self.clock.now();
        let known = |fact| match fact {
            // Nobody saves work that is still to be done.
            Event::JobCheckpointed(job, at) => Event::JobCheckpointed(job, at.min(now)),
            fact => fact,
        };
        let facts: Vec<Event> = facts.into_iter().map(known).collect();
        self.decisions.told(now, &facts);
        if let Some(accounting) = &mut self.accounting {
            accounting.told(&facts);
            touched.iter().for_each(|uid| accounting.touch(uid));
        }
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
        if let Some(accounting) = &mut self.accounting {
            accounting.settle(self.clock.now(), &self.observed, &snapshot);
        }
        self.views.publish(View {
            snapshot,
            plans: self.observed.plans().clone(),
            bypassing: self.observed.bypassing().clone(),
            namespaces: self.observed.namespaces().clone(),
            groups: self.observed.groups().clone(),
            owners: self.observed.owners().clone(),
            departed: self.observed.departed().clone(),
            is_undecided: !self.leads && self.has_undecided(),
        });
        if !news.facts.is_empty() {
            self.learn(news);
            self.cycle();
        }
    }

    fn has_undecided(&self) -> bool {
        let is_led = self.tenure.is_anothers();
        self.observed.has_undecided(is_led, self.clock.now())
    }

    fn decide(&mut self) {
        let began = Instant::now();
        let now = self.clock.now();
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

    /// A number that no admission has had, as far as anybody has heard.
    fn next_epoch(&mut self) -> i64 {
        self.last_epoch = self.last_epoch.max(self.observed.last_epoch()) + 1;
        self.last_epoch
    }

    fn take_down(&mut self, snapshot: &Snapshot, decision: Decision) {
        match decision {
            Decision::Admit(id, placement) => {
                let job = snapshot.job(&id).expect("what was admitted is known");
                let epoch = self.next_epoch();
                info!(job = %id, epoch, %placement, "admitted");
                let waited = self.clock.now().since(job.submitted);
                self.views.metrics().admitted(&job.tenant, waited);
                self.observed.admit(job, epoch, placement);
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
                if self.may_have_begun(victim.uid()) {
                    let news = self.observed.evict(job, by, rule, self.clock.timestamp());
                    self.learn(news);
                } else {
                    self.touched.insert(victim.uid().to_owned());
                }
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
            self.let_back(&job);
        }
    }

    /// A job that is kept away from nodes and would find room nowhere else is kept away no more.
    fn let_back(&mut self, job: &JobId) {
        let snapshot = self.scheduler.snapshot();
        let verdict = self.explained.verdict(&snapshot, job);
        let is_lost = matches!(
            verdict,
            Some(Verdict::Waiting(
                Reason::NoSuchNode { .. }
                    | Reason::NoSuchGpu { .. }
                    | Reason::NoSuchResource { .. }
                    | Reason::ExceedsCapacity { .. }
            ))
        );
        if is_lost && let Some(news) = self.observed.come_back(job.uid()) {
            self.learn(news);
            self.cycle();
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
            let now = self.clock.timestamp();
            self.shown
                .show(&self.observed, &snapshot, &self.writer, now);
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
        let now = self.clock.now();
        let mut decide = self.turn() || self.scheduler.next_wakeup().is_some_and(|at| at <= now);
        if self.observed.next_deadline().is_some_and(|at| at <= now) {
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
