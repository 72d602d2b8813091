//! `prorata-sim play`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::play;
use crate::problem::Problem;
use crate::script::Script;

/// Options of `prorata-sim play`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 as expected, 1 something else came, 2 a line makes no sense.

Examples:
  prorata-sim play tests/golden/gang-waits-whole.txt
  prorata-sim play --bless tests/golden/*.txt")]
pub struct Args {
    /// Scripts. One with nothing below its `----` is played and printed.
    #[arg(required = true, value_name = "SCRIPT")]
    scripts: Vec<PathBuf>,
    /// Write what came into the scripts, as what they expect from now on.
    #[arg(long)]
    bless: bool,
}

pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let mut differences = Vec::new();
    for file in &args.scripts {
        differences.extend(one(file, args.bless)?);
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Different(differences.join("\n")))
    }
}

/// What a script gives that it does not expect.
fn one(file: &Path, bless: bool) -> Result<Option<String>, Failure> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| {
        let remedy = "name a file that can be read";
        Failure::Input(vec![Problem::new(
            &name,
            "script",
            error.to_string(),
            remedy,
        )])
    })?;
    let script = Script::read(&name, &text).map_err(Failure::Input)?;
    let outcome = play::play(&name, &script).map_err(|problem| Failure::Input(vec![problem]))?;
    if bless {
        fs::write(file, play::bless(&text, &outcome)).map_err(Failure::file(file))?;
        return Ok(None);
    }
    let Some(expected) = &script.expected else {
        print!("{outcome}");
        return Ok(None);
    };
    let same = *expected == outcome;
    Ok((!same).then(|| format!("{name}:\n{}", play::difference(expected, &outcome))))
}
