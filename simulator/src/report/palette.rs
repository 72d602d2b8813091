//! What is drawn in which colour. Charts name a colour; the page says what it looks like in the
//! light, in the dark and on paper.

use plotters::style::RGBColor;

/// Text, axes and lines.
pub(super) const INK: RGBColor = RGBColor(0, 0, 0);
/// What was due and not given, or held for nothing; the page hatches it.
pub(super) const HATCH: RGBColor = RGBColor(1, 2, 3);
/// Tenants beyond those that have a colour.
pub(super) const OTHERS: RGBColor = RGBColor(127, 135, 144);
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

/// After Okabe and Ito, whose colours people tell apart whatever they see of colour; darker, so
/// that lines are seen on white.
const TENANTS: [RGBColor; TENANTS_MAX] = [
    RGBColor(198, 82, 0),
    RGBColor(43, 140, 196),
    RGBColor(0, 143, 104),
    RGBColor(184, 126, 0),
    RGBColor(184, 92, 147),
    RGBColor(0, 90, 148),
    RGBColor(133, 117, 0),
    RGBColor(106, 81, 163),
    RGBColor(163, 50, 58),
    RGBColor(77, 127, 23),
    RGBColor(0, 131, 143),
    RGBColor(140, 109, 90),
];

/// The same in the dark.
const TENANTS_DARK: [&str; TENANTS_MAX] = [
    "#F2803D", "#56B4E9", "#1DBF92", "#E6A520", "#DE8FBE", "#4A9EE0", "#D8CC3C", "#A594E0",
    "#EC7A80", "#8CC152", "#35C0CC", "#C2A38F",
];
const IDLE_DARK: [&str; 4] = ["#57606A", "#F08A5D", "#E0B93A", "#A99BE8"];

/// The colour of the n-th tenant that is drawn; those beyond have none of their own.
pub(super) fn tenant(number: usize) -> RGBColor {
    TENANTS.get(number).copied().unwrap_or(OTHERS)
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

/// A colour as a page writes it.
pub(super) fn css(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
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
    let tenants = TENANTS.into_iter().zip(TENANTS_DARK).enumerate();
    let idle = IDLE.into_iter().zip(IDLE_DARK).enumerate();
    let mut named: Vec<_> = tenants
        .map(|(i, (light, dark))| (numbered('t', i), light, dark))
        .chain(idle.map(|(i, (light, dark))| (numbered('i', i), light, dark)))
        .collect();
    named.extend([
        ("tx".to_owned(), OTHERS, "#9198A1"),
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
    TENANTS.into_iter().chain(IDLE).chain(ORDERS).chain(more)
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
