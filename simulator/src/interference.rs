//! What sharing a GPU costs: how much slower a task runs beside others on its card.
//!
//! The numbers stand in a table of their own, `interference.yaml`, each with what it is based on.
//! All factors are integers in parts per million, so that a run repeats on every machine.
//!
//! Where pairs of kinds of work were measured, their speeds count instead of the formulas, on every
//! card without walls between its tasks.

pub mod gavel;

use std::collections::BTreeMap;
use std::sync::Arc;

use prorata_core::pairs::{Pairs, Work};
use prorata_core::{Mode, needs::Text};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// One, in parts per million.
pub const ONE: u64 = 1_000_000;

/// The table that is used where no other is named.
pub const TABLE: &str = include_str!("../interference.yaml");

/// How tasks that share a card slow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interference {
    time_slicing: Turns,
    mps: u64,
    mig: u64,
    fractional: Turns,
    jitter: u64,
    mps_faults: u64,
    pairs: Arc<Pairs>,
    hash: String,
}

/// A task on a device, as far as its neighbours feel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Thousandths of a whole GPU that it keeps busy when it is alone.
    pub busy: u32,
    /// Thousandths of a whole GPU that it may use here.
    pub part: u32,
    /// Its kind of work, where pairs with it were measured.
    pub work: Option<Work>,
}

/// Tasks that take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turns {
    slope: u64,
    free: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    time_slicing: Turns,
    mps: Mps,
    mig: Mig,
    fractional: Turns,
    jitter: u64,
    mps_faults: u64,
    #[serde(default)]
    pairs: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mps {
    pressure: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mig {
    overhead: u64,
}

/// No number of the table is greater: a thousandfold.
const GREATEST: u64 = 1000 * ONE;

impl Interference {
    /// Nobody slows anybody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The table that comes with the program.
    ///
    /// # Panics
    /// When it is wrong, which a test rules out.
    #[must_use]
    pub fn table() -> Self {
        Self::parse("interference.yaml", TABLE).expect("the table that is shipped is right")
    }

    /// Reads a table. `file` is only for the messages.
    ///
    /// # Errors
    /// When it is not such a table, or a number in it is out of range.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let read: File =
            serde_saphyr::from_str(text).map_err(|error| Problem::of_yaml(file, &error))?;
        let is_ours = read.api_version == "sim.prorata.dev/v1alpha1" && read.kind == "Interference";
        if !is_ours {
            let remedy =
                "begin with `apiVersion: sim.prorata.dev/v1alpha1` and `kind: Interference`";
            return Err(Problem::new(file, "kind", "is no such table", remedy));
        }
        let numbers = [
            ("timeSlicing.slope", read.time_slicing.slope),
            ("timeSlicing.free", read.time_slicing.free),
            ("mps.pressure", read.mps.pressure),
            ("mig.overhead", read.mig.overhead),
            ("fractional.slope", read.fractional.slope),
            ("fractional.free", read.fractional.free),
            ("jitter", read.jitter),
            ("mpsFaults", read.mps_faults),
        ];
        if let Some((field, number)) = numbers.into_iter().find(|(_, number)| *number > GREATEST) {
            let what = format!("{number} is more than a thousandfold");
            let remedy = format!("write parts per million, {GREATEST} at most");
            return Err(Problem::new(file, field, what, remedy));
        }
        let pairs = pairs(&read.pairs).map_err(|(field, what, remedy)| {
            Problem::new(file, &format!("pairs.{field}"), what, remedy)
        })?;
        Ok(Self {
            pairs: Arc::new(pairs),
            time_slicing: read.time_slicing,
            mps: read.mps.pressure,
            mig: read.mig.overhead,
            fractional: read.fractional,
            jitter: read.jitter,
            mps_faults: read.mps_faults,
            hash: hash(text),
        })
    }

    /// SHA-256 of the table, in hexadecimal; empty where nobody slows anybody.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// How fast kinds of work run beside each other, where that was measured.
    #[must_use]
    pub const fn pairs(&self) -> &Arc<Pairs> {
        &self.pairs
    }

    /// The standard deviation of the factor of a start on a time-sliced card, in millionths.
    #[must_use]
    pub const fn jitter(&self) -> u64 {
        self.jitter
    }

    /// How often one task brings down all on a card with MPS, in a million GPU-hours.
    #[must_use]
    pub const fn mps_faults(&self) -> u64 {
        self.mps_faults
    }

    /// How many times as long a task takes on a device that is given out like this, beside these
    /// others, in millionths; never less than [`ONE`].
    #[must_use]
    pub fn slowdown(&self, mode: &Mode, own: Client, others: &[Client]) -> u64 {
        if self.hash.is_empty() {
            return ONE;
        }
        let within = |client: &Client| u64::from(client.busy.min(client.part)) * 1000;
        if mode.is_shared()
            && let Some(speed) = self.measured(own, others)
        {
            return (ONE * ONE / speed.max(1)).min(GREATEST);
        }
        match mode {
            Mode::Exclusive => ONE,
            Mode::TimeSlice(_) => {
                let busy = |client: &Client| u64::from(client.busy) * 1000;
                self.time_slicing.slowdown(&own, others, busy)
            }
            Mode::Fractional => self.fractional.slowdown(&own, others, within),
            Mode::Mps(_) => {
                let pressure: u64 = others.iter().map(within).sum();
                times(own.squeezed(), ONE + times(self.mps, pressure))
            }
            Mode::Mig(_) => times(own.squeezed(), ONE + self.mig),
        }
    }
}

