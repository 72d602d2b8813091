//! Single fields of a scenario: text in, value out, and a [`Problem`] put down when it is none.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use prorata_core::{Resource, Weight};
use serde_saphyr::Location;

use super::file::Amounts;
use super::written::{Map, Mix, Text, Written};
use crate::problem::{Problem, suggest};
use crate::quantity;

/// Ten years: longer is a slip of the pen, and sums stay far below the end of time.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Reads fields, and remembers what is wrong with them. What is wrong reads as a harmless value,
/// so that reading goes on to the next field.
pub(super) struct Fields<'a> {
    file: &'a str,
    pub(super) problems: Vec<Problem>,
    /// The text of all files that the scenario names.
    pub(super) also_read: String,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(file: &'a str) -> Self {
        Self {
            file,
            problems: Vec::new(),
            also_read: String::new(),
        }
    }

    /// A path that is written in the file: relative to it.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        let folder = Path::new(self.file).parent();
        folder.unwrap_or_else(|| Path::new("")).join(path)
    }

    /// Another file has been read on behalf of this one.
    pub(super) fn also_read(&mut self, text: &str) {
        self.also_read.push_str(text);
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
        self.duration_at(field, &text.value, text.referenced)
    }

    pub(super) fn duration_at(&mut self, field: &str, text: &str, at: Location) -> Duration {
        let read = humantime::parse_duration(text).ok();
        let millis = |d: &Duration| d.subsec_nanos().is_multiple_of(1_000_000);
        let good = read.filter(|d| *d <= DURATION_MAX && millis(d));
        good.unwrap_or_else(|| {
            let what = format!("`{text}` is not a duration up to ten years");
            let remedy = "write whole milliseconds or more, such as 90s, 15m or 1h30m";
            self.wrong(at, field, what, remedy);
            Duration::ZERO
        })
    }

    /// A duration above nothing.
    pub(super) fn span(&mut self, field: &str, text: &Text) -> Duration {
        self.span_at(field, &text.value, text.referenced)
    }

    pub(super) fn span_at(&mut self, field: &str, text: &str, at: Location) -> Duration {
        let before = self.problems.len();
        let span = self.duration_at(field, text, at);
        if span.is_zero() && self.problems.len() == before {
            let remedy = "write a duration such as 15m";
            self.wrong(at, field, "is no time at all", remedy);
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

    /// GPUs, which nodes have whole.
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
                let amount = self.amount(&format!("{field}.{}", key(resource)), resource, text);
                (resource, amount, text.referenced)
            })
            .collect()
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, field: &str, text: &Text) -> bool {
        self.flag_at(field, &text.value, text.referenced)
    }

    pub(super) fn flag_at(&mut self, field: &str, text: &str, at: Location) -> bool {
        match text {
            "true" | "on" => true,
            "false" | "off" => false,
            other => {
                let what = format!("`{other}` is neither yes nor no");
                self.wrong(at, field, what, "write true or false");
                false
            }
        }
    }

    /// A percentage such as `60%`, or the same as a fraction, `0.6`; at least `least` and at most
    /// `most` percent. Answers with the fraction.
    pub(super) fn percent(&mut self, field: &str, text: &Text, least: f64, most: f64) -> f64 {
        let read = match text.value.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok(),
            None => text.value.parse().ok().map(|part: f64| part * 100.0),
        };
        let good = read.filter(|percent| (least..=most).contains(percent));
        let percent = good.unwrap_or_else(|| {
            let what = format!("`{}` is not a part from {least}% to {most}%", text.value);
            let remedy = "write a percentage such as 60%, or the same as 0.6";
            self.wrong(text.referenced, field, what, remedy);
            least
        });
        percent / 100.0
    }

    /// One of the words that are known, with what it stands for. `what` says what it should be.
    pub(super) fn word<T: Copy>(
        &mut self,
        field: &str,
        text: &Text,
        what: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let found = known.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let what = format!("`{}` is not {what}", text.value);
            let remedy = suggest(&text.value, known.iter().map(|(name, _)| *name));
            self.wrong(text.referenced, field, what, remedy);
        }
        found.map(|(_, value)| *value)
    }

    /// A name that something else has to have.
    pub(super) fn known<'n>(
        &mut self,
        field: &str,
        text: &Text,
        nobody: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) {
        let names: Vec<&str> = names.into_iter().collect();
        if !names.contains(&&*text.value) {
            let what = format!("{nobody} `{}`", text.value);
            let remedy = suggest(&text.value, names);
            self.wrong(text.referenced, field, what, remedy);
        }
    }

    /// The parts of a mix as they are written, with their weights, of which at least one is more
    /// than nothing.
    pub(super) fn mix<'w>(
        &mut self,
        field: &str,
        (mix, at): (&'w Mix, Location),
        example: &str,
    ) -> Vec<(&'w str, Location, f64)> {
        let parts = match mix {
            Mix::One(text) => return vec![(text, at, 1.0)],
            Mix::Parts(parts) => parts,
        };
        let mut read = Vec::new();
        for (part, weight) in parts {
            let weight = self.number(&format!("{field}.{}", part.value), weight, 0.0, 1e9);
            read.push((&*part.value, part.referenced, weight));
        }
        if read.iter().map(|(_, _, weight)| weight).sum::<f64>() <= 0.0 {
            let remedy = format!("give at least one of them a weight above 0, such as {example}");
            self.wrong(at, field, "the weights sum to nothing", remedy);
        }
        read
    }

    fn quantity(&mut self, field: &str, at: Location, error: &quantity::QuantityError) {
        let text = error.to_string();
        let (what, remedy) = text
            .split_once("; ")
            .unwrap_or((&text, "write a coarser or smaller amount"));
        self.wrong(at, field, what, remedy);
    }
}

/// What a resource is called in the file.
pub(super) const fn key(resource: Resource) -> &'static str {
    match resource {
        Resource::GpuMemory => "gpuMemory",
        other => other.name(),
    }
}

fn written(amounts: &Amounts) -> impl Iterator<Item = (Resource, &Text)> {
    let texts = [
        (Resource::Gpu, &amounts.gpu),
        (Resource::Cpu, &amounts.cpu),
        (Resource::Memory, &amounts.memory),
        (Resource::GpuMemory, &amounts.gpu_memory),
    ];
    texts
        .into_iter()
        .filter_map(|(r, text)| Some((r, text.as_ref()?)))
}
