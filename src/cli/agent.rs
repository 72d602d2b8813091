//! `agent`: the role that runs on each GPU node, and a look at the GPUs of this machine.

mod noise;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, ClusterArgs};
use super::failure::{Failure, chain};
use super::output::{self, Format, OutputArgs, Paint, Tone};
use super::table::{Cell, Table};
use crate::agent::holders::{Holder, Places};
use crate::agent::mps::Mps;
use crate::agent::picture::Picture;
use crate::agent::reading::{Card, Process, Seen};
use crate::agent::{self, Settings, Watcher};
use crate::api::gpunode::{DRIVER_READY, Gpu, GpuDriver, Health};
use crate::config::Logging;
use crate::{duration, telemetry};

/// Options of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a node it looks at the GPUs every second, answers /metrics, /usage, /livez and /readyz, and writes
the GpuNode of its node when that changes. With --once it needs no cluster: it prints what NVML says of this machine.
What a card or its driver does not tell is left out, or shown as -.

Examples:
  prorata agent --once
  prorata agent --once -o json
  prorata agent --once --nvml /run/nvidia/driver/usr/lib64/libnvidia-ml.so.1
  prorata agent --node \"$(hostname)\" --address 127.0.0.1:9400")]
pub struct Args {
    /// Look once, print it, and end
    #[arg(long)]
    once: bool,
    /// NVML's library [default: libnvidia-ml.so.1, as the system finds it]
    #[arg(long, value_name = "FILE")]
    nvml: Option<PathBuf>,
    /// The node that this runs on; its GpuNode is written
    #[arg(long, value_name = "NAME", env = "NODE_NAME", required_unless_present_any = ["once", "no_publish"])]
    node: Option<String>,
    /// Write no GpuNode, and need no cluster
    #[arg(long)]
    no_publish: bool,
    /// Where probes and metrics are answered
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9400")]
    address: SocketAddr,
    /// How often to look
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    /// A call to the driver that takes longer is left behind, and its GPU is unresponsive; loading the driver may
    /// take six times as long
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = duration::parse)]
    deadline: Duration,
    /// How long an error that the driver has told is held against its GPU
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = duration::parse)]
    hold_errors: Duration,
    /// The host's processes
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    proc: PathBuf,
    /// Where the kubelet names running containers
    #[arg(long, value_name = "DIR", default_value = "/var/log/containers")]
    containers: PathBuf,
    /// What the kernel says of PCI devices
    #[arg(long, value_name = "DIR", default_value = "/sys/bus/pci/devices")]
    pci: PathBuf,
    /// Where the kubelet tells which pods it has given GPUs to; it answers root alone
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/var/lib/kubelet/pod-resources/kubelet.sock"
    )]
    kubelet: PathBuf,
    /// The host's directory of MPS, below which each server has a directory `pipe`
    #[arg(long, value_name = "DIR", default_value = "/run/nvidia/mps")]
    mps: PathBuf,
    /// NVIDIA's program that terminates clients of MPS before their pods are evicted
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "nvidia-cuda-mps-control"
    )]
    mps_control: PathBuf,
    #[command(flatten)]
    noise: noise::NoiseArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(crate) async fn execute(args: &Args) -> Result<(), Failure> {
    if args.once {
        return once(args).await;
    }
    telemetry::init(&Logging::default());
    let client = match args.no_publish {
        true => None,
        false => Some(Cluster::connect(&args.cluster).await?.client().clone()),
    };
    let ended = agent::run(args.settings(), client).await;
    ended.map_err(|error| {
        Failure::new(chain(&error)).help("choose another --address, or end what listens there")
    })
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            library: self.nvml.clone(),
            node: self.node.clone(),
            interval: self.interval,
            deadline: self.deadline,
            hold: self.hold_errors,
            address: self.address,
            places: Places {
                proc: self.proc.clone(),
                containers: self.containers.clone(),
                pci: self.pci.clone(),
            },
            kubelet: self.kubelet.clone(),
            noise: self.noise.thresholds(),
            mps: Mps {
                program: self.mps_control.clone(),
                root: self.mps.clone(),
            },
        }
    }
}

/// What a look at this machine gives, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    driver: &'a GpuDriver,
    gpus: Vec<ShownGpu<'a>>,
}

#[derive(Serialize)]
struct ShownGpu<'a> {
    #[serde(flatten)]
    gpu: &'a Gpu,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<&'a crate::agent::reading::Load>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<Vec<ShownProcess<'a>>>,
}

#[derive(Serialize)]
struct ShownProcess<'a> {
    #[serde(flatten)]
    process: &'a Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a Holder>,
}

async fn once(args: &Args) -> Result<(), Failure> {
    let picture = Watcher::new(&args.settings()).look().await;
    let Some(reading) = &picture.reading else {
        return Err(no_driver(&picture));
    };
    let cards: BTreeMap<u32, &Seen> = reading.cards.iter().filter_map(seen).collect();
    match args.output.output {
        Format::Json | Format::Yaml => {
            let gpus = picture.status.gpus.iter();
            let gpus = gpus.map(|gpu| shown(gpu, &cards, &picture));
            let driver = &reading.driver;
            let gpus = gpus.collect();
            output::serialised(args.output.output, &Shown { driver, gpus })
        }
        Format::Name => {
            let uuids = picture
                .status
                .gpus
                .iter()
                .filter_map(|gpu| gpu.uuid.as_ref());
            output::print(&uuids.map(|uuid| format!("{uuid}\n")).collect::<String>())
        }
        Format::Table | Format::Wide => {
            if picture.status.gpus.is_empty() {
                eprintln!("the driver answers, and lists no GPU");
                return Ok(());
            }
            let wide = args.output.output == Format::Wide;
            let table = table(&picture, &cards, wide);
            output::print(&table.render(!args.output.no_headers, Paint::detect()))
        }
    }
}

