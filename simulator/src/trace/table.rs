//! A trace's file as rows, whatever its format: finds the columns, counts what is odd, refuses a
//! file that is something else. What a row means is the format's business.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::lines::{BUFFER, Line, Lines};
use super::names::Names;
use super::oddity::{Oddities, Oddity};
use super::row::{Cell, Fault, Row, Unreadable};
use crate::problem::Problem;

/// How a kind of file is read into `T`s, from `N` of its columns.
pub(super) struct Format<T, const N: usize> {
    pub(super) layout: Layout,
    /// The columns that matter, by their names.
    pub(super) columns: [&'static str; N],
    /// How many of them, from the first, a file must have.
    pub(super) needed: usize,
    /// What to do about a file that is something else.
    pub(super) remedy: &'static str,
    /// Makes something of a row, or says why not.
    pub(super) take: fn(&mut Row<'_, N>) -> Result<T, Fault>,
}

/// How rows are laid out.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// Separated by commas, below a line with the columns' names.
    Csv,
    /// Separated by white space, in the order of the format; `;` begins a comment.
    Blanks,
}

/// Hands over what the rows of a file say, in their order.
pub(super) fn read<T, const N: usize>(
    format: &Format<T, N>,
    path: &Path,
    each: &mut dyn FnMut(T),
) -> Result<Oddities, Problem> {
    let file = path.display().to_string();
    let input = File::open(path).map_err(|error| format.cannot_be_read(&file, &error))?;
    let mut input = BufReader::with_capacity(BUFFER, input);
    scan(format, &file, &mut input, each)
}

/// The same, of what has been opened.
pub(super) fn scan<T, const N: usize>(
    format: &Format<T, N>,
    file: &str,
    input: &mut dyn BufRead,
    each: &mut dyn FnMut(T),
) -> Result<Oddities, Problem> {
    let mut lines = Lines::new(input);
    let cannot = |error| format.cannot_be_read(file, &error);
    let columns = match format.layout {
        Layout::Blanks => (0..N).map(Some).collect(),
        Layout::Csv => {
            let header = lines.next().map_err(cannot)?;
            let header = header.ok_or_else(|| format.refused(file, "file", "is empty"))?;
            format.columns_of(file, &header)?
        }
    };
    let (mut names, mut oddities) = (Names::default(), Oddities::default());
    let mut first_fault = None;
    while let Some(line) = lines.next().map_err(cannot)? {
        if format.is_comment(&line) {
            continue;
        }
        oddities.rows += 1;
        match format.row(&columns, &line, &mut names) {
            Ok((item, noted)) => {
                noted.iter().for_each(|odd| oddities.add(*odd, line.number));
                each(item);
            }
            Err(Fault::Odd(oddity)) => oddities.add(oddity, line.number),
            Err(Fault::Unreadable(why)) => {
                oddities.add_unreadable(&why, line.number);
                first_fault.get_or_insert((line.number, why));
            }
        }
    }
    format.judge(file, &oddities, first_fault)?;
    Ok(oddities)
}

impl<T, const N: usize> Format<T, N> {
    /// For each column of the file, which of the format's it is.
    fn columns_of(&self, file: &str, header: &Line<'_>) -> Result<Vec<Option<usize>>, Problem> {
        let at = |problem: Problem| problem.at_line(line_number(header.number));
        let wrong = |what| at(self.refused(file, "header", what));
        let text = header.text.map_err(wrong)?;
        let ours = |name: &str| {
            self.columns
                .iter()
                .position(|column| *column == name.trim())
        };
        let columns: Vec<Option<usize>> = match quoted(text).map_err(wrong)? {
            Some(record) => record.iter().map(ours).collect(),
            None => text.split(',').map(ours).collect(),
        };
        for (index, name) in self.columns.iter().enumerate() {
            let count = columns.iter().filter(|c| **c == Some(index)).count();
            if count == 0 && index < self.needed {
                return Err(at(self.refused(file, name, "there is no such column")));
            }
            if count > 1 {
                let what = "there are several columns of this name";
                return Err(at(self.refused(file, name, what)));
            }
        }
        Ok(columns)
    }

    fn is_comment(&self, line: &Line<'_>) -> bool {
        matches!(self.layout, Layout::Blanks)
            && line
                .text
                .is_ok_and(|text| text.trim_start().starts_with(';'))
    }

    fn row(
        &self,
        columns: &[Option<usize>],
        line: &Line<'_>,
        names: &mut Names,
    ) -> Result<(T, Vec<Oddity>), Fault> {
        let unreadable = |what: &str| fault("row", what.to_owned());
        let text = line.text.map_err(unreadable)?;
        let record = match self.layout {
            Layout::Blanks => None,
            Layout::Csv => quoted(text).map_err(unreadable)?,
        };
        let cells = match (self.layout, &record) {
            (Layout::Blanks, _) => self.cells(columns, text.split_ascii_whitespace()),
            (Layout::Csv, Some(record)) => self.cells(columns, record.iter()),
            (Layout::Csv, None) => self.cells(columns, text.split(',')),
        }?;
        let mut row = Row {
            cells,
            line: line.number,
            names,
            noted: Vec::new(),
        };
        let item = (self.take)(&mut row)?;
        Ok((item, row.noted))
    }

    /// The cells of the format's columns.
    fn cells<'a>(
        &self,
        columns: &[Option<usize>],
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<[Cell<'a>; N], Fault> {
        let mut cells = self.columns.map(|field| Cell { field, text: "" });
        let mut count = 0;
        for text in texts {
            if let Some(Some(ours)) = columns.get(count) {
                cells[*ours].text = text.trim();
            }
            count += 1;
        }
        if count == columns.len() {
            return Ok(cells);
        }
        let what = format!("has {count} columns instead of {}", columns.len());
        Err(fault("row", what))
    }

