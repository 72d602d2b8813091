//! What is drawn in which colour. Charts name a colour; the style sheet says what it looks like in
//! the light and in the dark.

use plotters::style::RGBColor;

use crate::hue::{BLUE, GREEN, Hue, NAVY, OLIVE, ORANGE, OTHERS, PINK, VIOLET, YELLOW, css};

/// What was due and not given.
pub(crate) const SHORT: RGBColor = RGBColor(1, 2, 3);

/// Tenants that have a colour; those beyond are drawn together.
pub(crate) const TENANTS_MAX: usize = 8;

const TENANTS: [Hue; TENANTS_MAX] = [BLUE, ORANGE, GREEN, YELLOW, PINK, NAVY, VIOLET, OLIVE];

/// The colour of the n-th tenant that is drawn.
pub(crate) fn tenant(number: usize) -> RGBColor {
    TENANTS.get(number).unwrap_or(&OTHERS).light
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
    let tenants = tenants.map(|(number, hue)| (hue.light, class(number)));
    tenants.chain([(OTHERS.light, "tx".to_owned()), (SHORT, "short".to_owned())])
}

/// The style sheet of every page.
#[must_use]
pub fn style() -> String {
    let light = TENANTS.into_iter().map(|hue| css(hue.light));
    let light: String = light.enumerate().map(variable).collect();
    let dark = TENANTS.into_iter().map(|hue| hue.dark.to_owned());
    let dark: String = dark.enumerate().map(variable).collect();
    let names = named().map(|(_, name)| name);
    let classes: String = names
        .map(|name| {
            format!(".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}.b-{name}{{background:var(--{name})}}\n")
        })
        .collect();
    format!(
        ":root{{{light}--tx:{others}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}--tx:{dim}}}}}\n{classes}{sheet}",
        others = css(OTHERS.light),
        dim = OTHERS.dark,
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