fn seen(card: &Card) -> Option<(u32, &Seen)> {
    match card {
        Card::Seen(seen) => Some((seen.identity.index, &**seen)),
        Card::Silent { .. } => None,
    }
}

fn shown<'a>(gpu: &'a Gpu, cards: &BTreeMap<u32, &'a Seen>, picture: &'a Picture) -> ShownGpu<'a> {
    let seen = cards.get(&gpu.index).copied();
    let processes = seen.and_then(|seen| seen.processes.as_ref());
    let shown = |process: &'a Process| ShownProcess {
        process,
        holder: picture.holders.get(&process.pid).and_then(Option::as_ref),
    };
    ShownGpu {
        gpu,
        load: seen.map(|seen| &seen.load),
        processes: processes.map(|processes| processes.iter().map(shown).collect()),
    }
}

/// Why there is nothing to see, and what helps.
fn no_driver(picture: &Picture) -> Failure {
    let mut conditions = picture.status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == DRIVER_READY);
    let (reason, message) = ready.map_or(("", ""), |ready| (&ready.reason, &ready.message));
    let remedy = match reason {
        "NoLibrary" => {
            "install the NVIDIA driver, or name its libnvidia-ml.so.1 by --nvml; in a container the NVIDIA \
             runtime has to put it there (NVIDIA_DRIVER_CAPABILITIES=utility)"
        }
        "Stuck" => "look for the driver's messages in `dmesg`; mostly the node has to be restarted",
        _ => {
            "see that the driver's module is loaded (`lsmod | grep nvidia`) and what it said (`dmesg`)"
        }
    };
    Failure::new(message).help(remedy)
}

fn table(picture: &Picture, cards: &BTreeMap<u32, &Seen>, wide: bool) -> Table {
    let mut titles = vec![
        "GPU", "MODEL", "MEMORY", "USED", "UTIL", "TEMP", "POWER", "MODE", "PROCS", "HEALTH",
    ];
    if wide {
        titles.extend([
            "UUID",
            "BUS",
            "NUMA",
            "COMPUTE",
            "ECC",
            "NVLINKS",
            "THROTTLED",
            "MESSAGE",
        ]);
    }
    let mut table = Table::new(&titles);
    for gpu in &picture.status.gpus {
        table.push(row(gpu, cards.get(&gpu.index).copied(), wide));
    }
    table
}

fn row(gpu: &Gpu, seen: Option<&Seen>, wide: bool) -> Vec<Cell> {
    let load = seen.map(|seen| &seen.load);
    let processes = seen.and_then(|seen| seen.processes.as_ref());
    let used = load.and_then(|load| load.memory_used);
    let power = load.and_then(|load| load.power_milliwatts);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut row: Vec<Cell> = vec![
        gpu.index.to_string().into(),
        text(&gpu.model).into(),
        text(&gpu.memory).into(),
        optional(used.map(|bytes| format!("{}Mi", bytes >> 20))),
        optional(
            load.and_then(|load| load.utilisation)
                .map(|percent| format!("{percent}%")),
        ),
        optional(
            load.and_then(|load| load.slow.temperature)
                .map(|degrees| format!("{degrees}C")),
        ),
        optional(power.map(|power| format!("{}W", (power + 500) / 1000))),
        mode(gpu).into(),
        optional(processes.map(|processes| processes.len().to_string())),
        Cell::new(gpu.health.name(), tone(gpu.health)),
    ];
    if wide {
        let throttled = load.and_then(|load| load.throttled_by.as_ref());
        row.extend([
            text(&gpu.uuid).into(),
            text(&gpu.pci_bus_id).into(),
            optional(gpu.numa_node.map(|node| node.to_string())),
            text(&gpu.compute_capability).into(),
            optional(gpu.ecc.map(|on| if on { "on" } else { "off" }.to_owned())),
            optional(nvlinks(gpu).map(|links| links.to_string())),
            optional(throttled.map(|reasons| reasons.join(","))),
            text(&gpu.message).into(),
        ]);
    }
    row
}

fn optional(text: Option<String>) -> Cell {
    text.unwrap_or_default().into()
}

/// How a GPU is given out: as the kubelet says, or as far as it shows that itself.
pub(crate) fn mode(gpu: &Gpu) -> String {
    if let Some(mode) = gpu.mode.as_ref().filter(|mode| !mode.starts_with("mig")) {
        return mode.clone();
    }
    match (&gpu.mig, gpu.compute_mode.as_deref()) {
        (Some(mig), _) if mig.enabled => format!("mig:{}", mig.instances.len()),
        (_, Some("ExclusiveProcess")) => "mps".to_owned(),
        (_, Some("Default")) => "default".to_owned(),
        (_, Some(other)) => other.to_lowercase(),
        (_, None) => String::new(),
    }
}

fn nvlinks(gpu: &Gpu) -> Option<u32> {
    let direct = gpu.peers.iter().filter_map(|peer| peer.nvlinks);
    direct
        .chain(gpu.switch_links)
        .reduce(|sum, links| sum + links)
}

/// The colour of a GPU's health.
pub(crate) fn tone(health: Health) -> Tone {
    match health {
        Health::Healthy => Tone::Good,
        Health::Degraded => Tone::Wait,
        Health::Unhealthy | Health::Unresponsive | Health::Lost => Tone::Bad,
    }
}
