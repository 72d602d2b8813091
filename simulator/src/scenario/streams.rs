//! The work of a scenario: whether each stream makes sense, and what it then is.

use std::time::Duration;

use prorata_core::{Job, Resource, Tenant};
use serde_saphyr::Spanned;

use super::fields::Fields;
use super::file::{self, Gang, Written};
use crate::problem::suggest;
use crate::workload::{Arrivals, Conduct, Rate, Runtime, Stream};

const JOBS_MAX: u64 = 1_000_000;
const ARRIVALS: &str =
    "arrivals: {at: 0s}, arrivals: {every: 30s} or arrivals: {poisson: {mean: 5m}}";
const DURATION: &str = "duration: {fixed: 1h} or duration: {lognormal: {median: 1h, sigma: 0.8}}";

pub(super) fn streams(
    fields: &mut Fields<'_>,
    written: &Spanned<Vec<Written<file::Stream>>>,
    tenants: &[Tenant],
) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for (index, stream) in written.value.iter().enumerate() {
        let path = format!("workload[{index}]");
        let example = "- {tenant: research, name: train, jobs: 3, …}";
        let Some(stream) = fields.below(&path, stream, example) else {
            continue;
        };
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
        countable(fields, &path, stream, &streams);
    }
    let jobs: u64 = streams.iter().map(|stream| u64::from(stream.jobs)).sum();
    if written.value.is_empty() {
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

/// Whether all that the streams up to this one could ask for at once can be added up.
fn countable(fields: &mut Fields<'_>, path: &str, written: &file::Stream, streams: &[Stream]) {
    let asked = |stream: &Stream, r: Resource| {
        let gang = stream.gangs.iter().map(|(tasks, _)| *tasks).max();
        let tasks = u128::from(stream.jobs) * u128::from(gang.unwrap_or(1));
        tasks * u128::from(stream.task.get(r))
    };
    let all = |r: Resource| streams.iter().map(|s| asked(s, r)).sum::<u128>();
    let most = u128::from(u64::MAX);
    // Only the stream that passes the limit is wrong, not all that follow.
    let passes = |r: &Resource| {
        let own = streams.last().map_or(0, |stream| asked(stream, *r));
        all(*r) > most && all(*r) - own <= most
    };
    for resource in Resource::ALL.into_iter().filter(passes) {
        let what = format!("all jobs up to here may ask for more {resource} than can be counted");
        let remedy = "lower jobs, gang or the amount: jobs × gang × task is to stay below 2^64";
        let field = format!("{path}.task.{resource}");
        fields.wrong(written.task.referenced, &field, what, remedy);
    }
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
        needs: std::sync::Arc::default(),
        runtime: runtime(fields, &format!("{path}.duration"), &written.duration),
        conduct: Conduct {
            priority: priority.map_or(0, |p| {
                fields.number(&format!("{path}.priority"), p, i32::MIN, i32::MAX)
            }),
            ..Conduct::default()
        },
    }
}

fn arrivals(fields: &mut Fields<'_>, path: &str, written: &Written<file::Arrivals>) -> Arrivals {
    let Some(arrivals) = fields.below(path, written, ARRIVALS) else {
        return Arrivals::At(Duration::ZERO);
    };
    let file::Arrivals {
        at,
        every,
        poisson,
        from,
    } = arrivals;
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
            rate: Rate::steady(mean(fields, &format!("{path}.poisson"), poisson)),
        },
        _ => {
            let what = "does not say one way of arriving";
            let remedy =
                "write one of {at: 0s}, {every: 30s, from: 0s} and {poisson: {mean: 5m}, from: 0s}";
            fields.wrong(written.referenced, path, what, remedy);
            Arrivals::At(Duration::ZERO)
        }
    }
}

fn mean(fields: &mut Fields<'_>, path: &str, written: &Written<file::Poisson>) -> Duration {
    let poisson = fields.below(path, written, "poisson: {mean: 5m}");
    poisson.map_or(Duration::ZERO, |poisson| {
        fields.span(&format!("{path}.mean"), &poisson.mean)
    })
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

fn runtime(fields: &mut Fields<'_>, path: &str, written: &Written<file::Runtime>) -> Runtime {
    let Some(runtime) = fields.below(path, written, DURATION) else {
        return Runtime::Fixed(Duration::ZERO);
    };
    match (&runtime.fixed, &runtime.lognormal) {
        (Some(fixed), None) => Runtime::Fixed(fields.span(&format!("{path}.fixed"), fixed)),
        (None, Some(drawn)) => lognormal(fields, &format!("{path}.lognormal"), drawn),
        _ => {
            let what = "does not say one way of lasting";
            let remedy = "write one of {fixed: 1h} and {lognormal: {median: 1h, sigma: 0.8}}";
            fields.wrong(written.referenced, path, what, remedy);
            Runtime::Fixed(Duration::ZERO)
        }
    }
}

fn lognormal(fields: &mut Fields<'_>, path: &str, written: &Written<file::Lognormal>) -> Runtime {
    let example = "lognormal: {median: 1h, sigma: 0.8}";
    let Some(file::Lognormal { median, sigma }) = fields.below(path, written, example) else {
        return Runtime::Fixed(Duration::ZERO);
    };
    Runtime::Lognormal {
        median: fields.span(&format!("{path}.median"), median),
        sigma: fields.number(&format!("{path}.sigma"), sigma, 0.0, 4.0),
    }
}