impl Interference {
    /// How fast a task was measured to run beside these others, in millionths; beside several, as if
    /// each slowed it by itself. `None` where that of one was not measured.
    fn measured(&self, own: Client, others: &[Client]) -> Option<u64> {
        let own = own.work.filter(|_| !others.is_empty())?;
        let mut speeds = others.iter().map(|other| {
            let speed = self.pairs.speed(own, other.work?);
            Some(u64::from(speed))
        });
        speeds.try_fold(ONE, |all, speed| Some(times(all, speed?)))
    }
}

/// A place, what is wrong there, and what helps.
pub type Wrong = (String, String, String);

/// The measured pairs of these rows: for each kind of work its speed beside each, in millionths of what
/// it does alone.
///
/// # Errors
/// With the row, when a speed is missing or out of range, or there are too many kinds.
pub fn pairs(rows: &BTreeMap<String, BTreeMap<String, u64>>) -> Result<Pairs, Wrong> {
    let mut speeds = Vec::new();
    for (own, row) in rows {
        let unknown = row.keys().find(|other| !rows.contains_key(*other));
        if let Some(other) = unknown {
            let what = format!("`{other}` has no row of its own");
            return Err((own.clone(), what, format!("add a row for {other}")));
        }
        for other in rows.keys() {
            let speed = row.get(other).copied().filter(|speed| *speed <= ONE);
            let speed = speed.and_then(|speed| u32::try_from(speed).ok());
            speeds.push(speed.ok_or_else(|| {
                let what = format!("there is no speed beside `{other}` from 0 to {ONE}");
                let remedy = "write millionths of what it does alone";
                (own.clone(), what, remedy.to_owned())
            })?);
        }
    }
    let works = rows.keys().map(|work| Text::from(work.as_str())).collect();
    Pairs::new(works, speeds).ok_or_else(|| {
        let what = format!("{} kinds of work are too many", rows.len());
        (String::new(), what, format!("write {} at most", Pairs::MAX))
    })
}

impl Turns {
    fn slowdown(self, own: &Client, others: &[Client], busy: impl Fn(&Client) -> u64) -> u64 {
        if others.is_empty() {
            return ONE;
        }
        let all: u64 = others.iter().chain([own]).map(busy).sum();
        ONE + times(self.slope, all.saturating_sub(self.free))
    }
}

impl Client {
    /// How many times as long it takes for having only its part.
    fn squeezed(self) -> u64 {
        let ratio = u64::from(self.busy) * ONE / u64::from(self.part.max(1));
        ratio.max(ONE)
    }
}

