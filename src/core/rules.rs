//! Whom a job may push out.
//!
//! 1. **priority**: jobs of the own tenant with lower priority.
//! 2. **reclaim**: the preemptor stays within its guarantee on the resources whose shortage
//!    blocks it; any tenant that borrows those, and whose ancestors below the common one all do.
//! 3. **fair share**, unless the policy leaves it out or the preemptor is deferred, at the almost-common ancestors, as Kueue's
//!    rules S2-a and S2-b:
//!    `share(preemptor + job) ≤ share(target − victim) < share(target)`; and if that finds
//!    nothing, `share(preemptor + job) < share(target)`.
//!
//! A job that was evicted since the last arrival or end may not use rule 3, and one that was
//! evicted twice none of them: without that, some worlds evict for ever. With several resources,
//! two tenants may each be within their guarantee on what they lack and borrow what the other
//! lacks. As it is, no job has others leave more than twice. And who has had to leave often is spared for
//! a while, longer each time: arrivals without end then push nobody out without end.
//!
//! Under an order other than by share there is one rule: those that come later leave, the last
//! first.

use alloc::vec::Vec;

use crate::decision::Rule;
use crate::resource::{Resource, Resources};
use crate::share::Share;
use crate::tree::{Seat, Tree};

/// The two forms of the fair-share rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Kueue's S2-a.
    Strict,
    /// Kueue's S2-b.
    Initial,
}

/// On whose behalf others have to leave.
pub(crate) struct Preemptor {
    pub(crate) seat: Seat,
    /// What the job would be charged.
    pub(crate) request: Resources,
    /// What each of its tasks asks for.
    pub(crate) asked: Resources,
    /// Resources whose shortage blocks the job; none where it is beyond its guarantee in all.
    pub(crate) blocking: Vec<Resource>,
}

/// Where the ways up from a target and from the preemptor meet.
#[derive(Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) target: Seat,
    /// The nearest seat that is above both.
    pub(crate) common: Seat,
    /// The target or the one above it that stands right below that.
    theirs: Seat,
}

impl Preemptor {
    /// Where the way up from a target and ours meet; `None` of what is no tenant.
    pub(crate) fn meeting(&self, tree: &Tree, target: Seat) -> Option<Meeting> {
        let common = tree.common(target, self.seat);
        let theirs = tree.way_up(target, common).last()?;
        Some(Meeting {
            target,
            common,
            theirs,
        })
    }

    /// Whether the job may push out one of the target's that is charged `held`. `ours` is
    /// [`Self::share_with_job`] there.
    pub(crate) fn allows(
        &self,
        tree: &Tree,
        (meeting, ours): (Meeting, Option<Share>),
        held: &Resources,
        rule: Rule,
        form: Form,
    ) -> bool {
        match rule {
            Rule::Priority | Rule::Order => true,
            Rule::Reclaim => self.reclaims(tree, meeting, held),
            Rule::FairShare => {
                ours.is_some_and(|ours| self.is_fairer(tree, (meeting, ours), held, form))
            }
        }
    }

    /// Rule 2.
    fn reclaims(&self, tree: &Tree, meeting: Meeting, held: &Resources) -> bool {
        let borrowed = |r: &Resource| {
            let borrows = |seat| tree.borrowed(seat).get(*r) > 0;
            held.get(*r) > 0 && meeting.way_up(tree).all(borrows)
        };
        self.is_within_guarantee(tree) && self.blocking.iter().any(borrowed)
    }

    /// Rule 3.
    fn is_fairer(
        &self,
        tree: &Tree,
        (meeting, ours): (Meeting, Share),
        held: &Resources,
        form: Form,
    ) -> bool {
        let theirs = meeting.theirs;
        let before = tree.share_now(theirs, &self.asked);
        if ours >= before {
            return false;
        }
        let mut without = tree.without(meeting.target, held);
        let Some((_, without)) = without.find(|(seat, _)| *seat == theirs) else {
            return false;
        };
        let after = tree.share(theirs, &without, &self.asked);
        let fair = form == Form::Initial || ours <= after;
        fair && after < before && self.all_borrow(tree, meeting)
    }

    /// Whether anything of a tenant may be taken: it and those above it, below the common one,
    /// borrow what the rule is about, and by share its side has more than ours would have.
    pub(crate) fn is_open(
        &self,
        tree: &Tree,
        (meeting, ours): (Meeting, Option<Share>),
        rule: Rule,
    ) -> bool {
        if rule == Rule::Reclaim {
            // A share may be zero although something is borrowed, where others keep all there is.
            return self.blocking.iter().any(|r| {
                let borrows = |seat| tree.borrowed(seat).get(*r) > 0;
                meeting.way_up(tree).all(borrows)
            });
        }
        let theirs = tree.share_now(meeting.theirs, &self.asked);
        Some(theirs) > ours && self.all_borrow(tree, meeting)
    }

    /// Whether the target and those above it, below the common one, have a share of what is borrowed.
    fn all_borrow(&self, tree: &Tree, meeting: Meeting) -> bool {
        let borrows = |seat| tree.share_now(seat, &self.asked) > Share::ZERO;
        meeting.way_up(tree).all(borrows)
    }

    /// The share of our side where it meets a target's, with the job.
    pub(crate) fn share_with_job(&self, tree: &Tree, meeting: Meeting) -> Option<Share> {
        let ours = tree.way_up(self.seat, meeting.common).last()?;
        let mut with = tree.with(self.seat, &self.request);
        let (_, with) = with.find(|(seat, _)| *seat == ours)?;
        Some(tree.share(ours, &with, &self.asked))
    }

    /// Whether the tenant stays within what it owns of the resources whose shortage blocks it.
    pub(crate) fn is_within_guarantee(&self, tree: &Tree) -> bool {
        self.blocking.iter().all(|r| self.owns(tree, *r))
    }

    /// Whether the tenant stays within what it owns of anything that is asked for.
    pub(crate) fn owns_something(&self, tree: &Tree) -> bool {
        let asked = |r: &Resource| self.request.get(*r) > 0;
        let mut asked = Resource::ALL.into_iter().filter(asked);
        asked.any(|r| self.owns(tree, r))
    }

    fn owns(&self, tree: &Tree, r: Resource) -> bool {
        let with = tree
            .usage(self.seat)
            .get(r)
            .checked_add(self.request.get(r));
        with.is_some_and(|with| with <= tree.subtree(self.seat).get(r))
    }
}

impl Meeting {
    /// The target and those above it, up to where the ways meet.
    pub(crate) fn way_up(self, tree: &Tree) -> impl Iterator<Item = Seat> + '_ {
        tree.way_up(self.target, self.common)
    }
}
