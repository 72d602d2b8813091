//! The work of a scenario: whether each stream makes sense, and what it then is.

use std::sync::Arc;

use prorata_core::needs::Toleration;
use prorata_core::{Job, Needs, Resource, Resources, Tenant};
use serde_saphyr::Spanned;

use super::Pool;
use super::arrivals::arrivals;
use super::classes::Classes;
use super::conduct::{Said, conduct, owner};
use super::durations::runtime;
use super::fields::{Fields, key};
use super::file;
use super::policy::known_model;
use super::tenants::limited;
use super::written::{Mix, Written};
use crate::workload::Stream;

const JOBS_MAX: u64 = 1_000_000;

/// What streams refer to.
pub(super) struct Known<'a> {
    pub(super) tenants: &'a [Tenant],
    pub(super) classes: &'a Classes,
    pub(super) pools: &'a [Pool],
}

pub(super) fn streams(
    fields: &mut Fields<'_>,
    written: &Spanned<Vec<Written<file::Stream>>>,
    known: &Known<'_>,
) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for (index, stream) in written.value.iter().enumerate() {
        let path = format!("workload[{index}]");
        let example = "- {tenant: research, name: train, jobs: 3, …}";
        let Some(stream) = fields.below(&path, stream, example) else {
            continue;
        };
        let read = self::stream(fields, &path, stream, known);
        let same = |known: &Stream| known.tenant == read.tenant && known.name == read.name;
        if streams.iter().any(same) {
            let what = format!("{} already has a stream `{}`", read.tenant, read.name);
            let field = format!("{path}.name");
            fields.wrong(
                stream.name.referenced,
                &field,
                what,
                "name one of them otherwise",
            );
        }
        streams.push(read);
        countable(fields, &path, stream, &streams);
    }
    let jobs: u64 = streams.iter().map(|stream| u64::from(stream.jobs)).sum();
    if written.value.is_empty() {
        let remedy = "add at least one stream of jobs";
        fields.wrong(written.referenced, "workload", "there is none", remedy);
    } else if jobs > JOBS_MAX {
        let (what, remedy) = (
            format!("has {jobs} jobs in all"),
            format!("ask for at most {JOBS_MAX}"),
        );
        fields.wrong(written.referenced, "workload", what, remedy);
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
        let resource = key(resource);
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
    known: &Known<'_>,
) -> Stream {
    let (tenant, name) = (&written.tenant, &written.name);
    owner(fields, &format!("{path}.tenant"), tenant, known.tenants);
    let said = Said::from(written);
    Stream {
        tenant: tenant.value.as_str().into(),
        name: fields.name(&format!("{path}.name"), &name.value, name.referenced),
        jobs: fields.number(&format!("{path}.jobs"), &written.jobs, 1, 1_000_000),
        arrivals: arrivals(fields, &format!("{path}.arrivals"), &written.arrivals),
        gangs: gangs(fields, &format!("{path}.gang"), written.gang.as_ref()),
        task: task(fields, &format!("{path}.task"), &written.task, known.pools),
        needs: Arc::new(needs(fields, path, written, known.pools)),
        runtime: runtime(fields, &format!("{path}.duration"), &written.duration),
        conduct: conduct(fields, path, &said, known.classes),
    }
}

fn gangs(fields: &mut Fields<'_>, path: &str, written: Option<&Spanned<Mix>>) -> Vec<(u32, f64)> {
    let Some(written) = written else {
        return vec![(1, 1.0)];
    };
    let mix = (&written.value, written.referenced);
    let parts = fields.mix(path, mix, "{1: 0.5, 4: 0.5}").into_iter();
    let sizes = (1, Job::MAX_GANG);
    parts
        .map(|(text, at, weight)| (fields.number_at(path, text, at, sizes), weight))
        .collect()
}

/// What a task asks for: something, and of GPUs whole ones or a share of one.
fn task(
    fields: &mut Fields<'_>,
    path: &str,
    written: &Written<file::Task>,
    pools: &[Pool],
) -> Resources {
    let Some(task) = fields.below(path, written, "task: {gpu: 1, cpu: 8, memory: 64Gi}") else {
        return Resources::ZERO;
    };
    let before = fields.problems.len();
    let mut request = Resources::ZERO;
    if let Some(gpu) = &task.gpu {
        request = request.with(
            Resource::Gpu,
            fields.whole_gpus(&format!("{path}.gpu"), gpu),
        );
    }
    if let Some(share) = &task.share {
        request = request.with(Resource::Gpu, self::share(fields, path, share, task));
    }
    let amounts = [
        (Resource::GpuMemory, &task.gpu_memory),
        (Resource::Cpu, &task.cpu),
        (Resource::Memory, &task.memory),
    ];
    for (r, text) in amounts
        .into_iter()
        .filter_map(|(r, text)| Some((r, text.as_ref()?)))
    {
        let field = format!("{path}.{}", key(r));
        request = request.with(r, fields.amount(&field, r, text));
        limited(fields, &field, (r, text.referenced), pools);
    }
    fitting(fields, path, task);
    if request.is_zero() && fields.problems.len() == before {
        let remedy = "write what each task needs, such as {gpu: 1, cpu: 8, memory: 64Gi}";
        fields.wrong(written.referenced, path, "asks for nothing", remedy);
    }
    request
}

