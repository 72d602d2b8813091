//! What GPUs cost, for whom, and from when to when.

use std::collections::{BTreeMap, BTreeSet};

use crate::period::moment;

/// Factors are in thousandths.
const FACTOR: u128 = 1000;

/// What a GPU costs in an hour, or how much more or less than it would otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The model.
    pub model: String,
    /// Of this pool alone.
    pub pool: Option<String>,
    /// For jobs of this PriorityClass alone.
    pub priority_class: Option<String>,
    /// How much.
    pub rate: Rate,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when, exclusively; `None` until further notice.
    pub until_ms: Option<u64>,
    /// Where that comes from, in words.
    pub source: String,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many millionths of the currency an hour.
    Hourly(u64),
    /// So many thousandths of what the next less specific price comes to.
    Factor(u32),
}

/// GPUs that cost the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gpus<'a> {
    /// Their model.
    pub model: &'a str,
    /// The pool of their node; empty where it is of none.
    pub pool: &'a str,
    /// The PriorityClass of the job that holds them; empty where it has none, and for idle ones.
    pub priority_class: &'a str,
}

/// Prices, at most one of the same GPUs at a time. The most specific one counts: model, pool and
/// class before model and pool, before model and class, before model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Vec<Price>>);

/// Why prices are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// It ends before it begins.
    #[error("ends on {until}, not after it begins on {from}", until = moment(*until_ms), from = moment(*from_ms))]
    Backwards {
        /// Which of the prices, as they were given.
        index: usize,
        /// When it begins.
        from_ms: u64,
        /// When it ends.
        until_ms: u64,
    },
    /// Two at a time.
    #[error("is the second price of the same GPUs on {at}", at = moment(*at_ms))]
    Twice {
        /// The later of the two, as they were given.
        index: usize,
        /// When.
        at_ms: u64,
    },
}

/// There is no price, so there is no bill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no price of {model:?}{of_pool} on {at}, so there is no bill: add one to the price file, by that name, that begins by then",
    of_pool = if pool.is_empty() { String::new() } else { format!(" in pool {pool:?}") }, at = moment(*at_ms))]
pub struct Unpriced {
    /// The model.
    pub model: String,
    /// The pool; empty where there is none.
    pub pool: String,
    /// When.
    pub at_ms: u64,
}

/// One price for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From when on.
    pub from_ms: u64,
    /// Until when, exclusively.
    pub until_ms: u64,
    /// Millionths of the currency an hour.
    pub hourly_micros: u64,
}

impl Prices {
    /// Prices in any order.
    ///
    /// # Errors
    /// When two of the same GPUs are in force at a time, or one ends before it begins.
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Result<Self, PriceError> {
        let prices: Vec<Price> = prices.into_iter().collect();
        for (index, price) in prices.iter().enumerate() {
            if let Some(until_ms) = price.until_ms.filter(|until| *until <= price.from_ms) {
                let from_ms = price.from_ms;
                return Err(PriceError::Backwards {
                    index,
                    from_ms,
                    until_ms,
                });
            }
            let both = |other: &&Price| other.is_of_the_same(price) && other.overlaps(price);
            if let Some(other) = prices[..index].iter().find(both) {
                let at_ms = price.from_ms.max(other.from_ms);
                return Err(PriceError::Twice { index, at_ms });
            }
        }
        let mut by_model: BTreeMap<String, Vec<Price>> = BTreeMap::new();
        for price in prices {
            by_model.entry(price.model.clone()).or_default().push(price);
        }
        Ok(Self(by_model))
    }

    /// What GPUs cost from one moment to another, in order and without a gap.
    ///
    /// # Errors
    /// When there is no price for a part of it.
    pub fn stretches(
        &self,
        gpus: Gpus<'_>,
        from_ms: u64,
        until_ms: u64,
    ) -> Result<Vec<Stretch>, Unpriced> {
        let of: Vec<&Price> = self
            .0
            .get(gpus.model)
            .into_iter()
            .flatten()
            .filter(|p| p.applies_to(gpus))
            .collect();
        let ends = of
            .iter()
            .flat_map(|price| [Some(price.from_ms), price.until_ms])
            .flatten();
        let inner = ends.filter(|at| (from_ms..until_ms).contains(at));
        let starts: BTreeSet<u64> = inner.chain([from_ms]).filter(|at| *at < until_ms).collect();
        let mut stretches: Vec<Stretch> = Vec::new();
        for from_ms in starts {
            let hourly_micros = hourly(&of, from_ms).ok_or_else(|| Unpriced {
                model: gpus.model.to_owned(),
                pool: gpus.pool.to_owned(),
                at_ms: from_ms,
            })?;
            match stretches.last_mut() {
                Some(last) if last.hourly_micros == hourly_micros => last.until_ms = until_ms,
                Some(last) => {
                    last.until_ms = from_ms;
                    stretches.push(Stretch {
                        from_ms,
                        until_ms,
                        hourly_micros,
                    });
                }
                None => stretches.push(Stretch {
                    from_ms,
                    until_ms,
                    hourly_micros,
                }),
            }
        }
        Ok(stretches)
    }

    /// Milliseconds times hourly price of one GPU from one moment to another, summed over the prices
    /// that were in force; `None` inside where that is too much to count.
    ///
    /// # Errors
    /// When there is no price for a part of it.
    pub(crate) fn weigh(
        &self,
        gpus: Gpus<'_>,
        from_ms: u64,
        until_ms: u64,
    ) -> Result<Option<u128>, Unpriced> {
        let stretches = self.stretches(gpus, from_ms, until_ms)?;
        let weights = stretches
            .iter()
            .map(|s| u128::from(s.until_ms - s.from_ms) * u128::from(s.hourly_micros));
        Ok(weights.into_iter().try_fold(0_u128, u128::checked_add))
    }

