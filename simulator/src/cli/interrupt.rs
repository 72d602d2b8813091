//! Ctrl-C: noted at once, obeyed at the next safe point.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::Interrupted;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen. Where that is not possible, Ctrl-C ends the process as usual.
pub(super) fn listen() {
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
}

/// Whether to go on.
pub(super) fn poll() -> ControlFlow<()> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// An error once somebody has pressed Ctrl-C.
pub(super) fn check() -> Result<(), Interrupted> {
    match poll() {
        ControlFlow::Break(()) => Err(Interrupted),
        ControlFlow::Continue(()) => Ok(()),
    }
}
