//! `dashboard`: the pages of the queue on this machine, by its user's own rights.

use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use prorata_dashboard::Note;
use rustls::crypto::ring;
use tokio::net::TcpListener;

use super::cluster::{Cluster, ClusterArgs, Scope};
use super::failure::Failure;
use super::{output, queue};
use crate::api::{GpuNode, Tenant, labels};
use crate::config::gpu_resource;
use crate::duration;
use crate::gpus::agents;
use crate::pages::board::Board;
use crate::pages::picture::{Facts, NodeFact, Picture};
use crate::pages::router::{Door, Site, routes};

/// Options of `dashboard`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what `prorata list`, `explain`, `share` and `gpus` say, in a browser on this machine, until
Ctrl-C. The address that it prints has a secret in it, so that other users of the machine cannot
look. What you may not read is left out, and the page says so.

Examples:
  prorata dashboard
  prorata dashboard --context staging --port 8090
  prorata dashboard -n vision --every 30s")]
pub struct Args {
    /// The port on 127.0.0.1 [default: any that is free]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How often the cluster is read
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = often)]
    every: Duration,
    /// The resource that pods name to get a GPU
    #[arg(long, value_name = "NAME", default_value = labels::GPU_RESOURCE, value_parser = gpu_resource)]
    gpu_resource: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn often(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        every if every >= Duration::from_secs(1) => Ok(every),
        _ => Err("less than a second would do nothing but read: write 1s or more".to_owned()),
    }
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let board = Board::default();
    board.show(read(&cluster, &args.gpu_resource).await?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let listener = listener.map_err(|error| {
        Failure::input(
            format!("port {}: {error}", args.port),
            "name another --port, or none",
        )
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::new(error.to_string()))?;
    let root = format!("/{}", secret()?);
    let name = format!("namespace {} of your kubeconfig", cluster.namespace());
    let site = Site::new(
        board.clone(),
        Door::Own(Box::new(cluster.clone())),
        &root,
        &name,
    );
    output::print(&format!("http://{address}{root}/\n"))?;
    eprintln!("Ctrl-C ends it.");
    tokio::select! {
        served = axum::serve(listener, routes(site)) => served.map_err(|error| Failure::new(error.to_string())),
        () = keep_reading(&cluster, args, &board) => Ok(()),
        ended = tokio::signal::ctrl_c() => ended.map_err(|error| Failure::new(error.to_string())),
    }
}

async fn keep_reading(cluster: &Cluster, args: &Args, board: &Board) {
    loop {
        tokio::time::sleep(args.every).await;
        match read(cluster, &args.gpu_resource).await {
            Ok(picture) => board.show(picture),
            // The page says of what time it is.
            Err(failure) => eprintln!("{failure}"),
        }
    }
}

/// What nobody guesses: 128 bits.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let filled = ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Failure::new("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What of the cluster may be read.
async fn read(cluster: &Cluster, gpu_resource: &str) -> Result<Picture, Failure> {
    let mut notes = Vec::new();
    let all = allowed(
        "jobs of other namespaces",
        queue::read(cluster, &Scope::All).await,
        &mut notes,
    )?;
    let is_all = all.is_some();
    let here = Scope::Namespace(cluster.namespace().to_owned());
    let entries = match all {
        Some(entries) => entries,
        None => queue::read(cluster, &here).await?,
    };
    let tenants = cluster.list_all::<Tenant>().await;
    let tenants = allowed("what is due to each tenant", tenants, &mut notes)?;
    let nodes = cluster.list_all::<Node>().await;
    let nodes = allowed("nodes and the cluster's capacity", nodes, &mut notes)?;
    let gpunodes = cluster.list_all::<GpuNode>().await;
    let gpunodes = allowed("cards", gpunodes, &mut notes)?;
    let scope = Scope::Namespace(labels::AGENT_NAMESPACE.to_owned());
    let params = ListParams::default().labels(agents::SELECTOR);
    let agents = cluster.list::<Pod>(&scope, params).await;
    let agents = allowed("which agents are silent", agents, &mut notes)?;
    let fact = |node: &Node| NodeFact::new(node, gpu_resource);
    let facts = Facts {
        entries,
        is_all,
        tenants: tenants.unwrap_or_default(),
        nodes: nodes.map(|nodes| nodes.iter().map(fact).collect()),
        gpunodes: gpunodes.unwrap_or_default(),
        agents: agents.unwrap_or_default(),
        notes,
    };
    Ok(Picture::new(facts, Timestamp::now()))
}

/// What may be read; nothing, and a note that says what is left out, where the right is missing.
fn allowed<T>(
    without: &str,
    read: Result<T, Failure>,
    notes: &mut Vec<Note>,
) -> Result<Option<T>, Failure> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.is_forbidden() => {
            notes.push(Note {
                without: without.to_owned(),
                why: failure.what().to_owned(),
            });
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_never_the_same() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_eq!((one.len(), one == other), (32, false));
    }
}