    /// All of them, by model, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Price> {
        self.0.values().flatten()
    }
}

impl Price {
    fn is_of_the_same(&self, other: &Self) -> bool {
        let of = |price: &Self| {
            (
                price.model.clone(),
                price.pool.clone(),
                price.priority_class.clone(),
            )
        };
        of(self) == of(other)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let before =
            |one: &Self, other: &Self| one.until_ms.is_some_and(|until| until <= other.from_ms);
        !before(self, other) && !before(other, self)
    }

    fn applies_to(&self, gpus: Gpus<'_>) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        self.model == gpus.model
            && is(&self.pool, gpus.pool)
            && is(&self.priority_class, gpus.priority_class)
    }

    fn is_in_force(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && self.until_ms.is_none_or(|until| at_ms < until)
    }

    const fn specificity(&self) -> (bool, bool) {
        (self.pool.is_some(), self.priority_class.is_some())
    }
}

/// The most specific price in force, with the factors that are more specific still, to the millionth.
fn hourly(of: &[&Price], at_ms: u64) -> Option<u64> {
    let mut in_force: Vec<&&Price> = of.iter().filter(|price| price.is_in_force(at_ms)).collect();
    in_force.sort_by_key(|price| std::cmp::Reverse(price.specificity()));
    let (mut times, mut over) = (1_u128, 1_u128);
    for price in in_force {
        match price.rate {
            Rate::Factor(factor) => {
                times *= u128::from(factor);
                over *= FACTOR;
            }
            Rate::Hourly(micros) => {
                return u64::try_from((u128::from(micros) * times + over / 2) / over).ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(from_ms: u64, until_ms: Option<u64>, hourly_micros: u64) -> Price {
        Price {
            model: "a".to_owned(),
            pool: None,
            priority_class: None,
            rate: Rate::Hourly(hourly_micros),
            from_ms,
            until_ms,
            source: String::new(),
        }
    }

    fn of(pool: Option<&str>, class: Option<&str>, rate: Rate) -> Price {
        Price {
            pool: pool.map(str::to_owned),
            priority_class: class.map(str::to_owned),
            rate,
            ..price(0, None, 0)
        }
    }

    fn gpus<'a>(model: &'a str, pool: &'a str, priority_class: &'a str) -> Gpus<'a> {
        Gpus {
            model,
            pool,
            priority_class,
        }
    }

    #[test]
    fn each_moment_costs_what_was_in_force_then() {
        let prices = Prices::new([price(10, None, 7), price(0, Some(10), 5)]).unwrap();
        assert_eq!(
            prices.weigh(gpus("a", "", ""), 8, 13),
            Ok(Some(2 * 5 + 3 * 7))
        );
        assert_eq!(prices.weigh(gpus("a", "", ""), 3, 3), Ok(Some(0)));
    }

    #[test]
    fn gaps_and_contradictions_are_told() {
        let gap = Prices::new([price(0, Some(10), 5), price(11, None, 7)]).unwrap();
        assert_eq!(gap.weigh(gpus("a", "", ""), 0, 12).unwrap_err().at_ms, 10);
        assert_eq!(gap.weigh(gpus("b", "", ""), 4, 5).unwrap_err().at_ms, 4);
        let twice = Prices::new([price(0, None, 5), price(11, None, 7)]).unwrap_err();
        assert_eq!(
            twice,
            PriceError::Twice {
                index: 1,
                at_ms: 11
            }
        );
        let backwards = Prices::new([price(5, Some(5), 5)]);
        assert!(matches!(
            backwards,
            Err(PriceError::Backwards { index: 0, .. })
        ));
        let unpriced = gap
            .weigh(gpus("b", "x", ""), 86_400_000, 86_400_001)
            .unwrap_err();
        assert!(
            unpriced
                .to_string()
                .starts_with("there is no price of \"b\" in pool \"x\" on 1970-01-02, ")
        );
    }

    #[test]
    fn the_most_specific_price_counts() {
        let prices = Prices::new([
            price(0, None, 1000),
            of(None, Some("low"), Rate::Hourly(500)),
            of(Some("spot"), None, Rate::Hourly(400)),
            of(Some("spot"), Some("low"), Rate::Factor(333)),
            of(Some("own"), None, Rate::Factor(1500)),
        ])
        .unwrap();
        let hourly =
            |pool, class| prices.stretches(gpus("a", pool, class), 0, 1).unwrap()[0].hourly_micros;
        assert_eq!(hourly("", ""), 1000);
        assert_eq!(hourly("other", "other"), 1000);
        assert_eq!(hourly("", "low"), 500);
        // The pool comes before the class.
        assert_eq!(hourly("spot", "high"), 400);
        // 400 × 0.333 = 133.2
        assert_eq!(hourly("spot", "low"), 133);
        // A factor goes with the next less specific price: of the class where the job has one.
        assert_eq!((hourly("own", ""), hourly("own", "low")), (1500, 750));
    }

    #[test]
    fn a_factor_alone_is_no_price() {
        let prices = Prices::new([of(Some("spot"), None, Rate::Factor(500))]).unwrap();
        assert!(prices.stretches(gpus("a", "spot", ""), 0, 1).is_err());
    }
}
