//! Who holds which GPUs, and which there are, as the ledger is to have it.
//!
//! The driver says what something was learnt about, and only that is looked at. What has changed
//! goes into a log of bounded length; [`recorder`] writes it into the book, on a task of its own that
//! nobody waits for. Where it falls behind for too long, it goes on from what is held then.
//!
//! Moments are in whole seconds, like those on record: who gets a GPU after another begins no sooner
//! than that one ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prorata_core::{Event, NodeId, Snapshot, Time};
use prorata_ledger::entry::{Entry, Held, Picture, PlaceId};
use prorata_ledger::record::{End, Stock, Why};
use prorata_ledger::room::{Room, Span};
use rpds::RedBlackTreeMapSync;
use tokio::sync::watch;

use crate::observed::{Observed, Uid};

pub mod busy;
mod places;
pub mod recorder;
mod stock;

use places::Place;

/// Entries that are kept for whoever writes them.
const LOG_MAX: usize = 65_536;
/// How long places are remembered that became free: whoever takes one later is told of by then.
const REMEMBERED_MS: u64 = 600_000;

/// What is so, and what has happened lately. Copies share structure.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Whether everything has been looked at once.
    pub is_complete: bool,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
    /// How many entries there have been.
    pub count: u64,
    /// The last of them, by number.
    pub log: RedBlackTreeMapSync<u64, Entry>,
    /// Places that are held.
    pub held: RedBlackTreeMapSync<PlaceId, Arc<Held>>,
    /// What there is, by node and model.
    pub stock: RedBlackTreeMapSync<(String, String), Stock>,
    /// When jobs ended that are over and still there, by UID.
    pub ended: RedBlackTreeMapSync<Uid, u64>,
    /// Places that were held before anything was known and are free, until the book has them.
    pub over: Arc<Vec<(Arc<Held>, End)>>,
    /// Display names of tenants that hold something.
    pub names: RedBlackTreeMapSync<String, String>,
}

impl Accounts {
    /// The entries from this one on; `None` where some of them are forgotten.
    #[must_use]
    pub fn since(&self, number: u64) -> Option<Vec<Entry>> {
        let entries: Vec<Entry> = self
            .log
            .range(number..)
            .map(|(_, entry)| entry.clone())
            .collect();
        let missed = self.count.checked_sub(number)?;
        (u64::try_from(entries.len()) == Ok(missed)).then_some(entries)
    }

    /// Places that were held and are free again, as far as the log has both.
    fn gone(&self) -> Vec<(Arc<Held>, End)> {
        let mut held: BTreeMap<&PlaceId, &Arc<Held>> = BTreeMap::new();
        let mut gone = Vec::new();
        for entry in self.log.values() {
            match entry {
                Entry::Held(place) => drop(held.insert(&place.id, place)),
                Entry::Freed(id, end) => {
                    gone.extend(held.remove(id).map(|place| (place.clone(), *end)));
                }
                _ => {}
            }
        }
        gone
    }

    /// All that is so, at a moment.
    #[must_use]
    pub fn picture(&self, at_ms: u64) -> Picture {
        let names = self.names.iter();
        let ended = self.ended.iter();
        Picture {
            at_ms,
            since_ms: self.since_ms,
            held: self.held.values().cloned().collect(),
            stock: self.stock.values().cloned().collect(),
            ended: ended.map(|(uid, at)| (uid.clone(), *at)).collect(),
            over: self.over.to_vec(),
            gone: self.gone(),
            names: names.map(|(id, name)| (id.clone(), name.clone())).collect(),
        }
    }
}

/// Where the newest accounts are, for whoever writes them down.
#[derive(Debug)]
pub struct Listener {
    pub(crate) accounts: watch::Receiver<Accounts>,
    /// Entries before this one are written.
    pub(crate) written: Arc<AtomicU64>,
}

/// Keeps the accounts. The driver has it where there is a ledger.
#[derive(Debug)]
pub struct Accounting {
    accounts: Accounts,
    sender: watch::Sender<Accounts>,
    gpu_resource: String,
    written: Arc<AtomicU64>,
    /// Jobs and pods about which something was learnt.
    touched: BTreeSet<Uid>,
    /// Nodes likewise.
    nodes: BTreeSet<NodeId>,
    /// Why starts end that are about to, by job.
    reasons: BTreeMap<Uid, Why>,
    /// The start of each job that has held something.
    begun: BTreeMap<Uid, i64>,
    /// What is held on a node, by node and model.
    taken: BTreeMap<(String, String), u64>,
    /// Places that are held or became free lately, by node.
    rooms: BTreeMap<String, Room>,
    /// Since when stock was last seen, by node and model.
    since: BTreeMap<(String, String), u64>,
    /// The latest moment that was told, in milliseconds of Unix time, to the second.
    now_ms: u64,
}

