//! Every job: where it stands, and why.

use askama::Template;

use crate::Error;
use crate::frame::{Frame, Here, Tone};

/// A part of the queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// What is the same on every page.
    pub frame: Frame,
    /// What its reader chose.
    pub filter: Filter,
    /// How many jobs are as chosen.
    pub matching: usize,
    /// How many there are in all.
    pub all: usize,
    /// The number of the first row, from 1.
    pub first: usize,
    /// Rows on this page.
    pub rows: Vec<Row>,
    /// The page before, from 1.
    pub previous: Option<usize>,
    /// The page after.
    pub next: Option<usize>,
}

/// What a reader of the queue chose, and may choose.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of a name.
    pub text: String,
    /// Tenants.
    pub tenants: Vec<Choice>,
    /// Where jobs stand.
    pub states: Vec<Choice>,
    /// Why they stand there.
    pub reasons: Vec<Choice>,
}

/// Something to choose.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Its name.
    pub name: String,
    /// Whether it is chosen.
    pub chosen: bool,
}

/// A job.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who it is charged to.
    pub tenant: String,
    /// GPUs of all its pods together.
    pub gpus: String,
    /// Its priority.
    pub priority: String,
    /// Where it stands, in one word.
    pub state: String,
    /// Whether that is good.
    pub tone: Tone,
    /// Its place among those of its tenant.
    pub position: String,
    /// How long it waits, or waited.
    pub wait: String,
    /// When it starts, as likely sooner as later.
    pub starts: String,
    /// A code for why it waits.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: &'static str,
    model: &'a Queue,
}

impl Queue {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let page = Page {
            frame: &self.frame,
            here: Here::Queue,
            title: Here::Queue.title(),
            model: self,
        };
        Ok(page.render()?)
    }

    fn last(&self) -> usize {
        (self.first + self.rows.len()).saturating_sub(1)
    }

    /// How many come after those on this page.
    fn more(&self) -> usize {
        self.matching.saturating_sub(self.last())
    }

    fn is_filtered(&self) -> bool {
        let Filter {
            text,
            tenants,
            states,
            reasons,
        } = &self.filter;
        let mut choices = tenants.iter().chain(states).chain(reasons);
        !text.is_empty() || choices.any(|choice| choice.chosen)
    }
}

impl Filter {
    fn chosen(choices: &[Choice]) -> &str {
        let chosen = choices.iter().find(|choice| choice.chosen);
        chosen.map_or("", |choice| choice.name.as_str())
    }

    fn tenant(&self) -> &str {
        Self::chosen(&self.tenants)
    }

    fn state(&self) -> &str {
        Self::chosen(&self.states)
    }

    fn reason(&self) -> &str {
        Self::chosen(&self.reasons)
    }
}
