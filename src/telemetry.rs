//! Logs: where they go, and what they look like.

use tracing_subscriber::filter::LevelFilter;

use crate::config::{Format, Level, Logging};

/// Sends logs to standard error from now on. A second call changes nothing.
pub fn init(logging: &Logging) {
    let level = match logging.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr);
    // Tests start several controllers in one process; the first one's choice holds.
    let _ = match logging.format {
        Format::Text => builder.with_ansi(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
}
