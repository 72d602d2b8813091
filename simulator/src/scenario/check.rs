//! Whether a scenario as written makes sense, and what it then is.

use jiff::Timestamp;

use super::classes::classes;
use super::fields::Fields;
use super::file::File;
use super::streams::{Known, streams};
use super::{Scenario, Stream, faults, policy, pools, replay, tenants};
use crate::calendar::{Terms, moment};
use crate::problem::Problem;
use crate::trace::Source;

const API_VERSION: &str = "sim.prorata.dev/v1alpha1";

/// A scenario whose trace is still to be read.
pub(super) struct Checked {
    /// Without its hash, and without the trace.
    pub(super) scenario: Scenario,
    /// The trace that it names.
    pub(super) source: Option<Source>,
    /// The text of all files that it names, but for the trace.
    pub(super) also_read: String,
}

/// What the file says.
pub(super) fn check(file: &str, written: &File) -> Result<Checked, Vec<Problem>> {
    let mut fields = Fields::new(file);
    header(&mut fields, written);
    let name = fields.name("name", &written.name.value, written.name.referenced);
    let seed = written.seed.as_ref();
    let seed = seed.map(|s| fields.number("seed", s, 0, u64::MAX));
    let pools = pools::pools(&mut fields, written);
    let (mut tenants, terms) = tenants::tenants(&mut fields, written, &pools);
    let classes = classes(&mut fields, written);
    let choices = policy::policy(&mut fields, written.policy.as_ref(), &pools);
    let known = Known {
        tenants: &tenants,
        classes: &classes,
        pools: &pools,
    };
    let streams = work(&mut fields, written, &known);
    let (replay, source) = replay::replay(&mut fields, written.trace.as_ref(), &classes);
    let faults = faults::faults(&mut fields, written, &pools);
    let until = written.until.as_ref().map(|u| fields.span("until", u));
    ends(&mut fields, written);
    let begins = begins(&mut fields, written, &terms);
    if !fields.problems.is_empty() {
        fields.problems.sort_by_key(Problem::place);
        return Err(fields.problems);
    }
    for terms in &terms {
        let tenant = tenants.iter_mut().find(|tenant| tenant.id == terms.base.id);
        tenant
            .into_iter()
            .for_each(|tenant| *tenant = terms.at(begins));
    }
    let scenario = Scenario {
        name,
        description: written.description.trim().to_owned(),
        seed: seed.unwrap_or_default(),
        warnings: tenants::overcommitted(&fields, written, &pools, &tenants),
        pools,
        tenants,
        terms,
        begins,
        classes: classes
            .iter()
            .map(|(name, class)| (name.clone(), class.value))
            .collect(),
        orders: choices.orders,
        policy: choices.policy,
        mix_percent: choices.mix_percent,
        heeds_neighbours: choices.heeds_neighbours,
        streams,
        replay,
        trace: None,
        faults,
        interference: crate::interference::Interference::table(),
        grace: std::time::Duration::ZERO,
        until,
        input_hash: String::new(),
    };
    Ok(Checked {
        scenario,
        source,
        also_read: fields.also_read,
    })
}

fn header(fields: &mut Fields<'_>, written: &File) {
    let expected = [
        ("apiVersion", &written.api_version, API_VERSION),
        ("kind", &written.kind, "Scenario"),
    ];
    for (field, text, right) in expected {
        if text.value != right {
            let what = format!("`{}` is not known", text.value);
            fields.wrong(text.referenced, field, what, format!("write {right}"));
        }
    }
}

/// The streams, unless there is a trace.
fn work(fields: &mut Fields<'_>, written: &File, known: &Known<'_>) -> Vec<Stream> {
    match (&written.workload, &written.trace) {
        (Some(workload), None) => streams(fields, workload, known),
        (None, Some(_)) => Vec::new(),
        (Some(_), Some(trace)) => {
            let what = "goes with no workload";
            fields.wrong(trace.referenced, "trace", what, "keep one of the two");
            Vec::new()
        }
        (None, None) => {
            let remedy = "add at least one stream of jobs, or `trace: {source: philly:FILE}`";
            fields.wrong(written.name.referenced, "workload", "there is none", remedy);
            Vec::new()
        }
    }
}

/// When it begins by the calendar. What changes by that does so up to the end, so one has to be said.
fn begins(fields: &mut Fields<'_>, written: &File, terms: &[Terms]) -> Timestamp {
    if let (Some(from), false, None) = (&written.tenants_from, terms.is_empty(), &written.until) {
        let what = "change over time, up to the end of the run, and none is said";
        let remedy = "add a line such as `until: 30d` to the scenario";
        fields.wrong(from.referenced, "tenantsFrom", what, remedy);
    }
    let Some(text) = &written.begins else {
        return moment(BEGINS).unwrap_or_default();
    };
    moment(&text.value).unwrap_or_else(|| {
        let what = format!("`{}` is no moment", text.value);
        fields.wrong(
            text.referenced,
            "begins",
            what,
            format!("write one such as {BEGINS}"),
        );
        Timestamp::default()
    })
}

/// When a scenario begins that does not say so: on a Monday.
const BEGINS: &str = "2026-01-05T00:00:00Z";

/// Failures are drawn up to the end, so one has to be said.
fn ends(fields: &mut Fields<'_>, written: &File) {
    let pools = written.pools.iter();
    let failing =
        pools.filter_map(|(name, pool)| Some((name, pool.value.fields()?.failures.as_ref()?)));
    if let (Some((name, failures)), None) = (failing.into_iter().next(), &written.until) {
        let what = "are drawn up to the end of the run, and none is said";
        let remedy = "add a line such as `until: 30d` to the scenario";
        fields.wrong(
            failures.referenced,
            &format!("pools.{name}.failures"),
            what,
            remedy,
        );
    }
}
