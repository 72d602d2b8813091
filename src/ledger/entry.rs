//! What is written into the book: facts, each with what tells it from every other.
//!
//! A hold is kept place by place, because the places of a gang may become free one after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::{End, Payer, Stock, Why};

/// One place of one start of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId {
    /// The UID of the user's object.
    pub job_uid: String,
    /// Which of its starts: the epoch of its admission; 0 where nothing admitted it.
    pub epoch: i64,
    /// Which of that start's places.
    pub seat: u32,
    /// The node.
    pub node: String,
}

/// A place is held from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub id: PlaceId,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// The model of the GPUs there.
    pub model: String,
    /// The node's pool; empty where it is of none.
    pub pool: String,
    /// How the node divides its GPUs.
    pub mode: String,
    /// How much of them, in thousandths of a GPU; never nothing.
    pub gpu_milli: u64,
    /// Who pays.
    pub payer: Payer,
    /// Whose object in that namespace: `Job`, `PyTorchJob`, `Pod`.
    pub kind: String,
    /// Its name.
    pub job: String,
    /// Its PriorityClass; empty where it names none.
    pub priority_class: String,
}

/// How busy the GPUs of a place were between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Whose.
    pub id: PlaceId,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when, exclusively.
    pub until_ms: u64,
    /// How busy, in thousandths.
    pub milli: u32,
}

/// Somebody has found out how a hold really ended. What was written first stays in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Which place.
    pub id: PlaceId,
    /// When that place was taken, as the book has it.
    pub from_ms: u64,
    /// When this was found out; the latest correction counts.
    pub written_ms: u64,
    /// When it ended.
    pub at_ms: u64,
    /// Why it ended.
    pub why: Why,
    /// How that is known, for whoever doubts it.
    pub note: String,
}

/// One fact. Told twice, it is in the book once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A place is held. Nothing happens while it is held already.
    Held(Arc<Held>),
    /// A place was held while nobody kept the book. Nothing happens if the book knows of it.
    Missed(Arc<Held>, End),
    /// The place is free again. Nothing happens unless it was held by then.
    Freed(PlaceId, End),
    /// So many GPUs of a model are on a node. Nothing happens while some are there already.
    There(Stock),
    /// They are no longer there, or no longer as many.
    Gone {
        /// The node.
        node: String,
        /// The model.
        model: String,
        /// Since when, in milliseconds of Unix time.
        at_ms: u64,
        /// Whether nobody saw it.
        estimated: bool,
    },
    /// A sample.
    Busy(Busy),
    /// An end was other than it is in the book.
    Corrected(Correction),
    /// A tenant is called like this from a moment on.
    Named {
        /// The tenant.
        tenant: String,
        /// Its display name; empty where it has none any more.
        name: String,
        /// From when on, in milliseconds of Unix time.
        from_ms: u64,
    },
}

/// All that is held, and all that there is, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The moment, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Since when all that happens has been seen.
    pub since_ms: u64,
    /// Places that are held, and since when as far as that is known.
    pub held: Vec<Arc<Held>>,
    /// What there is, and since when it has been seen.
    pub stock: Vec<Stock>,
    /// When jobs ended that are over, by UID, as their objects say.
    pub ended: BTreeMap<String, u64>,
    /// Places that were held by some of these, with their ends.
    pub over: Vec<(Arc<Held>, End)>,
    /// Places that were seen to be held, and to become free again, before anybody wrote it down.
    pub gone: Vec<(Arc<Held>, End)>,
    /// Display names of tenants.
    pub names: BTreeMap<String, String>,
}