/// A share of one GPU, in thousandths.
fn share(
    fields: &mut Fields<'_>,
    path: &str,
    text: &super::written::Text,
    task: &file::Task,
) -> u64 {
    let field = format!("{path}.share");
    let milli = fields.amount(&field, Resource::Gpu, text);
    if milli >= Resource::Gpu.scale() {
        let what = format!("`{}` is not a share of a GPU", text.value);
        let remedy = "write less than one, such as 250m, or ask for whole ones with `gpu`";
        fields.wrong(text.referenced, &field, what, remedy);
    }
    if task.gpu.is_some() {
        let remedy = "keep one of `gpu` and `share`";
        fields.wrong(text.referenced, &field, "goes with no whole GPUs", remedy);
    }
    milli
}

/// Memory of GPUs goes with a share of one, a profile with whole instances.
fn fitting(fields: &mut Fields<'_>, path: &str, task: &file::Task) {
    if let (Some(memory), Some(_)) = (&task.gpu_memory, &task.gpu) {
        let what = "goes with no whole GPUs, which come with all of their memory";
        let remedy = "leave it out, or ask for a `share` instead of `gpu`";
        fields.wrong(
            memory.referenced,
            &format!("{path}.gpuMemory"),
            what,
            remedy,
        );
    }
    if let (Some(profile), None) = (&task.profile, &task.gpu) {
        let what = "does not say how many instances";
        let field = format!("{path}.profile");
        fields.wrong(
            profile.referenced,
            &field,
            what,
            "add `gpu: 1`, one instance",
        );
    }
}

/// What each task demands of its node. What no pool has is a slip of the pen.
fn needs(fields: &mut Fields<'_>, path: &str, written: &file::Stream, pools: &[Pool]) -> Needs {
    let mut needs = Needs::default();
    for (index, model) in written.models.iter().enumerate() {
        let field = format!("{path}.models[{index}]");
        known_model(fields, &field, (&model.value, model.referenced), pools);
        needs.models.push(model.value.as_str().into());
    }
    for (name, value) in &written.select {
        let label = |pool: &Pool| pool.node.labels.get(name.as_str()).cloned();
        let values: Vec<_> = pools.iter().filter_map(label).collect();
        let field = format!("{path}.select.{name}");
        let nobody = format!("no pool has the label {name} with the value");
        fields.known(&field, value, &nobody, values.iter().map(|value| &**value));
        needs
            .selector
            .push((name.as_str().into(), value.value.as_str().into()));
    }
    for (index, text) in written.tolerate.iter().enumerate() {
        let (name, value) = match text.value.split_once('=') {
            Some((name, value)) => (name, Some(value.into())),
            None => (text.value.as_str(), None),
        };
        let taints = || pools.iter().flat_map(|pool| pool.node.taints.iter());
        if !taints().any(|taint| &*taint.key == name) {
            let what = format!("no pool has the taint `{name}`");
            let remedy = crate::problem::suggest(name, taints().map(|taint| &*taint.key));
            fields.wrong(
                text.referenced,
                &format!("{path}.tolerate[{index}]"),
                what,
                remedy,
            );
        }
        needs.tolerations.push(Toleration {
            key: Some(name.into()),
            value,
            effect: None,
        });
    }
    needs.work = written.work.as_ref().map(|work| work.value.as_str().into());
    needs.profile = profile(fields, path, written, pools);
    needs
}

fn profile(
    fields: &mut Fields<'_>,
    path: &str,
    written: &file::Stream,
    pools: &[Pool],
) -> Option<Arc<str>> {
    let profile = written.task.value.fields()?.profile.as_ref()?;
    let of = |pool: &Pool| {
        let gpus = pool.node.gpus.clone();
        let all = 0..gpus.devices(pool.node.cards());
        all.filter_map(|index| gpus.profile(index).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let profiles: Vec<String> = pools.iter().flat_map(of).collect();
    let field = format!("{path}.task.profile");
    fields.known(
        &field,
        profile,
        "no pool has instances of",
        profiles.iter().map(String::as_str),
    );
    Some(profile.value.as_str().into())
}
