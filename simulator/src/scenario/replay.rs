//! A trace as the work of a scenario, as it is written.

use std::time::Duration;

use prorata_core::Resource;

use super::classes::{self, Classes};
use super::conduct::{Said, conduct, times};
use super::fields::Fields;
use super::file;
use super::written::{Text, Written};
use crate::trace::Source;
use crate::workload::{Conduct, Replay};

const DAY: Duration = Duration::from_secs(86_400);

const EXAMPLE: &str = "trace: {source: philly:FILE, tenants: fromTrace}";

/// How a trace becomes work, and which it is, if the scenario says so.
pub(super) fn replay(
    fields: &mut Fields<'_>,
    written: Option<&Written<file::Trace>>,
    classes: &Classes,
) -> (Replay, Option<Source>) {
    let Some(trace) = written.and_then(|w| fields.below("trace", w, EXAMPLE)) else {
        return (Replay::default(), None);
    };
    let ways = [("fromTrace", true), ("byName", false)];
    let tenants = trace.tenants.as_ref();
    let tenants =
        tenants.and_then(|t| fields.word("trace.tenants", t, "a way of finding tenants", &ways));
    let days = trace.days.as_ref();
    let days = days.map(|days| DAY * fields.number("trace.days", days, 1, 3650));
    let mut number = |name: &str, text: Option<&Text>| {
        text.map(|text| fields.number(&format!("trace.{name}"), text, 1, 1_000_000))
    };
    let jobs = number("jobs", trace.jobs.as_ref());
    let gpus_per_task = number("gpusPerTask", trace.gpus_per_task.as_ref());
    let runtime = trace.runtime.as_ref();
    let runtime = runtime.map_or(1000, |text| self::runtime(fields, text));
    let conduct = conduct(fields, "trace", &Said::from(trace), classes);
    let mut of_tenant = |(tenant, text): (&String, &Text)| {
        let field = format!("trace.priorities.{tenant}");
        let class = classes::priority(fields, &field, text, classes);
        let own = Conduct {
            priority: class.value,
            cluster_wide: class.cluster_wide,
            protected: class.protected,
            ..conduct.clone()
        };
        (tenant.clone(), own)
    };
    let conducts = trace.priorities.iter().map(&mut of_tenant).collect();
    let mut amount = |name: &str, r: Resource, text: Option<&Text>| {
        text.map_or(0, |text| fields.amount(&format!("trace.{name}"), r, text))
    };
    let replay = Replay {
        tenants_from_trace: tenants.unwrap_or(false),
        before: days,
        jobs,
        gpus_per_task,
        cpu_per_gpu: amount("cpuPerGpu", Resource::Cpu, trace.cpu_per_gpu.as_ref()),
        memory_per_gpu: amount(
            "memoryPerGpu",
            Resource::Memory,
            trace.memory_per_gpu.as_ref(),
        ),
        runtime,
        conduct,
        conducts,
    };
    let source = trace.source.as_ref().and_then(|text| source(fields, text));
    (replay, source)
}

/// How many thousandths of what the trace says.
fn runtime(fields: &mut Fields<'_>, text: &Text) -> u32 {
    let field = "trace.runtime";
    let remedy = "write how many times as long as the trace says jobs run, such as 1.5x";
    let Some(factor) = text.value.strip_suffix('x') else {
        let what = format!("`{}` is not a factor", text.value);
        fields.wrong(text.referenced, field, what, remedy);
        return 1000;
    };
    times(fields, field, (text, factor), 0.001, remedy).unwrap_or(1000)
}

fn source(fields: &mut Fields<'_>, text: &Text) -> Option<Source> {
    match text.value.parse::<Source>() {
        Ok(source) => Some(source.below(&fields.beside(""))),
        Err(error) => {
            let text_of = error.to_string();
            let (what, remedy) = text_of.split_once("; ").unwrap_or((&text_of, EXAMPLE));
            fields.wrong(text.referenced, "trace.source", what, remedy);
            None
        }
    }
}
