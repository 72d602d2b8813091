//! `noise`: pods on shared GPUs that disturb each other, as the agents on the nodes see them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use super::cluster::{Cluster, ClusterArgs, Scope, if_allowed};
use super::failure::Failure;
use super::gpus::only;
use super::output::{self, Format, OutputArgs, Paint, Tone};
use super::table::{Cell, Table};
use super::words;
use crate::api::gpunode::{Noise, Offender, PodName};
use crate::api::{GpuNode, labels};
use crate::gpus::agents;
use crate::gpus::noise::{Case, cases};

/// Options of `noise`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FOR is what the pods on a GPU fight for: Compute, Bandwidth and Memory are of the GPU, Power holds its clocks back.
USED is how much of it was in use when that was noticed, FROM from how much on it is told. OFFENDER is the pod that
uses more than its part: USES is what it uses, PART what is its part, in percent of the GPU. `mem` beside it: what it
computes cannot be told apart, as with MPS, so its memory is shown. Nobody is to blame where each has its part.

Examples:
  prorata noise
  prorata noise --node gpu-7 -o wide
  prorata noise -o yaml")]
pub struct Args {
    /// Only GPUs of this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What is shown of pods that disturb each other.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    node: String,
    gpu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(flatten)]
    noise: Noise,
    /// Whose pod is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let nodes = only(cluster.list_all().await?, args.node.as_deref())?;
    let namespaces = if_allowed(
        "the namespaces, and so the tenants of pods",
        cluster.list_all::<Namespace>().await,
    )?;
    let tenants = tenants(namespaces.unwrap_or_default());
    let silent = silent(&cluster, &nodes).await?;
    let mut shown = Vec::new();
    for node in &nodes {
        let name = node.name_any();
        if let Some(why) = silent.get(&name) {
            eprintln!("note: {name}: {why}, and what it told before is left out");
            continue;
        }
        shown.extend(
            cases(node)
                .into_iter()
                .map(|case| Shown::new(node, case, &tenants)),
        );
    }
    if shown.is_empty() && matches!(args.output.output, Format::Table | Format::Wide) {
        eprintln!("no pods disturb each other on any GPU that an agent tells of");
        return Ok(());
    }
    show(&shown, args.output)
}

/// Nodes whose agent says nothing any more, and why.
pub(super) async fn silent(
    cluster: &Cluster,
    nodes: &[GpuNode],
) -> Result<BTreeMap<String, &'static str>, Failure> {
    let scope = Scope::Namespace(labels::AGENT_NAMESPACE.to_owned());
    let params = ListParams::default().labels(agents::SELECTOR);
    let pods = if_allowed(
        "the agents' pods, so that what a silent agent told before is shown as it was",
        cluster.list::<Pod>(&scope, params).await,
    )?;
    let names = nodes.iter().map(|node| node.name_any());
    Ok(agents::silent(names, pods.unwrap_or_default().iter()))
}

/// The tenant of each namespace that has one.
fn tenants(namespaces: Vec<Namespace>) -> BTreeMap<String, String> {
    let tenant = |namespace: Namespace| {
        let tenant = namespace.labels().get(labels::TENANT)?.clone();
        Some((namespace.name_any(), tenant))
    };
    namespaces.into_iter().filter_map(tenant).collect()
}

impl Shown {
    fn new(node: &GpuNode, case: Case, tenants: &BTreeMap<String, String>) -> Self {
        let mut gpus = node.status.iter().flat_map(|status| &status.gpus);
        let gpu = gpus.find(|gpu| gpu.index == case.gpu);
        let offender = case.noise.offender.as_ref();
        Self {
            mode: gpu.and_then(|gpu| gpu.mode.clone()),
            tenant: offender.and_then(|one| tenants.get(&one.namespace).cloned()),
            node: case.node,
            gpu: case.gpu,
            noise: case.noise,
        }
    }
}

fn show(shown: &[Shown], output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &shown),
        Format::Name => {
            let offenders = shown.iter().filter_map(|one| one.noise.offender.as_ref());
            let line = |one: &Offender| format!("pod/{} -n {}\n", one.name, one.namespace);
            output::print(&offenders.map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let wide = output.output == Format::Wide;
            let table = table(shown, Timestamp::now(), wide);
            output::print(&table.render(!output.no_headers, Paint::detect()))
        }
    }
}

