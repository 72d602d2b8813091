//! Bars, a day each, in numbers that a page draws.

use crate::money::thousands;
use crate::period;

/// Units of the drawing, ten to a pixel.
const WIDTH: u64 = 7200;
const HEIGHT: u64 = 1900;
const LEFT: u64 = 620;
const TOP: u64 = 100;
const FLOOR: u64 = 1640;

/// How many days at most have their date below them.
const DATES: usize = 10;

/// Bars over days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) left: u64,
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Label>,
    pub(super) dates: Vec<Label>,
    /// Of stacked bars, class and name of each part.
    pub(super) legend: Vec<(String, String)>,
}

/// A bar, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
    /// Which part of a stack, from below.
    pub(super) part: usize,
    /// What it says when pointed at.
    pub(super) title: String,
}

/// A text at a place on an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) at: u64,
    pub(super) text: String,
}

impl Chart {
    /// Of whole units for each day, by the day's first moment, in parts that stand on each other.
    pub(super) fn new(title: &str, parts: &[&str], unit: &str, days: &[(u64, Vec<u128>)]) -> Self {
        let most = days
            .iter()
            .map(|(_, parts)| parts.iter().sum())
            .max()
            .unwrap_or_default();
        let (step, top) = scale(most);
        let tall = |amount: u128| {
            u64::try_from(amount * u128::from(FLOOR - TOP) / top).unwrap_or_default()
        };
        let count = days.len().max(1) as u64;
        let x = |index: usize| LEFT + (WIDTH - LEFT) * index as u64 / count;
        let mut bars = Vec::new();
        for (index, (day, amounts)) in days.iter().enumerate() {
            let wide = x(index + 1) - x(index);
            let mut below = 0;
            for (part, amount) in amounts.iter().enumerate() {
                let (low, high) = (tall(below), tall(below + amount));
                below += amount;
                let title = format!(
                    "{}: {} {unit}{}",
                    period::moment(*day),
                    thousands(*amount),
                    named(parts, part)
                );
                bars.push(Bar {
                    x: x(index) + wide / 10,
                    y: FLOOR - high,
                    width: (wide * 8 / 10).max(1),
                    height: high - low,
                    part,
                    title,
                });
            }
        }
        let every = days.len().div_ceil(DATES).max(1);
        let date = |(index, (day, _)): (usize, &(u64, Vec<u128>))| Label {
            at: (x(index) + x(index + 1)) / 2,
            text: short(*day),
        };
        let tick = |amount: u128| Label {
            at: FLOOR - tall(amount),
            text: thousands(amount),
        };
        Self {
            title: title.to_owned(),
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            bars,
            ticks: (0..=top / step).map(|n| tick(n * step)).collect(),
            dates: days.iter().enumerate().step_by(every).map(date).collect(),
            legend: parts
                .iter()
                .enumerate()
                .filter(|_| parts.len() > 1)
                .map(|(n, name)| (format!("p{n}"), (*name).to_owned()))
                .collect(),
        }
    }

    /// Where dates stand.
    pub(super) const fn below(&self) -> u64 {
        FLOOR + 180
    }

    /// Where numbers of the axis end.
    pub(super) const fn beside(&self) -> u64 {
        LEFT - 70
    }
}

fn named(parts: &[&str], part: usize) -> String {
    match parts {
        [_, _, ..] => parts
            .get(part)
            .map_or_else(String::new, |name| format!(" {name}")),
        _ => String::new(),
    }
}

/// The step between two numbers of an axis, and its end: at most five steps of 1, 2 or 5.
fn scale(most: u128) -> (u128, u128) {
    let mut power = 1_u128;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if step * 5 >= most {
                return (step, most.div_ceil(step).max(1) * step);
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `3 Nov`.
fn short(day: u64) -> String {
    period::date(day).map_or_else(String::new, |date| date.strftime("%-d %b").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_most() {
        assert_eq!(scale(0), (1, 1));
        assert_eq!(scale(5), (1, 5));
        assert_eq!(scale(96), (20, 100));
        assert_eq!(scale(1_234_567), (500_000, 1_500_000));
    }

    #[test]
    fn parts_stand_on_each_other() {
        let chart = Chart::new(
            "t",
            &["held", "idle"],
            "GPU-hours",
            &[(0, vec![3, 1]), (period::DAY, vec![0, 4])],
        );
        let [held, idle, ..] = chart.bars.as_slice() else {
            panic!("no bars")
        };
        assert_eq!(
            (held.y + held.height, idle.y + idle.height, idle.y),
            (FLOOR, held.y, TOP)
        );
        assert_eq!(held.height, 3 * (FLOOR - TOP) / 4);
        assert_eq!(idle.title, "1970-01-01: 1 GPU-hours idle");
        assert_eq!(chart.dates[1].text, "2 Jan");
    }
}
