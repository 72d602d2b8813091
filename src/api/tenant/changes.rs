//! What of a tenant's shares changes over time.
#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Amounts;
use super::bounds::{BYTES, CORES};
use crate::api::Amount;

/// A weight as it is written.
const WEIGHT: &str = r"^\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?$";
/// A moment (RFC 3339).
const MOMENT: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$";

/// Hours that come back every week, and what is due in them instead. What is not said stays as the
/// tenant has it. No two of them may overlap.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.from != self.to")
        .message("to is when these hours begin: write a later time, 24:00 for midnight, or one of the next day"),
)]
pub struct Schedule {
    /// What these hours are called, such as night.
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The days on which they begin. Nothing: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// When they begin, such as "20:00".
    #[serde(default = "midnight")]
    #[schemars(regex(pattern = "^([01]\\d|2[0-3]):[0-5]\\d$"))]
    pub from: String,
    /// When they end, such as "08:00": on the next day where that is not later. "24:00" is midnight.
    #[serde(default = "end_of_day")]
    #[schemars(regex(pattern = "^(([01]\\d|2[0-3]):[0-5]\\d|24:00)$"))]
    pub to: String,
    /// Where the clock hangs that says so, such as Europe/Berlin. All of a tenant's in one time zone.
    #[serde(default = "utc")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")
    )]
    pub time_zone: String,
    /// Its weight in these hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = WEIGHT, "minimum" = 0, "maximum" = 999_999_999))]
    pub weight: Option<Amount>,
    /// What it owns in these hours.
    #[serde(default, skip_serializing_if = "Due::is_empty")]
    pub guaranteed: Due,
    /// What it lends at most in these hours.
    #[serde(default, skip_serializing_if = "Due::is_empty")]
    pub lending_limit: Due,
    /// What it never exceeds in these hours.
    #[serde(default, skip_serializing_if = "Due::is_empty")]
    pub limit: Due,
}

/// More for a while, on top of what is due otherwise.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("timestamp(has(self.from) ? self.from : '0001-01-01T00:00:00Z') < timestamp(self.until)")
        .message("until is not after from: write a later moment"),
)]
pub struct Grant {
    /// What it is called, such as paper-deadline.
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it begins, such as 2026-12-24T18:00:00Z. Nothing: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = MOMENT))]
    pub from: Option<String>,
    /// When it ends.
    #[schemars(length(max = 40), regex(pattern = MOMENT))]
    pub until: String,
    /// More that it weighs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = WEIGHT, "minimum" = 0, "maximum" = 999_999_999))]
    pub weight: Option<Amount>,
    /// More that it owns.
    #[serde(default, skip_serializing_if = "Due::is_empty")]
    pub guaranteed: Due,
    /// More that it may hold, where that is limited.
    #[serde(default, skip_serializing_if = "Due::is_empty")]
    pub limit: Due,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub reason: Option<String>,
}

/// A day of the week.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// Its name, as the object has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mon => "Mon",
            Self::Tue => "Tue",
            Self::Wed => "Wed",
            Self::Thu => "Thu",
            Self::Fri => "Fri",
            Self::Sat => "Sat",
            Self::Sun => "Sun",
        }
    }
}

/// An amount of each resource. Its rules are patterns: what may be there many times must not cost
/// the API server much.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// GPUs, whole or in thousandths (500m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = CORES, "minimum" = 0, "maximum" = 999_999))]
    pub gpu: Option<Amount>,
    /// CPU cores, whole or in thousandths (500m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = CORES, "minimum" = 0, "maximum" = 999_999))]
    pub cpu: Option<Amount>,
    /// Memory in bytes, usually with a suffix (64Gi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = BYTES, "minimum" = 0, "maximum" = 99_999_999_999_999_u64))]
    pub memory: Option<Amount>,
}

impl Due {
    /// Whether no resource is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same, as a tenant has it.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        let Self { gpu, cpu, memory } = self.clone();
        Amounts { gpu, cpu, memory }
    }
}

/// What is due to a tenant now, where that changes over time. The controller writes it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// The schedules and grants that go on.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its weight.
    #[serde(default)]
    pub weight: String,
    /// What it owns itself.
    #[serde(default)]
    pub guaranteed: BTreeMap<String, String>,
    /// What it lends at most.
    #[serde(default)]
    pub lending_limit: BTreeMap<String, String>,
    /// What it never exceeds.
    #[serde(default)]
    pub limit: BTreeMap<String, String>,
    /// Until when (RFC 3339); absent where nothing changes any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// The rule that all clocks of a tenant hang in one place, so that hours cannot overlap one day of
/// the year.
pub(super) fn one_clock() -> Rule {
    Rule::new(
        "!has(self.schedules) || self.schedules.all(s, s.timeZone == self.schedules[0].timeZone)",
    )
    .message(
        "the schedules of a tenant are in one time zone: write the same timeZone in all of them",
    )
}

fn midnight() -> String {
    "00:00".to_owned()
}

fn end_of_day() -> String {
    "24:00".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}
