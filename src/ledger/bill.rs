//! A fleet's cost, divided among those who held it.

use std::collections::BTreeMap;

use super::price::{Prices, Unpriced};

/// Thousandths of a GPU times milliseconds in a GPU-hour.
const GPU_HOUR: u128 = 1000 * 3_600_000;

/// So many GPUs of a model, from one moment to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The model.
    pub model: String,
    /// How many, in thousandths.
    pub gpu_milli: u64,
    /// From when on, in milliseconds of Unix time.
    pub from_ms: u64,
    /// Until when, exclusively.
    pub until_ms: u64,
}

/// Who owes what of a fleet's cost, in millionths of the currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill<K> {
    /// By holder.
    pub lines: BTreeMap<K, u128>,
    /// What nobody held.
    pub idle: u128,
    /// All of it: the lines and idle, exactly.
    pub fleet: u128,
}

/// Why there is no bill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something has no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// More was held of a model than there was.
    #[error(
        "more of {0} was held than there was: a span of the fleet is missing, or one of its holders does not end"
    )]
    Excess(String),
    /// Too much to count.
    #[error("the cost of {0} is more than can be counted: look for a span that does not end")]
    TooLarge(String),
}

/// Divides what the fleet cost in a period, from its first millisecond to before its last. Shares are
/// rounded by the largest remainder, idle among them, so that no millionth is lost; ties go to the
/// first holder in order.
///
/// # Errors
/// When a part of the fleet has no price, or more was held than there was.
pub fn bill<K: Ord + Clone>(
    (from_ms, until_ms): (u64, u64),
    fleet: &[Span],
    held: &[(K, Span)],
    prices: &Prices,
) -> Result<Bill<K>, Error> {
    let weigh = |span: &Span| weigh(span, from_ms, until_ms, prices);
    let mut there: BTreeMap<&str, u128> = BTreeMap::new();
    for span in fleet {
        add(there.entry(&span.model).or_default(), weigh(span)?, span)?;
    }
    let (mut taken, mut lines) = (BTreeMap::new(), BTreeMap::new());
    for (holder, span) in held {
        let weight = weigh(span)?;
        add(taken.entry(span.model.as_str()).or_default(), weight, span)?;
        add(lines.entry(holder.clone()).or_default(), weight, span)?;
    }
    let mut idle: u128 = there.values().sum();
    for (model, weight) in taken {
        if weight > there.get(model).copied().unwrap_or_default() {
            return Err(Error::Excess(model.to_owned()));
        }
        idle -= weight;
    }
    Ok(rounded(lines, idle))
}

/// What a span costs, as thousandths of a GPU times milliseconds times hourly price.
fn weigh(span: &Span, from_ms: u64, until_ms: u64, prices: &Prices) -> Result<u128, Error> {
    let (from, until) = (span.from_ms.max(from_ms), span.until_ms.min(until_ms));
    if span.gpu_milli == 0 || from >= until {
        return Ok(0);
    }
    let one = prices.weigh(&span.model, from, until)?;
    one.and_then(|one| one.checked_mul(u128::from(span.gpu_milli)))
        .ok_or_else(|| Error::TooLarge(span.model.clone()))
}

fn add(sum: &mut u128, weight: u128, span: &Span) -> Result<(), Error> {
    // Room is left for the sum over all models.
    let total = sum
        .checked_add(weight)
        .filter(|total| *total < u128::MAX >> 16);
    *sum = total.ok_or_else(|| Error::TooLarge(span.model.clone()))?;
    Ok(())
}

