//! What is asked at `/allocation`: which window, in which steps, added up by what.

use serde_json::{Map, Value, json};

use crate::period::{DAY, Period, date, midnight, parse_rfc3339};
use crate::problem::suggest;
use crate::record::Hold;

const HOUR: u64 = 3_600_000;

/// So many steps are answered at most.
const STEPS_MAX: u64 = 1_000;

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// From when until when.
    pub window: Period,
    /// How long each step is, in milliseconds; the last may be shorter.
    pub step_ms: u64,
    /// By what it is added up: the names of the properties are joined by `/`.
    pub aggregate: Vec<Property>,
    /// Whether idle time is told.
    pub include_idle: bool,
    /// Whether idle time is shared out, in proportion to cost.
    pub share_idle: bool,
    /// Whether idle time is told node by node.
    pub idle_by_node: bool,
}

/// Something that a hold has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// One of OpenCost's own, such as `namespace`.
    Own(&'static str),
    /// `label:NAME`.
    Label(&'static str, String),
}

/// OpenCost's names for what we know.
const OWN: [&str; 5] = [
    "namespace",
    "controller",
    "controllerKind",
    "node",
    "providerID",
];

/// The labels that we know, each with what stands for it.
const LABELS: [(&str, &str); 13] = [
    ("tenant", "tenant"),
    ("team", "tenant"),
    ("prorata.dev/tenant", "tenant"),
    ("environment", "environment"),
    ("env", "environment"),
    ("cost-center", "cost-center"),
    ("department", "department"),
    ("user", "user"),
    ("owner", "user"),
    ("model", "model"),
    ("pool", "pool"),
    ("priority-class", "priority-class"),
    ("mode", "mode"),
];

impl Query {
    /// Reads the parameters of a request at a moment.
    ///
    /// # Errors
    /// When one makes no sense; the text says what to write.
    pub fn parse<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
        now_ms: u64,
    ) -> Result<Self, String> {
        let (mut window, mut step, mut accumulate) = (None, None, false);
        let mut query = Self {
            window: Period {
                from_ms: now_ms,
                until_ms: now_ms,
            },
            step_ms: 0,
            aggregate: vec![Property::Own("namespace"), Property::Own("controller")],
            include_idle: false,
            share_idle: false,
            idle_by_node: false,
        };
        for (name, value) in parameters {
            match name {
                "window" => window = Some(self::window(value, now_ms)?),
                "aggregate" => {
                    query.aggregate = value
                        .split(',')
                        .map(Property::parse)
                        .collect::<Result<_, _>>()?;
                }
                "step" => {
                    step = Some(span(value).ok_or_else(|| {
                        format!("step: `{value}` is not a span of time, write one such as 1h or 1d")
                    })?);
                }
                "accumulate" => accumulate = flag(name, value)?,
                "includeIdle" => query.include_idle = flag(name, value)?,
                "shareIdle" => query.share_idle = flag(name, value)?,
                "idleByNode" => query.idle_by_node = flag(name, value)?,
                // What OpenCost's clients ask for beside that changes nothing of GPUs.
                _ => {}
            }
        }
        query.include_idle |= query.share_idle || query.idle_by_node;
        query.window = window.ok_or("window: is missing, write one such as window=7d, lastmonth or 2026-11-01T00:00:00Z,2026-12-01T00:00:00Z")?;
        query.step_ms = match step {
            Some(step) if !accumulate => step,
            _ => query.window.length_ms(),
        };
        if query.window.length_ms().div_ceil(query.step_ms.max(1)) > STEPS_MAX {
            return Err(format!(
                "step: makes more than {STEPS_MAX} steps of this window, write a longer one"
            ));
        }
        Ok(query)
    }

    /// The steps, in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = Period> {
        let (window, step) = (self.window, self.step_ms.max(1));
        let starts =
            std::iter::successors(Some(window.from_ms), move |from| from.checked_add(step));
        let starts = starts.take_while(move |from| *from < window.until_ms);
        starts.map(move |from_ms| {
            window.within(Period {
                from_ms,
                until_ms: from_ms.saturating_add(step),
            })
        })
    }
}

impl Property {
    fn parse(text: &str) -> Result<Self, String> {
        let labels = LABELS.map(|(name, _)| name).to_vec();
        let wrong = |name: &str, known: Vec<&str>| {
            format!("aggregate: `{text}` is not known, {}", suggest(name, known))
        };
        let label = |name: &str| {
            let found = LABELS.iter().find(|(known, _)| *known == name);
            found.map(|(_, of)| Self::Label(of, name.to_owned()))
        };
        if let Some(name) = text.strip_prefix("label:") {
            return label(name).ok_or_else(|| wrong(name, labels));
        }
        let own = OWN.iter().find(|name| **name == text);
        let own = own.map(|name| Self::Own(name));
        own.or_else(|| label(text))
            .ok_or_else(|| wrong(text, [OWN.to_vec(), labels].concat()))
    }

    /// What a hold has of it; empty where it has none.
    pub(super) fn of<'a>(&self, hold: &'a Hold) -> &'a str {
        match self {
            Self::Own("namespace") => &hold.payer.namespace,
            Self::Own("controller") => &hold.job,
            Self::Own("controllerKind") => &hold.kind,
            Self::Own(_) => &hold.id.node,
            Self::Label("tenant", _) => &hold.payer.tenant,
            Self::Label("environment", _) => &hold.payer.environment,
            Self::Label("cost-center", _) => &hold.payer.cost_center,
            Self::Label("department", _) => &hold.payer.department,
            Self::Label("user", _) => &hold.payer.user,
            Self::Label("model", _) => &hold.id.model,
            Self::Label("pool", _) => &hold.pool,
            Self::Label("mode", _) => &hold.mode,
            Self::Label(..) => &hold.priority_class,
        }
    }

    /// Enters it among the properties of an answer.
    pub(super) fn put(&self, properties: &mut Map<String, Value>, value: String) {
        match self {
            Self::Own(name) => drop(properties.insert((*name).to_owned(), value.into())),
            Self::Label(_, label) => {
                let labels = properties.entry("labels").or_insert_with(|| json!({}));
                labels[label] = value.into();
            }
        }
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    value
        .parse()
        .map_err(|_| format!("{name}: `{value}` is neither true nor false"))
}

