//! What is drawn in which colour. Charts name a colour; the page says what it looks like in the
//! light, in the dark and on paper.

use plotters::style::RGBColor;
use prorata_dashboard::hue::{
    BLUE, GREEN, Hue, NAVY, OLIVE, ORANGE, OTHERS as GREY, PINK, VIOLET, YELLOW,
};
pub(super) use prorata_dashboard::hue::{INK, css};

/// What was due and not given, or held for nothing; the page hatches it.
pub(super) const HATCH: RGBColor = RGBColor(1, 2, 3);
/// Tenants beyond those that have a colour.
pub(super) const OTHERS: RGBColor = GREY.light;
/// A node's GPUs that are held, the more the stronger.
pub(super) const HEAT: RGBColor = RGBColor(11, 92, 173);
/// What does not work.
pub(super) const DOWN: RGBColor = RGBColor(164, 14, 38);
/// Idle: unwanted, does not fit, quota, kept.
pub(super) const IDLE: [RGBColor; 4] = [
    RGBColor(184, 192, 200),
    RGBColor(200, 76, 40),
    RGBColor(176, 128, 0),
    RGBColor(106, 90, 170),
];
/// Orders, in lines that differ by their dashes too.
const ORDERS: [RGBColor; 6] = [
    RGBColor(110, 119, 129),
    RGBColor(10, 20, 30),
    RGBColor(12, 22, 32),
    RGBColor(14, 24, 34),
    RGBColor(16, 26, 36),
    RGBColor(18, 28, 38),
];

/// A colour for so many tenants; those beyond are drawn together.
pub(super) const TENANTS_MAX: usize = 12;

const TENANTS: [Hue; TENANTS_MAX] = [
    ORANGE,
    BLUE,
    GREEN,
    YELLOW,
    PINK,
    NAVY,
    OLIVE,
    VIOLET,
    Hue::new((163, 50, 58), "#EC7A80"),
    Hue::new((77, 127, 23), "#8CC152"),
    Hue::new((0, 131, 143), "#35C0CC"),
    Hue::new((140, 109, 90), "#C2A38F"),
];

/// The same in the dark.
const IDLE_DARK: [&str; 4] = ["#57606A", "#F08A5D", "#E0B93A", "#A99BE8"];

/// The colour of the n-th tenant that is drawn; those beyond have none of their own.
pub(super) fn tenant(number: usize) -> RGBColor {
    TENANTS.get(number).unwrap_or(&GREY).light
}

/// The line of the n-th order.
pub(super) const fn order(number: usize) -> RGBColor {
    ORDERS[number % ORDERS.len()]
}

/// The name by which the page knows a colour: `t0`.
pub(super) fn name(colour: RGBColor) -> Option<String> {
    let known = named();
    let found = known.iter().find(|(_, known, _)| *known == colour);
    found.map(|(name, _, _)| name.clone())
}

/// The page's variables, in the light and in the dark, and the classes that use them.
pub(super) fn styles() -> [String; 3] {
    let known = named();
    let variable = |name: &str, value: &str| format!("--{name}:{value};");
    let light = known
        .iter()
        .map(|(name, light, _)| variable(name, &css(*light)));
    let dark = known.iter().map(|(name, _, dark)| variable(name, dark));
    let class = |(name, _, _): &(String, RGBColor, &str)| {
        format!(".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}")
    };
    let orders = (0..ORDERS.len()).map(|order| match order {
        0 => ".s-o0{stroke:var(--soft)}".to_owned(),
        _ => format!(
            ".s-o{order}{{stroke:currentColor;stroke-dasharray:{}}}",
            DASHES[order]
        ),
    });
    [
        light.collect(),
        dark.collect(),
        known.iter().map(class).chain(orders).collect(),
    ]
}

/// How the lines of orders are broken.
const DASHES: [&str; 6] = ["none", "none", "7 4", "2 3", "9 3 2 3", "14 5"];

/// Name, colour in the light and in the dark.
fn named() -> Vec<(String, RGBColor, &'static str)> {
    let numbered = |letter: char, number: usize| format!("{letter}{number}");
    let tenants = TENANTS.into_iter().enumerate();
    let idle = IDLE.into_iter().zip(IDLE_DARK).enumerate();
    let mut named: Vec<_> = tenants
        .map(|(i, hue)| (numbered('t', i), hue.light, hue.dark))
        .chain(idle.map(|(i, (light, dark))| (numbered('i', i), light, dark)))
        .collect();
    named.extend([
        ("tx".to_owned(), OTHERS, GREY.dark),
        ("heat".to_owned(), HEAT, "#58A6FF"),
        ("down".to_owned(), DOWN, "#F85149"),
    ]);
    named
}

/// The name of an order's line: `o0`.
pub(super) fn order_class(colour: RGBColor) -> Option<String> {
    let number = ORDERS.iter().position(|known| *known == colour)?;
    Some(format!("o{number}"))
}

/// All colours that a chart may name.
pub(super) fn all() -> impl Iterator<Item = RGBColor> {
    let more = [OTHERS, HEAT, DOWN];
    let tenants = TENANTS.into_iter().map(|hue| hue.light);
    tenants.chain(IDLE).chain(ORDERS).chain(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_one_name() {
        let names: Vec<String> = all()
            .map(|colour| name(colour).or_else(|| order_class(colour)).unwrap())
            .collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len());
        assert_eq!((name(INK), name(HATCH)), (None, None));
    }
}
