//! What GPUs cost, and from when to when.

use std::collections::BTreeMap;

/// What a GPU of a model costs in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The model.
    pub model: String,
    /// In millionths of the currency.
    pub hourly_micros: u64,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when; `None` until further notice.
    pub until_ms: Option<u64>,
}

/// Prices, at most one of a model at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Vec<Price>>);

/// Why prices are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// It ends before it begins.
    #[error(
        "a price of {model} ends at {until_ms} ms, before it begins at {from_ms} ms: correct one of the two"
    )]
    Backwards {
        /// The model.
        model: String,
        /// When it begins.
        from_ms: u64,
        /// When it ends.
        until_ms: u64,
    },
    /// Two at a time.
    #[error("{model} has two prices at {at_ms} ms: let the earlier end where the later begins")]
    Twice {
        /// The model.
        model: String,
        /// When.
        at_ms: u64,
    },
}

/// There is no price, so there is no bill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{model} has no price at {at_ms} ms: add one that begins by then")]
pub struct Unpriced {
    /// The model.
    pub model: String,
    /// When.
    pub at_ms: u64,
}

impl Prices {
    /// Prices in any order.
    ///
    /// # Errors
    /// When two of a model are in force at a time, or one ends before it begins.
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Result<Self, PriceError> {
        let mut by_model: BTreeMap<String, Vec<Price>> = BTreeMap::new();
        for price in prices {
            if let Some(until_ms) = price.until_ms.filter(|until| *until < price.from_ms) {
                return Err(PriceError::Backwards {
                    model: price.model,
                    from_ms: price.from_ms,
                    until_ms,
                });
            }
            by_model.entry(price.model.clone()).or_default().push(price);
        }
        for prices in by_model.values_mut() {
            prices.sort_by_key(|price| price.from_ms);
            let mut pairs = prices.windows(2);
            let both =
                pairs.find(|pair| pair[0].until_ms.is_none_or(|until| until > pair[1].from_ms));
            if let Some([_, later]) = both {
                return Err(PriceError::Twice {
                    model: later.model.clone(),
                    at_ms: later.from_ms,
                });
            }
        }
        Ok(Self(by_model))
    }

    /// Milliseconds times hourly price of one GPU from one moment to another, summed over the prices
    /// that were in force; `None` inside where that is too much to count.
    ///
    /// # Errors
    /// When there is no price for a part of it.
    pub(super) fn weigh(
        &self,
        model: &str,
        from_ms: u64,
        until_ms: u64,
    ) -> Result<Option<u128>, Unpriced> {
        let none = Vec::new();
        let (mut at_ms, mut sum) = (from_ms, Some(0_u128));
        for price in self.0.get(model).unwrap_or(&none) {
            if at_ms >= until_ms || price.from_ms > at_ms {
                break;
            }
            let end = price.until_ms.unwrap_or(u64::MAX).min(until_ms);
            if end > at_ms {
                let weight = u128::from(end - at_ms) * u128::from(price.hourly_micros);
                sum = sum.and_then(|sum| sum.checked_add(weight));
                at_ms = end;
            }
        }
        match at_ms < until_ms {
            true => Err(Unpriced {
                model: model.to_owned(),
                at_ms,
            }),
            false => Ok(sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(from_ms: u64, until_ms: Option<u64>, hourly_micros: u64) -> Price {
        Price {
            model: "a".to_owned(),
            hourly_micros,
            from_ms,
            until_ms,
        }
    }

    #[test]
    fn each_moment_costs_what_was_in_force_then() {
        let prices = Prices::new([price(10, None, 7), price(0, Some(10), 5)]).unwrap();
        assert_eq!(prices.weigh("a", 8, 13), Ok(Some(2 * 5 + 3 * 7)));
        assert_eq!(prices.weigh("a", 3, 3), Ok(Some(0)));
    }

    #[test]
    fn gaps_and_contradictions_are_told() {
        let gap = Prices::new([price(0, Some(10), 5), price(11, None, 7)]).unwrap();
        assert_eq!(gap.weigh("a", 0, 12).unwrap_err().at_ms, 10);
        assert_eq!(gap.weigh("b", 4, 5).unwrap_err().at_ms, 4);
        let twice = Prices::new([price(0, None, 5), price(11, None, 7)]).unwrap_err();
        assert!(matches!(twice, PriceError::Twice { at_ms: 11, .. }));
        assert!(matches!(
            Prices::new([price(5, Some(4), 5)]),
            Err(PriceError::Backwards { .. })
        ));
    }
}
