//! Progress on stderr, where a person watches.

use indicatif::{ProgressBar, ProgressStyle};

use crate::run::Progress;

/// A bar for one run; invisible unless stderr is a terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(order: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_message(order);
        let style = ProgressStyle::with_template("{msg:>6} {wide_bar} {pos}/{len} jobs");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    pub(super) fn show(&self, progress: Progress) {
        let number = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.0.set_length(number(progress.jobs));
        self.0.set_position(number(progress.finished));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