/// The product of two numbers of millionths.
pub(crate) const fn times(a: u64, b: u64) -> u64 {
    a.saturating_mul(b) / ONE
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(busy: u32, part: u32) -> Client {
        let work = None;
        Client { busy, part, work }
    }

    /// In thousandths.
    fn slowdown(mode: &Mode, own: Client, others: &[Client]) -> u64 {
        Interference::table().slowdown(mode, own, others) / 1000
    }

    #[test]
    fn whole_cards_and_lone_tasks_run_at_full_speed() {
        let own = client(1000, 500);
        assert_eq!(slowdown(&Mode::Exclusive, own, &[own]), 1000);
        assert_eq!(slowdown(&Mode::TimeSlice(2), own, &[]), 1000);
        assert_eq!(slowdown(&Mode::Fractional, own, &[]), 1000);
        let nobody = Interference::none();
        assert_eq!(nobody.slowdown(&Mode::Mps(2), own, &[own]), ONE);
    }

    #[test]
    fn turns_cost_half_of_what_does_not_fit_on_the_card() {
        let mode = Mode::TimeSlice(4);
        let beside = |busy| slowdown(&mode, client(600, 250), &[client(busy, 250)]);
        assert_eq!([beside(300), beside(350), beside(1000)], [1000, 1000, 1325]);
        let busy = client(1000, 250);
        assert_eq!(slowdown(&mode, busy, &[busy; 3]), 2525);
        let share = client(1000, 400);
        assert_eq!(slowdown(&Mode::Fractional, share, &[share]), 1000);
        assert_eq!(
            slowdown(&Mode::Fractional, share, &[client(1000, 600)]),
            1025
        );
    }

    #[test]
    fn small_parts_of_a_card_with_mps_suffer_most() {
        let mode = Mode::Mps(2);
        // Each at its own limit, as the points that the table names were measured.
        let beside = |part| slowdown(&mode, client(part, part), &[client(1000, 1000 - part)]);
        assert_eq!([100, 200, 800, 900].map(beside), [1540, 1480, 1120, 1060]);
        // A task that would use the whole card, on half of it, beside one that idles.
        assert_eq!(slowdown(&mode, client(1000, 500), &[client(0, 500)]), 2000);
        assert_eq!(slowdown(&mode, client(300, 500), &[client(200, 500)]), 1120);
    }

    #[test]
    fn an_instance_is_slower_by_its_size_and_a_little() {
        let mode = Mode::Mig(Vec::new().into());
        assert_eq!(slowdown(&mode, client(1000, 500), &[]), 2060);
        assert_eq!(slowdown(&mode, client(400, 500), &[]), 1030);
    }

    #[test]
    fn what_was_measured_counts_instead_of_the_formulas() {
        let text = format!(
            "{TABLE}\npairs:\n  calm: {{calm: 1000000, greedy: 800000}}\n  greedy: {{calm: 500000, greedy: 0}}\n"
        );
        let table = Interference::parse("t.yaml", &text).unwrap();
        let work = |name: &str| Client {
            work: table.pairs().work(name),
            ..client(1000, 500)
        };
        let slow = |own: &str, others: &[&str]| {
            let others: Vec<Client> = others.iter().map(|name| work(name)).collect();
            table.slowdown(&Mode::TimeSlice(4), work(own), &others) / 1000
        };
        assert_eq!(slow("calm", &["greedy"]), 1250);
        assert_eq!(slow("greedy", &["calm"]), 2000);
        assert_eq!(slow("greedy", &["greedy"]), 1_000_000, "it hardly moves");
        assert_eq!(slow("greedy", &["calm", "calm"]), 4000);
        assert_eq!(slow("calm", &[]), 1000);
        assert_eq!(slow("calm", &["unheard-of"]), 1525, "the formula again");
        let instances = Mode::Mig(Vec::new().into());
        assert_eq!(
            table.slowdown(&instances, work("calm"), &[work("greedy")]) / 1000,
            2060
        );
        let hole = text.replace(", greedy: 800000", "");
        let told = Interference::parse("t.yaml", &hole)
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("pairs.calm: there is no speed beside `greedy`"),
            "{told}"
        );
    }

    #[test]
    fn a_table_that_is_none_is_refused() {
        let refused = |from: &str, to: &str| {
            let text = TABLE.replace(from, to);
            Interference::parse("t.yaml", &text)
                .unwrap_err()
                .to_string()
        };
        let told = refused("kind: Interference", "kind: Scenario");
        assert!(
            told.starts_with("error: t.yaml: kind: is no such table\n"),
            "{told}"
        );
        let told = refused("pressure: 600000", "pressure: 2000000000");
        assert!(
            told.contains("mps.pressure: 2000000000 is more than a thousandfold"),
            "{told}"
        );
        let told = refused("jitter:", "gitter:");
        assert!(told.contains("did you mean `jitter`?"), "{told}");
    }
}
