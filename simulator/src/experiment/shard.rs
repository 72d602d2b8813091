//! The table of a sweep as CSV, whole or in parts, and the whole made of all parts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// A part of a sweep: of every `of` runs the one at `index`, so that parts take equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

/// A table with a row for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The columns that say which run it is: the changed fields, the seed, the order.
    pub keys: Vec<String>,
    /// The columns that were measured, sorted.
    pub metrics: Vec<String>,
    /// The cells of each run; what a run does not have is empty.
    pub rows: Vec<Vec<String>>,
}

/// The first line of a part, after [`MARK`]: what it is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// [`super::sweep::Sweep::hash`].
    sweep: String,
    shard: usize,
    of: usize,
    /// Runs of the whole sweep.
    runs: usize,
    /// How many of the columns are keys.
    keys: usize,
}

const MARK: &str = "# prorata.dev/sweep-shard/v1alpha1 ";

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Which of `all` belong to this part.
    pub fn of<T>(self, all: &[T]) -> impl Iterator<Item = &T> {
        all.iter().skip(self.index).step_by(self.of)
    }

    /// How many of so many runs belong to this part.
    const fn count(self, runs: usize) -> usize {
        (runs + self.of - 1 - self.index) / self.of
    }
}

impl Table {
    /// As CSV, with a header.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        self.write(Vec::new())
    }

    /// As CSV, after a line that says which part of which sweep it is.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn shard_csv(&self, sweep: &str, shard: Shard, runs: usize) -> Result<Vec<u8>, csv::Error> {
        let header = Header {
            sweep: sweep.to_owned(),
            shard: shard.index,
            of: shard.of,
            runs,
            keys: self.keys.len(),
        };
        let header = serde_json::to_string(&header).map_err(std::io::Error::from)?;
        self.write(format!("{MARK}{header}\n").into_bytes())
    }

    fn write(&self, before: Vec<u8>) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(before);
        writer.write_record(self.keys.iter().chain(&self.metrics))?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        writer
            .into_inner()
            .map_err(|error| error.into_error().into())
    }
}

/// A part that was read again.
#[derive(Clone, Debug)]
pub struct Part {
    file: String,
    header: Header,
    table: Table,
}

impl Part {
    /// Reads a part. `file` is only for the messages.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn read(file: &str, text: &str) -> Result<Self, Problem> {
        let remedy = "name files that `sweep --shard` wrote";
        let foreign = |what: String| Problem::new(file, "shard", what, remedy);
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let header = first
            .strip_prefix(MARK)
            .ok_or_else(|| foreign("does not begin as a shard".to_owned()))?;
        let header: Header =
            serde_json::from_str(header).map_err(|error| foreign(error.to_string()))?;
        if header.shard >= header.of {
            return Err(foreign(format!(
                "there is no shard {} of {}",
                header.shard, header.of
            )));
        }
        let table = table(rest, header.keys).map_err(|error| foreign(error.to_string()))?;
        let (rows, due) = (table.rows.len(), header.place().count(header.runs));
        if rows != due {
            let what = format!("has {rows} runs where {due} belong: it was cut off or changed");
            return Err(Problem::new(file, "shard", what, "run this shard again"));
        }
        Ok(Self {
            file: file.to_owned(),
            header,
            table,
        })
    }
}

impl Header {
    const fn place(&self) -> Shard {
        Shard {
            index: self.shard,
            of: self.of,
        }
    }

    /// Whether both are of the same sweep, cut the same way.
    fn goes_with(&self, other: &Self) -> bool {
        let same = |header: &Self| Self {
            shard: 0,
            ..header.clone()
        };
        same(self) == same(other)
    }
}

fn table(text: &str, keys: usize) -> Result<Table, csv::Error> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let metrics = columns.split_off(keys.min(columns.len()));
    let cells = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
    let rows = reader.records().map(|record| record.map(cells));
    Ok(Table {
        keys: columns,
        metrics,
        rows: rows.collect::<Result<_, _>>()?,
    })
}

/// The whole table, of all parts in any order.
///
/// # Errors
/// When a part is of another sweep, is there twice, or is missing: all that can be told at once.
pub fn merge(parts: &[Part]) -> Result<Table, Vec<Problem>> {
    let Some(first) = parts.first() else {
        let remedy = "name the files that `sweep --shard` wrote";
        return Err(vec![Problem::new(
            "merge",
            "shards",
            "there are none",
            remedy,
        )]);
    };
    let mut problems = Vec::new();
    let mut places: BTreeMap<usize, &Part> = BTreeMap::new();
    for part in parts {
        if !part.header.goes_with(&first.header) {
            let what = format!("is of another sweep than {}", first.file);
            let remedy = "merge shards of the same scenario, arguments and version of prorata-sim";
            problems.push(Problem::new(&part.file, "shard", what, remedy));
        } else if let Some(known) = places.insert(part.header.shard, part) {
            let what = format!("is shard {}, as {} is", part.header.shard, known.file);
            problems.push(Problem::new(
                &part.file,
                "shard",
                what,
                "name each shard once",
            ));
        }
    }
    let of = first.header.of;
    let missing: Vec<String> = (0..of)
        .filter(|i| !places.contains_key(i))
        .map(|i| i.to_string())
        .collect();
    if !missing.is_empty() {
        let what = format!("of {of}, these are missing: {}", missing.join(", "));
        problems.push(Problem::new(
            "merge",
            "shards",
            what,
            "run them, and name their files too",
        ));
    }
    match problems.is_empty() {
        true => Ok(woven(&places.into_values().collect::<Vec<_>>())),
        false => Err(problems),
    }
}

