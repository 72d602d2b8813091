//! A run's timeline as the columns of a chart: never so many that the file grows large.

use prorata_core::{Resource, Time};

use super::cast::Cast;
use super::scene::Clock;
use crate::fairness::{gpus, hours};
use crate::metrics::float;
use crate::run::Run;
use crate::timeline::{Moment, Obstacle, Standing};

/// What is drawn from one moment to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) from: f64,
    pub(super) to: f64,
    /// GPUs that those who are drawn hold.
    pub(super) held: Vec<f64>,
    /// GPUs that they are entitled to.
    pub(super) entitled: Vec<f64>,
    /// GPUs that their waiting jobs ask for.
    pub(super) queued: Vec<f64>,
    /// GPUs that idle, by why: see [`super::palette::IDLE`].
    pub(super) idle: Vec<f64>,
    /// GPUs that there are.
    pub(super) capacity: Vec<f64>,
}

/// Of a run; when there would be more than `many`, they are averaged over stretches of equal
/// length, which keeps their area.
pub(super) fn columns(run: &Run, cast: &Cast, clock: &Clock, many: usize) -> Vec<Column> {
    let next = run.timeline.iter().skip(1).map(|moment| moment.at);
    let ends = next.chain([run.end]);
    let exact: Vec<Column> = run
        .timeline
        .iter()
        .zip(ends)
        .filter(|(moment, end)| moment.at < *end)
        .map(|(moment, end)| column(moment, end, cast, clock))
        .collect();
    if exact.len() <= many {
        return exact;
    }
    let (from, to) = (exact[0].from, exact[exact.len() - 1].to);
    let edge = |i: usize| from + (to - from) * float(i as u128) / float(many as u128);
    let mut rest = exact.as_slice();
    (0..many)
        .map(|i| {
            while rest.len() > 1 && rest[0].to <= edge(i) {
                rest = &rest[1..];
            }
            average(rest, edge(i), edge(i + 1))
        })
        .collect()
}

/// The outline of a value over time: corners only where it changes.
pub(super) fn steps(columns: &[Column], value: impl Fn(&Column) -> f64) -> Vec<(f64, f64)> {
    let mut outline: Vec<(f64, f64)> = Vec::new();
    for column in columns {
        let height = value(column);
        match outline.last_mut() {
            Some(last) if (last.1 - height).abs() < 1e-9 => last.0 = column.to,
            _ => outline.extend([(column.from, height), (column.to, height)]),
        }
    }
    outline
}

fn column(moment: &Moment, end: Time, cast: &Cast, clock: &Clock) -> Column {
    let tenants = || moment.tenants.iter();
    let all = tenants().fold(Standing::default(), |sum, one| sum.plus(one));
    let capacity = gpus(&moment.capacity);
    Column {
        from: clock.at(moment.at),
        to: hours(end.since(Time::ZERO)) / clock.unit,
        held: cast.gather(tenants().map(|t| gpus(&t.held))),
        entitled: cast.gather(moment.entitled.iter().copied()),
        queued: cast.gather(tenants().map(|t| float(t.queued().into()) / 1000.0)),
        idle: idle((capacity - gpus(&all.held)).max(0.0), &all),
        capacity: vec![capacity],
    }
}

/// Splits what is idle by why, as [`crate::fairness::Sums::obstructed_gpu_hours`] does.
fn idle(idle: f64, all: &Standing) -> Vec<f64> {
    let scale = float(Resource::Gpu.scale().into());
    let asked = Obstacle::ALL.map(|o| float(all.obstructed[o as usize].into()) / scale);
    let queued: f64 = asked.iter().sum();
    let obstructed = idle.min(queued);
    let part = |asked: f64| match queued > 0.0 {
        true => obstructed * asked / queued,
        false => 0.0,
    };
    let by_obstacle = asked.into_iter().map(part);
    [idle - obstructed].into_iter().chain(by_obstacle).collect()
}

/// The mean over time from `from` to `to` of columns that cover it.
fn average(columns: &[Column], from: f64, to: f64) -> Column {
    let overlap = |c: &Column| (c.to.min(to) - c.from.max(from)).max(0.0) / (to - from);
    let covering = || columns.iter().take_while(|c| c.from < to);
    let mean = |of: fn(&Column) -> &[f64]| -> Vec<f64> {
        let one = |i: usize| covering().map(|c| of(c)[i] * overlap(c)).sum();
        (0..of(&columns[0]).len()).map(one).collect()
    };
    Column {
        from,
        to,
        held: mean(|c| &c.held),
        entitled: mean(|c| &c.entitled),
        queued: mean(|c| &c.queued),
        idle: mean(|c| &c.idle),
        capacity: mean(|c| &c.capacity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(from: f64, to: f64, held: f64) -> Column {
        Column {
            from,
            to,
            held: vec![held],
            entitled: vec![0.0],
            queued: vec![0.0],
            idle: vec![0.0; 4],
            capacity: vec![8.0],
        }
    }

    #[test]
    fn averages_over_what_a_column_covers() {
        let exact = [column(0.0, 1.0, 4.0), column(1.0, 4.0, 8.0)];
        assert_eq!(average(&exact, 0.0, 2.0).held, [6.0]);
        assert_eq!(average(&exact[1..], 2.0, 4.0).held, [8.0]);
    }

    #[test]
    fn an_outline_has_corners_only_where_it_changes() {
        let flat = [
            column(0.0, 1.0, 4.0),
            column(1.0, 4.0, 4.0),
            column(4.0, 5.0, 2.0),
        ];
        let outline = [(0.0, 4.0), (4.0, 4.0), (4.0, 2.0), (5.0, 2.0)];
        assert_eq!(steps(&flat, |c| c.held[0]), outline);
    }

    #[test]
    fn what_idles_is_split_by_what_is_asked_for() {
        let mut all = Standing::default();
        assert_eq!(idle(6.0, &all), [6.0, 0.0, 0.0, 0.0]);
        all.obstructed[Obstacle::Quota as usize] = 1_000;
        all.obstructed[Obstacle::Fit as usize] = 3_000;
        assert_eq!(idle(6.0, &all), [2.0, 3.0, 1.0, 0.0]);
        assert_eq!(idle(2.0, &all), [0.0, 1.5, 0.5, 0.0]);
    }
}
