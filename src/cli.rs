//! What people do with the queue from a shell, as ordinary clients of the API server.
//!
//! Every command has its caller's own rights and no more: it reads what the controller shows, and
//! writes only what any user may write. What a caller may not read is left out, with a line that
//! says which right is missing. Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input.

mod agent;
mod cancel;
mod cluster;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod drain;
mod explain;
mod failure;
mod gpus;
mod hold;
mod list;
mod noise;
mod object;
mod output;
mod queue;
mod remedy;
mod reprioritise;
mod share;
mod shares;
mod submit;
mod table;
mod tenant;
mod uninstall;
mod wait;
mod what_if;
mod words;

use std::process::ExitCode;

use clap::Subcommand;

use failure::Failure;

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the queue: what runs, what waits, and why.
    List(list::Args),
    /// Tell where a job stands: why it waits, who is ahead, when it starts, and what would help.
    Explain(explain::Args),
    /// Tell what would become of a Job if it were created now: would it start, when, and whom would it evict?
    WhatIf(what_if::Args),
    /// Show what each tenant holds, beside what is due to it.
    Share(share::Args),
    /// Tenants with environments: what a file would change, make it so, hand namespaces over.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Show the GPUs of the cluster: what each is, and whether it is healthy.
    Gpus(gpus::Args),
    /// Show which pods disturb others on shared GPUs.
    Noise(noise::Args),
    /// Create jobs from a file, once the API server has said that it would take all of them.
    Submit(submit::Args),
    /// Wait until a job is admitted, runs, or is over.
    Wait(wait::Args),
    /// Delete jobs, whether they wait or run.
    Cancel(cancel::Args),
    /// Hold jobs back.
    Hold(hold::HoldArgs),
    /// Let held jobs wait for their turn again.
    Resume(hold::ResumeArgs),
    /// Give jobs another place in the queue, by another PriorityClass.
    Reprioritise(reprioritise::Args),
    /// Take a node out of work: the gangs on it queue again.
    Drain(drain::Args),
    /// Look an installation over: what is wrong, how that was seen, and what to do.
    Doctor(doctor::Args),
    /// Read the GPUs of this node, and tell the cluster of them; or print them, with --once.
    Agent(Box<agent::Args>),
    /// Show all of it on this machine: a real control plane, made-up nodes, three teams.
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Remove Prorata, and release everything that waits in its queue.
    Uninstall(uninstall::Args),
}

impl Command {
    /// Carries the command out, and says on standard error what went wrong.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(self.run()),
            Err(error) => Err(Failure::new(format!("no runtime: {error}"))),
        };
        outcome.unwrap_or_else(|failure| failure.tell())
    }

    async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(args) => list::execute(&args).await?,
            Self::Explain(args) => explain::execute(&args).await?,
            Self::WhatIf(args) => what_if::execute(&args).await?,
            Self::Share(args) => share::execute(&args).await?,
            Self::Tenant(command) => return tenant::execute(&command).await,
            Self::Gpus(args) => gpus::execute(&args).await?,
            Self::Noise(args) => noise::execute(&args).await?,
            Self::Submit(args) => submit::execute(&args).await?,
            Self::Wait(args) => wait::execute(&args).await?,
            Self::Cancel(args) => cancel::execute(&args).await?,
            Self::Hold(args) => hold::hold(&args).await?,
            Self::Resume(args) => hold::resume(&args).await?,
            Self::Reprioritise(args) => reprioritise::execute(&args).await?,
            Self::Drain(args) => drain::execute(&args).await?,
            Self::Doctor(args) => doctor::execute(&args).await?,
            Self::Agent(args) => agent::execute(&args).await?,
            #[cfg(feature = "demo")]
            Self::Demo(args) => return demo::execute(&args).await,
            Self::Uninstall(args) => uninstall::execute(&args).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
