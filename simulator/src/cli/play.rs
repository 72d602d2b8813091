//! `prorata-sim play`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::output::Drafts;
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
    // All are read and played before anything is written, so that a wrong one changes none.
    let played: Result<Vec<Played>, Failure> = args.scripts.iter().map(|s| play(s)).collect();
    let played = played?;
    if args.bless {
        return bless(&played);
    }
    let mut differences = Vec::new();
    for one in &played {
        match &one.script.expected {
            Some(expected) => differences.extend(one.difference(expected)),
            None => super::print(&one.outcome)?,
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Different(differences.join("\n")))
    }
}

/// A script and what came of it.
struct Played<'a> {
    file: &'a Path,
    text: String,
    script: Script,
    outcome: String,
}

impl Played<'_> {
    /// What came that `expected` does not say, or the other way round.
    fn difference(&self, expected: &str) -> Option<String> {
        let told = || play::difference(expected, &self.outcome);
        (expected != self.outcome).then(|| format!("{}:\n{}", self.file.display(), told()))
    }
}

fn play(file: &Path) -> Result<Played<'_>, Failure> {
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
    Ok(Played {
        file,
        text,
        script,
        outcome,
    })
}

/// Writes all scripts or none.
fn bless(played: &[Played<'_>]) -> Result<(), Failure> {
    let mut drafts = Drafts::default();
    let mut written = BTreeSet::new();
    for one in played {
        // A link stays a link, and a script that is named twice is written once.
        let target = fs::canonicalize(one.file).map_err(Failure::file(one.file))?;
        if written.insert(target.clone()) {
            let blessed = play::bless(&one.text, &one.outcome);
            let draft = drafts.write(&target, blessed.as_bytes());
            draft.map_err(Failure::file(one.file))?;
        }
    }
    drafts
        .publish()
        .map_err(Failure::file(Path::new("scripts")))
}
