//! Whoever keeps the book may crash between any two batches, or after a batch of which it never
//! heard that it was written. The book is the same then, but for what nobody could see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Databases, held, runtime, stock};
use crate::bill::bill;
use crate::entry::{Entry, Held, Picture, PlaceId};
use crate::price::{Price, Prices, Rate};
use crate::price_file::PriceFile;
use crate::record::{End, Extract, Hold, Stock, Why};
use crate::store::{Book, Purpose};

/// Places of each node.
const SEATS: usize = 4;

/// What happens at one moment.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A job begins with so many places, if there are as many on a node.
    Begins { places: usize },
    /// One of those that run ends.
    Ends { which: usize, why: Why },
    /// One place of one of them becomes free before the others.
    Shrinks { which: usize },
    /// A node comes, or an empty one goes.
    Changes { node: u8 },
    /// Nothing, but the book is kept.
    Nothing,
}

/// A crash after a batch, and how many are lost before somebody goes on with the book.
#[derive(Clone, Copy, Debug)]
struct Crash {
    after: usize,
    lost: usize,
    /// The batch was written, but whoever wrote it did not hear of it and writes it again.
    repeats: bool,
}

/// What is so at a moment.
#[derive(Clone, Debug, Default)]
struct World {
    at_ms: u64,
    held: BTreeMap<PlaceId, Arc<Held>>,
    stock: BTreeMap<String, Stock>,
    /// What was held by jobs that have finished, as their objects tell for ever.
    over: Vec<(Arc<Held>, End)>,
    jobs: u32,
}

impl World {
    fn step(&mut self, seconds: u64, happening: Happening) -> Vec<Entry> {
        self.at_ms += seconds * 1000;
        match happening {
            Happening::Begins { places } => self.begin(places),
            Happening::Ends { which, why } => self.end(which, usize::MAX, why),
            Happening::Shrinks { which } => self.end(which, 1, Why::Preempted),
            Happening::Changes { node } => self.change(&format!("n{node}")),
            Happening::Nothing => Vec::new(),
        }
    }

    fn begin(&mut self, places: usize) -> Vec<Entry> {
        let taken = |node: &str| self.held.keys().filter(|id| id.node == node).count();
        let mut nodes = self.stock.keys();
        let Some(node) = nodes.find(|node| taken(node) + places <= SEATS).cloned() else {
            return Vec::new();
        };
        self.jobs += 1;
        let job = format!("j{}", self.jobs);
        let mut entries = Vec::new();
        for seat in (0..).take(places) {
            let mut held = held(&job, seat, self.at_ms);
            held.id.node.clone_from(&node);
            let held = Arc::new(held);
            self.held.insert(held.id.clone(), held.clone());
            entries.push(Entry::Held(held));
        }
        entries
    }

    fn end(&mut self, which: usize, places: usize, why: Why) -> Vec<Entry> {
        let jobs: BTreeSet<&String> = self.held.keys().map(|id| &id.job_uid).collect();
        let Some(job) = jobs.iter().nth(which % jobs.len().max(1)).copied().cloned() else {
            return Vec::new();
        };
        let of_job = self.held.keys().filter(|id| id.job_uid == job);
        let ids: Vec<PlaceId> = of_job.take(places).cloned().collect();
        let end = End {
            at_ms: self.at_ms,
            why,
            estimated: false,
        };
        let free = |id: PlaceId| {
            let held = self.held.remove(&id);
            let told = held.filter(|_| why == Why::Finished);
            self.over.extend(told.map(|held| (held, end)));
            Entry::Freed(id, end)
        };
        ids.into_iter().map(free).collect()
    }

    fn change(&mut self, node: &str) -> Vec<Entry> {
        if self.held.keys().any(|id| id.node == node) {
            return Vec::new();
        }
        if let Some(gone) = self.stock.remove(node) {
            return vec![Entry::Gone {
                node: gone.node,
                model: gone.model,
                at_ms: self.at_ms,
                estimated: false,
            }];
        }
        let there = Stock {
            node: node.to_owned(),
            gpu_milli: 1000 * SEATS as u64,
            ..stock(self.at_ms)
        };
        self.stock.insert(node.to_owned(), there.clone());
        vec![Entry::There(there)]
    }

    fn picture(&self) -> Picture {
        Picture {
            at_ms: self.at_ms,
            since_ms: self.at_ms,
            held: self.held.values().cloned().collect(),
            stock: self.stock.values().cloned().collect(),
            over: self.over.clone(),
            ..Picture::default()
        }
    }
}

/// The batches of a history, each with the world after it.
fn history(steps: &[(u64, Happening)]) -> Vec<(Vec<Entry>, World)> {
    let mut world = World {
        at_ms: 1_000_000,
        ..World::default()
    };
    let batch = |(seconds, happening): &(u64, Happening)| {
        let entries = world.step(*seconds, *happening);
        (entries, world.clone())
    };
    steps.iter().map(batch).collect()
}

