//! How long jobs waited, by how many GPUs they asked for.

use std::collections::BTreeSet;

use plotters::coord::combinators::BindKeyPoints as _;
use plotters::prelude::*;

use super::ReportError;
use super::axes::{number, wait_mark, waits};
use super::canvas::{self, Area, TEXT, fault, text};
use super::cdf::{counts, minutes, minutes_max};
use super::palette::INK;
use super::scene::Scene;
use crate::fairness::gpus;
use crate::metrics::float;
use crate::run::{Run, millis};

/// Dots of one order, at most.
const DOTS_MAX: usize = 900;

/// A job: GPUs, minutes, and whose it is.
type Dot = (f64, f64, usize);

pub(super) fn inline(scene: &Scene<'_>, (run, order): (&Run, &str)) -> Result<String, ReportError> {
    let title = format!("Under {order}: the wait of each job by the GPUs that it asks for");
    let dots = thinned(dots(scene, run));
    let sizes = scene.runs().flat_map(|(_, _, run)| sizes(run));
    let (least, most) = sizes.fold((1.0_f64, 1.0_f64), |(a, b), s| (a.min(s), b.max(s)));
    canvas::inline(&title, (scene.width(), 280), |area| {
        draw(scene, area, &dots, (least, most))
    })
}

/// The GPUs that jobs ask for.
fn sizes(run: &Run) -> impl Iterator<Item = f64> + '_ {
    let asked = run.jobs.iter().map(|fate| gpus(&fate.request()));
    asked.filter(|size| *size > 0.0)
}

fn dots(scene: &Scene<'_>, run: &Run) -> Vec<Dot> {
    let counted = run.jobs.iter().filter(|fate| counts(run, fate));
    let dots = counted.map(|fate| {
        let whose = scene.cast.number(&fate.job.tenant);
        let wait = minutes(millis(fate.wait(run.end)));
        (gpus(&fate.request()), wait, whose)
    });
    dots.filter(|(size, _, _)| *size > 0.0).collect()
}

/// One of those that lie together, in cells as large as it takes.
fn thinned(dots: Vec<Dot>) -> Vec<Dot> {
    let mut cells = 400.0;
    let mut kept = dots;
    while kept.len() > DOTS_MAX {
        let mut seen = BTreeSet::new();
        let cell = |value: f64| (value.ln() * cells / 10.0).round().to_bits();
        kept.retain(|(size, wait, whose)| seen.insert((*whose, cell(*size), cell(*wait))));
        cells /= 1.5;
    }
    kept
}

fn draw(
    scene: &Scene<'_>,
    area: &Area<'_>,
    dots: &[Dot],
    (least, most): (f64, f64),
) -> Result<(), ReportError> {
    let across = (least / 1.6..most * 1.6).log_scale();
    let across = across.with_key_points(marks(least, most));
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(18)
        .x_label_area_size(TEXT * 5 / 2)
        .y_label_area_size(TEXT * 4)
        .build_cartesian_2d(across, waits(minutes_max(scene), 1))
        .map_err(fault)?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.6))
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .x_desc("GPUs asked for")
        .x_label_formatter(&|size| number(*size))
        .y_label_formatter(&|m| wait_mark(*m))
        .draw()
        .map_err(fault)?;
    let colours = scene.cast.colours();
    let apart = float(colours.len() as u128);
    for (size, wait, whose) in dots {
        // Tenants stand beside each other, not on top.
        let aside = (float(*whose as u128) + 0.5) / apart - 0.5;
        let at = (size * 2.0_f64.powf(aside * 0.7), *wait);
        let dot = Circle::new(at, 3, colours[*whose].mix(0.6).filled());
        chart.draw_series([dot]).map_err(fault)?;
    }
    Ok(())
}

/// Powers of two, not too many.
fn marks(least: f64, most: f64) -> Vec<f64> {
    let powers = std::iter::successors(Some(1.0 / 64.0), |size| Some(size * 2.0));
    let within = powers.take_while(|size| *size <= most * 1.01);
    let within: Vec<f64> = within.filter(|size| *size >= least * 0.99).collect();
    let step = within.len().div_ceil(6).max(1);
    within.into_iter().rev().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_a_dot_of_every_tenant_and_the_extremes_about() {
        let dot = |i: u32| {
            (
                f64::from(i % 8 + 1),
                f64::from(i) + 1.0,
                usize::from(i == 7),
            )
        };
        let kept = thinned((0..80_000).map(dot).collect());
        assert!((100..=DOTS_MAX).contains(&kept.len()), "{}", kept.len());
        assert!(kept.iter().any(|(_, _, whose)| *whose == 1));
        assert!(kept.iter().any(|(_, wait, _)| *wait > 50_000.0));
    }
}
