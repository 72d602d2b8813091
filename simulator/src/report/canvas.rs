//! Where charts are drawn: SVG in the colours of the page around it.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;

/// Where a chart is drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Text, axes and lines; the page says which colour that is.
pub(super) const INK: RGBColor = RGBColor(0, 0, 0);
/// What was due and not given; the page hatches it.
pub(super) const DEFICIT: RGBColor = RGBColor(1, 2, 3);

/// Okabe and Ito's colours, which people tell apart whatever they see of colour.
const PALETTE: [RGBColor; 8] = [
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
    RGBColor(240, 228, 66),
    RGBColor(153, 153, 153),
];

/// The colour of the n-th tenant.
pub(super) const fn colour(tenant: usize) -> RGBColor {
    PALETTE[tenant % PALETTE.len()]
}

/// The same, as a page writes it.
pub(super) fn css(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// The text of a chart, in `px`.
pub(super) fn text(px: u32) -> TextStyle<'static> {
    ("sans-serif", px).into_font().color(&INK)
}

/// Draws an SVG to be put into a page. `title` is what a screen reader says.
pub(super) fn inline(
    title: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
    let svg = drawn(size, draw)?;
    let fixed = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    let svg = svg.replacen(&fixed, "<svg role=\"img\" ", 1);
    Ok(titled(&svg, title))
}

/// Draws an SVG to be a file of its own, in a grey that is read on white as on black.
pub(super) fn standalone(
    title: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
    let svg = drawn(size, draw)?;
    let svg = svg.replacen("<svg ", "<svg role=\"img\" color=\"#6E7781\" ", 1);
    Ok(titled(&svg, title))
}

/// Any error of a chart.
pub(super) fn fault(error: impl std::fmt::Display) -> ReportError {
    ReportError::Chart(error.to_string())
}

fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(fault)?;
    }
    let ink = format!("\"{}\"", css(INK));
    let deficit = format!("\"{}\"", css(DEFICIT));
    Ok(svg
        .replace(&ink, "\"currentColor\"")
        .replace(&deficit, "\"url(#deficit)\""))
}

fn titled(svg: &str, title: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    svg.replacen(">\n", &format!(">\n<title>{title}</title>\n"), 1)
}
