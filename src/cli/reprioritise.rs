//! `reprioritise`: another PriorityClass for a job's place in the queue.
//!
//! Kubernetes lets nobody change the PriorityClass of pods, nor of a Job's template. What can change
//! is the order of the queue, which is ours: an annotation of the Job names the class by which it
//! stands there.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::ResourceExt;
use prorata_simulator::problem::suggest;
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterArgs, if_allowed};
use super::failure::Failure;
use super::object::Target;
use super::report::{Outcome, Report, ReportArgs};
use crate::api::labels;

/// Options of `reprioritise`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("to").required(true).args(["class", "own"]))]
#[command(after_help = "\
The queue orders the job by this PriorityClass from now on, within its tenant, and its age is kept.
Its tenant must be allowed to use the class. Kubernetes lets nobody change the class of pods, so they
keep their own: it counts where a node runs out of memory, and nowhere in the queue.

Examples:
  prorata reprioritise train-7 --class high
  prorata reprioritise train-7 --own          as its pod template says
  prorata reprioritise train-7 train-8 --class high -o json")]
pub struct Args {
    /// The jobs, as NAME or job/NAME
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
    /// The PriorityClass
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// The one that its pod template names
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = reprioritise(args, &mut report).await;
    report.end(ended)
}

async fn reprioritise(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let value = match &args.class {
        Some(class) => value(&cluster, class).await?,
        None => None,
    };
    let place = match (&args.class, value) {
        (None, _) => "its own PriorityClass".to_owned(),
        (Some(class), Some(value)) => format!("PriorityClass {class} ({value})"),
        (Some(class), None) => format!("PriorityClass {class}"),
    };
    for job in &args.jobs {
        let target = Target::find(&cluster, job).await?;
        target
            .merge("reprioritise", change(args.class.as_deref()))
            .await?;
        let words = format!("stands in the queue by {place} from now on");
        target.report(report, Outcome::Reprioritised, &words)?;
    }
    Ok(())
}

/// The value of a class, where classes may be read.
async fn value(cluster: &Cluster, class: &str) -> Result<Option<i32>, Failure> {
    let classes = cluster.list_all::<PriorityClass>().await;
    let Some(classes) = if_allowed("a check of its name", classes)? else {
        return Ok(None);
    };
    match classes.iter().find(|known| known.name_any() == class) {
        Some(known) => Ok(known.value),
        None => {
            let names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
            let own = names.iter().map(String::as_str);
            let own = own.filter(|name| !name.starts_with("system-"));
            let what = format!("there is no PriorityClass {class}");
            Err(Failure::input(what, suggest(class, own)))
        }
    }
}

/// Nothing in a merge patch removes what is there.
fn change(class: Option<&str>) -> Value {
    let class = class.map_or(Value::Null, Value::from);
    json!({"metadata": {"annotations": {labels::PRIORITY_CLASS: class}}})
}
