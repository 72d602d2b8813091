//! Which cards work should be given to, by what the driver has told of them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::reading::{Card, Silence, Xid};
use crate::api::gpunode::Health;

/// Errors of a program, not of the card that it ran on.
const OF_PROGRAMS: [u64; 6] = [13, 31, 43, 45, 68, 109];

/// What is remembered against cards. Nothing is held against one for ever, or only a restart would
/// make it healthy again.
#[derive(Debug)]
pub struct Record {
    hold: Duration,
    /// The last error of each card, and when it was told.
    errors: BTreeMap<u32, (Xid, Timestamp)>,
}

impl Record {
    /// Nothing yet. An error counts for so long.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Self {
            hold,
            errors: BTreeMap::new(),
        }
    }

    /// Notes what the driver has told by now.
    pub fn note(&mut self, now: Timestamp, xids: &[Xid]) {
        let hold = self.hold;
        let fresh = |at: &Timestamp| now.duration_since(*at).unsigned_abs() < hold;
        self.errors.retain(|_, (_, at)| fresh(at));
        let of_cards = xids.iter().filter(|xid| is_of_card(**xid));
        self.errors
            .extend(of_cards.map(|xid| (xid.card, (*xid, now))));
    }

    /// A driver that was loaded anew has reset its cards.
    pub fn clear(&mut self) {
        self.errors.clear();
    }

    /// How a card is, and why it is not healthy.
    #[must_use]
    pub fn judge(&self, card: &Card) -> (Health, Option<String>) {
        let seen = match card {
            Card::Silent { why, .. } => return judge_silence(why),
            Card::Seen(seen) => seen,
        };
        if let Some((xid, _)) = self.errors.get(&seen.identity.index) {
            let name = xid
                .code
                .map_or("unknown".to_owned(), |code| code.to_string());
            return (
                Health::Unhealthy,
                Some(format!("the driver told of Xid {name}")),
            );
        }
        if seen
            .load
            .slow
            .ecc_uncorrected
            .is_some_and(|errors| errors > 0)
        {
            let why = "its memory has had errors that could not be corrected";
            return (Health::Degraded, Some(why.to_owned()));
        }
        (Health::Healthy, None)
    }
}

fn is_of_card(xid: Xid) -> bool {
    xid.code.is_none_or(|code| !OF_PROGRAMS.contains(&code))
}

fn judge_silence(why: &Silence) -> (Health, Option<String>) {
    let (health, message) = match why {
        Silence::Lost => (Health::Lost, "the driver has lost it"),
        Silence::ResetRequired => (Health::Unhealthy, "it works only after a reset"),
        Silence::Unresponsive => (Health::Unresponsive, "a call about it does not return"),
        Silence::Failed(error) => (Health::Unhealthy, error.as_str()),
    };
    (health, Some(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Load, Seen, Slow};
    use super::*;

    fn card(uncorrected: Option<u64>) -> Card {
        let slow = Slow {
            ecc_uncorrected: uncorrected,
            ..Slow::default()
        };
        Card::Seen(Box::new(Seen {
            load: Load {
                slow,
                ..Load::default()
            },
            ..Seen::default()
        }))
    }

    fn told(code: u64, second: i64) -> Record {
        let mut record = Record::new(Duration::from_secs(60));
        let xid = Xid {
            card: 0,
            code: Some(code),
        };
        record.note(Timestamp::from_second(second).unwrap(), &[xid]);
        record
    }

    #[test]
    fn an_error_of_a_program_is_not_the_cards() {
        for code in OF_PROGRAMS {
            assert_eq!(told(code, 0).judge(&card(None)).0, Health::Healthy);
        }
        assert_eq!(told(79, 0).judge(&card(None)).0, Health::Unhealthy);
    }

    #[test]
    fn an_error_is_not_held_against_a_card_for_ever() {
        let mut record = told(79, 0);
        record.note(Timestamp::from_second(59).unwrap(), &[]);
        assert_eq!(record.judge(&card(None)).0, Health::Unhealthy);
        record.note(Timestamp::from_second(60).unwrap(), &[]);
        assert_eq!(record.judge(&card(None)), (Health::Healthy, None));
    }

    #[test]
    fn what_is_not_told_is_nothing_against_it() {
        let record = Record::new(Duration::from_secs(60));
        assert_eq!(record.judge(&card(None)).0, Health::Healthy);
        assert_eq!(record.judge(&card(Some(0))).0, Health::Healthy);
        assert_eq!(record.judge(&card(Some(1))).0, Health::Degraded);
    }
}
