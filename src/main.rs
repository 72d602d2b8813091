//! The binary: parse, validate, run the role.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use prorata::args::{Cli, Role};
use prorata::config::Configuration;
use prorata::manifest::Problems;
use prorata::{controller, install, validate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const WRONG_INPUT: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(cli.role) {
        Ok(code) => code,
        Err(error) if error.is::<Problems>() => {
            eprintln!("{error}");
            ExitCode::from(WRONG_INPUT)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(role: Role) -> Result<ExitCode> {
    match role {
        Role::Queue(command) => return Ok(command.execute()),
        Role::Sim(command) => return Ok(command.execute()),
        Role::Controller(args) => {
            let config = Configuration::load(&args.config)?;
            let runtime = tokio::runtime::Runtime::new().context("runtime")?;
            runtime.block_on(controller::run(config, args.kubeconfig.as_deref()))?;
        }
        Role::Install(args) => print(&args.render()?)?,
        Role::Completion(args) => print(&args.render())?,
        Role::Crds => print(&install::render_crds()?)?,
        Role::Validate(args) => {
            let count = validate::files(&args.files)?;
            let verb = if count == 1 {
                "document is"
            } else {
                "documents are"
            };
            print(&format!("{count} {verb} in order\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}
