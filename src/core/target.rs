//! A tenant of which a job may take something, and when it is its turn.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::queue::{Line, Victim};
use crate::resource::Resources;
use crate::rules::Meeting;
use crate::share::Share;
use crate::tree::Tree;

/// A tenant of which something may be taken.
pub(crate) struct Target<'a> {
    pub(crate) meeting: Meeting,
    pub(crate) line: &'a Line,
    /// The last of its jobs that was looked at.
    pub(crate) last: Option<&'a Victim>,
    /// The shares on its way up.
    height: Vec<Share>,
}

impl<'a> Target<'a> {
    pub(crate) const fn new(meeting: Meeting, line: &'a Line) -> Self {
        Self {
            meeting,
            line,
            last: None,
            height: Vec::new(),
        }
    }

    /// The shares on its way up, from right below where the ways meet.
    pub(crate) fn measure(&mut self, tree: &Tree, asked: &Resources) {
        let way = self.meeting.way_up(tree);
        self.height.clear();
        self.height
            .extend(way.map(|seat| tree.share_now(seat, asked)));
        self.height.reverse();
    }

    /// Whether it is its turn after another: its shares are lower, or its name is later where they are
    /// equal.
    pub(crate) fn is_below(&self, other: &Self, tree: &Tree) -> bool {
        let name = |target: &Self| Reverse(tree.id(target.meeting.target));
        let by_height = self.height.cmp(&other.height);
        by_height.then_with(|| name(self).cmp(&name(other))).is_lt()
    }
}
