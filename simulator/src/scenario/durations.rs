//! How long the jobs of a stream run, as it is written.

use std::path::Path;
use std::time::Duration;

use super::fields::Fields;
use super::file;
use super::written::{Mix, Text, Written};
use crate::problem::suggest;
use crate::workload::Runtime;

const DURATION: &str = "duration: {fixed: 1h} or duration: {lognormal: {median: 1h, sigma: 0.8}}";
const WAYS: &str = "write one of {fixed: 1h}, {lognormal: {median: 1h, sigma: 0.8}}, {empirical: {10m: 3, 2h: 1}} and {quantiles: {file: durations.csv, column: duration}}";

pub(super) fn runtime(
    fields: &mut Fields<'_>,
    path: &str,
    written: &Written<file::Runtime>,
) -> Runtime {
    let nothing = Runtime::Fixed(Duration::ZERO);
    let Some(runtime) = fields.below(path, written, DURATION) else {
        return nothing;
    };
    let file::Runtime {
        fixed,
        lognormal,
        empirical,
        quantiles,
    } = runtime;
    match (fixed, lognormal, empirical, quantiles) {
        (Some(fixed), None, None, None) => {
            Runtime::Fixed(fields.span(&format!("{path}.fixed"), fixed))
        }
        (None, Some(drawn), None, None) => {
            self::lognormal(fields, &format!("{path}.lognormal"), drawn)
        }
        (None, None, Some(mix), None) => {
            let mix = (&mix.value, mix.referenced);
            empirical_of(fields, &format!("{path}.empirical"), mix)
        }
        (None, None, None, Some(column)) => {
            let path = format!("{path}.quantiles");
            quantiles_of(fields, &path, column).unwrap_or(nothing)
        }
        _ => {
            fields.wrong(
                written.referenced,
                path,
                "does not say one way of lasting",
                WAYS,
            );
            nothing
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

fn empirical_of(
    fields: &mut Fields<'_>,
    path: &str,
    mix: (&Mix, serde_saphyr::Location),
) -> Runtime {
    let parts = fields.mix(path, mix, "{10m: 3, 2h: 1}");
    let parts = parts.into_iter();
    let spans: Vec<(Duration, f64)> = parts
        .map(|(text, at, weight)| (fields.span_at(path, text, at), weight))
        .collect();
    Runtime::Weighted(spans.into())
}

/// A column of a CSV file: quantiles, evenly apart, in any order.
fn quantiles_of(
    fields: &mut Fields<'_>,
    path: &str,
    written: &Written<file::Quantiles>,
) -> Option<Runtime> {
    let example = "quantiles: {file: durations.csv, column: duration}";
    let file::Quantiles { file, column } = fields.below(path, written, example)?;
    let relative = fields.beside(&file.value);
    let text = match std::fs::read_to_string(&relative) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("`{}` cannot be read: {error}", relative.display());
            let remedy = "name a CSV file that you may read; its path is relative to this file";
            fields.wrong(file.referenced, &format!("{path}.file"), what, remedy);
            return None;
        }
    };
    fields.also_read(&text);
    let spans = column_of(fields, path, column, (&relative, &text))?;
    if spans.is_empty() {
        let what = format!("`{}` has no rows", relative.display());
        let remedy =
            "write a line with a duration for each quantile, from the shortest to the longest";
        fields.wrong(file.referenced, &format!("{path}.file"), what, remedy);
        return None;
    }
    Some(Runtime::Quantiles(spans.into()))
}

fn column_of(
    fields: &mut Fields<'_>,
    path: &str,
    column: &Text,
    (file, text): (&Path, &str),
) -> Option<Vec<Duration>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim().to_owned()).collect(),
        Err(_) => Vec::new(),
    };
    let Some(index) = names.iter().position(|name| *name == column.value) else {
        let what = format!("`{}` has no column `{}`", file.display(), column.value);
        let remedy = suggest(&column.value, names.iter().map(String::as_str));
        fields.wrong(column.referenced, &format!("{path}.column"), what, remedy);
        return None;
    };
    let mut spans = Vec::new();
    for record in reader.records() {
        let line = record
            .as_ref()
            .ok()
            .and_then(|r| r.position().map(csv::Position::line));
        let cell = record
            .ok()
            .and_then(|r| r.get(index).map(|cell| cell.trim().to_owned()));
        let Some(span) = cell.as_deref().and_then(span) else {
            let cell = cell.unwrap_or_default();
            let field = format!(
                "{}:{}: {}",
                file.display(),
                line.unwrap_or_default(),
                column.value
            );
            let what = format!("{field}: `{cell}` is not a duration");
            let remedy = "write seconds such as 90 or 0.5, or durations such as 90s and 1h30m";
            fields.wrong(column.referenced, &format!("{path}.column"), what, remedy);
            return None;
        };
        spans.push(span);
    }
    spans.sort();
    Some(spans)
}

/// Seconds, or a duration with its unit.
fn span(text: &str) -> Option<Duration> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|s: f64| Duration::try_from_secs_f64(s).ok());
    let span = seconds.or_else(|| humantime::parse_duration(text).ok())?;
    let span = Duration::from_millis(u64::try_from(span.as_millis()).ok()?);
    (span <= super::fields::DURATION_MAX).then_some(span)
}
