//! The whole: what can happen next, which of it does, and what time it is then.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use tokio::sync::oneshot;

use super::batch::{self, Batch};
use super::checks::{Checks, nothing_is_overwritten_unseen, unfinished};
use super::faults::Faults;
use super::kubelet::Kubelet;
use super::process::{Process, Style};
use super::random::Random;
use super::scheduler::Scheduler;
use super::server::{self, Answer};
use super::sets::Sets;
use super::store::{Author, Kind, Store};
use super::users;
use super::wire::{Knew, Outbox, Sent, Stream, response};

/// When it all begins.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;
/// Everything is over by then, once nothing goes wrong any more. An event that was never sent is
/// made up for by the list of every hour.
const CALM_MS_MAX: u64 = 20 * 60 * 1000;
const CALM_MS_MAX_IF_MISSED: u64 = 80 * 60 * 1000;
/// Nobody writes anything for so long when all is over.
const QUIET_MS: u64 = 600_000;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) random: Random,
    /// What may go wrong now, and what might at first.
    pub(crate) faults: Faults,
    pub(crate) drawn: Faults,
    pub(crate) processes: Vec<Process>,
    pub(crate) started: usize,
    outbox: Outbox,
    /// Requests on their way, and when they arrive at the earliest.
    pub(crate) requests: Vec<(u64, Sent)>,
    replies: Vec<Reply>,
    pub(crate) streams: Vec<Stream>,
    /// Up to which version each process has been told of a kind.
    told: BTreeMap<(usize, Kind), u64>,
    /// The same of nodes, before the last step.
    told_before: BTreeMap<usize, u64>,
    /// The extender does not answer.
    pub(crate) is_silent: bool,
    batch: Batch,
    scheduler: Scheduler,
    pub(crate) kubelet: Kubelet,
    checks: Checks,
    sets: Sets,
    submitted: u64,
    strangers: u64,
    /// A digest of all that happened.
    pub(crate) digest: u64,
    digested: usize,
    /// What is left of something that is gone, as of a version.
    orphans: (u64, Vec<super::store::Key>),
    pub(crate) steps: u64,
    next_bookmark_ms: u64,
}

/// An answer on its way back.
struct Reply {
    to: oneshot::Sender<Response<Body>>,
    response: Response<Body>,
    /// What a list tells: to which process, of which kind, up to which version.
    tells: Option<(usize, Kind, u64)>,
}

impl Reply {
    const fn new(to: oneshot::Sender<Response<Body>>, response: Response<Body>) -> Self {
        Self {
            to,
            response,
            tells: None,
        }
    }
}