/// Keeps the book, and crashes. Returns the times that nobody saw.
async fn keep(book: &Book, batches: &[(Vec<Entry>, World)], crashes: &[Crash]) -> Vec<(u64, u64)> {
    let (mut unseen, mut kept, mut at) = (Vec::new(), None, 0);
    while let Some((entries, world)) = batches.get(at) {
        match kept {
            None => {
                book.take_up(&world.picture()).await.unwrap();
            }
            Some(since) => {
                book.write(entries, (since, world.at_ms)).await.unwrap();
            }
        }
        let crash = crashes.iter().find(|crash| crash.after == at);
        if let Some(since) = kept.filter(|_| crash.is_some_and(|crash| crash.repeats)) {
            book.write(entries, (since, world.at_ms)).await.unwrap();
        }
        kept = Some(world.at_ms);
        at += 1;
        if let Some(crash) = crash.filter(|crash| crash.lost > 0) {
            at += crash.lost;
            let until = batches.get(at).map_or(u64::MAX, |(_, world)| world.at_ms);
            unseen.push((world.at_ms, until));
            kept = None;
        }
    }
    unseen
}

/// No hold is invented or there twice, and of each the book says what is so, or an estimate.
fn check(truth: &Extract, book: &Extract, unseen: &[(u64, u64)]) -> Result<(), TestCaseError> {
    let within = |from_ms: u64, until_ms: u64| {
        let mut gaps = unseen.iter();
        gaps.any(|(since, until)| *since < from_ms && until_ms <= *until)
    };
    let places = |all: &Extract| -> u64 { all.holds.iter().map(|hold| hold.gpu_milli).sum() };
    let found = |hold: &Hold| -> u64 {
        let same = |other: &&Hold| {
            let same_end = match other.end {
                Some(end) if end.estimated => hold.end.is_none_or(|real| {
                    let since = unseen.iter().any(|gap| gap.0 == end.at_ms);
                    since && end.at_ms <= real.at_ms
                }),
                Some(end) => Some(end) == hold.end,
                // Nobody went on with the book.
                None => hold.end.is_none_or(|real| {
                    let mut last = unseen.iter().filter(|gap| gap.1 == u64::MAX);
                    last.any(|gap| gap.0 < real.at_ms)
                }),
            };
            (&other.id, other.from_ms) == (&hold.id, hold.from_ms) && same_end
        };
        book.holds
            .iter()
            .filter(same)
            .map(|hold| hold.gpu_milli)
            .sum()
    };
    let mut missed = 0;
    for hold in &truth.holds {
        let ended = hold.end.map(|end| end.at_ms);
        if found(hold) < hold.gpu_milli {
            let unseen = within(hold.from_ms, ended.unwrap_or(u64::MAX));
            prop_assert!(unseen, "{hold:?} is not in {:?}", book.holds);
            missed += hold.gpu_milli;
        }
    }
    prop_assert!(places(book) + missed >= places(truth));
    prop_assert!(places(book) <= places(truth), "{:?}", book.holds);
    Ok(())
}

/// What was held was there, at every moment.
fn adds_up(book: &Extract) -> Result<(), TestCaseError> {
    let price = Price {
        model: "L4".to_owned(),
        pool: None,
        priority_class: None,
        rate: Rate::Hourly(3_600_000_000),
        from_ms: 0,
        until_ms: None,
        source: String::new(),
    };
    let file = PriceFile {
        prices: Prices::new([price]).unwrap(),
        ..PriceFile::default()
    };
    let bill = bill(book, &file);
    prop_assert!(bill.is_ok(), "{bill:?}");
    Ok(())
}

fn happening() -> impl Strategy<Value = Happening> {
    let whys = [Why::Finished, Why::Preempted, Why::Requeued, Why::Withdrawn];
    let why = prop::sample::select(whys.to_vec());
    prop_oneof![
        4 => (1..=SEATS).prop_map(|places| Happening::Begins { places }),
        3 => (0..9_usize, why).prop_map(|(which, why)| Happening::Ends { which, why }),
        1 => (0..9_usize).prop_map(|which| Happening::Shrinks { which }),
        2 => (0..3_u8).prop_map(|node| Happening::Changes { node }),
        1 => Just(Happening::Nothing),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    (0..30_usize, 0..5_usize, any::<bool>()).prop_map(|(after, lost, repeats)| Crash {
        after,
        lost,
        repeats,
    })
}

#[test]
fn a_crash_at_any_point_changes_nothing_but_what_nobody_saw() {
    let databases = Databases::start();
    let runtime = runtime();
    let config = ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec((1..5_u64, happening()), 5..30);
    let crashes = prop::collection::vec(crash(), 0..4);
    let ran = TestRunner::new(config).run(&(steps, crashes), |(steps, crashes)| {
        let batches = history(&steps);
        let (true_ones, others) = (databases.fresh(), databases.fresh());
        for (truth, other) in true_ones.iter().zip(&others) {
            runtime.block_on(async {
                let truth = Book::open(truth, Purpose::Write).await.unwrap();
                let book = Book::open(other, Purpose::Write).await.unwrap();
                keep(&truth, &batches, &[]).await;
                let unseen = keep(&book, &batches, &crashes).await;
                let whole = truth.extract(0, u64::MAX).await.unwrap();
                let kept = book.extract(0, u64::MAX).await.unwrap();
                if unseen.is_empty() {
                    prop_assert_eq!(&whole, &kept);
                }
                adds_up(&whole)?;
                adds_up(&kept)?;
                check(&whole, &kept, &unseen)?;
                truth.close().await;
                book.close().await;
                Ok::<(), TestCaseError>(())
            })?;
        }
        Ok(())
    });
    ran.unwrap();
}
