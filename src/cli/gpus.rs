//! `gpus`: the GPUs of the cluster, as the agents on the nodes see them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde::Serialize;

use super::agent::{mode, tone};
use super::cluster::{Cluster, ClusterArgs, if_allowed};
use super::failure::Failure;
use super::noise::silent;
use super::output::{self, Format, OutputArgs, Paint, Tone};
use super::table::{Cell, Table};
use crate::api::GpuNode;
use crate::api::gpunode::{DRIVER_READY, Gpu, Health, Proposal, Repartition, Step};

/// Options of `gpus`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
MODE is how a GPU is given out, as the kubelet says, or how it shows itself where that is not known: mig and its
instances, mps, or default. NOISE is what pods on it fight for, if they disturb each other: see `prorata noise`.
What it does just now is in the metrics of the agent on its node. Notes say which nodes are being divided in another
way, how far that is, and which should be for the jobs that wait: spec.partition of the GpuNode has it done. What was told before its node went away, or
before its agent fell silent, is not shown as it was: such a GPU is Unresponsive.

Examples:
  prorata gpus
  prorata gpus --node gpu-7 -o wide
  prorata gpus --unhealthy
  prorata gpus -o json")]
pub struct Args {
    /// Only GPUs of this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Only GPUs of which something is wrong
    #[arg(long)]
    unhealthy: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A GPU and where it is.
#[derive(Debug, Serialize)]
struct Placed {
    node: String,
    #[serde(flatten)]
    gpu: Gpu,
}

pub(crate) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let nodes = cluster.list_all::<GpuNode>().await?;
    let mut nodes = only(nodes, args.node.as_deref())?;
    let ready = if_allowed(
        "the nodes, so that a GPU of one that is away is shown as it was",
        cluster.list_all::<Node>().await,
    )?;
    let ready = ready.map(|nodes| nodes.iter().map(readiness).collect());
    let silent = silent(&cluster, &nodes).await?;
    let notes = told(&mut nodes, ready.as_ref(), &silent).into_iter();
    for note in notes.chain(nodes.iter().flat_map(divisions)) {
        eprintln!("note: {note}");
    }
    let gpus = nodes.into_iter().flat_map(placed);
    let gpus: Vec<Placed> = gpus.filter(|placed| args.wants(placed)).collect();
    if gpus.is_empty() && matches!(args.output.output, Format::Table | Format::Wide) {
        eprintln!(
            "no such GPU; the agent on each GPU node tells of its own: `kubectl get gpunodes`"
        );
        return Ok(());
    }
    show(&gpus, args.output)
}

/// The node of this name, or all where none is named.
pub(super) fn only(mut nodes: Vec<GpuNode>, name: Option<&str>) -> Result<Vec<GpuNode>, Failure> {
    let Some(name) = name else {
        return Ok(nodes);
    };
    nodes.retain(|node| node.name_any() == name);
    if nodes.is_empty() {
        let remedy = "`kubectl get gpunodes` names those of which an agent has told";
        return Err(Failure::new(format!("there is no GpuNode `{name}`")).help(remedy));
    }
    Ok(nodes)
}

impl Args {
    fn wants(&self, placed: &Placed) -> bool {
        !self.unhealthy || placed.gpu.health != Health::Healthy
    }
}

/// Has what nobody tells of any more shown as such, and says why. `ready` is what each node's
/// kubelet says, where the nodes may be seen; `silent` the nodes whose agents have not been heard, and why.
pub(crate) fn told(
    nodes: &mut [GpuNode],
    ready: Option<&BTreeMap<String, Option<String>>>,
    silent: &BTreeMap<String, &'static str>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for node in nodes {
        let (name, conditions) = (node.name_any(), node.status.iter());
        let conditions = conditions.flat_map(|status| &status.conditions);
        // A node whose driver does not answer shows old GPUs, or none.
        let dumb = conditions.filter(|c| c.type_ == DRIVER_READY && c.status != "True");
        notes.extend(dumb.map(|condition| format!("{name}: {}", condition.message)));
        let gone = ready.and_then(|ready| away(node, ready));
        if let Some(why) = gone.or_else(|| not_told(node, silent)) {
            notes.push(format!("{name}: {why}"));
            grow_old(node, &why);
        }
    }
    notes
}

