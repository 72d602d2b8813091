//! How an objective is written: `FN(MEASURE[, KEY=VALUE]…) OP VALUE`.

use super::super::trial::Classes;
use super::{Filter, Function, Measure, Relation, Slo};
use crate::problem::{Problem, suggest};

const MEASURES: [(&str, Measure); 3] = [
    ("wait", Measure::Wait),
    ("jct", Measure::Jct),
    ("slowdown", Measure::Slowdown),
];

/// Longest first, so that `<` does not take the half of `<=`.
const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Less),
    (">", Relation::More),
    ("=", Relation::Equal),
];

impl Slo {
    /// Reads an objective about these tenants and PriorityClasses. FN is mean, max or pNN, such as
    /// p95; MEASURE wait, jct or slowdown; KEY tenant, priority (a class or its value) or gpus, the
    /// last two also with `<`, `<=`, `>` and `>=`; VALUE a duration, or for slowdown a number.
    ///
    /// # Errors
    /// When it makes no sense: the problem has the column.
    pub fn parse(text: &str, tenants: &[&str], classes: &Classes) -> Result<Self, Problem> {
        let mut reader = Reader { text, at: 0 };
        let slo = reader.objective(tenants, classes);
        slo.map_err(|fault| fault.problem(text))
    }
}

/// The number that PriorityClass `class` stands for: its value in `classes`, or the number that
/// it is itself.
fn priority(class: &str, classes: &Classes) -> Result<i32, String> {
    let known = classes.get(class).copied();
    known.or_else(|| class.parse().ok()).ok_or_else(|| {
        let remedy = suggest(class, classes.keys().map(String::as_str));
        match classes.is_empty() {
            true => "write its value, a whole number: the scenario names no classes".to_owned(),
            false => format!("{remedy} (or a whole number)"),
        }
    })
}

/// What is wrong, and where in the text: a range of bytes.
struct Fault {
    from: usize,
    to: usize,
    field: &'static str,
    what: String,
    remedy: String,
}

impl Fault {
    fn problem(self, text: &str) -> Problem {
        let before = text[..self.from].chars().count();
        let marks = text[self.from..self.to].chars().count().max(1);
        let remedy = format!(
            "{}\n    {text}\n    {:before$}{:^<marks$}",
            self.remedy, "", ""
        );
        Problem::new("--slo", self.field, self.what, remedy).at(1, before + 1)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// A piece of the text, with where it begins.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

impl Word<'_> {
    fn wrong(self, field: &'static str, what: &str, remedy: impl Into<String>) -> Fault {
        let what = match self.text {
            "" => "is missing".to_owned(),
            text => format!("`{text}` {what}"),
        };
        Fault {
            from: self.at,
            to: self.at + self.text.len(),
            field,
            what,
            remedy: remedy.into(),
        }
    }
}

impl<'a> Reader<'a> {
    fn objective(&mut self, tenants: &[&str], classes: &Classes) -> Result<Slo, Fault> {
        let function = self.function()?;
        self.expect("(", "a measure in brackets follows, such as p95(wait)")?;
        let word = self.word();
        let known = MEASURES.iter().find(|(name, _)| *name == word.text);
        let remedy = || suggest(word.text, MEASURES.map(|(name, _)| name));
        let (_, measure) =
            *known.ok_or_else(|| word.wrong("measure", "is not measured", remedy()))?;
        let mut filters = Vec::new();
        while self.takes(",") {
            filters.push(self.filter(tenants, classes)?);
        }
        self.expect(
            ")",
            "write `)` or a further condition, such as `, tenant=red`",
        )?;
        let measured = self.text[..self.at].trim().to_owned();
        let relation = self.relation("write <= and the bound, such as <= 30m")?;
        if relation == Relation::Equal {
            let at = Word {
                text: "=",
                at: self.at - 1,
            };
            return Err(at.wrong("bound", "is met by chance alone", "write <= or >="));
        }
        Ok(Slo {
            function,
            measure,
            filters,
            relation,
            bound: self.bound(measure)?,
            measured,
        })
    }

