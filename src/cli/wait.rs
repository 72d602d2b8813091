//! `wait`: until a job has come so far.

mod others;

use std::fmt;
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use super::cluster::{Cluster, ClusterArgs};
use super::failure::Failure;
use super::object::Target;
use super::report::{Outcome, Report, ReportArgs};
use crate::duration;
use crate::translate::JOB_CONDITION;

/// How far a job is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Milestone {
    /// Its places are decided
    Admitted,
    /// All its pods run
    Running,
    /// It is over; that it failed is a failure
    Finished,
}

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Its places are decided.
    Admitted,
    /// All its pods run.
    Running,
    /// It is over, and all is done.
    Complete,
    /// It is over, and why it has failed.
    Failed(String),
}

/// Options of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What changes meanwhile is told on standard error. It fails when the time is up, when the job is
deleted, and with --for finished when the job has failed. Objects of other kinds are waited for
until they are admitted or finished, a pod also until it runs.

Examples:
  prorata wait train-7                               until its places are decided
  prorata wait train-7 --for running --timeout 1h
  prorata wait train-7 --for finished && ./evaluate.sh
  prorata wait train-7 -o name | xargs kubectl describe")]
pub struct Args {
    /// The job, as NAME or job/NAME
    #[arg(value_name = "JOB")]
    job: String,
    /// How far it is to come
    #[arg(
        long = "for",
        value_enum,
        default_value = "admitted",
        value_name = "MILESTONE"
    )]
    milestone: Milestone,
    /// How long to wait at most, as 90s or 12h [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = wait(args, &mut report).await;
    report.end(ended)
}

async fn wait(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let cluster = Cluster::connect(&args.cluster).await?;
    let target = Target::find(&cluster, &args.job).await?;
    let reached = until(&target, args.milestone, deadline).await?;
    let name = target.full_name();
    if let Some(failure) = reached.failure(&name, args.milestone) {
        let message = format!("{name} {reached}");
        report.note(target.reported(), reached.outcome(), message);
        return Err(failure);
    }
    target.report(report, reached.outcome(), &reached.to_string())
}

impl Reached {
    /// Whoever waits for the end waits for a good one.
    pub(super) fn failure(&self, name: &str, milestone: Milestone) -> Option<Failure> {
        let is_bad = matches!(self, Self::Failed(_)) && milestone == Milestone::Finished;
        is_bad.then(|| Failure::new(format!("{name} {self}")))
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Admitted => Outcome::Admitted,
            Self::Running => Outcome::Running,
            Self::Complete => Outcome::Complete,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admitted => f.write_str("is admitted"),
            Self::Running => f.write_str("runs"),
            Self::Complete => f.write_str("is complete"),
            Self::Failed(why) => write!(f, "has failed: {why}"),
        }
    }
}

/// Waits until the job has come so far, and says how far that is.
pub(super) async fn until(
    target: &Target,
    milestone: Milestone,
    deadline: Option<Instant>,
) -> Result<Reached, Failure> {
    let name = target.full_name();
    let mut last = String::new();
    let wait = async {
        match target.kind.as_str() {
            "Job" => follow(target, milestone, &mut last).await,
            _ => others::follow(target, milestone, &mut last).await,
        }
    };
    let outcome = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, wait).await,
        None => Ok(wait.await),
    };
    match outcome {
        Ok(outcome) => outcome,
        Err(_) => Err(
            Failure::new(format!("{name} has not come so far in time: it {last}")).help(format!(
                "`prorata explain {}` says why",
                target.object.name_any()
            )),
        ),
    }
}

/// Looks at the Job whenever it changes.
async fn follow(
    target: &Target,
    milestone: Milestone,
    last: &mut String,
) -> Result<Reached, Failure> {
    let name = target.object.name_any();
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api: Api<DynamicObject> = target.api.clone();
    let events = watcher(api, one).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let (object, gone) = match event {
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                (object, false)
            }
            Ok(watcher::Event::Delete(object)) => (object, true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
            Err(error) => {
                refused(error, "jobs.batch")?;
                continue;
            }
        };
        let other = object.uid() != target.object.uid();
        if gone || other {
            let what = format!("{} has been deleted", target.full_name());
            return Err(Failure::new(what));
        }
        let job: Job = object
            .try_parse()
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        if let Some(reached) = reached(&job, milestone) {
            return Ok(reached);
        }
        tell(&job, &target.full_name(), last);
    }
    Err(Failure::new("the watch has ended"))
}

