//! The order of jobs within one tenant.

use core::cmp::Reverse;

use rpds::RedBlackTreeSetSync;

use crate::id::JobId;
use crate::job::Job;
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
struct Turn {
    priority: Reverse<i32>,
    submitted: Time,
    job: JobId,
}

/// The waiting jobs of one tenant, in the order in which they would start.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Queue {
    order: Order,
    turns: RedBlackTreeSetSync<Turn>,
}

impl Queue {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            turns: RedBlackTreeSetSync::default(),
        }
    }

    pub(crate) fn insert(&mut self, job: &Job) {
        self.turns.insert_mut(self.turn(job));
    }

    pub(crate) fn remove(&mut self, job: &Job) {
        self.turns.remove_mut(&self.turn(job));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.turns.iter().map(|turn| &turn.job)
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
