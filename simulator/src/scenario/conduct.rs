//! How the jobs of a stream or of a trace behave, as it is written.

use std::time::Duration;

use super::classes::{self, Class, Classes};
use super::fields::Fields;
use super::file;
use super::written::Text;
use crate::problem::suggest;
use crate::workload::{Conduct, Longest};

/// The greatest factor between two durations.
const FACTOR_MAX: f64 = 1000.0;

/// What streams and traces both can say.
pub(super) struct Said<'a> {
    priority: Option<&'a Text>,
    max_duration: Option<&'a Text>,
    checkpoint: Option<&'a Text>,
    restart: Option<&'a Text>,
    busy: Option<&'a Text>,
    preemptible: Option<&'a Text>,
}

impl<'a> From<&'a file::Stream> for Said<'a> {
    fn from(stream: &'a file::Stream) -> Self {
        Self {
            priority: stream.priority.as_ref(),
            max_duration: stream.max_duration.as_ref(),
            checkpoint: stream.checkpoint.as_ref(),
            restart: stream.restart.as_ref(),
            busy: stream.busy.as_ref(),
            preemptible: stream.preemptible.as_ref(),
        }
    }
}

impl<'a> From<&'a file::Trace> for Said<'a> {
    fn from(trace: &'a file::Trace) -> Self {
        Self {
            priority: trace.priority.as_ref(),
            max_duration: trace.max_duration.as_ref(),
            checkpoint: trace.checkpoint.as_ref(),
            restart: trace.restart.as_ref(),
            busy: trace.busy.as_ref(),
            preemptible: trace.preemptible.as_ref(),
        }
    }
}

pub(super) fn conduct(
    fields: &mut Fields<'_>,
    path: &str,
    said: &Said<'_>,
    classes: &Classes,
) -> Conduct {
    let usual = Conduct::default();
    let field = |name: &str| format!("{path}.{name}");
    let Class {
        value,
        cluster_wide,
        protected,
    } = said.priority.map_or_else(Class::default, |priority| {
        classes::priority(fields, &field("priority"), priority, classes)
    });
    let max_duration = said
        .max_duration
        .and_then(|l| longest(fields, &field("maxDuration"), l));
    let checkpoint = said
        .checkpoint
        .map(|span| fields.span(&field("checkpoint"), span));
    let restart = said
        .restart
        .map(|span| fields.duration(&field("restart"), span));
    let busy = said
        .busy
        .map(|busy| fields.percent(&field("busy"), busy, 0.0, 100.0));
    let preemptible = said
        .preemptible
        .map(|may| fields.flag(&field("preemptible"), may));
    Conduct {
        priority: value,
        cluster_wide,
        protected,
        preemptible: preemptible.unwrap_or(usual.preemptible),
        max_duration,
        checkpoint,
        restart: restart.unwrap_or(Duration::ZERO),
        busy: busy.map_or(usual.busy, thousandths),
    }
}

/// A duration, or how many times what is true: `2x`.
fn longest(fields: &mut Fields<'_>, field: &str, text: &Text) -> Option<Longest> {
    let Some(factor) = text.value.strip_suffix('x') else {
        return Some(Longest::Is(fields.span(field, text)));
    };
    let remedy = "write how many times the true duration it is, such as 2x, or a duration";
    times(fields, field, (text, factor), 1.0, remedy).map(Longest::Times)
}

/// The thousandths of a factor of at least `least`: `factor` is what stands before the `x`.
pub(super) fn times(
    fields: &mut Fields<'_>,
    field: &str,
    (text, factor): (&Text, &str),
    least: f64,
    remedy: &str,
) -> Option<u32> {
    let factor = factor
        .parse()
        .ok()
        .filter(|f| (least..=FACTOR_MAX).contains(f));
    if factor.is_none() {
        let what = format!(
            "`{}` is not a factor from {least}x to {FACTOR_MAX}x",
            text.value
        );
        fields.wrong(text.referenced, field, what, remedy);
    }
    factor.map(thousandths)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and 1000"
)]
fn thousandths(part: f64) -> u32 {
    (part * 1000.0).round() as u32
}

/// Whose jobs they are: a tenant that has no tenants below it.
pub(super) fn owner(
    fields: &mut Fields<'_>,
    field: &str,
    text: &Text,
    tenants: &[prorata_core::Tenant],
) {
    let names = || tenants.iter().map(|tenant| tenant.id.as_str());
    fields.known(field, text, "no tenant is called", names());
    let below = tenants.iter().filter(|tenant| {
        tenant
            .parent
            .as_ref()
            .is_some_and(|parent| parent.as_str() == text.value)
    });
    let below: Vec<&str> = below.map(|tenant| tenant.id.as_str()).collect();
    if !below.is_empty() {
        let what = format!(
            "`{}` has tenants below it, so it has no jobs of its own",
            text.value
        );
        fields.wrong(text.referenced, field, what, suggest(&text.value, below));
    }
}
