//! How fast kinds of work run beside each other on a shared GPU.

use std::collections::BTreeMap;

use prorata_core::Pairs;
use prorata_simulator::interference;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// How fast kinds of work run beside each other on a shared GPU. Nobody is placed beside work with which
/// both would get less done than one of them alone, where there is room elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Interference {
    /// For each kind of work its speed beside each kind, in millionths of what it does alone: `pairs` of a
    /// table that `prorata-sim interference` makes. A pod says by the annotation `prorata.dev/work` of
    /// which kind it is.
    #[serde(deserialize_with = "read_pairs")]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, u32>>")]
    pub pairs: Pairs,
}

fn read_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
    let rows: BTreeMap<String, BTreeMap<String, u64>> = Deserialize::deserialize(deserializer)?;
    interference::pairs(&rows).map_err(|(row, what, remedy)| {
        let row = if row.is_empty() {
            row
        } else {
            format!("{row}: ")
        };
        de::Error::custom(format!("{row}{what}, {remedy}"))
    })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

    #[test]
    fn every_kind_of_work_has_a_speed_beside_each() {
        let pairs = |rows: &str| {
            read(&format!(
                "extender: {{{TLS}}}\ninterference: {{pairs: {{{rows}}}}}\n"
            ))
        };
        let good = pairs("a: {a: 500000, b: 900000}, b: {a: 300000, b: 1000000}").unwrap();
        let work = |name: &str| good.interference.pairs.work(name).unwrap();
        assert_eq!(good.interference.pairs.speed(work("b"), work("a")), 300_000);
        let missing = pairs("a: {a: 500000, b: 900000}, b: {a: 300000}").unwrap_err();
        assert!(
            missing.contains("b: there is no speed beside `b`"),
            "{missing}"
        );
        let unknown = pairs("a: {a: 500000, z: 900000}").unwrap_err();
        assert!(unknown.contains("`z` has no row of its own"), "{unknown}");
    }
}