/// Weights as millionths: each is rounded down, and what is missing goes to the largest remainders.
fn rounded<K: Ord + Clone>(weights: BTreeMap<K, u128>, idle: u128) -> Bill<K> {
    let total = weights.values().sum::<u128>() + idle;
    let fleet = (total + GPU_HOUR / 2) / GPU_HOUR;
    let mut parts: Vec<(Option<K>, u128)> =
        weights.into_iter().map(|(k, w)| (Some(k), w)).collect();
    parts.push((None, idle));
    let given: u128 = parts.iter().map(|(_, weight)| weight / GPU_HOUR).sum();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(parts[index].1 % GPU_HOUR));
    // Less is missing than there are remainders above 0.
    let missing = usize::try_from(fleet - given).unwrap_or(usize::MAX);
    let up: Vec<usize> = order.into_iter().take(missing).collect();
    let mut bill = Bill {
        lines: BTreeMap::new(),
        idle: 0,
        fleet,
    };
    for (index, (holder, weight)) in parts.into_iter().enumerate() {
        let amount = weight / GPU_HOUR + u128::from(up.contains(&index));
        match holder {
            Some(holder) => drop(bill.lines.insert(holder, amount)),
            None => bill.idle = amount,
        }
    }
    bill
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Price;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;

    fn span(gpu_milli: u64, from_ms: u64, until_ms: u64) -> Span {
        Span {
            model: "a".to_owned(),
            gpu_milli,
            from_ms,
            until_ms,
        }
    }

    fn prices(hourly_micros: u64) -> Prices {
        let price = Price {
            model: "a".to_owned(),
            hourly_micros,
            from_ms: 0,
            until_ms: None,
        };
        Prices::new([price]).unwrap()
    }

    #[test]
    fn who_holds_pays_and_the_rest_is_idle() {
        let held = [
            ("red", span(2000, 0, HOUR)),
            ("blue", span(500, 0, 2 * HOUR)),
        ];
        let bill = bill(
            (0, HOUR),
            &[span(8000, 0, 5 * HOUR)],
            &held,
            &prices(2_500_000),
        )
        .unwrap();
        assert_eq!(bill.lines, [("blue", 1_250_000), ("red", 5_000_000)].into());
        assert_eq!((bill.idle, bill.fleet), (13_750_000, 20_000_000));
    }

    #[test]
    fn thirds_of_a_millionth_are_not_lost() {
        let held = ["a", "b", "c"].map(|who| (who, span(1000, 0, HOUR / 3)));
        let bill = bill((0, HOUR), &[span(1000, 0, HOUR)], &held, &prices(1)).unwrap();
        assert_eq!(
            (bill.lines["a"], bill.lines["b"], bill.lines["c"], bill.idle),
            (1, 0, 0, 0)
        );
    }

    #[test]
    fn what_has_no_price_or_was_not_there_makes_no_bill() {
        let none = bill::<()>((0, 1), &[span(1, 0, 1)], &[], &Prices::default());
        assert!(matches!(none, Err(Error::Unpriced(_))));
        let more = bill(
            (0, HOUR),
            &[span(1000, 0, HOUR)],
            &[((), span(1001, 0, HOUR))],
            &prices(1),
        );
        assert_eq!(more, Err(Error::Excess("a".to_owned())));
    }

    proptest! {
        #[test]
        fn the_lines_and_idle_are_the_fleets_cost_to_the_millionth(
            spans in prop::collection::vec((0u8..5, 0u64..16_000, 0u64..1_000_000, 0u64..9_000_000), 0..12),
            spare in 0u64..4_000, hourly in 0u64..40_000_000, change in 1u64..9_000_000
        ) {
            let period = (500_000, 8_000_000);
            let held: Vec<(u8, Span)> = spans.iter().map(|&(who, gpus, from, long)| (who, span(gpus, from, from + long))).collect();
            // Each is held on cards of its own, which are there for a while longer.
            let mut fleet: Vec<Span> = held.iter().map(|(_, held)| Span { until_ms: held.until_ms + spare, ..held.clone() }).collect();
            fleet.push(span(spare, 0, 10_000_000));
            let price = |hourly_micros, from_ms, until_ms| Price { model: "a".to_owned(), hourly_micros, from_ms, until_ms };
            let prices = Prices::new([price(hourly, 0, Some(change)), price(hourly / 3, change, None)]).unwrap();
            let bill = bill(period, &fleet, &held, &prices).unwrap();
            prop_assert_eq!(bill.lines.values().sum::<u128>() + bill.idle, bill.fleet);
            let exact = |spans: &mut dyn Iterator<Item = &Span>| -> u128 {
                spans.map(|span| weigh(span, period.0, period.1, &prices).unwrap()).sum()
            };
            let total = exact(&mut fleet.iter());
            prop_assert!((bill.fleet * GPU_HOUR).abs_diff(total) <= GPU_HOUR / 2);
            for (who, amount) in &bill.lines {
                let own = exact(&mut held.iter().filter(|(of, _)| of == who).map(|(_, span)| span));
                prop_assert!((amount * GPU_HOUR).abs_diff(own) < GPU_HOUR);
            }
        }
    }
}
