//! `tenant delete`: a Tenant goes; its data stay unless told otherwise.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;

use super::kept;
use crate::api::Tenant;
use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::failure::Failure;
use crate::cli::report::{Object, Outcome, Report, ReportArgs};
use crate::tenancy::Kind;

/// Options of `tenant delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its people lose their roles, and its jobs their place in the queue: those that wait, wait for ever,
those that run, run on. Namespaces stay with all that is in them, bounded and isolated as before.

Examples:
  prorata tenant delete vision               # says what it would do
  prorata tenant delete vision --yes
  prorata tenant delete vision --yes --data  # and its namespaces, with all that is in them")]
pub struct Args {
    /// The Tenant
    #[arg(value_name = "NAME")]
    name: String,
    /// Do it; without this it only says what it would do
    #[arg(long)]
    yes: bool,
    /// Delete its namespaces too, with their jobs, secrets and volume claims
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let mut report = Report::new(args.report);
    let ended = delete_all(args, &mut report).await;
    report.end(ended)
}

async fn delete_all(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let name = &args.name;
    let tenant = kept::tenant(&cluster, name).await?;
    if tenant.is_none() && !args.data {
        return Err(Failure::new(format!("there is no Tenant {name}")).help(
            "`kubectl get tenants` lists them; --data deletes namespaces that one has left",
        ));
    }
    let left = kept::of(&cluster, name).await?.left(name);
    let namespaces = left.iter().filter_map(|left| left.namespace.as_deref());
    let namespaces: Vec<&str> = namespaces.collect();
    let (fate, outcome) = match args.data {
        true => ("deleted", Outcome::ToBeDeleted),
        false => ("kept", Outcome::Kept),
    };
    // What is deleted is told when it is.
    let is_told = !(args.yes && args.data);
    for namespace in namespaces.iter().filter(|_| is_told) {
        let message = format!("namespace/{namespace} is {fate} with all that is in it");
        let object = Object::named::<Namespace>(None, namespace);
        report.tell(object, outcome, message)?;
    }
    if !args.yes {
        if tenant.is_some() {
            let object = Object::named::<Tenant>(None, name);
            let message = format!("tenant.prorata.dev/{name} is deleted");
            report.tell(object, Outcome::ToBeDeleted, message)?;
        }
        return Err(Failure::input(
            "nothing has been done",
            "add --yes to delete",
        ));
    }
    if tenant.is_some() {
        delete(&cluster, Kind::Tenant, name).await?;
        let message = format!("tenant.prorata.dev/{name} deleted");
        report.tell(
            Object::named::<Tenant>(None, name),
            Outcome::Deleted,
            message,
        )?;
    }
    for namespace in namespaces.iter().filter(|_| args.data) {
        delete(&cluster, Kind::Namespace, namespace).await?;
        let message = format!("namespace/{namespace} deleted");
        report.tell(
            Object::named::<Namespace>(None, namespace),
            Outcome::Deleted,
            message,
        )?;
    }
    Ok(())
}

async fn delete(cluster: &Cluster, kind: Kind, name: &str) -> Result<(), Failure> {
    let deleted = kept::objects(cluster, kind)
        .delete(name, &DeleteParams::default())
        .await;
    let attempt = format!("delete {} {name}", kind.resource().plural);
    deleted
        .map(drop)
        .map_err(|error| Failure::api(&attempt, error))
}