impl Accounting {
    /// Nothing is known yet.
    #[must_use]
    pub fn begin(gpu_resource: &str) -> (Self, Listener) {
        let (sender, accounts) = watch::channel(Accounts::default());
        let written = Arc::new(AtomicU64::new(0));
        let listener = Listener {
            accounts,
            written: written.clone(),
        };
        let accounting = Self {
            accounts: Accounts::default(),
            sender,
            gpu_resource: gpu_resource.to_owned(),
            written,
            touched: BTreeSet::new(),
            nodes: BTreeSet::new(),
            reasons: BTreeMap::new(),
            begun: BTreeMap::new(),
            taken: BTreeMap::new(),
            rooms: BTreeMap::new(),
            since: BTreeMap::new(),
            now_ms: 0,
        };
        (accounting, listener)
    }

    /// The core is told these facts.
    pub fn told(&mut self, facts: &[Event]) {
        for fact in facts {
            match fact {
                Event::PodBound(pod, ..) | Event::PodGone(pod) => self.touch(pod.as_str()),
                Event::TaskBound(task, _) | Event::TaskFinished(task) => {
                    self.touch(task.job.uid());
                }
                Event::NodeSeen(node) => drop(self.nodes.insert(node.id.clone())),
                Event::NodeGone(node) => drop(self.nodes.insert(node.clone())),
                _ => {}
            }
        }
    }

    /// Something was learnt about a job.
    pub fn touch(&mut self, uid: &str) {
        self.touched.insert(uid.to_owned());
    }

    /// Looks at all that something was learnt about, as it is now.
    pub fn settle(&mut self, now: Time, observed: &Observed, snapshot: &Snapshot) {
        let before = (self.accounts.count, self.accounts.ended.size());
        let now_ms = now.as_millis();
        self.now_ms = self.now_ms.max(now_ms - now_ms % 1000);
        if !self.accounts.is_complete {
            self.note_over(observed, snapshot);
            self.accounts.since_ms = self.now_ms;
        }
        let touched = std::mem::take(&mut self.touched);
        // What is free is known before anybody takes it.
        for uid in &touched {
            self.note_end(uid, observed);
            self.free_places(uid, observed, snapshot);
        }
        for node in self.nodes.clone() {
            self.settle_stock(&node, observed);
        }
        for uid in &touched {
            self.take_places(uid, observed, snapshot);
        }
        for node in std::mem::take(&mut self.nodes) {
            self.settle_stock(&node, observed);
        }
        let is_news = before != (self.accounts.count, self.accounts.ended.size());
        if is_news || !self.accounts.is_complete {
            self.accounts.is_complete = true;
            self.trim();
            self.sender.send_replace(self.accounts.clone());
        }
    }

    /// What was held before anything was known, and is free now.
    fn note_over(&mut self, observed: &Observed, snapshot: &Snapshot) {
        let with = (self.now_ms, self.gpu_resource.as_str());
        let over = self.touched.iter();
        let over: Vec<_> = over
            .flat_map(|uid| places::over(uid, observed, snapshot, with))
            .collect();
        for (held, end) in &over {
            let room = self.rooms.entry(held.id.node.clone()).or_default();
            room.held.push(span(held, end.at_ms));
        }
        self.accounts.over = Arc::new(over);
    }

    fn free_places(&mut self, uid: &str, observed: &Observed, snapshot: &Snapshot) {
        let open = self.open(uid);
        if open.is_empty() {
            return;
        }
        self.note_leaver(uid, observed);
        let places = places::of(uid, &open, observed, snapshot);
        for held in &open {
            if !places.iter().any(|place| place.id == held.id) {
                self.free(held, uid, observed, snapshot);
            }
        }
        if self.open(uid).is_empty() {
            self.reasons.remove(uid);
        }
        if observed.plan(uid).is_none() {
            self.begun.remove(uid);
        }
    }

    fn take_places(&mut self, uid: &str, observed: &Observed, snapshot: &Snapshot) {
        let open = self.open(uid);
        let mut places = places::of(uid, &open, observed, snapshot);
        // Whatever a start takes later, it has not had since its admission.
        let known = self.begun.get(uid).copied();
        for place in &mut places {
            place.since_ms = place.since_ms.filter(|_| known != Some(place.id.epoch));
        }
        for place in places {
            if !open.iter().any(|held| held.id == place.id) {
                if place.id.epoch > 0 {
                    self.begun.insert(uid.to_owned(), place.id.epoch);
                }
                self.take(place, observed);
            }
        }
        // Who holds places that nobody knew of may have to leave already.
        self.note_leaver(uid, observed);
    }

    /// Whoever leaves for others is said to have done so when its places are free.
    fn note_leaver(&mut self, uid: &str, observed: &Observed) {
        if observed.leaver(uid).is_some() && !self.open(uid).is_empty() {
            self.reasons.insert(uid.to_owned(), Why::Preempted);
        }
    }

