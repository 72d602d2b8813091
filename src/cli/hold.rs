//! `hold` and `resume`: the user's own suspend field.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterArgs};
use super::failure::Failure;
use super::object::Target;
use super::report::{Outcome, Report, ReportArgs};
use crate::api::labels;

/// Options of `hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A job on hold keeps its age, and starts no sooner than somebody resumes it. A job that runs gives up
its GPUs: its pods end, and what they have not saved is lost; that takes --stop.

Examples:
  prorata hold train-7
  prorata hold train-7 --stop
  prorata hold train-7 train-8 -o json        what was done, for programs")]
pub struct HoldArgs {
    /// The jobs, as NAME or job/NAME
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
    /// Also where the job runs: its pods end
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Options of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The job waits for its turn again, with the age that it has.

Examples:
  prorata resume train-7
  prorata resume train-7 -o json              what was done, for programs")]
pub struct ResumeArgs {
    /// The jobs, as NAME or job/NAME
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn hold(args: &HoldArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = hold_all(args, &mut report).await;
    report.end(ended)
}

async fn hold_all(args: &HoldArgs, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    for job in &args.jobs {
        let target = Target::find(&cluster, job).await?;
        if target.is_admitted() && !args.stop {
            let what = format!(
                "{} has started: to hold it ends its pods",
                target.full_name()
            );
            return Err(
                Failure::new(what).help("add --stop, if what they have not saved may be lost")
            );
        }
        hold_one(&target, args.stop).await?;
        let words = if target.is_admitted() {
            "is on hold; its pods are ending"
        } else {
            "is on hold"
        };
        let outcome = match target.is_held() {
            true => Outcome::Unchanged,
            false => Outcome::Held,
        };
        target.report(report, outcome, words)?;
    }
    Ok(())
}

pub(super) async fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = resume_all(args, &mut report).await;
    report.end(ended)
}

async fn resume_all(args: &ResumeArgs, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    for job in &args.jobs {
        let target = Target::find(&cluster, job).await?;
        if target.is_held() {
            target.merge("resume", target.suspend(false)?).await?;
            target.report(report, Outcome::Resumed, "waits for its turn")?;
        } else {
            target.report(report, Outcome::Unchanged, "is not on hold")?;
        }
    }
    Ok(())
}

/// Without `stop` it applies to the job as it was read alone: one that has started since goes on.
async fn hold_one(target: &Target, stop: bool) -> Result<(), Failure> {
    let mut change = held(target.suspend(true)?);
    if !stop {
        change["metadata"]["resourceVersion"] = json!(target.object.resource_version());
    }
    match target.merge("hold", change).await {
        Err(failure) if !stop && failure.is_conflict() => {
            let what = format!(
                "{} has changed meanwhile, and may have started: it is not on hold",
                target.full_name()
            );
            Err(Failure::new(what).help("look at it by `prorata explain`, and try again"))
        }
        merged => merged.map(drop),
    }
}

/// A job that waits is suspended already, by the queue; the annotation says that its user wants it.
fn held(mut suspended: Value) -> Value {
    suspended["metadata"] = json!({"annotations": {labels::HELD: "true"}});
    suspended
}
