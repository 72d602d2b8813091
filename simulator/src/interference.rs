//! What sharing a GPU costs: how much slower a task runs beside others on its card.
//!
//! The numbers stand in a table of their own, `interference.yaml`, each with what it is based on.
//! All factors are integers in parts per million, so that a run repeats on every machine.

use prorata_core::Mode;
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
    hash: String,
}

/// A task on a device, as far as its neighbours feel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Thousandths of a whole GPU that it keeps busy when it is alone.
    pub busy: u32,
    /// Thousandths of a whole GPU that it may use here.
    pub part: u32,
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
        Ok(Self {
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
        Client { busy, part }
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
