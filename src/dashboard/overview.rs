//! The first page: what there is, who holds it, who is short of it, and what waits.

use askama::Template;

use crate::chart::Timeline;
use crate::frame::{Frame, Here, Tone};
use crate::{Error, palette};

/// The first page.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// What is the same on every page.
    pub frame: Frame,
    /// Numbers that say most.
    pub tiles: Vec<Tile>,
    /// What somebody should look at, worst first.
    pub attention: Vec<Attention>,
    /// Who holds the GPUs now, in thousandths of what there is; what is left is free.
    pub parts: Vec<Part>,
    /// What nobody holds, where that is known.
    pub free: String,
    /// Tenants that wait below what is due to them.
    pub debtors: Vec<Debtor>,
    /// Tenants that hold more than what is due to them.
    pub borrowers: Vec<Borrower>,
    /// Why jobs wait, the most frequent reason first.
    pub waits: Vec<Wait>,
    /// Who held the GPUs, since somebody looks.
    pub timeline: Timeline,
    /// How long that is, for people.
    pub since: String,
}

/// A number that says much.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// What it counts.
    pub label: String,
    /// The number.
    pub value: String,
    /// What it is made of.
    pub detail: String,
    /// Whether it is good.
    pub tone: Tone,
    /// Where more of it is, below the root.
    pub href: String,
}

/// What somebody should look at.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// How bad it is.
    pub tone: Tone,
    /// One word for that.
    pub word: String,
    /// What it is.
    pub text: String,
    /// Where more of it is, below the root.
    pub href: String,
}

/// A part of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Who holds it.
    pub name: String,
    /// GPUs, for people.
    pub gpus: String,
    /// Thousandths of what there is.
    pub per_mille: u64,
}

/// Who waits below what is due.
#[derive(Clone, Debug, Default)]
pub struct Debtor {
    /// The tenant.
    pub name: String,
    /// GPUs that it holds.
    pub held: String,
    /// GPUs that are due to it.
    pub due: String,
    /// GPUs that it is short of, of those that it asks for.
    pub short: String,
    /// Who holds them, as far as somebody does: who has more than its due, and how much of it.
    pub holders: Vec<(String, String)>,
    /// What is short and nobody holds beyond its due, such as what is free and does not fit.
    pub rest: String,
}

/// Who holds more than what is due.
#[derive(Clone, Debug, Default)]
pub struct Borrower {
    /// The tenant.
    pub name: String,
    /// GPUs that it holds.
    pub held: String,
    /// GPUs that are due to it.
    pub due: String,
    /// GPUs that it holds beyond.
    pub over: String,
}

/// Jobs that wait for one reason.
#[derive(Clone, Debug, Default)]
pub struct Wait {
    /// The reason's code.
    pub reason: String,
    /// Whether it never ends by itself.
    pub tone: Tone,
    /// What that is for whoever waits: `waits`, `held`, `never starts as it is`.
    pub outlook: String,
    /// How many.
    pub jobs: String,
    /// GPUs that they ask for.
    pub gpus: String,
    /// How long the first of them has waited.
    pub longest: String,
}

/// A part as a bar has it.
struct Slice<'a> {
    part: &'a Part,
    class: String,
    x: u64,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: &'static str,
    model: &'a Overview,
    slices: Vec<Slice<'a>>,
    chart: String,
}

impl Overview {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let chart = match self.timeline.is_drawn() {
            true => self.timeline.stacked()?,
            false => String::new(),
        };
        let page = Page {
            frame: &self.frame,
            here: Here::Overview,
            title: Here::Overview.title(),
            model: self,
            slices: self.slices(),
            chart,
        };
        Ok(page.render()?)
    }

    fn slices(&self) -> Vec<Slice<'_>> {
        let mut x = 0;
        let slice = |(number, part)| {
            let slice = Slice {
                part,
                class: palette::class(number),
                x,
            };
            x += part.per_mille;
            slice
        };
        self.parts.iter().enumerate().map(slice).collect()
    }
}
