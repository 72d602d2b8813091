//! What is drawn in which colour. Charts name a colour; the style sheet says what it looks like in
//! the light and in the dark.

use plotters::style::RGBColor;

/// Text, axes and lines.
pub(crate) const INK: RGBColor = RGBColor(0, 0, 0);
/// What was due and not given.
pub(crate) const SHORT: RGBColor = RGBColor(1, 2, 3);
/// Tenants beyond those that have a colour.
pub(crate) const OTHERS: RGBColor = RGBColor(127, 135, 144);

/// Tenants that have a colour; those beyond are drawn together.
pub(crate) const TENANTS_MAX: usize = 8;

/// After Okabe and Ito, whose colours people tell apart whatever they see of colour; darker, so
/// that they are seen on white.
const TENANTS: [RGBColor; TENANTS_MAX] = [
    RGBColor(43, 140, 196),
    RGBColor(198, 82, 0),
    RGBColor(0, 143, 104),
    RGBColor(184, 126, 0),
    RGBColor(184, 92, 147),
    RGBColor(0, 90, 148),
    RGBColor(106, 81, 163),
    RGBColor(133, 117, 0),
];

/// The same in the dark.
const DARK: [&str; TENANTS_MAX] = [
    "#56B4E9", "#F2803D", "#1DBF92", "#E6A520", "#DE8FBE", "#4A9EE0", "#A594E0", "#D8CC3C",
];

/// The colour of the n-th tenant that is drawn.
pub(crate) fn tenant(number: usize) -> RGBColor {
    TENANTS.get(number).copied().unwrap_or(OTHERS)
}

/// The class of the n-th tenant that is drawn: `t0`, or `tx` beyond those that have a colour.
pub(crate) fn class(number: usize) -> String {
    match number {
        0..TENANTS_MAX => format!("t{number}"),
        _ => "tx".to_owned(),
    }
}

/// Each colour that the style sheet knows, and its name there.
pub(crate) fn named() -> impl Iterator<Item = (RGBColor, String)> {
    let tenants = TENANTS.into_iter().enumerate();
    let tenants = tenants.map(|(number, colour)| (colour, class(number)));
    tenants.chain([(OTHERS, "tx".to_owned()), (SHORT, "short".to_owned())])
}

/// A colour as SVG writes it.
pub(crate) fn css(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// The style sheet of every page.
#[must_use]
pub fn style() -> String {
    let light = TENANTS.into_iter().map(css);
    let light: String = light.enumerate().map(variable).collect();
    let dark = DARK.into_iter().map(str::to_owned);
    let dark: String = dark.enumerate().map(variable).collect();
    let names = named().map(|(_, name)| name);
    let classes: String = names
        .map(|name| {
            format!(".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}.b-{name}{{background:var(--{name})}}\n")
        })
        .collect();
    format!(
        ":root{{{light}--tx:{others}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}--tx:#9198A1}}}}\n{classes}{sheet}",
        others = css(OTHERS),
        sheet = include_str!("templates/style.css"),
    )
}

fn variable((number, colour): (usize, String)) -> String {
    format!("--{}:{colour};", class(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_that_charts_name_is_in_the_style_sheet() {
        let style = style();
        for (_, name) in named() {
            assert!(style.contains(&format!("--{name}:")), "{name}");
            assert!(style.contains(&format!(".f-{name}{{")), "{name}");
        }
        assert!(
            !style.contains("@import") && !style.contains("url("),
            "nothing is fetched"
        );
    }
}