    fn function(&mut self) -> Result<Function, Fault> {
        let word = self.word();
        let percentile = |text: &str| text.parse().ok().filter(|p| *p <= 100);
        match (word.text, word.text.strip_prefix('p').and_then(percentile)) {
            ("mean", _) => Ok(Function::Mean),
            ("max", _) => Ok(Function::Max),
            (_, Some(p)) => Ok(Function::Percentile(p)),
            _ => Err(word.wrong(
                "function",
                "is not a function",
                "write mean, max, or pNN from p0 to p100, such as p95",
            )),
        }
    }

    fn filter(&mut self, tenants: &[&str], classes: &Classes) -> Result<Filter, Fault> {
        let key = self.word();
        if !["tenant", "priority", "gpus"].contains(&key.text) {
            let remedy = suggest(key.text, ["tenant", "priority", "gpus"]);
            return Err(key.wrong("condition", "is no property of a job", remedy));
        }
        let before = self.at;
        let relation = self.relation("write = and a value, such as tenant=red")?;
        let value = self.word();
        match key.text {
            "tenant" if relation != Relation::Equal => {
                let sign = Word {
                    text: self.text[before..value.at].trim(),
                    at: before,
                };
                Err(sign.wrong("condition", "cannot compare tenants", "write tenant=NAME"))
            }
            "tenant" => match tenants.contains(&value.text) {
                true => Ok(Filter::Tenant(value.text.to_owned())),
                false => {
                    let remedy = suggest(value.text, tenants.iter().copied());
                    Err(value.wrong("tenant", "is not a tenant of the scenario", remedy))
                }
            },
            "priority" => priority(value.text, classes)
                .map(|value| Filter::Priority(relation, value))
                .map_err(|remedy| value.wrong("priority", "is not a priority class", remedy)),
            _ => number(value)
                .map(|gpus| Filter::Gpus(relation, gpus))
                .ok_or_else(|| {
                    value.wrong(
                        "gpus",
                        "is not a number of GPUs",
                        "write a number, such as gpus>=8",
                    )
                }),
        }
    }

    fn bound(&mut self, measure: Measure) -> Result<f64, Fault> {
        let rest = &self.text[self.at..];
        let value = Word {
            text: rest.trim(),
            at: self.at + (rest.len() - rest.trim_start().len()),
        };
        match measure {
            Measure::Slowdown => number(value).ok_or_else(|| {
                value.wrong("bound", "is not a number", "write a number, such as 1.5")
            }),
            Measure::Wait | Measure::Jct => humantime::parse_duration(value.text)
                .map(super::millis)
                .map_err(|_| {
                    value.wrong(
                        "bound",
                        "is not a duration",
                        "write one with its unit, such as 90s, 30m or 1h30m",
                    )
                }),
        }
    }

    fn relation(&mut self, remedy: &str) -> Result<Relation, Fault> {
        let found = RELATIONS.iter().find(|(sign, _)| self.takes(sign));
        let relation = found.map(|(_, relation)| *relation);
        relation.ok_or_else(|| self.here().wrong("comparison", "does not compare", remedy))
    }

    fn expect(&mut self, sign: &str, remedy: &str) -> Result<(), Fault> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self
                .here()
                .wrong("expression", "is not expected here", remedy)),
        }
    }

    /// Passes `sign` if it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        self.skip_spaces();
        let comes = self.text[self.at..].starts_with(sign);
        self.at += if comes { sign.len() } else { 0 };
        comes
    }

    /// What comes next, without passing it: a word or a single sign.
    fn here(&mut self) -> Word<'a> {
        let (before, word) = (self.at, self.word());
        self.at = before;
        let first = self.text[word.at..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        let length = word.text.len().max(first);
        Word {
            text: &self.text[word.at..word.at + length],
            at: word.at,
        }
    }

    fn word(&mut self) -> Word<'a> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let text = &rest[..rest.find(|c| !inside(c)).unwrap_or(rest.len())];
        let at = self.at;
        self.at += text.len();
        Word { text, at }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }
}

