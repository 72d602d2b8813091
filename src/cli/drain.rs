//! `drain`: takes a node out of work. The gangs on it queue again, whole, and lose no more than what
//! they have not saved.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

mod pods;

use super::cluster::{Cluster, ClusterArgs, Scope};
use super::failure::Failure;
use super::object::Target;
use super::queue::{self, Entry};
use super::report::{Object, Outcome, Report, ReportArgs};
use super::words;
use crate::api::State;
use crate::duration;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Options of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The node is cordoned, and every queued job that has a pod on it is stopped and queued again, with its
age kept and its backoffLimit untouched. Pods that are queued themselves, alone or in a gang, cannot
be stopped: those on the node are evicted, which a PodDisruptionBudget may put off, and whoever made
them may make them anew. It ends when no such job or pod is there any more. Pods that are in no queue
are left alone: `kubectl drain` evicts those. `kubectl uncordon` puts the node
back to work.

It takes the rights to change nodes, and Jobs in every namespace, and to evict pods.

Examples:
  prorata drain node-07
  prorata drain node-07 --dry-run
  prorata drain node-07 --timeout 2h -o json      what was done until then, for programs")]
pub struct Args {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// Only say which jobs would queue again
    #[arg(long)]
    dry_run: bool,
    /// How long to wait at most until they have left, as 90s or 2h [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = match args.dry_run {
        true => foretell(args, &mut report).await,
        false => drain(args, &mut report).await,
    };
    report.end(ended)
}

/// Says what would be done.
async fn foretell(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    for job in on_node(&cluster, &args.node).await? {
        if !is_of_pods(&job) {
            let message = format!("{}/{} would queue again", job.namespace, job.name);
            report.tell(Object::of(&job), Outcome::WouldBeRequeued, message)?;
            continue;
        }
        for pod in pods::on_node(&cluster, &job, &args.node).await? {
            let outcome = Outcome::WouldBeEvicted;
            pods::tell(report, &pod, outcome, "would be evicted")?;
        }
    }
    Ok(())
}

async fn drain(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    // Whoever may not read the queue leaves the node as it is.
    on_node(&cluster, &args.node).await?;
    cordon(&cluster, &args.node).await?;
    let node = Object::named::<Node>(None, &args.node);
    let message = format!("node {} takes no new work", args.node);
    report.tell(node.clone(), Outcome::Cordoned, message)?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut told = Vec::new();
    // Until the cordon is known to the queue, it may still give places there.
    loop {
        let left = on_node(&cluster, &args.node).await?;
        for job in &left {
            let key = job.key_of_admission();
            if is_of_pods(job) {
                pods::evict(&cluster, job, &args.node, report).await?;
            } else if !told.contains(&key) && requeue(&cluster, job, report).await? {
                let message = format!("{}/{} queues again", job.namespace, job.name);
                report.tell(Object::of(job), Outcome::Requeued, message)?;
                told.push(key);
            }
        }
        if left.is_empty() {
            let message = format!("node {} is free of queued jobs", args.node);
            return report.tell(node, Outcome::Drained, message);
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(late(&args.node, &left));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn late(node: &str, left: &[Entry]) -> Failure {
    let names: Vec<String> = left
        .iter()
        .map(|job| format!("{}/{}", job.namespace, job.name))
        .collect();
    let jobs = words::count(left.len() as u64, "job");
    Failure::new(format!(
        "node {node} still has pods of {jobs}: {}",
        names.join(", ")
    ))
    .help("they end in their own time; run it again to go on waiting")
}

/// The jobs that have a place on the node.
async fn on_node(cluster: &Cluster, node: &str) -> Result<Vec<Entry>, Failure> {
    let mut entries = queue::read(cluster, &Scope::All).await?;
    entries.retain(|entry| entry.state != State::Finished && entry.nodes.contains_key(node));
    let mut left = Vec::new();
    for entry in entries {
        // A gang keeps the places of its pods that have left.
        if !is_of_pods(&entry) || !pods::on_node(cluster, &entry, node).await?.is_empty() {
            left.push(entry);
        }
    }
    Ok(left)
}

/// Whether it is a pod that is queued itself, or a gang of such: neither has a suspend field.
fn is_of_pods(entry: &Entry) -> bool {
    (entry.api_version.as_str(), entry.kind.as_str()) == ("v1", "Pod")
}

async fn cordon(cluster: &Cluster, node: &str) -> Result<(), Failure> {
    let api: Api<Node> = Api::all(cluster.client().clone());
    let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let patched = api.patch(node, &PatchParams::default(), &patch).await;
    patched
        .map(drop)
        .map_err(|error| Failure::api(&format!("cordon node {node}"), error))
}

/// Stops a job and lets it wait anew: held, and at once no longer. Whether it was still as the queue
/// says; if not, the next look finds out.
async fn requeue(cluster: &Cluster, entry: &Entry, report: &mut Report) -> Result<bool, Failure> {
    let target = Target::of(cluster, entry).await?;
    let Some(target) = target.filter(|target| !target.is_suspended()) else {
        return Ok(false);
    };
    let name = target.full_name();
    let mut stop = target.suspend(true)?;
    // What has started meanwhile is another start.
    stop["metadata"] = json!({"resourceVersion": target.object.resource_version()});
    let stopped = target.merge("stop", stop).await;
    match stopped {
        Ok(_) => {}
        Err(failure) if failure.is_conflict() => return Ok(false),
        Err(failure) => return Err(failure),
    }
    let resumed = target.merge("queue", target.suspend(false)?).await;
    resumed.map(|_| true).map_err(|failure| {
        let held = format!("{name} is on hold now");
        report.note(Object::of(entry), Outcome::Held, held.clone());
        failure.help(format!("{held}: `prorata resume` it"))
    })
}
