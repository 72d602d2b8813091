//! Where charts are drawn: SVG in the colours of the page around it.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;
use super::palette::{self, HATCH, INK};

/// Where a chart is drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A chart over the width of the page.
pub(super) const WIDE: u32 = 900;
/// A chart that has another beside it.
pub(super) const HALF: u32 = 440;
/// The text of charts. At this size it is still read on paper and on a phone.
pub(super) const TEXT: u32 = 18;

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
    let mut svg = drawn(size, draw)?;
    let fixed = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    let kind = if size.0 > HALF { "wide" } else { "half" };
    svg = svg.replacen(&fixed, &format!("<svg role=\"img\" class=\"{kind}\" "), 1);
    for colour in palette::all() {
        let name = palette::name(colour).or_else(|| palette::order_class(colour));
        let (css, name) = (palette::css(colour), name.unwrap_or_default());
        for (attribute, class) in [("fill", 'f'), ("stroke", 's')] {
            let named = format!("class=\"{class}-{name}\"");
            svg = svg.replace(&format!("{attribute}=\"{css}\""), &named);
        }
    }
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
    let ink = format!("\"{}\"", palette::css(INK));
    let hatch = format!("\"{}\"", palette::css(HATCH));
    Ok(compact(&svg)
        .replace(&ink, "\"currentColor\"")
        .replace(&hatch, "\"url(#hatch)\""))
}

/// The same in fewer bytes: rectangles alike that follow each other become one path, and what
/// says nothing is left out.
fn compact(svg: &str) -> String {
    let mut short = String::with_capacity(svg.len());
    let mut run: Option<(String, String)> = None;
    for line in svg.lines() {
        let rectangle = rectangle(line);
        if let (Some((look, path)), Some((next, corner))) = (&mut run, &rectangle)
            && look == next
        {
            path.push_str(corner);
            continue;
        }
        close(&mut short, run.take());
        match rectangle {
            Some(begun) => run = Some(begun),
            None => push(&mut short, line),
        }
    }
    close(&mut short, run);
    short
}

/// How a rectangle looks, and its outline as a part of a path.
fn rectangle(line: &str) -> Option<(String, String)> {
    let attributes = line.strip_prefix("<rect ")?.strip_suffix("/>")?;
    let of = |name: &str| {
        let from = attributes.find(&format!("{name}=\""))? + name.len() + 2;
        let length = attributes[from..].find('"')?;
        Some(&attributes[from..from + length])
    };
    let filled = of("stroke") == Some("none");
    let (x, y, width, height) = (of("x")?, of("y")?, of("width")?, of("height")?);
    let look = format!("opacity=\"{}\" fill=\"{}\"", of("opacity")?, of("fill")?);
    let outline = format!("M{x} {y}h{width}v{height}h-{width}z");
    filled.then_some((look, outline))
}

fn close(short: &mut String, run: Option<(String, String)>) {
    if let Some((look, path)) = run {
        let path = format!("<path {look} shape-rendering=\"crispEdges\" d=\"{path}\"/>");
        push(short, &path);
    }
}

fn push(short: &mut String, line: &str) {
    let line = line
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\" stroke-width=\"1\"", "")
        .replace(" \"/>", "\"/>");
    match line.split_once("font-size=\"") {
        Some((before, after)) => {
            let (size, rest) = after.split_once('"').unwrap_or((after, ""));
            let size = size.parse().map_or(0.0, |size: f64| (size * 10.0).round());
            short.push_str(&format!("{before}font-size=\"{}\"{rest}", size / 10.0));
        }
        None => short.push_str(&line),
    }
    short.push('\n');
}

fn titled(svg: &str, title: &str) -> String {
    let title = title
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    svg.replacen(">\n", &format!(">\n<title>{title}</title>\n"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_alike_are_one_path() {
        let svg = inline("a < b", (900, 10), |area| {
            for x in 0..3 {
                let cell = Rectangle::new([(x * 5, 0), (x * 5 + 5, 5)], palette::HEAT.filled());
                area.draw(&cell).map_err(fault)?;
            }
            let cell = Rectangle::new([(20, 0), (25, 5)], palette::DOWN.filled());
            area.draw(&cell).map_err(fault)
        });
        let svg = svg.unwrap();
        assert_eq!(svg.matches("<path").count(), 2, "{svg}");
        assert_eq!(svg.matches("class=\"f-heat\"").count(), 1, "{svg}");
        assert!(svg.contains("M0 0h5v5h-5zM5 0h5v5h-5z"), "{svg}");
        assert!(svg.contains("<title>a &lt; b</title>"), "{svg}");
    }
}
