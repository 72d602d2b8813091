//! What is printed on standard output, and in which form.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;
use crate::install::to_yaml;

/// In which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with more where there is more.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// Names alone, as kubectl takes them.
    Name,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Format,
    /// Leave out the line of titles
    #[arg(long)]
    pub(super) no_headers: bool,
}

/// Prints a value for programs.
pub(super) fn serialised(format: Format, value: &impl Serialize) -> Result<(), Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::new(error.to_string());
    let text = match format {
        Format::Yaml => to_yaml(value).map_err(|error| wrong(&error))?,
        _ => serde_json::to_string_pretty(value).map_err(|error| wrong(&error))? + "\n",
    };
    print(&text)
}

/// Prints a text. A reader that has seen enough, such as `head`, is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes());
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It takes its time.
    Wait,
    /// Somebody must do something.
    Bad,
    /// Of less interest.
    Dim,
}

/// Whether standard output shows colours: a terminal does, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// As the environment wants it.
    pub(super) fn detect() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(io::stdout().is_terminal() && !set("NO_COLOR") && !dumb)
    }

    /// The text in its colour.
    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Wait => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
        };
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
