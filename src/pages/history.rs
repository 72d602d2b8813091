//! Who held what, since somebody looks: so many measures and no more. When there are too many, two
//! become one, and each stands for twice the time.

use std::collections::BTreeMap;

use prorata_dashboard::{Strand, Timeline};

use super::picture::{OTHERS, Picture};
use crate::cli::shares::Holding;

/// Measures that are kept.
const MEASURES_MAX: usize = 240;
/// Tenants that are kept of each; charts tell far fewer apart.
const TENANTS_MAX: usize = 1024;
/// What the first measures stand for, in seconds.
const FIRST_SECONDS: i64 = 10;

/// The measures, oldest first.
#[derive(Debug)]
pub(super) struct History {
    every: i64,
    measures: Vec<Measure>,
}

/// What was seen within a while: sums over so many looks, of GPUs in thousandths.
#[derive(Clone, Debug, Default, PartialEq)]
struct Measure {
    /// When it began, in seconds since 1970.
    at: i64,
    looks: u64,
    capacity: u64,
    held: u64,
    due: u64,
    /// What each tenant held, and what was due to it.
    tenants: BTreeMap<String, (u64, u64)>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            every: FIRST_SECONDS,
            measures: Vec::new(),
        }
    }
}

impl History {
    /// Takes up what is so now.
    pub(super) fn record(&mut self, picture: &Picture) {
        let now = Measure::of(picture);
        match self.measures.last_mut() {
            Some(last) if now.at < last.at + self.every => last.add(&now),
            _ => self.measures.push(now),
        }
        if self.measures.len() > MEASURES_MAX {
            self.every *= 2;
            let pairs = std::mem::take(&mut self.measures);
            for measure in pairs {
                match self.measures.last_mut() {
                    Some(last) if measure.at < last.at + self.every => last.add(&measure),
                    _ => self.measures.push(measure),
                }
            }
        }
    }

    /// Since when there are measures, in seconds since 1970.
    pub(super) fn since(&self) -> Option<i64> {
        self.measures.first().map(|measure| measure.at)
    }

    /// What these tenants held; [`OTHERS`] is what all tenants held but those beside it.
    pub(super) fn timeline(&self, now: i64, tenants: &[&Holding]) -> Timeline {
        let named: Vec<&str> = tenants
            .iter()
            .map(|holding| holding.tenant.as_str())
            .collect();
        let each = |measure: &Measure| u64::try_from(now - measure.at).unwrap_or_default();
        let strand = |name: &&str| Strand {
            name: (*name).to_owned(),
            held: self.values(|measure| measure.held_by(name, &named)),
            due: self.values(|measure| measure.due_to(name, &named)),
        };
        Timeline {
            ago: self.measures.iter().map(each).collect(),
            capacity: self.values(|measure| measure.capacity),
            strands: named.iter().map(strand).collect(),
        }
    }

    fn values(&self, of: impl Fn(&Measure) -> u64) -> Vec<u64> {
        let mean = |measure: &Measure| of(measure) / measure.looks.max(1);
        self.measures.iter().map(mean).collect()
    }
}

impl Measure {
    fn of(picture: &Picture) -> Self {
        let due = |holding: &Holding| holding.entitled_milli_gpus.unwrap_or_default();
        let tops = picture.holdings.iter().filter(|holding| holding.depth == 0);
        let all = picture.holdings.iter().take(TENANTS_MAX);
        Self {
            at: picture.at.as_second(),
            looks: 1,
            capacity: picture.capacity.unwrap_or_default(),
            held: picture.held(),
            due: tops.map(due).sum(),
            tenants: all
                .map(|h| (h.tenant.clone(), (h.held_milli_gpus, due(h))))
                .collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.looks += other.looks;
        self.capacity += other.capacity;
        self.held += other.held;
        self.due += other.due;
        for (name, (held, due)) in &other.tenants {
            let sum = self.tenants.entry(name.clone()).or_default();
            sum.0 += held;
            sum.1 += due;
        }
    }

    fn held_by(&self, name: &str, named: &[&str]) -> u64 {
        let held = |name: &str| self.tenants.get(name).map_or(0, |(held, _)| *held);
        rest(name, named, self.held, held)
    }

    fn due_to(&self, name: &str, named: &[&str]) -> u64 {
        let due = |name: &str| self.tenants.get(name).map_or(0, |(_, due)| *due);
        rest(name, named, self.due, due)
    }
}

fn rest(name: &str, named: &[&str], all: u64, of: impl Fn(&str) -> u64) -> u64 {
    match name {
        OTHERS => {
            let told = named.iter().filter(|name| **name != OTHERS);
            all.saturating_sub(told.map(|name| of(name)).sum())
        }
        name => of(name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;
    use crate::pages::picture::Sees;
    use k8s_openapi::jiff::Timestamp;

    #[test]
    fn whatever_happens_there_are_only_so_many_measures_and_they_reach_back_to_the_first() {
        let (mut history, mut picture) = (History::default(), picture());
        let end = 200_000;
        for second in (0..end).step_by(10) {
            picture.at = Timestamp::from_second(second).unwrap();
            history.record(&picture);
            assert!(history.measures.len() <= MEASURES_MAX);
        }
        assert_eq!(history.since(), Some(0));
        let shown = picture.seen_by(&Sees::All);
        let timeline = history.timeline(end, &shown.strands());
        assert!(
            timeline.ago.len() > MEASURES_MAX / 2 - 1,
            "{}",
            timeline.ago.len()
        );
        assert!(timeline.capacity.iter().all(|capacity| *capacity == 32_000));
        let red = timeline.strands.iter().find(|s| s.name == "red").unwrap();
        assert!(
            red.held.iter().all(|held| *held == 24_000),
            "means, not sums"
        );
    }

    #[test]
    fn everybody_else_is_what_the_named_do_not_hold() {
        let (mut history, picture) = (History::default(), picture());
        history.record(&picture);
        let shown = picture.seen_by(&super::super::picture::tests::only(&[("speech", "speech")]));
        let timeline = history.timeline(3_000, &shown.strands());
        let held: Vec<_> = timeline
            .strands
            .iter()
            .map(|s| (s.name.as_str(), s.held[0]))
            .collect();
        // Of `blue` nobody but `speech` is a part.
        assert_eq!(held, [("speech", 0), (OTHERS, 24_000)]);
    }
}