/// `7d`, `36h`, `90m`.
fn span(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "d" => DAY,
        "h" => HOUR,
        "m" => 60_000,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|span| *span > 0)
}

/// `today`, `lastweek`, `7d`, or two moments as RFC 3339 or in seconds of Unix time.
fn window(text: &str, now_ms: u64) -> Result<Period, String> {
    let wrong = || {
        format!(
            "window: `{text}` is not a window, write today, yesterday, week, lastweek, month, lastmonth, 7d, 36h, or two moments such as 2026-11-01T00:00:00Z,2026-11-08T00:00:00Z"
        )
    };
    if let Some((from, until)) = text.split_once(',') {
        let moment = |text: &str| {
            parse_rfc3339(text).or_else(|| text.parse::<u64>().ok()?.checked_mul(1000))
        };
        let period = moment(from)
            .zip(moment(until))
            .map(|(from_ms, until_ms)| Period { from_ms, until_ms });
        return period
            .filter(|period| period.length_ms() > 0)
            .ok_or_else(wrong);
    }
    let today = now_ms / DAY * DAY;
    let until = |from_ms| Period {
        from_ms,
        until_ms: now_ms,
    };
    match text {
        "today" => Ok(until(today)),
        "yesterday" => Ok(Period {
            from_ms: today.saturating_sub(DAY),
            until_ms: today,
        }),
        "week" => sunday(now_ms).map(until).ok_or_else(wrong),
        "lastweek" => sunday(now_ms)
            .map(|until_ms| Period {
                from_ms: until_ms.saturating_sub(7 * DAY),
                until_ms,
            })
            .ok_or_else(wrong),
        "month" => Ok(until(Period::month_of(now_ms).from_ms)),
        "lastmonth" => Ok(Period::month_of(now_ms).month_before()),
        text => span(text)
            .map(|span| until(now_ms.saturating_sub(span)))
            .ok_or_else(wrong),
    }
}

/// The first moment of the week, which begins on Sunday there.
fn sunday(now_ms: u64) -> Option<u64> {
    let today = date(now_ms)?;
    let since = u64::try_from(today.weekday().to_sunday_zero_offset()).ok()?;
    midnight(today)?.checked_sub(since * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::day;

    /// Sunday 2026-11-29, 14:00.
    fn now() -> u64 {
        day("2026-11-29").unwrap() + 14 * HOUR
    }

    fn of(window: &str) -> Result<(u64, u64), String> {
        let query = Query::parse([("window", window)], now())?;
        Ok((query.window.from_ms, query.window.until_ms))
    }

    #[test]
    fn windows_are_those_of_opencost() {
        let on = |text| day(text).unwrap();
        assert_eq!(of("today"), Ok((on("2026-11-29"), now())));
        assert_eq!(of("yesterday"), Ok((on("2026-11-28"), on("2026-11-29"))));
        assert_eq!(of("week"), Ok((on("2026-11-29"), now())));
        assert_eq!(of("lastweek"), Ok((on("2026-11-22"), on("2026-11-29"))));
        assert_eq!(of("month"), Ok((on("2026-11-01"), now())));
        assert_eq!(of("lastmonth"), Ok((on("2026-10-01"), on("2026-11-01"))));
        assert_eq!(of("36h"), Ok((now() - 36 * HOUR, now())));
        assert_eq!(
            of("2026-11-01T00:00:00Z,2026-11-02T00:00:00Z"),
            Ok((on("2026-11-01"), on("2026-11-02")))
        );
        assert_eq!(of("86400,172800"), Ok((DAY, 2 * DAY)));
        for wrong in [
            "",
            "7",
            "0d",
            "7w",
            "2026-11-02T00:00:00Z,2026-11-01T00:00:00Z",
            "ä",
        ] {
            assert!(of(wrong).unwrap_err().starts_with("window: `"), "{wrong}");
        }
        assert!(
            Query::parse([], 0)
                .unwrap_err()
                .starts_with("window: is missing")
        );
    }

    #[test]
    fn steps_are_the_window_in_parts() {
        let steps = |more: &[(&str, &str)]| {
            let parameters = [&[("window", "36h")], more].concat();
            Query::parse(parameters, now())
                .map(|query| query.steps().map(Period::length_ms).collect::<Vec<_>>())
        };
        assert_eq!(steps(&[]), Ok(vec![36 * HOUR]));
        assert_eq!(steps(&[("step", "1d")]), Ok(vec![DAY, 12 * HOUR]));
        assert_eq!(
            steps(&[("step", "1d"), ("accumulate", "true")]),
            Ok(vec![36 * HOUR])
        );
        assert!(
            steps(&[("step", "1m")])
                .unwrap_err()
                .contains("more than 1000 steps")
        );
        assert!(
            steps(&[("accumulate", "yes")])
                .unwrap_err()
                .contains("neither true nor false")
        );
        assert!(
            steps(&[("aggregate", "label:tennant")])
                .unwrap_err()
                .contains("did you mean `tenant`?")
        );
    }
}
