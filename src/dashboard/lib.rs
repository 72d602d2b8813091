//! The pages that people look at, made of plain values: no cluster, no clock, no I/O.
//!
//! Whoever fills a model has left out before what its reader may not see. Every text of a model is
//! escaped where it stands, whoever wrote it. A page needs no script, and fetches nothing but
//! [`style`] and [`SCRIPT`] from where it came from.

mod canvas;
mod chart;
mod frame;
mod gpus;
pub mod hue;
mod job;
mod overview;
mod palette;
mod problem;
mod queue;
mod share;
mod tenants;

pub use chart::{Strand, Timeline};
pub use frame::{Frame, Here, Note, Tone};
pub use gpus::{Card, Gpus, Model, Node};
pub use job::{Course, Field, Job};
pub use overview::{Attention, Borrower, Debtor, Overview, Part, Tile, Wait};
pub use palette::style;
pub use problem::Problem;
pub use queue::{Choice, Filter, Queue, Row};
pub use share::{Share, Shares};
pub use tenants::{Money, Tenant, Tenants};

/// The script of every page: it looks again now and then, and sends a filter off when it changes.
pub const SCRIPT: &str = include_str!("templates/script.js");

/// The sign of every page.
pub const ICON: &str = include_str!("templates/icon.svg");

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its template.
    #[error("the page")]
    Template(#[from] askama::Error),
    /// A chart on it.
    #[error("a chart of the page: {0}")]
    Chart(String),
}
