//! Numbers as people read them.

/// Milliseconds: `0`, `45 s`, `12 min`, `3 h 05 min`, `2 d 04 h`.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = (ms + 500) / 1000;
    let minutes = (seconds + 30) / 60;
    match (seconds, minutes) {
        (0, _) => "0".to_owned(),
        (1..90, _) => format!("{seconds} s"),
        (_, 0..90) => format!("{minutes} min"),
        (_, 90..2880) => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => format!("{} d {:02} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// GPU-hours, without decimals once there are ten.
#[must_use]
pub fn gpu_hours(hours: f64) -> String {
    if hours.abs() < 9.95 {
        format!("{hours:.1}")
    } else {
        format!("{hours:.0}")
    }
}

/// The same with its thousands parted, as a page has it: `415,321`.
#[must_use]
pub fn amount(hours: f64) -> String {
    grouped(&gpu_hours(hours))
}

/// An amount of money in whatever currency: `1,234,567`, `12.50`.
#[must_use]
pub fn money(amount: f64) -> String {
    if amount.abs() < 100.0 {
        return format!("{amount:.2}");
    }
    grouped(&format!("{amount:.0}"))
}

/// A number that was written without commas, with them.
#[must_use]
pub fn grouped(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let mut grouped = String::new();
    for (index, letter) in number.chars().enumerate() {
        let is_first = index == 0 || grouped == "-";
        if !is_first && index < whole && (whole - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(letter);
    }
    grouped
}

/// A ratio in per cent: `93 %`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_grouped_by_thousands() {
        let read = [0.0, 12.5, 100.0, 1_234_567.4, -4_321.0].map(money);
        assert_eq!(read, ["0.00", "12.50", "100", "1,234,567", "-4,321"]);
        assert_eq!(
            ["3222.1", "12", "-123"].map(grouped),
            ["3,222.1", "12", "-123"]
        );
        assert_eq!(amount(415_321.4), "415,321");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let read = [
            0,
            400,
            1_499,
            89_000,
            90_000,
            3_600_000,
            11_100_000,
            187_200_000,
        ]
        .map(span);
        let expected = [
            "0",
            "0",
            "1 s",
            "89 s",
            "2 min",
            "60 min",
            "3 h 05 min",
            "2 d 04 h",
        ];
        assert_eq!(read, expected);
    }
}
