//! The order of jobs within one tenant.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::id::JobId;
use crate::job::{Job, Kind};
use crate::reason::Reason;
use crate::time::Time;

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Between tenants by weighted dominant share above the guarantee, within a tenant by
    /// PriorityClass and then age.
    #[default]
    Drf,
    /// The oldest job of all that fits, whoever's it is and whatever its priority.
    Fifo,
}

/// A job's place in its tenant's queue: PriorityClass value, then age, then namespace and name.
// The order of the fields is the order of the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    priority: Reverse<i32>,
    submitted: Time,
    pub(crate) job: JobId,
}

/// The waiting jobs of one tenant, by kind: those of one kind start or fail together, so that a
/// cycle costs what differs, not what waits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Queue {
    order: Order,
    groups: RedBlackTreeMapSync<Kind, Group>,
}

/// The waiting jobs of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Group {
    turns: RedBlackTreeSetSync<Turn>,
    /// Why they wait, as they were last told.
    reason: Option<Reason>,
    /// Those that have not been told yet.
    untold: RedBlackTreeSetSync<Turn>,
}

impl Queue {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            groups: RedBlackTreeMapSync::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn insert(&mut self, job: &Job) {
        let turn = self.turn(job);
        self.edit(job.kind(), |group| {
            group.turns.insert_mut(turn.clone());
            group.untold.insert_mut(turn);
        });
    }

    pub(crate) fn remove(&mut self, job: &Job) {
        let turn = self.turn(job);
        self.edit(job.kind(), |group| {
            group.turns.remove_mut(&turn);
            group.untold.remove_mut(&turn);
        });
    }

    /// The first job of a kind that is not passed over.
    pub(crate) fn first_but(&self, passed_over: &BTreeSet<Kind>) -> Option<&JobId> {
        let groups = self
            .groups
            .iter()
            .filter(|(kind, _)| !passed_over.contains(kind));
        let first = groups.filter_map(|(_, group)| group.turns.first()).min()?;
        Some(&first.job)
    }

    /// The kinds of jobs that wait.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.groups.keys()
    }

    /// Tells the jobs of a kind why they wait, and answers with those that did not know.
    pub(crate) fn tell(&mut self, kind: Kind, reason: Reason) -> Vec<Turn> {
        let Some(group) = self.groups.get(&kind) else {
            return Vec::new();
        };
        let known = group.reason == Some(reason);
        let news = if known { &group.untold } else { &group.turns };
        let told: Vec<Turn> = news.iter().cloned().collect();
        if !told.is_empty() {
            self.edit(kind, |group| {
                group.reason = Some(reason);
                group.untold = RedBlackTreeSetSync::default();
            });
        }
        told
    }

    /// Why a job waits, as it was last told.
    pub(crate) fn reason(&self, job: &Job) -> Reason {
        let group = self.groups.get(&job.kind());
        let told = group.filter(|group| !group.untold.contains(&self.turn(job)));
        told.and_then(|group| group.reason)
            .unwrap_or(Reason::NotYetEvaluated)
    }

    fn edit(&mut self, kind: Kind, edit: impl FnOnce(&mut Group)) {
        let mut group = self.groups.get(&kind).cloned().unwrap_or_default();
        edit(&mut group);
        if group.turns.is_empty() {
            self.groups.remove_mut(&kind);
        } else {
            self.groups.insert_mut(kind, group);
        }
    }

    fn turn(&self, job: &Job) -> Turn {
        let priority = match self.order {
            Order::Drf => job.priority,
            Order::Fifo => 0,
        };
        Turn {
            priority: Reverse(priority),
            submitted: job.submitted,
            job: job.id.clone(),
        }
    }
}
