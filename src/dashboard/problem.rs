//! A page that cannot be shown, and what to do about it.

use askama::Template;

use crate::Error;

/// A page that cannot be shown.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "problem.html")]
pub struct Problem {
    /// What comes before each path.
    pub root: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// The page.
    ///
    /// # Errors
    /// None.
    pub fn html(&self) -> Result<String, Error> {
        Ok(self.render()?)
    }
}
