//! Since when there was room on a node for what is held there: clocks differ, and moments are told
//! in whole seconds, so that a place may be said to be taken before the one was free that it had to wait for.

/// What is known of the room on one node. Moments are in milliseconds of Unix time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// How much there is, in thousandths of a GPU.
    pub there: u64,
    /// Nothing is known of what was before.
    pub since_ms: u64,
    /// What was held there since, and is.
    pub held: Vec<Span>,
}

/// A place that is held from a moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From when on.
    pub from_ms: u64,
    /// Until when, exclusively; [`Span::LASTS`] while it goes on.
    pub until_ms: u64,
    /// How much, in thousandths of a GPU.
    pub gpu_milli: u64,
}

impl Span {
    /// The end of what goes on.
    pub const LASTS: u64 = u64::MAX;

    /// One that goes on.
    #[must_use]
    pub const fn lasting(from_ms: u64, gpu_milli: u64) -> Self {
        Self {
            from_ms,
            until_ms: Self::LASTS,
            gpu_milli,
        }
    }
}

impl Room {
    /// Since when a place can have been held that is said to be held for a while, beside all others;
    /// `None` where there was too little room for it at the end, too.
    #[must_use]
    pub fn since(&self, said: Span) -> Option<u64> {
        let earliest = said.from_ms.max(self.since_ms);
        let ends = self.held.iter().map(|span| span.until_ms);
        let ends = ends.filter(|at| (earliest..said.until_ms).contains(at));
        let mut moments: Vec<u64> = ends.chain([earliest]).collect();
        moments.sort_unstable();
        moments
            .into_iter()
            .find(|from_ms| self.fits(*from_ms, said))
    }

    fn fits(&self, from_ms: u64, said: Span) -> bool {
        let begun = self.held.iter().map(|span| span.from_ms);
        let mut begun = begun.filter(|at| (from_ms..said.until_ms).contains(at));
        let fits = |at: u64| self.taken(at) + said.gpu_milli <= self.there;
        fits(from_ms) && begun.all(fits)
    }

    fn taken(&self, at_ms: u64) -> u64 {
        let held = self.held.iter();
        let then = held.filter(|span| (span.from_ms..span.until_ms).contains(&at_ms));
        then.map(|span| span.gpu_milli).sum()
    }

    /// A place that went on is free.
    pub fn free(&mut self, span: Span) {
        let lasting = Span::lasting(span.from_ms, span.gpu_milli);
        let mut held = self.held.iter_mut();
        if let Some(known) = held.find(|known| **known == lasting) {
            known.until_ms = span.until_ms;
        }
    }

    /// Forgets what was free before a moment: nothing is taken before that any more.
    pub fn forget(&mut self, before_ms: u64) {
        let old = self.held.extract_if(.., |span| span.until_ms < before_ms);
        self.since_ms = old.map(|span| span.until_ms).fold(self.since_ms, u64::max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn span(from_ms: u64, until_ms: u64, gpu_milli: u64) -> Span {
        Span {
            from_ms,
            until_ms,
            gpu_milli,
        }
    }

    fn room(held: &[Span]) -> Room {
        Room {
            there: 8000,
            since_ms: 0,
            held: held.to_vec(),
        }
    }

    #[test]
    fn it_is_held_since_it_is_said_to_be_where_others_left_room_for_both() {
        let since = |held: &[Span], gpu_milli| room(held).since(Span::lasting(10, gpu_milli));
        assert_eq!(since(&[], 8000), Some(10));
        // Four were held until 12, and four were free beside them.
        let until_12 = span(0, 12, 4000);
        assert_eq!(since(&[until_12], 4000), Some(10));
        assert_eq!(since(&[until_12], 5000), Some(12));
        assert_eq!(since(&[until_12, Span::lasting(5, 4000)], 4000), Some(12));
        // Somebody else took the room that became free, and no other.
        assert_eq!(since(&[until_12, Span::lasting(12, 4000)], 4000), Some(10));
        assert_eq!(since(&[Span::lasting(12, 4000)], 5000), None);
    }

    #[test]
    fn what_was_held_for_a_while_needs_room_for_no_longer() {
        let later = room(&[Span::lasting(20, 8000)]);
        assert_eq!(later.since(span(10, 20, 8000)), Some(10));
        assert_eq!(later.since(span(10, 21, 8000)), None);
    }

    #[test]
    fn what_is_forgotten_is_waited_for() {
        let mut room = room(&[span(0, 5, 1000), Span::lasting(3, 8000)]);
        room.free(span(3, 9, 8000));
        room.forget(9);
        assert_eq!(room.held, [span(3, 9, 8000)]);
        assert_eq!(room.since(Span::lasting(1, 8000)), Some(9));
        assert_eq!(room.since(span(1, 2, 0)), Some(5));
    }
}
