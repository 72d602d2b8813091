//! One job, and the decision behind its wait: what `prorata explain` says, in the same words.

use askama::Template;

use crate::Error;
use crate::frame::{Frame, Here, Tone};

/// One job.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// What is the same on every page.
    pub frame: Frame,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it stands, in one word.
    pub state: String,
    /// Whether that is good.
    pub tone: Tone,
    /// Why it waits, and its place in the queue; empty where there is nothing to say.
    pub standing: String,
    /// How long it has waited, and when it starts, where that is foretold.
    pub course: Option<Course>,
    /// What is known of it, in the order in which it is read.
    pub fields: Vec<Field>,
}

/// From a job's creation to its start, in thousandths of the whole, and in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// What it has waited.
    pub waited: u64,
    /// What it still waits, as likely less as more.
    pub half: u64,
    /// What it waits beyond that, but once in ten times.
    pub most: u64,
    /// The first in words.
    pub has_waited: String,
    /// The second.
    pub starts_half: String,
    /// The third; empty where nobody can say.
    pub starts_most: String,
}

/// Something that is known of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What it is.
    pub title: String,
    /// It, in one line or several.
    pub lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "job.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: String,
    model: &'a Job,
}

impl Job {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let page = Page {
            frame: &self.frame,
            here: Here::Queue,
            title: format!("{}/{}", self.namespace, self.name),
            model: self,
        };
        Ok(page.render()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_set_apart_and_nothing_passes_for_markup() {
        let lines = vec!["run `prorata wait <b>`, then look".to_owned()];
        let field = Field {
            title: "Helps".to_owned(),
            lines,
        };
        let job = Job {
            fields: vec![field],
            ..Job::default()
        };
        let html = job.html().unwrap();
        let shown = "run <code>prorata wait &#60;b&#62;</code>, then look";
        assert!(html.contains(shown), "{html}");
    }
}
