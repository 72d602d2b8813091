//! Columns without lines between them, so that awk and grep can read them too.

use super::output::{Paint, Tone};

/// Rows of cells under titles.
#[derive(Debug, Default)]
pub(super) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A text and what its colour means.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a colour. Nothing is shown as `-`, so that every row has every column.
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            text
        };
        Self { text, tone }
    }

    /// Nothing at all, in a row that goes on from the one before.
    pub(super) fn blank() -> Self {
        Self::default()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Table {
    /// A table with these titles.
    pub(super) fn new(titles: &[&'static str]) -> Self {
        Self {
            titles: titles.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each title.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The aligned text.
    pub(super) fn render(&self, with_titles: bool, paint: Paint) -> String {
        let titles = self.titles.iter().map(|&title| Cell::from(title)).collect();
        let mut rows: Vec<&Vec<Cell>> = self.rows.iter().collect();
        if with_titles {
            rows.insert(0, &titles);
        }
        let widths: Vec<usize> = (0..self.titles.len())
            .map(|column| width(&rows, column))
            .collect();
        rows.iter().map(|row| line(row, &widths, paint)).collect()
    }
}

fn width(rows: &[&Vec<Cell>], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column));
    let widest = cells.map(|cell| cell.text.chars().count()).max();
    widest.unwrap_or_default()
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str("   ");
        }
        line.push_str(&paint.paint(&cell.text, cell.tone));
        if column + 1 < row.len() {
            line.extend(std::iter::repeat_n(' ', width - cell.text.chars().count()));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let mut table = Table::new(&["NAME", "STATE", "REASON"]);
        table.push(vec![
            "a-long-name".into(),
            Cell::new("Waiting", Tone::Wait),
            "x".into(),
        ]);
        table.push(vec!["b".into(), Cell::new("Held", Tone::Dim), "".into()]);
        let plain = "\
NAME          STATE     REASON
a-long-name   Waiting   x
b             Held      -
";
        assert_eq!(table.render(true, Paint(false)), plain);
        let colours = table.render(false, Paint(true));
        assert_eq!(
            colours,
            "a-long-name   \u{1b}[33mWaiting\u{1b}[0m   x\nb             \u{1b}[2mHeld\u{1b}[0m      -\n"
        );
    }
}
