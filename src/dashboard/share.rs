//! What each tenant holds beside what is due to it, now and over time.

use askama::Template;

use crate::chart::Timeline;
use crate::frame::{Frame, Here, Tone};
use crate::{Error, palette};

/// What each tenant holds beside what is due to it.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// What is the same on every page.
    pub frame: Frame,
    /// Each tenant before those below it.
    pub rows: Vec<Share>,
    /// The same over time, of as many as are drawn.
    pub timeline: Timeline,
    /// How long that is, for people.
    pub since: String,
    /// Tenants of which nothing is drawn.
    pub more: usize,
}

/// A tenant, as far as sharing goes.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// How deep it stands in the tree.
    pub depth: usize,
    /// What it is in a word: `short`, `borrows`, `even`.
    pub word: String,
    /// Whether that is good.
    pub tone: Tone,
    /// GPUs that it holds, for people; so are those below.
    pub held: String,
    /// What is due to it.
    pub due: String,
    /// What it owns.
    pub guaranteed: String,
    /// What it never exceeds.
    pub limit: String,
    /// What it holds above what it owns.
    pub borrowed: String,
    /// What its waiting jobs ask for.
    pub asked: String,
    /// Jobs that hold places.
    pub running: String,
    /// Jobs that wait.
    pub waiting: String,
    /// Its weight.
    pub weight: String,
    /// Its weighted dominant share.
    pub share: String,
    /// What it holds, in thousandths of the longest bar.
    pub bar: u64,
    /// What is due to it, likewise.
    pub mark: Option<u64>,
}

#[derive(Template)]
#[template(path = "share.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: &'static str,
    model: &'a Shares,
    charts: Vec<(String, String)>,
}

impl Shares {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let mut charts = Vec::new();
        if self.timeline.is_drawn() {
            let drawn = self.timeline.strands.iter().enumerate();
            for (number, strand) in drawn.take(palette::TENANTS_MAX) {
                charts.push((strand.name.clone(), self.timeline.single(number)?));
            }
        }
        let page = Page {
            frame: &self.frame,
            here: Here::Share,
            title: Here::Share.title(),
            model: self,
            charts,
        };
        Ok(page.render()?)
    }
}
