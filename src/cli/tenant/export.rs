//! `tenant export`: a Tenant as a file.

use serde_json::json;

use super::kept;
use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};

/// Options of `tenant export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  prorata tenant export vision > vision.yaml
  prorata tenant export vision --context old | kubectl --context new apply -f -")]
pub struct Args {
    /// The Tenant
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let name = &args.name;
    let Some(tenant) = kept::tenant(&cluster, name).await? else {
        return Err(Failure::new(format!("there is no Tenant {name}"))
            .help("`kubectl get tenants` lists them"));
    };
    let file = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
        "metadata": { "name": name },
        "spec": tenant.data["spec"],
    });
    output::serialised(Format::Yaml, &file)
}
