//! How many of the jobs waited how long at most: by tenant under each order, and by order.

use plotters::prelude::*;

use super::ReportError;
use super::axes::{wait_mark, waits};
use super::canvas::{self, Area, TEXT, WIDE, fault, text};
use super::palette::{self, INK};
use super::scene::Scene;
use crate::metrics::float;
use crate::run::{Fate, Run, millis};

/// Corners of a line.
const STEPS: usize = 120;

/// A line: its waits in milliseconds, sorted.
struct Line {
    waits: Vec<u64>,
    colour: RGBColor,
}

/// Each tenant under one order.
pub(super) fn tenants(
    scene: &Scene<'_>,
    (run, order): (&Run, &str),
) -> Result<String, ReportError> {
    let title =
        format!("Under {order}: the part of each tenant's jobs that waited at most so long");
    let of = |(number, colour)| Line {
        waits: sorted(run, |fate| scene.cast.number(&fate.job.tenant) == number),
        colour,
    };
    let lines: Vec<Line> = scene
        .cast
        .colours()
        .into_iter()
        .enumerate()
        .map(of)
        .collect();
    canvas::inline(&title, (scene.width(), 260), |area| {
        let sparse = if scene.width() == WIDE { 1 } else { 2 };
        draw(area, &lines, minutes_max(scene), sparse)
    })
}

/// All jobs under each order.
pub(super) fn orders(scene: &Scene<'_>) -> Result<String, ReportError> {
    let title = "The part of all jobs that waited at most so long, under each order";
    let of = |(number, _, run): (usize, &str, &Run)| Line {
        waits: sorted(run, |_| true),
        colour: palette::order(number),
    };
    let lines: Vec<Line> = scene.runs().map(of).collect();
    canvas::inline(title, (WIDE, 260), |area| {
        draw(area, &lines, minutes_max(scene), 1)
    })
}

/// Whether the wait of a job counts: it has arrived, and can start some day.
pub(super) fn counts(run: &Run, fate: &Fate) -> bool {
    !fate.is_hopeless() && fate.job.submitted <= run.end
}

/// Milliseconds as minutes, at least one.
pub(super) fn minutes(ms: u64) -> f64 {
    (float(ms.into()) / 60_000.0).max(1.0)
}

/// The longest wait under any order.
pub(super) fn minutes_max(scene: &Scene<'_>) -> f64 {
    let orders = &scene.report.summary.orders;
    let longest = orders.iter().filter_map(|o| Some(o.all.wait_ms?.max));
    minutes(longest.max().unwrap_or_default())
}

fn sorted(run: &Run, is_of: impl Fn(&Fate) -> bool) -> Vec<u64> {
    let of = run
        .jobs
        .iter()
        .filter(|fate| counts(run, fate) && is_of(fate));
    let mut waits: Vec<u64> = of.map(|fate| millis(fate.wait(run.end))).collect();
    waits.sort_unstable();
    waits
}

/// `sparse`: a name for every so many marks.
fn draw(area: &Area<'_>, lines: &[Line], most: f64, sparse: usize) -> Result<(), ReportError> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(26)
        .x_label_area_size(TEXT * 5 / 2)
        .y_label_area_size(TEXT * 3)
        .build_cartesian_2d(waits(most, sparse), 0.0..100.0)
        .map_err(fault)?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .y_labels(6)
        .x_desc("wait (logarithmic)")
        .x_label_formatter(&|m| wait_mark(*m))
        .y_label_formatter(&|part| format!("{part:.0} %"))
        .draw()
        .map_err(fault)?;
    for line in lines.iter().filter(|line| !line.waits.is_empty()) {
        let path = PathElement::new(outline(&line.waits), line.colour.stroke_width(2));
        chart.draw_series([path]).map_err(fault)?;
    }
    Ok(())
}

/// At so many evenly spaced ranks, from none to all.
fn outline(waits: &[u64]) -> Vec<(f64, f64)> {
    let steps = waits.len().min(STEPS);
    let mut corners = vec![(1.0, 0.0)];
    for step in 1..=steps {
        let rank = waits.len() * step / steps;
        let x = minutes(waits[rank - 1]);
        let before = corners[corners.len() - 1].1;
        let y = 100.0 * float(rank as u128) / float(waits.len() as u128);
        corners.extend([(x, before), (x, y)]);
    }
    corners.dedup();
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_waits_make_a_short_outline_that_ends_with_all() {
        let waits: Vec<u64> = (0..100_000).map(|i| i * 60).collect();
        let outline = outline(&waits);
        assert!(outline.len() <= 2 * STEPS + 1);
        assert_eq!(outline[outline.len() - 1], (99.999, 100.0));
        let half = outline.iter().find(|corner| corner.1 >= 50.0).unwrap();
        assert!((half.0 - 50.0).abs() < 0.1, "{half:?}");
    }
}