fn table(shown: &[Shown], now: Timestamp, wide: bool) -> Table {
    let mut titles = vec![
        "NODE",
        "GPU",
        "FOR",
        "USED",
        "FROM",
        "SINCE",
        "OFFENDER",
        "TENANT",
        "USES",
        "PART",
        "DISTURBED",
    ];
    if wide {
        titles.extend(["MODE", "WHO"]);
    }
    let mut table = Table::new(&titles);
    for one in shown {
        table.push(row(one, now, wide));
    }
    table
}

fn row(one: &Shown, now: Timestamp, wide: bool) -> Vec<Cell> {
    let Shown { noise, .. } = one;
    let offender = noise.offender.as_ref();
    let of_offender = |read: &dyn Fn(&Offender) -> String| offender.map(read).unwrap_or_default();
    let disturbed = &noise.disturbed;
    let mut row: Vec<Cell> = vec![
        one.node.as_str().into(),
        one.gpu.to_string().into(),
        Cell::new(noise.contention.name(), Tone::Bad),
        format!("{}%", noise.measured).into(),
        format!("{}%", noise.threshold).into(),
        words::span(words::between(noise.since.0, now)).into(),
        of_offender(&|one| format!("{}/{}", one.namespace, one.name)).into(),
        one.tenant.clone().unwrap_or_default().into(),
        of_offender(&|one| format!("{}%{}", one.uses, if one.by_memory { "mem" } else { "" }))
            .into(),
        of_offender(&|one| format!("{}%", one.part)).into(),
        disturbed.len().to_string().into(),
    ];
    if wide {
        let name = |pod: &PodName| format!("{}/{}", pod.namespace, pod.name);
        let names: Vec<String> = disturbed.iter().map(name).collect();
        row.extend([
            one.mode.clone().unwrap_or_default().into(),
            names.join(",").into(),
        ]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::GpuNodeSpec;
    use crate::api::gpunode::{Contention, Gpu};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn node() -> GpuNode {
        let offender = Offender {
            namespace: "red".to_owned(),
            name: "train".to_owned(),
            uses: 80,
            part: 25,
            ..Offender::default()
        };
        let noise = |contention, offender| Noise {
            contention,
            since: Time(Timestamp::UNIX_EPOCH),
            measured: 99,
            threshold: 95,
            offender,
            disturbed: vec![PodName {
                namespace: "blue".to_owned(),
                name: "serve".to_owned(),
            }],
        };
        let mut node = GpuNode::new("gpu-7", GpuNodeSpec::default());
        node.status.get_or_insert_default().gpus = vec![Gpu {
            mode: Some("timeslice-4".to_owned()),
            noise: vec![
                noise(Contention::Compute, Some(offender)),
                noise(Contention::Power, None),
            ],
            ..Gpu::default()
        }];
        node
    }

    #[test]
    fn a_table_for_people() {
        let tenants = [("red".to_owned(), "vision".to_owned())].into();
        let node = node();
        let shown = cases(&node)
            .into_iter()
            .map(|case| Shown::new(&node, case, &tenants));
        let shown: Vec<Shown> = shown.collect();
        let now = Timestamp::from_second(90).unwrap();
        assert_eq!(
            table(&shown, now, true).render(true, Paint(false)),
            "\
NODE    GPU   FOR       USED   FROM   SINCE   OFFENDER    TENANT   USES   PART   DISTURBED   MODE          WHO
gpu-7   0     Compute   99%    95%    1m30s   red/train   vision   80%    25%    1           timeslice-4   blue/serve
gpu-7   0     Power     99%    95%    1m30s   -           -        -      -      1           timeslice-4   blue/serve
"
        );
        let told = serde_json::to_value(&shown[0]).unwrap();
        assert_eq!(told["offender"]["uses"], 80);
        assert_eq!(told["tenant"], "vision");
        assert_eq!(told["contention"], "Compute");
    }
}
