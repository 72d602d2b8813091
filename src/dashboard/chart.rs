//! Charts over time: who held what, beside what there was and what was due.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Error;
use crate::canvas::{self, Area, fault, text};
use crate::hue::INK;
use crate::palette::{self, SHORT, TENANTS_MAX};

/// What was held over time. GPUs are counted in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// How long before now each measure was taken, in seconds, falling.
    pub ago: Vec<u64>,
    /// GPUs that there were, at each.
    pub capacity: Vec<u64>,
    /// Who held them.
    pub strands: Vec<Strand>,
}

/// What one tenant held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strand {
    /// Its name.
    pub name: String,
    /// What it held, at each moment.
    pub held: Vec<u64>,
    /// What was due to it, where that is known.
    pub due: Vec<u64>,
}

/// Lengths of time that marks of an axis may be apart, in seconds.
const STEPS: [u64; 13] = [
    30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 604_800,
];

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ago, RangedCoordf64>>;

/// The axis of time: so many seconds up to now, with marks at whole lengths of time.
struct Ago {
    span: f64,
    marks: Vec<f64>,
}

impl Ranged for Ago {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = 1.0 + value / self.span;
        from + pixels(f64::from(to - from) * part.clamp(0.0, 1.0))
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        -self.span..0.0
    }
}

impl Timeline {
    /// Whether there is enough of it for a chart.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.ago.len() >= 2 && !self.strands.is_empty()
    }

    /// All tenants, one above the other, below a line of what there was.
    pub(crate) fn stacked(&self) -> Result<String, Error> {
        let layers = self.layers();
        let most = self
            .capacity
            .iter()
            .chain(layers.iter().flat_map(|(_, sum)| sum));
        let top = axis_top(most.copied().max().unwrap_or_default());
        let title = "GPUs held by each tenant over time, below the line of what there is";
        canvas::svg(title, "wide", (960, 260), |area| {
            let mut chart = self.axes(area, top, 8)?;
            // From the top down: each layer hides what the next has of it.
            for (number, sum) in layers.iter().rev() {
                let area = self.steps(sum);
                let colour = palette::tenant(*number);
                let series = AreaSeries::new(area, 0.0, colour.filled());
                chart.draw_series(series).map_err(fault)?;
            }
            let line = LineSeries::new(self.steps(&self.capacity), INK.stroke_width(2));
            chart.draw_series(line).map_err(fault)?;
            Ok(())
        })
    }

    /// One tenant: what it held, what was due to it, and what of that it did not get.
    pub(crate) fn single(&self, number: usize) -> Result<String, Error> {
        let strand = &self.strands[number];
        let most = strand.held.iter().chain(&strand.due).copied().max();
        let top = axis_top(most.unwrap_or_default());
        let title = format!(
            "What {} held over time, beside what was due to it",
            strand.name
        );
        canvas::svg(&title, "half", (470, 190), |area| {
            let mut chart = self.axes(area, top, 4)?;
            if !strand.due.is_empty() {
                let due = AreaSeries::new(self.steps(&strand.due), 0.0, SHORT.filled());
                chart.draw_series(due).map_err(fault)?;
            }
            let colour = palette::tenant(number);
            let held = AreaSeries::new(self.steps(&strand.held), 0.0, colour.filled());
            chart.draw_series(held).map_err(fault)?;
            if !strand.due.is_empty() {
                let due = LineSeries::new(self.steps(&strand.due), INK.stroke_width(2));
                chart.draw_series(due).map_err(fault)?;
            }
            Ok(())
        })
    }

    /// The number of each layer, and what it and those below it held; those beyond the colours are
    /// one.
    fn layers(&self) -> Vec<(usize, Vec<u64>)> {
        let mut layers: Vec<(usize, Vec<u64>)> = Vec::new();
        let mut sum = vec![0; self.ago.len()];
        for (number, strand) in self.strands.iter().enumerate() {
            for (sum, held) in sum.iter_mut().zip(&strand.held) {
                *sum += held;
            }
            match layers.last_mut() {
                Some((last, layer)) if *last >= TENANTS_MAX => layer.clone_from(&sum),
                _ => layers.push((number, sum.clone())),
            }
        }
        layers
    }

    /// What was measured holds until the next measure.
    fn steps(&self, values: &[u64]) -> Vec<(f64, f64)> {
        let mut points = Vec::with_capacity(2 * values.len());
        for (index, (ago, value)) in self.ago.iter().zip(values).enumerate() {
            let next = self.ago.get(index + 1).copied().unwrap_or_default();
            points.push((-float(*ago), gpus(*value)));
            points.push((-float(next), gpus(*value)));
        }
        points
    }

    fn axes<'a, 'b>(
        &self,
        area: &'a Area<'b>,
        top: f64,
        marks: u64,
    ) -> Result<Chart<'a, 'b>, Error> {
        let span = self.ago.first().copied().unwrap_or_default().max(1);
        let time = Ago {
            span: float(span),
            marks: ticks(span, marks),
        };
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(26)
            .x_label_area_size(26)
            .y_label_area_size(46)
            .build_cartesian_2d(time, 0.0..top)
            .map_err(fault)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(INK.mix(0.0))
            .bold_line_style(INK.mix(0.12))
            .axis_style(INK.mix(0.4))
            .label_style(text(15))
            .y_labels(5)
            .x_label_formatter(&|at| mark(*at))
            .y_label_formatter(&|value| number(*value))
            .draw()
            .map_err(fault)?;
        Ok(chart)
    }
}