/// One thing that can happen.
#[derive(Clone, Debug)]
enum Next {
    Arrives(usize),
    Answers(usize),
    Says(usize),
    Syncs(String),
    Places(super::store::Key),
    Binds(usize),
    Lives(super::store::Key),
    Collects(super::store::Key),
    Mends(String),
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::draw(&mut random);
        let mut store = Store::default();
        store.now_ms = BEGIN_MS;
        users::furnish(&mut store);
        Self {
            store,
            random,
            checks: Checks::new(&faults),
            drawn: faults.clone(),
            faults,
            processes: Vec::new(),
            started: 0,
            outbox: Outbox::default(),
            requests: Vec::new(),
            replies: Vec::new(),
            streams: Vec::new(),
            told: BTreeMap::new(),
            told_before: BTreeMap::new(),
            is_silent: false,
            batch: Batch::default(),
            scheduler: Scheduler::default(),
            kubelet: Kubelet::default(),
            sets: Sets::default(),
            submitted: 0,
            strangers: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            digested: 0,
            orphans: (0, Vec::new()),
            steps: 0,
            next_bookmark_ms: 0,
        }
    }

    /// Runs the story of the seed to its end.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.faults.controllers {
            self.start_process();
        }
        let stormy_until = BEGIN_MS + self.faults.storm_ms;
        while self.store.now_ms < stormy_until {
            self.people();
            self.strike();
            self.step();
        }
        self.calm();
        let within = match self.drawn.events_missed {
            0 => CALM_MS_MAX,
            _ => CALM_MS_MAX_IF_MISSED,
        };
        let calm_until = self.store.now_ms + within;
        while let Some(what) = self.sets.unfinished().or_else(|| unfinished(&self.store)) {
            assert!(self.store.now_ms < calm_until, "{what}");
            self.step();
        }
        self.quiet();
    }

    /// Nobody writes anything any more.
    fn quiet(&mut self) {
        let settled = self.store.now_ms + 60_000;
        while self.store.now_ms < settled {
            self.step();
        }
        let (until, from) = (self.store.now_ms + QUIET_MS, self.store.log.len());
        while self.store.now_ms < until {
            self.step();
        }
        let ours = |by| matches!(by, Author::Controller(_));
        let mut written = self.store.log[from..].iter();
        let idle = written.find(|change| ours(change.by) && change.key.kind != Kind::Lease);
        assert!(idle.is_none(), "all is over, and this is written: {idle:?}");
    }

    pub(crate) fn start_process(&mut self) {
        let number = self.started;
        self.started += 1;
        let style = Style {
            elects: self.drawn.controllers > 1,
            min_runtime: Duration::from_millis(self.drawn.min_runtime_ms),
        };
        let now = self.store.now_ms;
        let process = Process::start(number, now, &self.outbox, style);
        if self.is_silent {
            process.probed(false);
        }
        self.processes.push(process);
    }

    /// What people do now.
    fn people(&mut self) {
        if self.submitted < self.faults.jobs && self.random.chance(self.faults.submits) {
            let name = format!("j{}", self.submitted);
            self.submitted += 1;
            if self.random.chance(self.faults.pods) {
                users::submit_pod(&mut self.store, &mut self.random, &name);
            } else if self.random.chance(self.faults.sets) {
                self.sets.submit(&self.store, &mut self.random, &name);
            } else {
                users::submit(&mut self.store, &mut self.random, &name);
            }
        }
        if self.random.chance(self.faults.strangers) {
            let name = format!("s{}", self.strangers);
            self.strangers += 1;
            users::submit_stranger(&mut self.store, &mut self.random, &name);
        }
        if self.random.chance(self.faults.meddles) {
            users::meddle(&mut self.store, &mut self.random);
        }
        if self.random.chance(self.faults.edits_tenants) {
            users::edit_tenant(&mut self.store, &mut self.random);
        }
    }

    /// Something happens, or nothing but time.
    fn step(&mut self) {
        self.steps += 1;
        self.collect();
        let nodes = self
            .told
            .iter()
            .filter(|((_, kind), _)| *kind == Kind::Node);
        self.told_before = nodes
            .map(|((process, _), told)| (*process, *told))
            .collect();
        self.streams.retain(Stream::is_open);
        self.sets.delete_due(&mut self.store, self.faults.is_calm);
        self.bookmarks();
        let mut happened = false;
        for _ in 0..self.random.between(1, 4) {
            let next = self.nexts();
            if !next.is_empty() {
                let next = self.random.pick(&next).clone();
                self.happen(next);
                happened = true;
            }
        }
        let pause = match happened {
            true => self.random.between(1, 10),
            false if self.faults.is_calm => 1000,
            false => self.random.between(5, 100),
        };
        self.store.now_ms += pause;
        for process in self
            .processes
            .iter_mut()
            .filter(|process| !process.is_frozen)
        {
            process.run_to(self.store.now_ms);
        }
        self.checks.look(&self.store);
        self.digest();
    }

    /// What has been sent is on its way.
    pub(crate) fn collect(&mut self) {
        let sent: Vec<Sent> = self.outbox.lock().unwrap().drain(..).collect();
        for mut sent in sent {
            // What has just been said may have come to it after it had sent this.
            let nodes = self.told_before.get(&sent.process).copied();
            sent.knew = Knew {
                records: self.told(sent.process, Kind::QueuedJob),
                nodes: nodes.unwrap_or_default(),
            };
            let at = self.store.now_ms + self.faults.delay(&mut self.random);
            self.requests.push((at, sent));
        }
    }

    fn nexts(&mut self) -> Vec<Next> {
        let now = self.store.now_ms;
        let mut nexts = Vec::new();
        let arrived = self
            .requests
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| *at <= now);
        nexts.extend(arrived.map(|(index, _)| Next::Arrives(index)));
        nexts.extend((0..self.replies.len()).map(Next::Answers));
        let lagging = self.streams.iter_mut().enumerate();
        let lagging = lagging
            .filter(|(_, stream)| stream.stalled_until_ms <= now)
            .filter_map(|(index, stream)| stream.lags(&self.store).then_some(index));
        nexts.extend(lagging.map(Next::Says));
        nexts.extend(self.batch.due(&self.store).into_iter().map(Next::Syncs));
        nexts.extend(
            self.scheduler
                .due(&self.store)
                .into_iter()
                .map(Next::Places),
        );
        let bindings = self.scheduler.bindings_due(now);
        nexts.extend(bindings.into_iter().map(Next::Binds));
        nexts.extend(self.sets.due(&self.store).into_iter().map(Next::Mends));
        let lives = self
            .kubelet
            .due(&self.store, &mut self.random, self.faults.stubborn);
        nexts.extend(lives.into_iter().map(Next::Lives));
        if self.orphans.0 != self.store.version() {
            self.orphans = (self.store.version(), batch::orphans(&self.store));
        }
        nexts.extend(self.orphans.1.iter().cloned().map(Next::Collects));
        nexts
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Arrives(request) => {
                let (_, sent) = self.requests.swap_remove(request);
                self.arrive(sent);
            }
            Next::Answers(reply) => {
                let reply = self.replies.swap_remove(reply);
                // Whoever has given it up does not hear it.
                let is_heard = reply.to.send(reply.response).is_ok();
                if let Some((process, kind, version)) = reply.tells.filter(|_| is_heard) {
                    self.tell_of(process, kind, version);
                }
            }
            Next::Says(stream) => self.say(stream),
            Next::Syncs(job) => {
                let lags = self.random.chance(self.faults.batch_lags);
                self.batch.sync(&mut self.store, &job, lags);
            }
            Next::Places(pod) => {
                let answers = |p: &&Process| !p.is_frozen && !self.is_silent;
                let asked: Vec<&Process> = self.processes.iter().filter(answers).collect();
                let asked = (!asked.is_empty()).then(|| *self.random.pick(&asked));
                let late = self.faults.binds_late;
                self.scheduler
                    .place(&mut self.store, &pod, asked, &mut self.random, late);
            }
            Next::Binds(binding) => self.scheduler.bind(&mut self.store, binding),
            Next::Lives(pod) => {
                let fails = self.random.chance(self.faults.pods_fail);
                self.kubelet.act(&mut self.store, &pod, fails);
            }
            Next::Collects(orphan) => batch::collect(&mut self.store, &orphan),
            Next::Mends(set) => self.sets.mend(&mut self.store, &set),
        }
    }

    /// A request reaches the API server.
    pub(crate) fn arrive(&mut self, sent: Sent) {
        if self.random.chance(self.faults.requests_fail) {
            let busy = server::status(503, "ServiceUnavailable", "etcd is away");
            self.replies
                .push(Reply::new(sent.reply, response(503, &busy)));
            return;
        }
        if self.random.chance(self.faults.requests_lost) {
            return;
        }
        if sent.path.ends_with("/eviction") && self.forbids_evictions() {
            let no = server::status(429, "TooManyRequests", "the disruption budget is spent");
            self.replies
                .push(Reply::new(sent.reply, response(429, &no)));
            return;
        }
        let stale = self.random.chance(self.faults.stale_lists);
        let age = self.random.below(40);
        // Kubernetes lists what is there now, where nobody asks for less. Here a list may be as old as
        // what a server keeps of its kind, but not older than what its reader has been told before.
        let kind = sent.path.rsplit('/').next().and_then(Kind::of);
        let told = kind.map_or(0, |kind| self.told(sent.process, kind));
        let as_of = stale.then(|| self.store.version().saturating_sub(age).max(told));
        let is_write = sent.is_write();
        let before = self.store.version();
        let answer = server::answer(&mut self.store, &sent, as_of);
        for change in &self.store.log[usize::try_from(before).unwrap()..] {
            nothing_is_overwritten_unseen(&self.store, change, &sent);
            self.checks.sent(change, sent.knew);
        }
        if is_write && self.random.chance(self.faults.replies_lost) {
            return;
        }
        let mut tells = None;
        let response = match answer {
            Answer::Object(code, object) => {
                let version = as_of.unwrap_or(self.store.version());
                let lists = kind.filter(|_| !is_write);
                tells = lists.map(|kind| (sent.process, kind, version));
                response(code, &object)
            }
            Answer::Watch(..) if self.random.chance(self.faults.outdated) => response(
                410,
                &server::status(410, "Expired", "too old resource version"),
            ),
            Answer::Watch(kind, version) => {
                let (stream, response) = Stream::open(sent.process, kind, version);
                self.streams.push(stream);
                response
            }
        };
        self.replies.push(Reply {
            to: sent.reply,
            response,
            tells,
        });
    }

    /// Up to which version a process has been told of a kind.
    fn told(&self, process: usize, kind: Kind) -> u64 {
        let told = self.told.get(&(process, kind));
        told.copied().unwrap_or_default()
    }

    fn tell_of(&mut self, process: usize, kind: Kind, version: u64) {
        let told = self.told.entry((process, kind)).or_default();
        *told = version.max(*told);
    }

    /// Whether a PodDisruptionBudget does now: for half a minute at a time.
    const fn forbids_evictions(&self) -> bool {
        let turn = self.store.now_ms / 30_000;
        ((turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & 1023) < self.faults.budgets
    }

    /// A watch says something, or should.
    fn say(&mut self, stream: usize) {
        if self.random.chance(self.faults.watches_cut) {
            self.streams.swap_remove(stream);
        } else if self.random.chance(self.faults.outdated) {
            self.streams.swap_remove(stream).outdate();
        } else {
            if self.faults.stalls > 0 && self.random.chance(self.faults.stalls) {
                let until = self.store.now_ms + self.random.between(500, 10_000);
                self.streams[stream].stalled_until_ms = until;
                return;
            }
            let missed = self.random.chance(self.faults.events_missed);
            let twice = self.random.chance(self.faults.events_doubled);
            let times = match (missed, twice) {
                (true, _) => 0,
                (_, true) => 2,
                _ => 1,
            };
            let stream = &mut self.streams[stream];
            stream.advance(&self.store, times);
            let (process, kind, version) = (stream.process, stream.kind, stream.version);
            self.tell_of(process, kind, version);
        }
    }

    fn bookmarks(&mut self) {
        if self.store.now_ms >= self.next_bookmark_ms {
            self.next_bookmark_ms = self.store.now_ms + 30_000;
            for stream in &mut self.streams {
                if !stream.lags(&self.store) {
                    stream.bookmark(&self.store);
                }
            }
        }
    }

    /// By Fowler, Noll and Vo.
    fn digest(&mut self) {
        for change in &self.store.log[self.digested..] {
            // A Lease says the time of day of this machine.
            let object = change
                .after
                .as_ref()
                .filter(|_| change.key.kind != Kind::Lease);
            let object = object.map(ToString::to_string).unwrap_or_default();
            let line = format!(
                "{} {:?} {:?} {object}",
                self.store.now_ms, change.key, change.by
            );
            for byte in line.bytes() {
                self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        self.digested = self.store.log.len();
    }
}
