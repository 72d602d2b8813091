//! A scenario's file, and the scenarios that come of it when fields are changed.

use super::path::{Astray, Path};
use super::tree::Node;
use super::trial::Subject;
use crate::problem::Problem;

/// A file that is to be varied.
#[derive(Clone, Debug)]
pub struct Base {
    file: String,
    text: String,
    tree: Node,
}

/// A field and the value that it is given.
pub type Change<'a> = (&'a Path, &'a str);

impl Base {
    /// Reads the file's structure. `file` is only for the messages.
    ///
    /// # Errors
    /// When it is not well-formed.
    pub fn read(file: &str, text: &str) -> Result<Self, Problem> {
        Ok(Self {
            file: file.to_owned(),
            text: text.to_owned(),
            tree: Node::read(file, text)?,
        })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of a field, if it is written and a single one.
    ///
    /// # Errors
    /// When the path leads nowhere.
    pub fn value(&self, path: &Path) -> Result<Option<&str>, Problem> {
        let found = path.get(&self.tree);
        let node = found.map_err(|astray| self.astray(path, astray))?;
        Ok(node.and_then(Node::as_scalar))
    }

    /// The scenario with these changes.
    ///
    /// # Errors
    /// When a path leads nowhere. When what comes of it cannot be run: then the problems name
    /// the changes. But when the file alone cannot be run either, they are the file's own, with
    /// their places.
    pub fn with(&self, changes: &[Change<'_>]) -> Result<Subject, Vec<Problem>> {
        let text = self.changed(changes).map_err(|problem| vec![problem])?;
        Subject::parse(&self.file, &text).map_err(|problems| match changes {
            [] => problems,
            _ => self.blame(changes, &text, problems),
        })
    }

    /// What is odd about the scenario with these changes, although it can be run. The warnings
    /// name the changes.
    #[must_use]
    pub fn warnings(&self, changes: &[Change<'_>], subject: &Subject) -> Vec<Problem> {
        let told = subject.warnings().to_vec();
        match self.changed(changes) {
            Ok(text) if !changes.is_empty() && !told.is_empty() => {
                let named = Subject::parse(&self.named(changes), &text);
                placeless(named.map_or(told, |named| named.warnings().to_vec()))
            }
            _ => told,
        }
    }

    fn changed(&self, changes: &[Change<'_>]) -> Result<String, Problem> {
        if changes.is_empty() {
            return Ok(self.text.clone());
        }
        let mut tree = self.tree.clone();
        for (path, value) in changes {
            let set = path.set(&mut tree, value);
            set.map_err(|astray| self.astray(path, astray))?;
        }
        Ok(tree.to_string())
    }

    fn astray(&self, path: &Path, astray: Astray) -> Problem {
        Problem::new(&self.file, &path.to_string(), astray.what, astray.remedy)
    }

    /// The problems of the changed text. They name the changes.
    fn blame(&self, changes: &[Change<'_>], text: &str, told: Vec<Problem>) -> Vec<Problem> {
        if let Err(own) = Subject::parse(&self.file, &self.text) {
            return own;
        }
        let problems = Subject::parse(&self.named(changes), text).err();
        placeless(problems.unwrap_or(told))
    }

    fn named(&self, changes: &[Change<'_>]) -> String {
        format!("{} with {}", self.file, label(changes))
    }
}

/// Without places, which would be in a text that nobody has ever seen.
fn placeless(problems: Vec<Problem>) -> Vec<Problem> {
    let problems = problems.into_iter();
    problems.map(|problem| problem.at(0, 0)).collect()
}

/// `pools.h100.count=4, tenants.red.weight=2`.
#[must_use]
pub fn label(changes: &[Change<'_>]) -> String {
    let change = |(path, value): &Change<'_>| format!("{path}={value}");
    let changes: Vec<String> = changes.iter().map(change).collect();
    changes.join(", ")
}
