//! Charts of what is stacked over time: what tenants hold, what they wait for, and what idles.

use plotters::prelude::*;

use super::axes::over_time;
use super::canvas::{self, Area, TEXT, WIDE, fault, text};
use super::columns::{Column, steps};
use super::palette::{IDLE, INK};
use super::scene::Scene;
use super::{Report, ReportError};

/// One above the other.
struct Stack<'a> {
    /// What they are.
    of: fn(&Column) -> &[f64],
    colours: &'a [RGBColor],
    /// Where the axis ends.
    top: f64,
    /// Whether what there is is drawn as well.
    with_capacity: bool,
}

/// GPUs that each tenant holds, for the page.
pub(super) fn held(scene: &Scene<'_>, run: usize, order: &str) -> Result<String, ReportError> {
    let title =
        format!("Under {order}: GPUs held by each tenant over time, and all GPUs that work");
    canvas::inline(&title, (WIDE, 280), |area| held_on(scene, run, area))
}

/// GPUs that waiting jobs ask for.
pub(super) fn queued(scene: &Scene<'_>, run: usize, order: &str) -> Result<String, ReportError> {
    let title = format!("Under {order}: GPUs asked for by waiting jobs of each tenant over time");
    let all = scene.columns.iter().flatten();
    let most = all.map(|c| c.queued.iter().sum()).fold(1.0, f64::max);
    let stack = Stack {
        of: |c| &c.queued,
        colours: &scene.cast.colours(),
        top: most * 1.08,
        with_capacity: false,
    };
    canvas::inline(&title, (WIDE, 220), |area| draw(scene, run, area, &stack))
}

/// GPUs that idle, by why.
pub(super) fn idle(scene: &Scene<'_>, run: usize, order: &str) -> Result<String, ReportError> {
    let title = format!("Under {order}: idle GPUs over time, by why they idle");
    let all = scene.columns.iter().flatten();
    let most = all.map(|c| c.idle.iter().sum()).fold(1.0, f64::max);
    let stack = Stack {
        of: |c| &c.idle,
        colours: &IDLE,
        top: most * 1.08,
        with_capacity: false,
    };
    canvas::inline(&title, (WIDE, 220), |area| draw(scene, run, area, &stack))
}

/// What tenants hold under all orders, below each other, with a legend.
pub(super) fn standalone(report: &Report<'_>) -> Result<String, ReportError> {
    const LEGEND: u32 = 34;
    let scene = Scene::new(*report);
    let panels = u32::try_from(report.runs.len()).unwrap_or(1);
    let title = format!(
        "{}: GPUs held by each tenant over time",
        report.scenario.name
    );
    canvas::standalone(&title, (WIDE, LEGEND + 290 * panels), |area| {
        let (top, rest) = area.split_vertically(LEGEND);
        legend(&scene, &top)?;
        let panels = rest.split_evenly((report.runs.len(), 1));
        for ((run, order, _), panel) in scene.runs().zip(&panels) {
            let title = format!("Under {order}");
            let titled = panel.titled(&title, text(TEXT)).map_err(fault)?;
            held_on(&scene, run, &titled)?;
        }
        Ok(())
    })
}

fn held_on(scene: &Scene<'_>, run: usize, area: &Area<'_>) -> Result<(), ReportError> {
    let stack = Stack {
        of: |c| &c.held,
        colours: &scene.cast.colours(),
        top: (scene.report.summary.gpus * 1.08).max(1.0),
        with_capacity: true,
    };
    draw(scene, run, area, &stack)
}

fn draw(
    scene: &Scene<'_>,
    run: usize,
    area: &Area<'_>,
    stack: &Stack<'_>,
) -> Result<(), ReportError> {
    let mut chart = over_time(area, &scene.clock, ("GPUs", stack.top), 12)?;
    let columns = &scene.columns[run];
    let sum = |layers: usize| steps(columns, |c| (stack.of)(c)[..layers].iter().sum());
    for (layer, colour) in stack.colours.iter().enumerate() {
        if columns.iter().all(|c| (stack.of)(c)[layer] <= 0.0) {
            continue;
        }
        let lower = sum(layer).into_iter().rev();
        let band: Vec<(f64, f64)> = sum(layer + 1).into_iter().chain(lower).collect();
        let fill = colour.mix(0.85).filled();
        chart
            .draw_series([Polygon::new(band, fill)])
            .map_err(fault)?;
    }
    if stack.with_capacity {
        let line = PathElement::new(steps(columns, |c| c.capacity[0]), INK.stroke_width(2));
        chart.draw_series([line]).map_err(fault)?;
    }
    Ok(())
}

fn legend(scene: &Scene<'_>, area: &Area<'_>) -> Result<(), ReportError> {
    let mut x = 54;
    for (name, colour) in scene.cast.names().iter().zip(scene.cast.colours()) {
        let swatch = Rectangle::new([(x, 12), (x + 14, 26)], colour.mix(0.85).filled());
        area.draw(&swatch).map_err(fault)?;
        area.draw(&Text::new(name.to_owned(), (x + 20, 12), text(16)))
            .map_err(fault)?;
        x += 50 + 8 * i32::try_from(name.chars().count()).unwrap_or(0);
    }
    let line = PathElement::new(vec![(x, 19), (x + 21, 19)], INK.stroke_width(2));
    area.draw(&line).map_err(fault)?;
    area.draw(&Text::new("all GPUs", (x + 28, 12), text(16)))
        .map_err(fault)
}