/// What is being done, or should be, about how a node's GPUs are divided.
fn divisions(node: &GpuNode) -> Vec<String> {
    let (name, status) = (node.name_any(), node.status.as_ref());
    let record = status.and_then(|status| status.repartition.as_ref());
    let record = record.filter(|record| record.step != Step::Done);
    let proposal = status.and_then(|status| status.proposal.as_ref());
    let going_on = record.map(|record| {
        let Repartition { from, to, .. } = record;
        let (from, to) = match record.is_open() && record.taken_back {
            true => (to, from),
            false => (from, to),
        };
        let step = record.step.name();
        let why = record.message.as_ref();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let what = match record.step {
            Step::Failed => "were to be",
            _ => "are to be",
        };
        format!(
            "{name}: its GPUs {what} {to} instead of {from} ({step} since {}){why}",
            record.since.0
        )
    });
    let proposed = proposal.map(|proposal| {
        let Proposal { to, message, .. } = proposal;
        format!("{name}: its GPUs should be {to} (spec.partition of its GpuNode): {message}")
    });
    going_on.into_iter().chain(proposed).collect()
}

/// A node's name, and the status of its condition `Ready`.
pub(crate) fn readiness(node: &Node) -> (String, Option<String>) {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.flatten();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    (node.name_any(), ready.map(|ready| ready.status.clone()))
}

/// Why nobody tells of this node's GPUs any more, if so. Of a node whose kubelet has never said anything
/// nothing is known.
fn away(node: &GpuNode, ready: &BTreeMap<String, Option<String>>) -> Option<String> {
    match ready.get(&node.name_any()) {
        None => Some("there is no such node any more".to_owned()),
        Some(Some(status)) if status != "True" => Some(format!(
            "the node is not ready (Ready={status}), and its GPUs were told of before"
        )),
        Some(_) => None,
    }
}

/// Why nobody tells of the GPUs of a node that is ready, if so.
fn not_told(node: &GpuNode, silent: &BTreeMap<String, &'static str>) -> Option<String> {
    let why = silent.get(&node.name_any())?;
    Some(format!("{why}, and its GPUs were told of before"))
}

/// What was good before need not be any more; what was bad is told as it was. Who disturbs whom is
/// not known either.
fn grow_old(node: &mut GpuNode, why: &str) {
    let gpus = node.status.iter_mut().flat_map(|status| &mut status.gpus);
    for gpu in gpus {
        gpu.noise.clear();
        if !matches!(gpu.health, Health::Healthy | Health::Degraded) {
            continue;
        }
        gpu.health = Health::Unresponsive;
        gpu.message = Some(why.to_owned());
    }
}

fn placed(node: GpuNode) -> impl Iterator<Item = Placed> {
    let name = node.name_any();
    let gpus = node.status.unwrap_or_default().gpus.into_iter();
    gpus.map(move |gpu| Placed {
        node: name.clone(),
        gpu,
    })
}

fn show(gpus: &[Placed], output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &gpus),
        Format::Name => {
            let mut nodes: Vec<&str> = gpus.iter().map(|placed| placed.node.as_str()).collect();
            nodes.dedup();
            let line = |node: &&str| format!("gpunode.prorata.dev/{node}\n");
            output::print(&nodes.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let table = table(gpus, output.output == Format::Wide);
            output::print(&table.render(!output.no_headers, Paint::detect()))
        }
    }
}

fn table(gpus: &[Placed], wide: bool) -> Table {
    let mut titles = vec![
        "NODE", "GPU", "MODEL", "MEMORY", "MODE", "PODS", "NOISE", "HEALTH", "MESSAGE",
    ];
    if wide {
        titles.extend(["UUID", "COMPUTE", "BUS", "NUMA"]);
    }
    let mut table = Table::new(&titles);
    for placed in gpus {
        table.push(row(placed, wide));
    }
    table
}

