//! The inputs: forty nodes that give out their GPUs in five ways, and jobs that ask for parts of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use prorata::api::labels;
use prorata_controlplane::nodes::{self, Shape};
use serde_json::{Value, json};

use crate::cluster::from;

/// A resource of slots.
pub(crate) const SLOTS: &str = "nvidia.com/gpu.shared";

const NODES: u32 = 40;
const CARD_GIB: u32 = 48;
pub(crate) const TENANTS: [&str; 3] = ["audio", "nlp", "vision"];
/// Whole GPUs that each tenant owns, beside more CPU and memory than it uses: what cannot be evicted
/// runs within that.
const GUARANTEED: u32 = 22;

/// How a node gives out its GPUs.
#[derive(Clone, Copy)]
enum Mode {
    Exclusive,
    TimeSlice(u32),
    Mps(u32),
    Mig,
}

const MODES: [Mode; 5] = [
    Mode::Exclusive,
    Mode::TimeSlice(4),
    Mode::Mps(4),
    Mode::Mps(8),
    Mode::Mig,
];

/// The instances of a card that is partitioned.
const INSTANCES: [(&str, u32); 2] = [("1g.10gb", 4), ("3g.40gb", 1)];

/// A job of the queue.
pub(crate) struct Input {
    pub(crate) tenant: &'static str,
    pub(crate) name: String,
    /// Pods that run at the same time; a bare pod is none.
    gang: Option<u32>,
    ask: Ask,
    /// What kind of work it is.
    work: Option<&'static str>,
}

/// What each pod asks for.
#[derive(Clone, Copy)]
enum Ask {
    Share(Option<u32>, Option<u32>),
    Card,
    Instance(&'static str),
}

/// Shares that fit into a quarter of a card, most of them into an eighth as well.
const ASKS: [Ask; 12] = [
    Ask::Share(Some(100), None),
    Ask::Share(Some(125), Some(6)),
    Ask::Share(None, Some(4)),
    Ask::Share(Some(250), Some(12)),
    Ask::Share(Some(50), Some(1)),
    Ask::Share(Some(200), None),
    Ask::Share(Some(125), Some(2)),
    Ask::Share(None, Some(8)),
    Ask::Share(Some(100), Some(6)),
    Ask::Card,
    Ask::Instance("1g.10gb"),
    Ask::Instance("3g.40gb"),
];

/// Two that are heavy get less done on one card than one of them alone.
pub(crate) const INTERFERENCE: &str = "\
interference:
  pairs:
    heavy: {heavy: 400000, light: 900000}
    light: {heavy: 900000, light: 1000000}
";

/// So many pods in all, each of a Job or by itself, in the order of their namespaces and names: by
/// that and their age the queue decides where nothing else does.
pub(crate) fn jobs(pods: u32) -> Vec<Input> {
    let mut random = Sequence(2026);
    let mut jobs = Vec::new();
    let mut left = pods;
    for number in 0.. {
        if left == 0 {
            break;
        }
        let gang = match random.below(3) {
            0 => None,
            more => Some(u32::try_from(more).unwrap().min(left)),
        };
        left -= gang.unwrap_or(1);
        // Shares are what this is about.
        let asks = [9, ASKS.len()][usize::from(random.below(6) == 0)];
        jobs.push(Input {
            tenant: TENANTS[random.below(TENANTS.len())],
            name: format!("work-{number:04}"),
            gang,
            ask: ASKS[random.below(asks)],
            work: [None, Some("heavy"), Some("light")][random.below(3)],
        });
    }
    jobs.sort_by(|a, b| (a.tenant, &a.name).cmp(&(b.tenant, &b.name)));
    jobs
}

impl Input {
    /// The Job, or the pod that waits by itself.
    pub(crate) fn object(&self) -> Object {
        let mut metadata = json!({ "name": self.name, "namespace": self.tenant });
        let mut template = self.ask.annotations();
        if let Some(work) = self.work {
            template[labels::WORK] = json!(work);
        }
        let Some(gang) = self.gang else {
            metadata["annotations"] = template;
            return Object::Pod(Box::new(from(
                json!({ "metadata": metadata, "spec": self.ask.spec() }),
            )));
        };
        Object::Job(Box::new(from(json!({
            "metadata": metadata,
            "spec": {
                "completionMode": "Indexed", "parallelism": gang, "completions": gang,
                "template": { "metadata": { "annotations": template }, "spec": self.ask.spec() },
            },
        }))))
    }

