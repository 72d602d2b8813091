//! A crash on demand, so that tests can have one after any write. Only debug builds know it.

#[cfg(debug_assertions)]
use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

/// Environment variable: the process ends right after so many writes.
#[cfg(debug_assertions)]
const VARIABLE: &str = "PRORATA_CRASH_AFTER_WRITES";

/// Exit code of such an end.
#[cfg(debug_assertions)]
const EXIT_CODE: i32 = 86;

#[cfg(debug_assertions)]
static LEFT: LazyLock<Option<AtomicU64>> = LazyLock::new(|| {
    let writes = std::env::var(VARIABLE).ok()?.parse().ok()?;
    Some(AtomicU64::new(writes))
});

/// The API server has made a write.
#[cfg(debug_assertions)]
pub(crate) fn after_write() {
    if let Some(left) = &*LEFT
        && left.fetch_sub(1, Ordering::SeqCst) <= 1
    {
        std::process::exit(EXIT_CODE);
    }
}

/// The API server has made a write.
#[cfg(not(debug_assertions))]
pub(crate) const fn after_write() {}