/// A little above the most, and a whole number.
fn axis_top(milli: u64) -> f64 {
    let gpus = milli.div_ceil(1000).max(1);
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
        .into_iter()
        .find(|step| gpus.div_ceil(*step) <= 5);
    let step = step.unwrap_or(gpus.div_ceil(5));
    float(gpus.div_ceil(step) * step)
}

/// Where an axis of so many seconds has its marks.
fn ticks(span: u64, marks: u64) -> Vec<f64> {
    let step = STEPS.into_iter().find(|step| span / step <= marks);
    let step = step.unwrap_or(span.div_ceil(marks.max(1)));
    (0..=span / step).map(|n| -float(n * step)).collect()
}

fn mark(at: f64) -> String {
    let ago = -at;
    match ago {
        ago if ago < 1.0 => "now".to_owned(),
        ago if ago < 120.0 => format!("−{} s", ago.round()),
        ago if ago < 7_200.0 => format!("−{} min", number(ago / 60.0)),
        ago if ago < 172_800.0 => format!("−{} h", number(ago / 3_600.0)),
        ago => format!("−{} d", number(ago / 86_400.0)),
    }
}

/// As many decimals as it has, one at most.
fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}")
}

fn gpus(milli: u64) -> f64 {
    float(milli) / 1000.0
}

#[expect(clippy::cast_possible_truncation, reason = "no chart is so wide")]
const fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[expect(
    clippy::cast_precision_loss,
    reason = "pixels of a chart need no more than 2⁵³"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(tenants: usize) -> Timeline {
        let strand = |n: usize| Strand {
            name: format!("t<{n}>"),
            held: vec![1_000, 2_000, 500],
            due: vec![2_000, 2_000, 2_000],
        };
        Timeline {
            ago: vec![600, 300, 60],
            capacity: vec![64_000, 64_000, 56_000],
            strands: (0..tenants).map(strand).collect(),
        }
    }

    #[test]
    fn charts_name_their_colours_by_class_and_carry_no_style() {
        let svg = timeline(3).stacked().unwrap();
        for class in ["f-t0", "f-t1", "f-t2"] {
            assert!(svg.contains(&format!("class=\"{class}\"")), "{svg}");
        }
        assert!(!svg.contains("style="), "{svg}");
        let single = timeline(1).single(0).unwrap();
        assert!(
            single.contains("class=\"f-short\"") && single.contains("t&lt;0&gt;"),
            "{single}"
        );
    }

    #[test]
    fn tenants_beyond_the_colours_are_one_layer() {
        let layers = timeline(12).layers();
        assert_eq!(layers.len(), TENANTS_MAX + 1);
        assert_eq!(layers.last().unwrap().1, [12_000, 24_000, 6_000]);
    }

    #[test]
    fn marks_are_whole_lengths_of_time() {
        let told: Vec<String> = ticks(5_400, 8).into_iter().map(mark).collect();
        assert_eq!(told, ["now", "−30 min", "−60 min", "−90 min"]);
        assert_eq!(mark(-10_800.0), "−3 h");
        assert_eq!(
            [axis_top(0), axis_top(7_500), axis_top(64_000)],
            [1.0, 8.0, 80.0]
        );
    }
}
