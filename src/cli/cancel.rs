//! `cancel`: deletes jobs, and with them their places in the queue.

use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};

use super::cluster::{Cluster, ClusterArgs};
use super::failure::Failure;
use super::object::Target;
use super::report::{Outcome, Report, ReportArgs};

/// Options of `cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A job that runs is ended. Its GPUs are given to others once its last pod is gone.

Examples:
  prorata cancel train-7
  prorata list --state waiting -o name | xargs prorata cancel
  prorata cancel train-7 train-8 -o json      what was done, for programs")]
pub struct Args {
    /// The jobs, as NAME or job/NAME
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = cancel(args, &mut report).await;
    report.end(ended)
}

async fn cancel(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    for job in &args.jobs {
        let target = Target::find(&cluster, job).await?;
        delete(&target).await?;
        let words = if target.is_admitted() {
            "is cancelled; its pods are ending"
        } else {
            "is cancelled"
        };
        target.report(report, Outcome::Cancelled, words)?;
    }
    Ok(())
}

/// Deletes this very object, and no other of its name.
async fn delete(target: &Target) -> Result<(), Failure> {
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: target.object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let deleted = target.api.delete(&target.object.name_any(), &params).await;
    let attempt = format!("delete {} {}", target.kind, target.full_name());
    deleted
        .map(drop)
        .map_err(|error| Failure::api(&attempt, error))
}
