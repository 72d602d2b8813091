//! What a GPU of one's own costs in an hour, with its arithmetic.

use crate::money;

/// Hours in a year of 365 days.
pub const YEAR_HOURS: u32 = 8760;

/// What machines cost, and how much of their time is to be paid for by those who use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// What they cost to buy, in millionths of the currency.
    pub capex_micros: u64,
    /// Over how many thousandths of a year that is paid off.
    pub years_milli: u32,
    /// What they cost each year to run, in millionths.
    pub opex_micros: u64,
    /// How many GPUs they have together.
    pub gpus: u32,
    /// Hours of a year in which they run.
    pub hours: u32,
    /// How many thousandths of those are to be held by somebody.
    pub utilisation_milli: u32,
}

impl Owned {
    /// Millionths of the currency that a GPU costs in an hour, rounded; `None` where years, GPUs,
    /// hours or utilisation are nothing, or it is too much to count.
    #[must_use]
    pub fn hourly_micros(&self) -> Option<u64> {
        let years = u128::from(self.years_milli);
        // (capex × 1000 ÷ years + opex) ÷ (GPUs × hours × utilisation ÷ 1000), over one denominator.
        let yearly = u128::from(self.capex_micros) * 1000 + u128::from(self.opex_micros) * years;
        let hours =
            u128::from(self.gpus) * u128::from(self.hours) * u128::from(self.utilisation_milli);
        let over = years * hours;
        (over > 0)
            .then(|| (yearly * 1000 + over / 2) / over)
            .and_then(|micros| u64::try_from(micros).ok())
    }

    /// The steps to that price, one to a line, for people.
    #[must_use]
    pub fn arithmetic(&self) -> Vec<String> {
        let money = |micros: u128| money::rounded(i128::try_from(micros).unwrap_or(i128::MAX));
        let written_off =
            u128::from(self.capex_micros) * 1000 / u128::from(self.years_milli.max(1));
        let yearly = written_off + u128::from(self.opex_micros);
        let each = yearly / u128::from(self.gpus.max(1));
        let paid_milli = u64::from(self.hours) * u64::from(self.utilisation_milli);
        vec![
            format!(
                "{} to buy ÷ {} years = {} a year",
                money(self.capex_micros.into()),
                thousandths(self.years_milli.into()),
                money(written_off)
            ),
            format!(
                "+ {} to run = {} a year",
                money(self.opex_micros.into()),
                money(yearly)
            ),
            format!("÷ {} GPUs = {} a year for each", self.gpus, money(each)),
            format!(
                "÷ ({} h × {} % in use = {} h) = {} an hour",
                self.hours,
                tenths(self.utilisation_milli),
                thousandths(paid_milli),
                self.hourly_micros()
                    .map_or_else(|| "nothing".to_owned(), money::price)
            ),
        ]
    }
}

/// Thousandths as a number: `3.5`.
fn thousandths(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Thousandths as a percentage: `62.5`.
fn tenths(milli: u32) -> String {
    match milli % 10 {
        0 => (milli / 10).to_string(),
        part => format!("{}.{part}", milli / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_what_the_arithmetic_comes_to() {
        let owned = Owned {
            capex_micros: 250_000_000_000,
            years_milli: 4000,
            opex_micros: 30_000_000_000,
            gpus: 8,
            hours: YEAR_HOURS,
            utilisation_milli: 700,
        };
        // 250,000 ÷ 4 = 62,500; + 30,000 = 92,500; ÷ 8 = 11,562.50; ÷ 6,132 h = 1.8856001…
        assert_eq!(owned.hourly_micros(), Some(1_885_600));
        assert_eq!(
            owned.arithmetic(),
            [
                "250,000.00 to buy ÷ 4 years = 62,500.00 a year",
                "+ 30,000.00 to run = 92,500.00 a year",
                "÷ 8 GPUs = 11,562.50 a year for each",
                "÷ (8760 h × 70 % in use = 6132 h) = 1.8856 an hour",
            ]
        );
        let half = Owned {
            years_milli: 2500,
            utilisation_milli: 625,
            ..owned
        };
        // (100,000 + 30,000) ÷ 8 ÷ 5,475 h = 2.968036…
        assert_eq!(half.hourly_micros(), Some(2_968_037));
        assert!(half.arithmetic()[3].starts_with("÷ (8760 h × 62.5 % in use = 5475 h)"));
        assert_eq!(Owned { gpus: 0, ..owned }.hourly_micros(), None);
    }
}
