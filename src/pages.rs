//! The dashboard: what the queue's objects say, as pages for a browser.
//!
//! A `Picture` holds what was read. Each page is a function from as much of it as
//! its reader may see to a model of `prorata_dashboard`, by way of the very functions that the
//! commands `list`, `explain`, `share` and `gpus` print from. The controller follows the objects
//! itself and asks the API server who its reader is (`gate`); `prorata dashboard` reads with its
//! user's own rights and serves that user alone.

pub(crate) mod board;
#[cfg(test)]
mod browser;
mod costs;
pub(crate) mod follow;
pub(crate) mod gate;
mod gpus;
mod history;
mod job;
mod overview;
pub(crate) mod picture;
mod queue;
pub(crate) mod router;
mod server;
mod share;
mod tenants;

pub use server::{Error, serve};

use prorata_dashboard::Tone;

use crate::cli::output;

/// A colour of the terminal on a page.
const fn tone(tone: output::Tone) -> Tone {
    match tone {
        output::Tone::Plain => Tone::Plain,
        output::Tone::Good => Tone::Good,
        output::Tone::Wait => Tone::Wait,
        output::Tone::Bad => Tone::Bad,
        output::Tone::Dim => Tone::Dim,
    }
}
