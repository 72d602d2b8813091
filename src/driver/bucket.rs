//! So many at once, and then so many a second: a token bucket, kept as the moment at which it is full
//! again (the generic cell rate algorithm of ITU-T I.371).

use std::time::Duration;

use tokio::time::Instant;

/// What may be taken now and then.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What is taken comes back after so long, one after the other.
    interval: Duration,
    /// How long it takes to fill an empty one.
    whole: Duration,
    /// When it is full again; it is, before anything was taken.
    full: Option<Instant>,
}

impl Bucket {
    /// It holds `most`, and is full; so many come back in a second.
    pub(super) fn new(most: u32, per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        Self {
            interval,
            whole: interval * most,
            full: None,
        }
    }

    /// When there is something in it: a moment that is past if there is now.
    pub(super) fn due(&self) -> Option<Instant> {
        let full = self.full?;
        (full + self.interval).checked_sub(self.whole)
    }

    /// Whether there is anything in it.
    pub(super) fn has_any(&self, now: Instant) -> bool {
        self.due().is_none_or(|due| due <= now)
    }

    /// Takes so many out of it, more than there are if need be.
    pub(super) fn take(&mut self, now: Instant, tokens: u32) {
        let full = self.full.map_or(now, |full| full.max(now));
        self.full = Some(full + self.interval * tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant) -> usize {
        let takes = |bucket: &mut Bucket| bucket.has_any(now).then(|| bucket.take(now, 1));
        std::iter::from_fn(|| takes(bucket)).count()
    }

    #[test]
    fn so_many_at_once_and_then_some_each_second() {
        let mut bucket = Bucket::new(200, 10);
        let began = Instant::now();
        let mut after = |ms| taken(&mut bucket, began + Duration::from_millis(ms));
        assert_eq!(after(0), 200);
        assert_eq!(after(2_500), 25);
        assert_eq!(after(3_000), 5);
        assert_eq!(after(3_600_000), 200);
    }

    #[test]
    fn what_takes_more_than_there_are_is_waited_for() {
        let mut bucket = Bucket::new(20, 10);
        let now = Instant::now();
        bucket.take(now, 64);
        assert!(!bucket.has_any(now));
        assert_eq!(bucket.due(), Some(now + Duration::from_millis(4_500)));
    }
}
