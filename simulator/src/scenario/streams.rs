//! The work of a scenario: whether each stream makes sense, and what it then is.

use prorata_core::{Job, Tenant};
use serde_saphyr::Spanned;

use super::fields::Fields;
use super::file::{self, Gang};
use crate::problem::suggest;
use crate::workload::{Arrivals, Runtime, Stream};

const JOBS_MAX: u64 = 1_000_000;

pub(super) fn streams(
    fields: &mut Fields<'_>,
    written: &Spanned<Vec<file::Stream>>,
    tenants: &[Tenant],
) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for (index, stream) in written.value.iter().enumerate() {
        let path = format!("workload[{index}]");
        let read = self::stream(fields, &path, stream, tenants);
        let same = |known: &Stream| known.tenant == read.tenant && known.name == read.name;
        if streams.iter().any(same) {
            let what = format!("{} already has a stream `{}`", read.tenant, read.name);
            fields.wrong(
                stream.name.referenced,
                &format!("{path}.name"),
                what,
                "name one of them otherwise",
            );
        }
        streams.push(read);
    }
    let jobs: u64 = streams.iter().map(|stream| u64::from(stream.jobs)).sum();
    if streams.is_empty() {
        fields.wrong(
            written.referenced,
            "workload",
            "there is none",
            "add at least one stream of jobs",
        );
    } else if jobs > JOBS_MAX {
        let what = format!("has {jobs} jobs in all");
        fields.wrong(
            written.referenced,
            "workload",
            what,
            format!("ask for at most {JOBS_MAX}"),
        );
    }
    streams
}

fn stream(
    fields: &mut Fields<'_>,
    path: &str,
    written: &file::Stream,
    tenants: &[Tenant],
) -> Stream {
    let (tenant, name) = (&written.tenant, &written.name);
    if !tenants
        .iter()
        .any(|known| known.id.as_str() == tenant.value)
    {
        let what = format!("no tenant is called `{}`", tenant.value);
        let remedy = suggest(&tenant.value, tenants.iter().map(|t| t.id.as_str()));
        fields.wrong(tenant.referenced, &format!("{path}.tenant"), what, remedy);
    }
    let priority = written.priority.as_ref();
    Stream {
        tenant: tenant.value.as_str().into(),
        name: fields.name(&format!("{path}.name"), &name.value, name.referenced),
        jobs: fields.number(&format!("{path}.jobs"), &written.jobs, 1, 1_000_000),
        arrivals: arrivals(fields, &format!("{path}.arrivals"), &written.arrivals),
        gangs: gangs(fields, &format!("{path}.gang"), written.gang.as_ref()),
        task: fields.task(&format!("{path}.task"), &written.task),
        priority: priority.map_or(0, |p| {
            fields.number(&format!("{path}.priority"), p, i32::MIN, i32::MAX)
        }),
        runtime: runtime(fields, &format!("{path}.duration"), &written.duration),
    }
}

fn arrivals(fields: &mut Fields<'_>, path: &str, written: &Spanned<file::Arrivals>) -> Arrivals {
    let file::Arrivals {
        at,
        every,
        poisson,
        from,
    } = &written.value;
    let mut start = || {
        let from = from
            .as_ref()
            .map(|f| fields.duration(&format!("{path}.from"), f));
        from.unwrap_or_default()
    };
    match (at, every, poisson, from) {
        (Some(at), None, None, None) => Arrivals::At(fields.duration(&format!("{path}.at"), at)),
        (None, Some(every), None, _) => Arrivals::Every {
            from: start(),
            gap: fields.duration(&format!("{path}.every"), every),
        },
        (None, None, Some(poisson), _) => Arrivals::Poisson {
            from: start(),
            mean: fields.span(&format!("{path}.poisson.mean"), &poisson.mean),
        },
        _ => {
            let what = "does not say one way of arriving";
            let remedy =
                "write one of {at: 0s}, {every: 30s, from: 0s} and {poisson: {mean: 5m}, from: 0s}";
            fields.wrong(written.referenced, path, what, remedy);
            Arrivals::At(Default::default())
        }
    }
}

fn gangs(fields: &mut Fields<'_>, path: &str, written: Option<&Spanned<Gang>>) -> Vec<(u32, f64)> {
    let Some(written) = written else {
        return vec![(1, 1.0)];
    };
    let sizes = (1, Job::MAX_GANG);
    let mix = match &written.value {
        Gang::One(text) => {
            return vec![(fields.number_at(path, text, written.referenced, sizes), 1.0)];
        }
        Gang::Mix(mix) => mix,
    };
    let mut gangs: Vec<(u32, f64)> = Vec::new();
    for (size, weight) in mix {
        let tasks = fields.number_at(path, &size.value, size.referenced, sizes);
        let weight = fields.number(&format!("{path}.{tasks}"), weight, 0.0, 1e9);
        gangs.push((tasks, weight));
    }
    if gangs.iter().map(|(_, weight)| weight).sum::<f64>() <= 0.0 {
        let remedy = "give at least one size a weight above 0, such as {1: 0.5, 4: 0.5}";
        fields.wrong(
            written.referenced,
            path,
            "the weights of the sizes sum to nothing",
            remedy,
        );
    }
    gangs
}

fn runtime(fields: &mut Fields<'_>, path: &str, written: &Spanned<file::Runtime>) -> Runtime {
    match (&written.value.fixed, &written.value.lognormal) {
        (Some(fixed), None) => Runtime::Fixed(fields.span(&format!("{path}.fixed"), fixed)),
        (None, Some(lognormal)) => Runtime::Lognormal {
            median: fields.span(&format!("{path}.lognormal.median"), &lognormal.median),
            sigma: fields.number(
                &format!("{path}.lognormal.sigma"),
                &lognormal.sigma,
                0.0,
                4.0,
            ),
        },
        _ => {
            let what = "does not say one way of lasting";
            let remedy = "write one of {fixed: 1h} and {lognormal: {median: 1h, sigma: 0.8}}";
            fields.wrong(written.referenced, path, what, remedy);
            Runtime::Fixed(Default::default())
        }
    }
}