/// The rows of all parts, one of each in turn, with the columns that any of them has.
fn woven(parts: &[&Part]) -> Table {
    let metrics: BTreeSet<&String> = parts.iter().flat_map(|part| &part.table.metrics).collect();
    let metrics: Vec<&String> = metrics.into_iter().collect();
    let keys = &parts[0].table.keys;
    let places: Vec<Vec<Option<usize>>> = parts
        .iter()
        .map(|part| places(part, keys.len(), &metrics))
        .collect();
    let row = |run: usize| {
        let part = run % parts.len();
        let cells = &parts[part].table.rows[run / parts.len()];
        let cell = |place: &Option<usize>| place.map_or_else(String::new, |p| cells[p].clone());
        places[part].iter().map(cell).collect()
    };
    Table {
        keys: keys.clone(),
        rows: (0..parts[0].header.runs).map(row).collect(),
        metrics: metrics.into_iter().cloned().collect(),
    }
}

/// Where a part has each column of the whole.
fn places(part: &Part, keys: usize, metrics: &[&String]) -> Vec<Option<usize>> {
    let of = |name: &&String| Some(keys + part.table.metrics.binary_search(name).ok()?);
    (0..keys).map(Some).chain(metrics.iter().map(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven runs, of which the odd ones have no `jain`.
    fn table(shard: Shard) -> Table {
        let runs: Vec<usize> = (0..7).collect();
        let own: Vec<&usize> = shard.of(&runs).collect();
        let jain = own.iter().any(|run| run.is_multiple_of(2));
        let row = |run: &&usize| {
            let own = if run.is_multiple_of(2) { "0.5" } else { "" };
            let jain = jain.then(|| own.to_owned());
            let cells = [format!("a, {run}"), run.to_string(), "drf".to_owned()];
            cells
                .into_iter()
                .chain(jain)
                .chain([format!("{run}.25")])
                .collect()
        };
        let jain = jain.then(|| "jain".to_owned());
        Table {
            keys: ["x", "seed", "order"].map(str::to_owned).into(),
            metrics: jain.into_iter().chain(["wait".to_owned()]).collect(),
            rows: own.iter().map(row).collect(),
        }
    }

    fn part(index: usize, of: usize) -> Part {
        named(index, of, "abc")
    }

    fn named(index: usize, of: usize, sweep: &str) -> Part {
        let shard = Shard { index, of };
        let text = table(shard).shard_csv(sweep, shard, 7).unwrap();
        Part::read(&format!("{index}.csv"), &String::from_utf8(text).unwrap()).unwrap()
    }

    fn told(parts: &[Part]) -> Vec<String> {
        let problems = merge(parts).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_parts_make_the_whole_to_the_byte() {
        let whole = table(Shard::WHOLE).csv().unwrap();
        for of in 1..10 {
            let mut parts: Vec<Part> = (0..of).map(|index| part(index, of)).collect();
            parts.reverse();
            assert_eq!(merge(&parts).unwrap().csv().unwrap(), whole, "{of} parts");
        }
    }

    #[test]
    fn a_missing_doubled_or_foreign_part_is_told() {
        assert_eq!(
            told(&[part(2, 4), part(0, 4), part(2, 4)]),
            [
                "error: 2.csv: shard: is shard 2, as 2.csv is\n  help: name each shard once",
                "error: merge: shards: of 4, these are missing: 1, 3\n\
                 \x20 help: run them, and name their files too",
            ]
        );
        let foreign = "error: 1.csv: shard: is of another sweep than 0.csv";
        assert!(told(&[part(0, 2), named(1, 2, "def")])[0].starts_with(foreign));
        assert!(told(&[part(0, 2), part(1, 3)])[0].starts_with(foreign));
        assert!(told(&[])[0].contains("there are none"));
    }

    #[test]
    fn what_is_no_whole_part_is_told() {
        let told = |text: &str| Part::read("p.csv", text).unwrap_err().to_string();
        assert!(told("x,seed\n1,2\n").contains("does not begin as a shard"));
        assert!(told(&format!("{MARK}{{}}\n")).contains("missing field"));
        let shard = Shard { index: 1, of: 3 };
        let text = String::from_utf8(table(shard).shard_csv("abc", shard, 7).unwrap()).unwrap();
        let cut = &text[..text.trim_end().rfind('\n').unwrap() + 1];
        assert!(
            told(cut).contains("has 1 runs where 2 belong"),
            "{}",
            told(cut)
        );
        let beyond = text.replace("\"shard\":1", "\"shard\":3");
        assert!(told(&beyond).contains("there is no shard 3 of 3"));
    }

    #[test]
    fn parts_share_the_runs_evenly() {
        let counts =
            |of: usize, runs: usize| (0..of).map(move |index| Shard { index, of }.count(runs));
        assert_eq!(counts(3, 7).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(counts(4, 2).collect::<Vec<_>>(), [1, 1, 0, 0]);
    }
}
