//! When the jobs of a stream arrive, as it is written.

use std::time::Duration;

use super::fields::Fields;
use super::file;
use super::written::{Text, Written};
use crate::workload::{Arrivals, Rate};

const ARRIVALS: &str =
    "arrivals: {at: 0s}, arrivals: {every: 30s} or arrivals: {poisson: {mean: 5m}}";
const WAYS: &str = "write one of {at: 0s}, {every: 30s, from: 0s}, {poisson: {mean: 5m}, from: 0s} and {diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}, growth: 10%}; growth goes with the last two";

pub(super) fn arrivals(
    fields: &mut Fields<'_>,
    path: &str,
    written: &Written<file::Arrivals>,
) -> Arrivals {
    let Some(arrivals) = fields.below(path, written, ARRIVALS) else {
        return Arrivals::At(Duration::ZERO);
    };
    let file::Arrivals {
        at,
        every,
        poisson,
        diurnal,
        from,
        growth,
    } = arrivals;
    let start = |fields: &mut Fields<'_>| {
        let from = from.as_ref();
        let from = from.map(|f| fields.duration(&format!("{path}.from"), f));
        from.unwrap_or_default()
    };
    match (at, every, poisson, diurnal, growth) {
        (Some(at), None, None, None, None) if from.is_none() => {
            Arrivals::At(fields.duration(&format!("{path}.at"), at))
        }
        (None, Some(every), None, None, None) => Arrivals::Every {
            from: start(fields),
            gap: fields.duration(&format!("{path}.every"), every),
        },
        (None, None, Some(poisson), None, growth) => {
            let rate = steady(fields, &format!("{path}.poisson"), poisson);
            Arrivals::Poisson {
                from: start(fields),
                rate: growing(fields, path, growth.as_ref(), rate),
            }
        }
        (None, None, None, Some(diurnal), growth) => {
            let rate = daily(fields, &format!("{path}.diurnal"), diurnal);
            Arrivals::Poisson {
                from: start(fields),
                rate: growing(fields, path, growth.as_ref(), rate),
            }
        }
        _ => {
            let what = "does not say one way of arriving";
            fields.wrong(written.referenced, path, what, WAYS);
            Arrivals::At(Duration::ZERO)
        }
    }
}

fn steady(fields: &mut Fields<'_>, path: &str, written: &Written<file::Poisson>) -> Rate {
    let poisson = fields.below(path, written, "poisson: {mean: 5m}");
    Rate::steady(poisson.map_or(Duration::ZERO, |poisson| {
        fields.span(&format!("{path}.mean"), &poisson.mean)
    }))
}

fn daily(fields: &mut Fields<'_>, path: &str, written: &Written<file::Diurnal>) -> Rate {
    let example = "diurnal: {mean: 5m, peak: 14, ratio: 4, weekend: 0.3}";
    let Some(diurnal) = fields.below(path, written, example) else {
        return Rate::steady(Duration::ZERO);
    };
    let weekend = diurnal.weekend.as_ref();
    Rate {
        peak: fields.number(&format!("{path}.peak"), &diurnal.peak, 0.0, 24.0),
        ratio: fields.number(&format!("{path}.ratio"), &diurnal.ratio, 1.0, 1000.0),
        weekend: weekend.map_or(1.0, |w| {
            fields.number(&format!("{path}.weekend"), w, 0.0, 10.0)
        }),
        ..Rate::steady(fields.span(&format!("{path}.mean"), &diurnal.mean))
    }
}

/// With so many percent more after 30 days.
fn growing(fields: &mut Fields<'_>, path: &str, growth: Option<&Text>, rate: Rate) -> Rate {
    let growth = growth.map(|g| fields.percent(&format!("{path}.growth"), g, -90.0, 900.0));
    Rate {
        growth: 1.0 + growth.unwrap_or(0.0),
        ..rate
    }
}
