//! How a node divides its GPUs, by the names that administrators use. Pure.

use std::fmt;
use std::str::FromStr;

use prorata_core::device::WHOLE;
use prorata_core::{Mode, Node};

/// As many clients as MPS takes.
const CLIENTS_MAX: u32 = 48;

/// How every GPU of a node is divided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    /// Not at all: `exclusive`.
    Exclusive,
    /// Into so many slots, whose users take turns: `timeslice-4`.
    TimeSlice(u32),
    /// Into so many slots, whose users compute side by side: `mps-4`.
    Mps(u32),
    /// Into instances of this profile: `mig-1g.10gb`.
    Mig(String),
}

impl Partition {
    /// How a node divides its GPUs, by what it offers; `None` while it offers none, and where they
    /// are divided in several ways.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        match &node.gpus.mode {
            Mode::Mig(instances) => {
                let first = instances.first()?;
                let alike = instances.iter().all(|i| i.profile == first.profile);
                alike.then(|| Self::Mig(first.profile.to_string()))
            }
            _ if node.cards() == 0 => None,
            Mode::Exclusive => Some(Self::Exclusive),
            Mode::TimeSlice(slots) => Some(Self::TimeSlice(*slots)),
            Mode::Mps(slots) => Some(Self::Mps(*slots)),
            Mode::Fractional => None,
        }
    }

    /// Into how many slots a card is divided, where it is.
    #[must_use]
    pub const fn slots(&self) -> Option<u32> {
        match self {
            Self::TimeSlice(slots) | Self::Mps(slots) => Some(*slots),
            Self::Exclusive | Self::Mig(_) => None,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => f.write_str("exclusive"),
            Self::TimeSlice(slots) => write!(f, "timeslice-{slots}"),
            Self::Mps(slots) => write!(f, "mps-{slots}"),
            Self::Mig(profile) => write!(f, "mig-{profile}"),
        }
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let within = |slots: &str, most| {
            let number: Option<u32> = slots.parse().ok();
            number.filter(|number| (2..=most).contains(number) && number.to_string() == slots)
        };
        let read = match text.split_once('-') {
            None if text == "exclusive" => Some(Self::Exclusive),
            Some(("timeslice", slots)) => within(slots, WHOLE).map(Self::TimeSlice),
            Some(("mps", slots)) => within(slots, CLIENTS_MAX).map(Self::Mps),
            Some(("mig", profile)) if is_profile(profile) => Some(Self::Mig(profile.to_owned())),
            _ => None,
        };
        read.ok_or_else(|| {
            format!("`{text}` is no mode of a node, expected one such as exclusive, timeslice-4, mps-4 or mig-1g.10gb")
        })
    }
}

/// Such as `1g.10gb`.
fn is_profile(text: &str) -> bool {
    let parts = text
        .strip_suffix("gb")
        .and_then(|text| text.split_once("g."));
    let is_number = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    parts.is_some_and(|(slices, gib)| is_number(slices, 1) && is_number(gib, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Gpus, Resources};

    #[test]
    fn names_are_those_of_the_spec() {
        for name in [
            "exclusive",
            "timeslice-2",
            "timeslice-1000",
            "mps-48",
            "mig-1g.10gb",
            "mig-7g.141gb",
        ] {
            let read: Partition = name.parse().unwrap();
            assert_eq!(read.to_string(), name);
        }
        for wrong in [
            "",
            "shared",
            "timeslice-1",
            "timeslice-1001",
            "timeslice-04",
            "mps-49",
            "mps-+4",
            "mig-",
            "mig-10g.5gb",
            "mig-1g.+5gb",
            "exclusive-1",
        ] {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_node_that_offers_nothing_is_divided_in_no_way() {
        let node = |cards, mode| Node {
            allocatable: Resources::gpus(cards),
            gpus: Gpus {
                mode,
                ..Gpus::default()
            },
            ..Node::new("a")
        };
        let of = |cards, mode| Partition::of(&node(cards, mode)).map(|p| p.to_string());
        assert_eq!(of(2, Mode::Exclusive).as_deref(), Some("exclusive"));
        assert_eq!(of(2, Mode::Mps(4)).as_deref(), Some("mps-4"));
        assert_eq!(of(0, Mode::Mps(4)), None);
        assert_eq!(of(0, Mode::Exclusive), None);
    }
}