    /// Refuses a file without rows, and one most of whose rows cannot be read.
    fn judge(
        &self,
        file: &str,
        oddities: &Oddities,
        first_fault: Option<(u64, Unreadable)>,
    ) -> Result<(), Problem> {
        let (rows, lost) = (oddities.rows, oddities.count(Oddity::Unreadable));
        match first_fault {
            _ if rows == 0 => Err(self.refused(file, "file", "has no rows")),
            Some((line, Unreadable { field, what })) if lost > rows / 2 => {
                let what = format!("{what}; {lost} of {rows} rows cannot be read");
                Err(self.refused(file, field, &what).at_line(line_number(line)))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, file: &str, field: &str, what: &str) -> Problem {
        Problem::new(file, field, what, self.remedy)
    }

    fn cannot_be_read(&self, file: &str, error: &io::Error) -> Problem {
        self.refused(file, "file", &format!("cannot be read: {error}"))
    }
}

/// The cells of a line that has quotes. Others need no more than a look for commas.
fn quoted(text: &str) -> Result<Option<csv::StringRecord>, &'static str> {
    match text.bytes().filter(|byte| *byte == b'"').count() {
        0 => return Ok(None),
        count if count % 2 == 1 => return Err("has a quote that does not end in its line"),
        _ => {}
    }
    let mut builder = csv::ReaderBuilder::new();
    // The line is one record, whatever stands in it.
    builder
        .has_headers(false)
        .terminator(csv::Terminator::Any(b'\n'));
    let mut reader = builder.from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let read = reader.read_record(&mut record);
    read.map(|_| Some(record)).map_err(|_| "is no CSV")
}

fn fault(field: &'static str, what: String) -> Fault {
    Fault::Unreadable(Unreadable { field, what })
}

fn line_number(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of a word and a number, and the row's line.
    const PAIRS: Format<(String, u64, u64), 2> = Format {
        layout: Layout::Csv,
        columns: ["word", "number"],
        needed: 2,
        remedy: "name a file of pairs",
        take: |row| {
            let [word, number] = row.cells;
            Ok((word.text.to_owned(), number.whole()?, row.line))
        },
    };

    type Pairs = Vec<(String, u64, u64)>;

    fn pairs(text: &str) -> Result<(Pairs, Oddities), String> {
        let mut pairs = Vec::new();
        let mut input = text.as_bytes();
        let oddities = scan(&PAIRS, "x.csv", &mut input, &mut |pair| pairs.push(pair));
        Ok((pairs, oddities.map_err(|problem| problem.to_string())?))
    }

    fn refused(text: &str) -> String {
        pairs(text).unwrap_err()
    }

    #[test]
    fn columns_are_found_by_name_and_quotes_are_understood() {
        let text = "number , extra,word\r\n7,\"a,b\",\"say \"\"hi\"\"\"\r\n\r\n8,,\"x\"\r\n9,\"\",y\rz\r\n";
        let (pairs, oddities) = pairs(text).unwrap();
        let expected = [("say \"hi\"", 7, 2), ("x", 8, 4), ("y\rz", 9, 5)];
        let expected = expected.map(|(word, number, line)| (word.to_owned(), number, line));
        assert_eq!(pairs, expected);
        assert_eq!((oddities.rows, oddities.odd.len()), (3, 0));
    }

    #[test]
    fn rows_that_cannot_be_read_are_counted() {
        let text = "word,number\na,1\nb\nc,3,3\nd,\"4\n\"e\",\"5\"\nf,6\ng,7\n";
        let (pairs, oddities) = pairs(text).unwrap();
        assert_eq!(
            pairs.iter().map(|pair| pair.2).collect::<Vec<_>>(),
            [2, 6, 7, 8]
        );
        let odd = &oddities.odd[0];
        assert_eq!(
            (odd.code, odd.rows, odd.first_line),
            (Oddity::Unreadable, 3, 3)
        );
        let why = "row: has 1 columns instead of 2";
        assert_eq!(odd.first_why.as_deref(), Some(why));
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        let remedy = "\n  help: name a file of pairs";
        let cases = [
            ("", "error: x.csv: file: is empty"),
            ("\n \n", "error: x.csv: file: is empty"),
            ("word,number\n\n", "error: x.csv: file: has no rows"),
            (
                "\nword,count\na,1\n",
                "error: x.csv:2: number: there is no such column",
            ),
            (
                "word,\"number\na,1\n",
                "error: x.csv:1: header: has a quote that does not end in its line",
            ),
            (
                "word,number,word\na,1,b\n",
                "error: x.csv:1: word: there are several columns of this name",
            ),
            (
                "word,number\na,1\nb,x\nc,y\n",
                "error: x.csv:3: number: `x` is not a number; 2 of 3 rows cannot be read",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(refused(text), format!("{expected}{remedy}"));
        }
        // Half of them is not more than half.
        assert!(pairs("word,number\na,1\nb,x\n").is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let missing = Path::new("no/such/file.csv");
        let problem = read(&PAIRS, missing, &mut |_| {}).unwrap_err().to_string();
        assert!(problem.starts_with("error: no/such/file.csv: file: cannot be read: "));
        assert!(problem.ends_with("\n  help: name a file of pairs"));
        assert!(read(&PAIRS, Path::new("."), &mut |_| {}).is_err());
    }
}
