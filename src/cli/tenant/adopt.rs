//! `tenant adopt`: a namespace that exists becomes one of a Tenant's environments.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::kept;
use crate::api::{Tenant, labels};
use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::failure::Failure;
use crate::cli::report::{Object, Outcome, Report, ReportArgs};
use crate::tenancy::Kind;

/// Options of `tenant adopt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The Tenant has to name the namespace first, so that adopting it is written down:

  environments:
  - {name: prod, namespace: vision-legacy}

The controller leaves namespaces alone that carry no labels of a Tenant's; this sets them. From then on
what the Tenant says holds there, default-deny network policies among it.

Example:
  prorata tenant adopt vision prod")]
pub struct Args {
    /// The Tenant
    #[arg(value_name = "TENANT")]
    tenant: String,
    /// Its environment
    #[arg(value_name = "ENVIRONMENT")]
    environment: String,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = adopt(args, &mut report).await;
    report.end(ended)
}

async fn adopt(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let namespace = planned(&cluster, args).await?;
    let api = kept::objects(&cluster, Kind::Namespace);
    let read = api.get(&namespace).await;
    let found =
        read.map_err(|error| Failure::api(&format!("get namespaces {namespace}"), error))?;
    match found.labels().get(labels::TEAM) {
        Some(team) if *team != args.tenant => {
            return Err(
                Failure::new(format!("namespace {namespace} is Tenant {team}'s")).help(format!(
                    "take it from there first: `kubectl label namespace {namespace} {}-`",
                    labels::TEAM
                )),
            );
        }
        _ => {}
    }
    let labels = json!({
        labels::MANAGED_BY: labels::MANAGER,
        labels::TEAM: args.tenant,
        labels::ENVIRONMENT: args.environment,
    });
    let patch = json!({ "metadata": { "labels": labels, "uid": found.uid() } });
    let patched = api
        .patch(&namespace, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.map_err(|error| Failure::api(&format!("label namespace {namespace}"), error))?;
    let message = format!(
        "namespace/{namespace} is environment {} of Tenant {} from now on",
        args.environment, args.tenant
    );
    let namespace = Object::named::<Namespace>(None, &namespace);
    report.tell(namespace, Outcome::Adopted, message)
}

/// The namespace that the Tenant names for this environment.
async fn planned(cluster: &Cluster, args: &Args) -> Result<String, Failure> {
    let name = &args.tenant;
    let found = kept::tenant(cluster, name).await?;
    let found = found.ok_or_else(|| Failure::new(format!("there is no Tenant {name}")))?;
    let tenant: Tenant = found
        .try_parse()
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut environments = tenant.spec.environments.into_iter();
    let environment = environments.find(|environment| environment.name == args.environment);
    let namespace = environment.and_then(|environment| environment.namespace);
    let namespace = namespace.ok_or_else(|| {
        let what = format!(
            "Tenant {name} names no namespace for an environment {}",
            args.environment
        );
        Failure::new(what).help("name it there first: spec.environments[].namespace; see --help")
    })?;
    let is_systems = namespace.starts_with("kube-")
        || ["default", labels::NAMESPACE].contains(&namespace.as_str());
    match is_systems {
        true => Err(
            Failure::new(format!("namespace {namespace} is the system's")).help("name another one"),
        ),
        false => Ok(namespace),
    }
}
