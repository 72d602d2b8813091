//! Whose jobs come after all others' when they would borrow, and push nobody out.

use crate::resource::Resources;
use crate::tree::{ROOT, Seat, Tree};

impl Tree {
    /// Whether this is so of jobs of a tenant: it is deferred, or one above it.
    pub(crate) fn is_deferred(&self, leaf: Seat) -> bool {
        self.way_up(leaf, ROOT).any(|seat| self.is_set_back(seat))
    }

    /// Whether it is so of a job for which a tenant would be charged a request: whoever is deferred
    /// would borrow.
    pub(crate) fn defers(&self, leaf: Seat, request: &Resources, asked: &Resources) -> bool {
        if !self.is_deferred(leaf) {
            return false;
        }
        self.with(leaf, request)
            .any(|(seat, with)| self.is_set_back(seat) && self.borrows(seat, &with, asked))
    }
}