    fn line(&self) -> String {
        let (tenant, name) = (self.tenant, &self.name);
        let ask = match self.ask {
            Ask::Card => "gpu=1".to_owned(),
            Ask::Instance(profile) => format!("gpu=1 profile={profile}"),
            Ask::Share(share, memory) => {
                let memory = memory.map_or_else(String::new, |gib| format!(" gpu-memory={gib}Gi"));
                format!("share={}m{memory}", share.unwrap_or(1))
            }
        };
        let gang = match self.gang {
            Some(gang) => format!("gang={gang}"),
            None => "preemptible=no".to_owned(),
        };
        let work = self
            .work
            .map_or_else(String::new, |work| format!(" work={work}"));
        format!("submit {tenant}/{name} {gang} {ask}{work} cpu=1 memory=1Gi\n")
    }
}

/// What is created.
pub(crate) enum Object {
    Job(Box<Job>),
    Pod(Box<Pod>),
}

impl Ask {
    fn annotations(self) -> Value {
        match self {
            Self::Share(share, memory) => {
                let share = share.map(|milli| (labels::GPU_SHARE, format!("{milli}m")));
                let memory = memory.map(|gib| (labels::GPU_MEMORY, format!("{gib}Gi")));
                let both: BTreeMap<_, _> = share.into_iter().chain(memory).collect();
                json!(both)
            }
            Self::Card | Self::Instance(_) => json!({}),
        }
    }

    /// Of a share only annotations speak.
    fn spec(self) -> Value {
        let limits = match self {
            Self::Share(..) => json!({}),
            Self::Card => json!({ "nvidia.com/gpu": "1" }),
            Self::Instance(profile) => json!({ format!("nvidia.com/mig-{profile}"): "1" }),
        };
        let requests = json!({ "cpu": "1", "memory": "1Gi" });
        json!({
            "restartPolicy": "Never",
            "containers": [{
                "name": "main", "image": "none", "resources": { "requests": requests, "limits": limits },
            }],
        })
    }
}

/// The nodes, as many in each way.
pub(crate) fn shapes() -> impl Iterator<Item = (String, Shape)> {
    (1..=NODES).map(|number| (nodes::name(number), mode(number).shape()))
}

/// Tenants with their namespaces.
pub(crate) fn tenants() -> String {
    let mut yaml = String::new();
    for tenant in TENANTS {
        let _ = write!(
            yaml,
            "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\nspec: {{guaranteed: {{gpu: {GUARANTEED}, cpu: 1000, memory: 8Ti}}}}\n\
             ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {tenant}, labels: {{prorata.dev/tenant: {tenant}}}}}\n"
        );
    }
    yaml
}

/// The same for the simulator.
pub(crate) fn script(jobs: &[&Input]) -> String {
    let mut script = String::new();
    for number in 1..=NODES {
        let (name, mode) = (nodes::name(number), mode(number).words());
        let _ = writeln!(script, "node {name} cpu=128 memory=1Ti {mode}");
    }
    for tenant in TENANTS {
        let _ = writeln!(
            script,
            "tenant {tenant} guaranteed=gpu:{GUARANTEED},cpu:1000,memory:8Ti"
        );
    }
    script.extend(jobs.iter().map(|job| job.line()));
    script + "at 0s\n"
}

/// Ways of which [`sharing`] has nodes.
pub(crate) const WAYS_TO_SHARE: usize = 3;

/// The numbers of the nodes that split their cards, one of each way after the other.
pub(crate) fn sharing() -> Vec<u32> {
    let splits = |number: &u32| matches!(mode(*number), Mode::TimeSlice(_) | Mode::Mps(_));
    (1..=NODES).filter(splits).collect()
}

fn mode(number: u32) -> Mode {
    MODES[usize::try_from(number).unwrap() % MODES.len()]
}

impl Mode {
    fn shape(self) -> Shape {
        let plain = Shape {
            gpus: 0,
            ..Shape::default()
        };
        let split = |strategy: &str, slots: u32| {
            let labels = [
                (labels::SHARING_STRATEGY, strategy.to_owned()),
                (labels::GPU_REPLICAS, slots.to_string()),
                (labels::GPU_COUNT, "2".to_owned()),
                (labels::GPU_MIB, (CARD_GIB * 1024).to_string()),
            ];
            Shape {
                devices: [(SLOTS.to_owned(), 2 * slots)].into(),
                labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
                ..plain.clone()
            }
        };
        match self {
            Self::Exclusive => Shape { gpus: 2, ..plain },
            Self::TimeSlice(slots) => split("time-slicing", slots),
            Self::Mps(slots) => split("mps", slots),
            Self::Mig => {
                let instance =
                    |(profile, count): (&str, u32)| (format!("nvidia.com/mig-{profile}"), count);
                Shape {
                    devices: INSTANCES.map(instance).into(),
                    ..plain
                }
            }
        }
    }

    fn words(self) -> String {
        match self {
            Self::Exclusive => "gpu=2".to_owned(),
            Self::TimeSlice(slots) => {
                format!("gpu=2 mode=timeslice-{slots} gpu-memory={CARD_GIB}Gi")
            }
            Self::Mps(slots) => format!("gpu=2 mode=mps-{slots} gpu-memory={CARD_GIB}Gi"),
            Self::Mig => {
                let all = INSTANCES
                    .iter()
                    .flat_map(|(profile, count)| vec![*profile; *count as usize]);
                format!("gpu=1 mode=mig:{}", all.collect::<Vec<_>>().join("+"))
            }
        }
    }
}

/// The numbers of Knuth's MMIX generator: the same on every machine.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
