//! `prorata-sim`: what a cluster would do, in seconds and without one.

use std::process::ExitCode;

use clap::Parser;
use prorata_simulator::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates how a cluster's GPUs are shared, by the very decisions that a real cluster gets.
#[derive(Parser)]
#[command(name = "prorata-sim", version)]
struct Args {
    #[command(subcommand)]
    command: cli::Command,
}

fn main() -> ExitCode {
    Args::parse().command.execute()
}
