//! Single fields of a scenario: text in, value out, and a [`Problem`] put down when it is none.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use prorata_core::{Resource, Resources, Weight};
use serde_saphyr::Location;

use super::file::{Amounts, Map, Text, Written};
use crate::problem::Problem;
use crate::quantity;

/// Ten years: longer is a slip of the pen, and sums stay far below the end of time.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Reads fields, and remembers what is wrong with them. What is wrong reads as a harmless value,
/// so that reading goes on to the next field.
pub(super) struct Fields<'a> {
    file: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(file: &'a str) -> Self {
        Self {
            file,
            problems: Vec::new(),
        }
    }

    pub(super) fn wrong(
        &mut self,
        at: Location,
        field: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = Problem::new(self.file, field, what, remedy);
        self.problems.push(problem.at_location(at));
    }

    pub(super) fn warning(&self, at: Location, field: &str, what: &str, remedy: &str) -> Problem {
        Problem::new(self.file, field, what, remedy)
            .at_location(at)
            .as_warning()
    }

    /// The fields below `field`; `example` shows how they are written.
    pub(super) fn below<'w, T>(
        &mut self,
        field: &str,
        written: &'w Written<T>,
        example: &str,
    ) -> Option<&'w T> {
        match &written.value {
            Map::Fields(fields) => Some(fields),
            Map::Scalar(text) => {
                let what = format!("`{text}` is a single value where fields belong");
                self.wrong(written.referenced, field, what, format!("write {example}"));
                None
            }
        }
    }

    /// A name such as Kubernetes takes for an object.
    pub(super) fn name(&mut self, field: &str, text: &str, at: Location) -> String {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = |b: Option<&u8>| b.is_some_and(|b| plain(*b));
        let bytes = text.as_bytes();
        let good = bytes.len() <= 63
            && ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|b| plain(*b) || *b == b'-');
        if !good {
            let what = format!("`{text}` is not a name");
            let remedy = "use at most 63 of a-z, 0-9 and -, with no - at either end";
            self.wrong(at, field, what, remedy);
        }
        text.to_owned()
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number<N>(&mut self, field: &str, text: &Text, least: N, most: N) -> N
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        self.number_at(field, &text.value, text.referenced, (least, most))
    }

    pub(super) fn number_at<N>(
        &mut self,
        field: &str,
        text: &str,
        at: Location,
        (least, most): (N, N),
    ) -> N
    where
        N: FromStr + PartialOrd + Display + Copy,
    {
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        number.unwrap_or_else(|| {
            let what = format!("`{text}` is not a number from {least} to {most}");
            let remedy = "write a number in that range, without a unit";
            self.wrong(at, field, what, remedy);
            least
        })
    }

    pub(super) fn duration(&mut self, field: &str, text: &Text) -> Duration {
        let read = humantime::parse_duration(&text.value).ok();
        let millis = |d: &Duration| d.subsec_nanos().is_multiple_of(1_000_000);
        let good = read.filter(|d| *d <= DURATION_MAX && millis(d));
        good.unwrap_or_else(|| {
            let what = format!("`{}` is not a duration up to ten years", text.value);
            let remedy = "write whole milliseconds or more, such as 90s, 15m or 1h30m";
            self.wrong(text.referenced, field, what, remedy);
            Duration::ZERO
        })
    }

    /// A duration above nothing.
    pub(super) fn span(&mut self, field: &str, text: &Text) -> Duration {
        let before = self.problems.len();
        let span = self.duration(field, text);
        if span.is_zero() && self.problems.len() == before {
            self.wrong(
                text.referenced,
                field,
                "is no time at all",
                "write a duration such as 15m",
            );
        }
        span
    }

    pub(super) fn weight(&mut self, field: &str, text: Option<&Text>) -> Weight {
        let Some(text) = text else { return Weight::ONE };
        quantity::parse_weight(&text.value).unwrap_or_else(|error| {
            self.quantity(field, text.referenced, &error);
            Weight::new(1, NonZeroU32::MIN)
        })
    }

    pub(super) fn amount(&mut self, field: &str, resource: Resource, text: &Text) -> u64 {
        quantity::parse(resource, &text.value).unwrap_or_else(|error| {
            self.quantity(field, text.referenced, &error);
            0
        })
    }

    /// GPUs, which this version gives out whole.
    pub(super) fn whole_gpus(&mut self, field: &str, text: &Text) -> u64 {
        let milli = self.amount(field, Resource::Gpu, text);
        if !milli.is_multiple_of(Resource::Gpu.scale()) {
            let what = format!("`{}` is a part of a GPU", text.value);
            self.wrong(text.referenced, field, what, "write a whole number of GPUs");
        }
        milli
    }

    /// Each amount that is written.
    pub(super) fn amounts(
        &mut self,
        field: &str,
        amounts: Option<&Written<Amounts>>,
    ) -> Vec<(Resource, u64, Location)> {
        let name = field.rsplit('.').next().unwrap_or(field);
        let example = format!("{name}: {{gpu: 8, cpu: 64, memory: 512Gi}}");
        let amounts = amounts.and_then(|amounts| self.below(field, amounts, &example));
        amounts
            .into_iter()
            .flat_map(written)
            .map(|(resource, text)| {
                let amount = self.amount(&format!("{field}.{resource}"), resource, text);
                (resource, amount, text.referenced)
            })
            .collect()
    }

    /// What a task asks for: something, and of GPUs whole ones.
    pub(super) fn task(&mut self, field: &str, amounts: &Written<Amounts>) -> Resources {
        let before = self.problems.len();
        let task = self.amounts(field, Some(amounts));
        if let Map::Fields(Amounts { gpu: Some(gpu), .. }) = &amounts.value
            && self.problems.len() == before
        {
            self.whole_gpus(&format!("{field}.gpu"), gpu);
        }
        let sum = |sum: Resources, (r, amount, _): &(_, u64, _)| sum.with(*r, *amount);
        let request = task.iter().fold(Resources::ZERO, sum);
        if request.is_zero() && self.problems.len() == before {
            let remedy = "write what each task needs, such as {gpu: 1, cpu: 8, memory: 64Gi}";
            self.wrong(amounts.referenced, field, "asks for nothing", remedy);
        }
        request
    }

    fn quantity(&mut self, field: &str, at: Location, error: &quantity::QuantityError) {
        let text = error.to_string();
        let (what, remedy) = text
            .split_once("; ")
            .unwrap_or((&text, "write a coarser or smaller amount"));
        self.wrong(at, field, what, remedy);
    }
}

fn written(amounts: &Amounts) -> impl Iterator<Item = (Resource, &Text)> {
    let texts = [
        (Resource::Gpu, &amounts.gpu),
        (Resource::Cpu, &amounts.cpu),
        (Resource::Memory, &amounts.memory),
    ];
    texts
        .into_iter()
        .filter_map(|(r, text)| Some((r, text.as_ref()?)))
}
