//! Where charts are drawn: SVG in the colours of the page around it.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Error;
use crate::hue::{INK, css};
use crate::palette;

/// Where a chart is drawn.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws an SVG to be put into a page. `title` is what a screen reader says, `class` how large the
/// page shows it. Colours become classes, because a strict page takes no style from an attribute.
pub(crate) fn svg(
    title: &str,
    class: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(fault)?;
    }
    let fixed = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    let own = format!("<svg role=\"img\" class=\"chart {class}\" ");
    svg = svg.replacen(&fixed, &own, 1);
    for (colour, name) in palette::named() {
        let css = css(colour);
        for (attribute, letter) in [("fill", 'f'), ("stroke", 's')] {
            let named = format!("class=\"{letter}-{name}\"");
            svg = svg.replace(&format!("{attribute}=\"{css}\""), &named);
        }
    }
    let ink = format!("\"{}\"", css(INK));
    let svg = svg.replace(&ink, "\"currentColor\"");
    let title = format!(">\n<title>{}</title>\n", escaped(title));
    Ok(svg.replacen(">\n", &title, 1))
}

/// Text of a chart, in `px`.
pub(crate) fn text(px: u32) -> TextStyle<'static> {
    ("sans-serif", px).into_font().color(&INK)
}

/// Any error of a chart.
pub(crate) fn fault(error: impl std::fmt::Display) -> Error {
    Error::Chart(error.to_string())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