fn row(Placed { node, gpu }: &Placed, wide: bool) -> Vec<Cell> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let pods = gpu.pods.len() + gpu.more_pods.unwrap_or_default() as usize;
    let noise = gpu.noise.iter();
    let noise: Vec<&str> = noise.map(|noise| noise.contention.name()).collect();
    let mut row: Vec<Cell> = vec![
        node.as_str().into(),
        gpu.index.to_string().into(),
        text(&gpu.model).into(),
        text(&gpu.memory).into(),
        mode(gpu).into(),
        pods.to_string().into(),
        match noise.is_empty() {
            true => String::new().into(),
            false => Cell::new(noise.join(","), Tone::Bad),
        },
        Cell::new(gpu.health.name(), tone(gpu.health)),
        text(&gpu.message).into(),
    ];
    if wide {
        let numa = gpu.numa_node.map(|node| node.to_string());
        row.extend([
            text(&gpu.uuid).into(),
            text(&gpu.compute_capability).into(),
            text(&gpu.pci_bus_id).into(),
            numa.unwrap_or_default().into(),
        ]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gpunode::Mig;

    #[test]
    fn what_a_node_told_before_it_went_away_is_not_shown_as_healthy() {
        let gpu = |health| Gpu {
            health,
            ..Gpu::default()
        };
        let mut node = GpuNode::new("gpu-7", crate::api::GpuNodeSpec::default());
        let status = node.status.get_or_insert_default();
        status.gpus = vec![gpu(Health::Healthy), gpu(Health::Lost)];
        let kubelet_says = |status: &str| -> BTreeMap<String, Option<String>> {
            let node: Node = serde_json::from_value(serde_json::json!({
                "metadata": { "name": "gpu-7" },
                "status": { "conditions": [
                    { "type": "MemoryPressure", "status": "False" },
                    { "type": "Ready", "status": status },
                ] },
            }))
            .unwrap();
            [readiness(&node)].into()
        };
        assert_eq!(away(&node, &kubelet_says("True")), None);
        assert!(away(&node, &kubelet_says("False")).is_some());
        let why = away(&node, &kubelet_says("Unknown")).unwrap();
        assert!(away(&node, &BTreeMap::new()).is_some(), "it is removed");
        grow_old(&mut node, &why);
        let gpus = node.status.unwrap().gpus;
        assert_eq!(gpus[0].health, Health::Unresponsive);
        assert_eq!(gpus[0].message.as_deref(), Some(why.as_str()));
        assert_eq!(gpus[1].health, Health::Lost);
    }

    #[test]
    fn what_is_done_about_divisions_is_told() {
        let mut node = GpuNode::new("gpu-7", crate::api::GpuNodeSpec::default());
        assert_eq!(divisions(&node), [""; 0]);
        let status: crate::api::GpuNodeStatus = serde_json::from_value(serde_json::json!({
            "repartition": {
                "from": "exclusive", "to": "mps-4", "cause": "Spec", "step": "Await",
                "since": "2026-01-01T00:00:00Z", "reason": "NotOffered", "message": "look there",
            },
            "proposal": {"to": "timeslice-2", "since": "2026-01-01T00:00:00Z", "message": "jobs wait"},
        }))
        .unwrap();
        node.status = Some(status);
        assert_eq!(
            divisions(&node),
            [
                "gpu-7: its GPUs are to be mps-4 instead of exclusive (Await since 2026-01-01T00:00:00Z): look there",
                "gpu-7: its GPUs should be timeslice-2 (spec.partition of its GpuNode): jobs wait",
            ]
        );
    }

    #[test]
    fn a_table_for_people() {
        let gpu = Gpu {
            model: Some("Tesla T4".to_owned()),
            memory: Some("15360Mi".to_owned()),
            compute_mode: Some("Default".to_owned()),
            ..Gpu::default()
        };
        let divided = Gpu {
            index: 1,
            health: Health::Lost,
            message: Some("the driver has lost it".to_owned()),
            mig: Some(Mig {
                enabled: true,
                ..Mig::default()
            }),
            ..Gpu::default()
        };
        let node = "gpu-7".to_owned();
        let gpus = [gpu, divided].map(|gpu| Placed {
            node: node.clone(),
            gpu,
        });
        assert_eq!(
            table(&gpus, false).render(true, Paint(false)),
            "\
NODE    GPU   MODEL      MEMORY    MODE      PODS   NOISE   HEALTH    MESSAGE
gpu-7   0     Tesla T4   15360Mi   default   0      -       Healthy   -
gpu-7   1     -          -         mig:0     0      -       Lost      the driver has lost it
"
        );
    }
}
