//! A table of the page.

use askama::Template;

/// A table, its cells as they are read.
#[derive(Clone, Debug, Template)]
#[template(path = "table.html")]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Columns of words, from the left; those after them are numbers.
    pub(super) words: usize,
    /// What is left out, and where it is.
    pub(super) note: String,
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// Whether it sums up others.
    pub(super) is_total: bool,
}

impl Table {
    /// An empty one, whose first two columns are words.
    pub(super) fn new(caption: &str, header: &[&str]) -> Self {
        Self {
            caption: caption.to_owned(),
            header: header.iter().map(|title| (*title).to_owned()).collect(),
            rows: Vec::new(),
            words: 2,
            note: String::new(),
        }
    }

    /// A row below the others.
    pub(super) fn push(&mut self, cells: Vec<String>) {
        let is_total = false;
        self.rows.push(Row { cells, is_total });
    }

    /// A row that sums up those above.
    pub(super) fn total(&mut self, cells: Vec<String>) {
        let is_total = true;
        self.rows.push(Row { cells, is_total });
    }
}