fn number(word: Word<'_>) -> Option<f64> {
    let number = word.text.parse().ok();
    number.filter(|n: &f64| n.is_finite() && *n >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Slo, String> {
        let classes = Classes::from([("high".to_owned(), 1000), ("low".to_owned(), -10)]);
        Slo::parse(text, &["red", "blue"], &classes).map_err(|problem| problem.to_string())
    }

    fn told(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn an_objective_is_read_whole() {
        let slo = parse("  p95( wait ,priority = high,gpus>=8, tenant=red )<= 1h 30m ").unwrap();
        assert_eq!(slo.function, Function::Percentile(95));
        assert_eq!(slo.measure, Measure::Wait);
        let filters = [
            Filter::Priority(Relation::Equal, 1000),
            Filter::Gpus(Relation::AtLeast, 8.0),
            Filter::Tenant("red".to_owned()),
        ];
        assert_eq!(slo.filters, filters);
        assert_eq!((slo.relation, slo.bound), (Relation::AtMost, 5_400_000.0));
        assert_eq!(
            slo.measured(),
            "p95( wait ,priority = high,gpus>=8, tenant=red )"
        );
        let slo = parse("max(slowdown,priority<-5)<1.5").unwrap();
        assert_eq!((slo.relation, slo.bound), (Relation::Less, 1.5));
        assert_eq!(slo.filters, [Filter::Priority(Relation::Less, -5)]);
    }

    #[test]
    fn a_fault_is_told_with_its_column() {
        assert_eq!(
            told("p95(wiat) <= 30m"),
            "error: --slo:1:5: measure: `wiat` is not measured\n\
             \x20 help: did you mean `wait`?\n\
             \x20   p95(wiat) <= 30m\n\
             \x20       ^^^^"
        );
        assert_eq!(
            told("p95(wait, priority=hihg) <= 30m"),
            "error: --slo:1:20: priority: `hihg` is not a priority class\n\
             \x20 help: did you mean `high`? (or a whole number)\n\
             \x20   p95(wait, priority=hihg) <= 30m\n\
             \x20                      ^^^^"
        );
        assert_eq!(
            told("p95(wait) <= "),
            "error: --slo:1:14: bound: is missing\n\
             \x20 help: write one with its unit, such as 90s, 30m or 1h30m\n\
             \x20   p95(wait) <= \n\
             \x20                ^"
        );
    }

    #[test]
    fn whatever_is_wrong_has_a_column_and_a_remedy() {
        for (text, start) in [
            ("", "1:1: function: is missing"),
            ("avg(wait) <= 1m", "1:1: function: `avg` is not a function"),
            (
                "p101(wait) <= 1m",
                "1:1: function: `p101` is not a function",
            ),
            (
                "p95 wait <= 1m",
                "1:5: expression: `wait` is not expected here",
            ),
            (
                "p95(wait; <= 1m",
                "1:9: expression: `;` is not expected here",
            ),
            ("p95(wait,) <= 1m", "1:10: condition: is missing"),
            (
                "p95(wait, tennant=red) <= 1m",
                "1:11: condition: `tennant` is no property",
            ),
            (
                "p95(wait, tenant>red) <= 1m",
                "1:17: condition: `>` cannot compare tenants",
            ),
            (
                "p95(wait, tenant=rad) <= 1m",
                "1:18: tenant: `rad` is not a tenant",
            ),
            (
                "p95(wait, gpus=many) <= 1m",
                "1:16: gpus: `many` is not a number",
            ),
            (
                "p95(wait, gpus) <= 1m",
                "1:15: comparison: `)` does not compare",
            ),
            ("p95(wait) 1m", "1:11: comparison: `1m` does not compare"),
            ("p95(wait) = 1m", "1:11: bound: `=` is met by chance alone"),
            ("p95(wait) <= 30", "1:14: bound: `30` is not a duration"),
            (
                "p95(wait) <= 30m or so",
                "1:14: bound: `30m or so` is not a duration",
            ),
            ("max(slowdown) <= 2m", "1:18: bound: `2m` is not a number"),
            ("p95(ẅait) <= 1m", "1:5: measure: `ẅait` is not measured"),
        ] {
            let told = told(text);
            assert!(told.starts_with(&format!("error: --slo:{start}")), "{told}");
        }
    }

    #[test]
    fn without_classes_a_priority_is_a_number() {
        let parse = |text: &str| Slo::parse(text, &[], &Classes::new());
        assert!(parse("max(wait, priority=-7) <= 1m").is_ok());
        let told = parse("max(wait, priority=high) <= 1m")
            .unwrap_err()
            .to_string();
        assert!(told.contains("the scenario names no classes"), "{told}");
    }
}