/// What will not go away by itself; whatever else, the watch tries again.
fn refused(error: watcher::Error, what: &str) -> Result<(), Failure> {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) if matches!(&error, kube::Error::Api(status) if matches!(status.code, 401 | 403)) => {
            Err(Failure::api(&format!("watch {what}"), error))
        }
        _ => Ok(()),
    }
}

/// How far the job has come, if that is far enough.
fn reached(job: &Job, milestone: Milestone) -> Option<Reached> {
    let status = job.status.clone().unwrap_or_default();
    if let Some(why) = ended(&status, "Failed") {
        return Some(Reached::Failed(why));
    }
    if ended(&status, "Complete").is_some() {
        return Some(Reached::Complete);
    }
    let spec = job.spec.clone().unwrap_or_default();
    let released = spec.suspend != Some(true);
    let pods = spec
        .parallelism
        .unwrap_or(1)
        .min(spec.completions.unwrap_or(i32::MAX));
    let running = status.ready.unwrap_or_default() + status.succeeded.unwrap_or_default();
    match milestone {
        Milestone::Admitted if released => Some(Reached::Admitted),
        Milestone::Running if released && running >= pods => Some(Reached::Running),
        _ => None,
    }
}

/// Why a Job has ended so, if it has.
fn ended(status: &JobStatus, how: &str) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|c| c.type_ == how && c.status == "True")?;
    let reason = condition.reason.clone().unwrap_or_default();
    let message = condition.message.clone().unwrap_or_default();
    Some(format!("{reason}: {message}"))
}

/// Tells where the job stands, when that has changed.
fn tell(job: &Job, name: &str, last: &mut String) {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ours = conditions.and_then(|all| all.iter().find(|c| c.type_ == JOB_CONDITION));
    let suspended = job
        .spec
        .as_ref()
        .is_some_and(|spec| spec.suspend == Some(true));
    let reason = ours.and_then(|condition| condition.reason.clone());
    let now = match (suspended, reason) {
        (true, Some(reason)) => format!("waits ({reason})"),
        (true, None) => "waits".to_owned(),
        (false, _) => "is admitted".to_owned(),
    };
    tell_change(now, name, last);
}

fn tell_change(now: String, name: &str, last: &mut String) {
    if now != *last {
        eprintln!("{name} {now}");
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(status: Value, suspend: bool, milestone: Milestone) -> Option<Reached> {
        let job = json!({
            "metadata": {"name": "train"},
            "spec": {"suspend": suspend, "parallelism": 4, "completions": 2, "template": {}},
            "status": status,
        });
        reached(&serde_json::from_value(job).unwrap(), milestone)
    }

    #[test]
    fn a_job_comes_so_far_and_no_farther() {
        let at = told;
        assert_eq!(at(json!({}), true, Milestone::Admitted), None);
        assert_eq!(
            at(json!({}), false, Milestone::Admitted),
            Some(Reached::Admitted)
        );
        assert_eq!(at(json!({"ready": 1}), false, Milestone::Running), None);
        let half = json!({"ready": 1, "succeeded": 1});
        assert_eq!(
            at(half.clone(), false, Milestone::Running),
            Some(Reached::Running)
        );
        assert_eq!(at(half, false, Milestone::Finished), None);
    }

    #[test]
    fn a_failed_job_is_a_failure_for_whoever_waits_for_its_end() {
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]});
        let told = told(failed, false, Milestone::Finished).unwrap();
        assert_eq!(told.outcome(), Outcome::Failed);
        let failure = told.failure("red/train", Milestone::Finished).unwrap();
        assert_eq!(
            failure.what(),
            "red/train has failed: BackoffLimitExceeded: too often"
        );
        assert!(told.failure("red/train", Milestone::Running).is_none());
    }
}
