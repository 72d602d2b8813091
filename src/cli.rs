//! What people do with the queue from a shell, as ordinary clients of the API server.
//!
//! Every command has its caller's own rights and no more: it reads what the controller shows, and
//! writes only what any user may write. What a caller may not read is left out, with a line that
//! says which right is missing. Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input.

pub(crate) mod agent;
mod cancel;
pub(crate) mod cluster;
mod cost;
mod dashboard;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod drain;
pub(crate) mod explain;
pub(crate) mod failure;
pub(crate) mod gpus;
mod hold;
pub(crate) mod list;
mod noise;
mod object;
pub(crate) mod output;
pub(crate) mod queue;
pub(crate) mod remedy;
mod report;
mod reprioritise;
pub(crate) mod share;
pub(crate) mod shares;
mod submit;
mod table;
mod tenant;
mod uninstall;
mod usage;
mod wait;
mod what_if;
pub(crate) mod words;

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
    /// Show what GPUs cost and who owes it; write reports, export the bill.
    Cost(Box<cost::Args>),
    /// Show how long a tenant's jobs held GPUs, and how busy those were.
    Usage(Box<usage::Args>),
    /// Tenants with environments: what a file would change, make it so, hand namespaces over.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Show the GPUs of the cluster: what each is, and whether it is healthy.
    Gpus(gpus::Args),
    /// Show all of that as pages in a browser, by the rights that you have.
    Dashboard(dashboard::Args),
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
            Self::Cost(args) => cost::execute(&args).await?,
            Self::Usage(args) => usage::execute(&args).await?,
            Self::Tenant(command) => return tenant::execute(&command).await,
            Self::Gpus(args) => gpus::execute(&args).await?,
            Self::Dashboard(args) => dashboard::execute(&args).await?,
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
