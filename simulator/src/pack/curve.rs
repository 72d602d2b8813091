//! How full a cluster was at each percent of the load.

use super::Standing;

/// How full a cluster was, percent by percent of the load that had arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// At 0 %, 1 % and so on.
    pub points: Vec<Point>,
    /// Milli-GPU of the cluster.
    capacity: u64,
    /// Milli-GPU that may be asked for at most, and that were.
    arrived_max: u64,
    arrived: u64,
}

/// How full a cluster was, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// GPUs that placed pods asked for, of all.
    pub allocated: f64,
    /// Free GPUs that typical pods cannot use, of those that are free; 0 where none is.
    pub frag_ratio: f64,
    /// Free GPUs that typical pods cannot use, of all.
    pub frag_amount: f64,
}

/// What several runs had in common.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, that of a sample; 0 for a single one.
    pub sd: f64,
}

impl Curve {
    pub(super) fn new(capacity: u64, inflation: u64) -> Self {
        Self {
            points: Vec::new(),
            capacity,
            arrived_max: wide(capacity, inflation, 1000),
            arrived: 0,
        }
    }

    /// A pod comes that asks for so many milli-GPU, to a cluster that stands like this. False,
    /// and the curve is whole, when it would be too much: then it does not come.
    ///
    /// The point at a percent shows the cluster after the last pod with which no more than that
    /// had arrived.
    pub(super) fn arrives(&mut self, milli: u64, standing: Standing) -> bool {
        let with = self.arrived.saturating_add(milli);
        let comes = with <= self.arrived_max;
        let passed = if comes { with } else { self.arrived_max + 1 };
        while self.next_percent() < passed && self.next_percent() <= self.arrived_max {
            self.points.push(Point::of(standing, self.capacity));
        }
        if comes {
            self.arrived = with;
        }
        comes
    }

    /// Milli-GPU at which the next point is due.
    fn next_percent(&self) -> u64 {
        wide(self.capacity, self.points.len() as u64, 100)
    }
}

impl Point {
    /// Points of which each number comes of those of all curves there, such as their mean.
    #[must_use]
    pub fn over(curves: &[&Curve], number: fn(&[f64]) -> f64) -> Vec<Self> {
        let percents = curves.iter().map(|curve| curve.points.len()).min();
        let point = |percent: usize| {
            let of = |field: fn(&Self) -> f64| {
                let values: Vec<f64> = curves.iter().map(|c| field(&c.points[percent])).collect();
                number(&values)
            };
            Self {
                allocated: of(|point| point.allocated),
                frag_ratio: of(|point| point.frag_ratio),
                frag_amount: of(|point| point.frag_amount),
            }
        };
        (0..percents.unwrap_or(0)).map(point).collect()
    }

    fn of(standing: Standing, capacity: u64) -> Self {
        let Standing {
            allocated,
            fragments,
        } = standing;
        let percent = |part: f64, of: u64| {
            if of == 0 {
                0.0
            } else {
                part * 100.0 / float(of)
            }
        };
        let lost = float(fragments) / 1e6;
        Self {
            allocated: percent(float(allocated), capacity),
            frag_ratio: percent(lost, capacity - allocated),
            frag_amount: percent(lost, capacity),
        }
    }
}

/// Mean and standard deviation of some values.
#[must_use]
pub fn spread(values: &[f64]) -> Spread {
    let count = float(values.len() as u64);
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    Spread {
        mean,
        sd: (squares / (count - 1.0).max(1.0)).sqrt(),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a measure, and far below 2^53 milli-GPU"
)]
fn float(number: u64) -> f64 {
    number as f64
}

/// `amount × part / whole`, rounded down.
fn wide(amount: u64, part: u64, whole: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(part) / u128::from(whole);
    u64::try_from(exact).unwrap_or(u64::MAX)
}