    /// Places that this job or pod held so far.
    fn open(&self, uid: &str) -> Vec<Arc<Held>> {
        let first = PlaceId {
            job_uid: uid.to_owned(),
            epoch: i64::MIN,
            seat: 0,
            node: String::new(),
        };
        let all = self.accounts.held.range(first..);
        let own = all.take_while(|(id, _)| id.job_uid == uid);
        own.map(|(_, held)| held.clone()).collect()
    }

    fn take(&mut self, place: Place, observed: &Observed) {
        let from_ms = place.since_ms.unwrap_or(self.now_ms).min(self.now_ms);
        let Some(mut held) = places::held(place, from_ms, observed) else {
            return;
        };
        // Others' clocks may say that it began before there was anything to have.
        if self.accounts.is_complete {
            let there = (held.id.node.clone(), held.model.clone());
            let since_ms = self.since.get(&there).copied();
            let room_ms = self.room(&held.id.node).since(span(&held, Span::LASTS));
            // Where it is more than there was, there is more from now on.
            let room_ms = room_ms.unwrap_or(self.now_ms);
            held.from_ms = since_ms.unwrap_or_default().max(room_ms);
        }
        let room = self.rooms.entry(held.id.node.clone()).or_default();
        room.held.push(span(&held, Span::LASTS));
        self.name(&held.payer.tenant, observed);
        let held = Arc::new(held);
        *self.on_node(&held) += held.gpu_milli;
        self.nodes.insert(held.id.node.as_str().into());
        let id = held.id.clone();
        self.accounts.held.insert_mut(id, held.clone());
        self.log(Entry::Held(held));
    }

    fn free(&mut self, held: &Held, uid: &str, observed: &Observed, snapshot: &Snapshot) {
        let reason = self.reasons.get(uid).copied();
        let end = End {
            at_ms: self.now_ms.max(held.from_ms),
            why: reason.unwrap_or_else(|| places::why(held, observed, snapshot)),
            estimated: false,
        };
        let taken = self.on_node(held);
        *taken = taken.saturating_sub(held.gpu_milli);
        self.nodes.insert(held.id.node.as_str().into());
        let room = self.rooms.entry(held.id.node.clone()).or_default();
        room.free(span(held, end.at_ms));
        room.forget(self.now_ms.saturating_sub(REMEMBERED_MS));
        self.accounts.held.remove_mut(&held.id);
        self.log(Entry::Freed(held.id.clone(), end));
    }

    /// What is known of the room on a node.
    fn room(&self, node: &str) -> Room {
        let first = (node.to_owned(), String::new());
        let stock = self.accounts.stock.range(first..);
        let stock = stock.take_while(|((of, _), _)| of == node);
        Room {
            there: stock.map(|(_, stock)| stock.gpu_milli).sum(),
            ..self.rooms.get(node).cloned().unwrap_or_default()
        }
    }

    fn on_node(&mut self, held: &Held) -> &mut u64 {
        let key = (held.id.node.clone(), held.model.clone());
        self.taken.entry(key).or_default()
    }

    /// When a job ended, as its object says for as long as it is there.
    fn note_end(&mut self, uid: &str, observed: &Observed) {
        match observed.job(uid).and_then(|view| view.ended) {
            Some(at) => self
                .accounts
                .ended
                .insert_mut(uid.to_owned(), at.as_millis()),
            None => drop(self.accounts.ended.remove_mut(uid)),
        }
    }

    /// What people call a tenant that holds something.
    fn name(&mut self, tenant: &str, observed: &Observed) {
        let view = observed.tenants().get(&tenant.into());
        let Some(name) = view.and_then(|view| view.account.display_name.clone()) else {
            return;
        };
        if self.accounts.names.get(tenant) == Some(&name) {
            return;
        }
        self.accounts
            .names
            .insert_mut(tenant.to_owned(), name.clone());
        self.log(Entry::Named {
            tenant: tenant.to_owned(),
            name,
            from_ms: self.now_ms,
        });
    }

    fn log(&mut self, entry: Entry) {
        self.accounts.log.insert_mut(self.accounts.count, entry);
        self.accounts.count += 1;
    }

    /// Forgets what is written, and what is too much.
    fn trim(&mut self) {
        let written = self.written.load(Ordering::Relaxed);
        if written > 0 {
            self.accounts.over = Arc::default();
        }
        let log = &mut self.accounts.log;
        while let Some(first) = log.first().map(|(number, _)| *number) {
            if first >= written && log.size() <= LOG_MAX {
                return;
            }
            log.remove_mut(&first);
        }
    }
}

/// For how long a place is held.
const fn span(held: &Held, until_ms: u64) -> Span {
    Span {
        from_ms: held.from_ms,
        until_ms,
        gpu_milli: held.gpu_milli,
    }
}
