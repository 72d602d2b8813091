//! `tenant apply`: the Tenants of a file, and all that the controller makes of them.

use std::path::PathBuf;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::await_condition;

use super::file::{self, Described};
use crate::api::Tenant;
use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::failure::Failure;
use crate::cli::report::{Object, Outcome, Report, ReportArgs};
use crate::duration;

/// The field manager of what people apply.
const MANAGER: &str = "prorata-tenant";

/// Options of `tenant apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks for no rights but those on Tenants: the controller makes the rest.

Examples:
  prorata tenant plan vision.yaml && prorata tenant apply vision.yaml
  prorata tenant apply vision.yaml --timeout 5m")]
pub struct Args {
    /// A file with Tenants
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How long to wait for the controller
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = apply_all(args, &mut report).await;
    report.end(ended)
}

async fn apply_all(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let described = file::read(&args.file)?;
    let cluster = Cluster::connect(&args.cluster).await?;
    let (mut applied, mut ended) = (Vec::new(), Ok(()));
    for tenant in &described {
        match apply(&cluster, tenant).await {
            Ok(generation) => applied.push((tenant, generation)),
            Err(failure) => {
                ended = Err(failure);
                break;
            }
        }
    }
    for (tenant, generation) in applied {
        let name = tenant.name();
        let mut message = format!("tenant.prorata.dev/{name} applied");
        // After a failure nothing is waited for, but all that was written is told.
        if ended.is_ok() && tenant.tenant.spec.environments.is_empty() {
            message += "; it has no environments";
        } else if ended.is_ok() {
            match settled(&cluster, &name, generation, args.timeout).await {
                Ok(told) => message = format!("{message}: {told}"),
                Err(failure) => ended = Err(failure),
            }
        }
        let object = Object::named::<Tenant>(None, &name);
        report.tell(object, Outcome::Applied, message)?;
    }
    ended
}

async fn apply(cluster: &Cluster, described: &Described) -> Result<i64, Failure> {
    let api: Api<Tenant> = Api::all(cluster.client().clone());
    let (name, params) = (described.name(), PatchParams::apply(MANAGER).force());
    let patched = api
        .patch(&name, &params, &Patch::Apply(&described.manifest))
        .await;
    let written = patched.map_err(|error| Failure::api(&format!("apply Tenant {name}"), error))?;
    Ok(written.metadata.generation.unwrap_or_default())
}

/// Waits until the controller has made what the Tenant wants, and returns what it says.
async fn settled(
    cluster: &Cluster,
    name: &str,
    generation: i64,
    within: Duration,
) -> Result<String, Failure> {
    let api: Api<Tenant> = Api::all(cluster.client().clone());
    let is_told = move |tenant: Option<&Tenant>| {
        tenant.is_some_and(|tenant| told(tenant, generation).is_some())
    };
    let waited = tokio::time::timeout(within, await_condition(api, name, is_told)).await;
    let late = || {
        Failure::new(format!(
            "the controller has not said within {within:?} what became of Tenant {name}"
        ))
        .help("see that it runs: `prorata doctor`")
    };
    let tenant = waited
        .map_err(|_| late())?
        .map_err(|error| Failure::new(error.to_string()))?;
    match tenant.as_ref().and_then(|tenant| told(tenant, generation)) {
        Some((true, message)) => Ok(message),
        Some((false, message)) => Err(Failure::new(format!(
            "Tenant {name} is not all there: {message}"
        ))
        .help("correct what is in the way; the controller tries again by itself")),
        None => Err(late()),
    }
}

/// Whether all is there that this generation of a Tenant wants, and the controller's words.
fn told(tenant: &Tenant, generation: i64) -> Option<(bool, String)> {
    let conditions = &tenant.status.as_ref()?.conditions;
    let shown = conditions
        .iter()
        .find(|shown| shown.type_ == "Provisioned")?;
    let is_about_it = shown
        .observed_generation
        .is_some_and(|seen| seen >= generation);
    is_about_it.then(|| (shown.status == "True", shown.message.clone()))
}
