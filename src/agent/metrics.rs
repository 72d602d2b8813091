//! What the agent measures, for Prometheus: made of the newest reading when somebody asks. What a card
//! does not tell has no line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::holders::Holder;
use super::picture::Picture;
use super::reading::{Card, Process, Seen};
use crate::api::gpunode::Gpu;

type Gauges<L> = Family<L, Gauge<f64, AtomicU64>>;
type Counters<L> = Family<L, Counter<f64, AtomicU64>>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Device {
    gpu: u32,
    uuid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    gpu: u32,
    uuid: String,
    model: String,
    memory: String,
    driver: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kinded {
    gpu: u32,
    uuid: String,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pod {
    gpu: u32,
    uuid: String,
    namespace: String,
    pod: String,
    container: String,
    pod_uid: String,
}

/// Everything, as Prometheus reads it.
///
/// # Errors
/// When it cannot be written as text.
pub fn render(picture: &Picture) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("prorata");
    agent(&mut registry, picture);
    health(&mut registry, picture);
    devices(&mut registry, picture);
    errors(&mut registry, picture);
    pods(&mut registry, picture);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn agent(registry: &mut Registry, picture: &Picture) {
    let up = Gauge::<i64>::default();
    up.set(i64::from(picture.driver_answers()));
    registry.register("agent_driver_up", "Whether the driver answers", up);
    let looks = Counter::<u64>::default();
    looks.inc_by(picture.looks);
    registry.register("agent_looks", "Looks at the GPUs", looks);
    let failures = Counter::<u64>::default();
    failures.inc_by(picture.failures);
    registry.register(
        "agent_looks_failed",
        "Of these, those that failed",
        failures,
    );
    let taken = Gauge::<f64, AtomicU64>::default();
    taken.set(picture.duration.as_secs_f64());
    let help = "How long the last look took";
    registry.register_with_unit("agent_look", help, Unit::Seconds, taken);
    let kubelet = Gauge::<i64>::default();
    kubelet.set(i64::from(picture.kubelet_answers));
    let help = "Whether the kubelet tells what it has given to whom";
    registry.register("agent_kubelet_up", help, kubelet);
}

fn health(registry: &mut Registry, picture: &Picture) {
    let states = Family::<Kinded, Gauge>::default();
    for gpu in &picture.status.gpus {
        let kind = gpu.health.name();
        states.get_or_create(&kinded(gpu, kind)).set(1);
    }
    registry.register("gpu_health", "How a GPU is", states);
    let (modes, noises) = <(Family<Kinded, Gauge>, Family<Kinded, Gauge>)>::default();
    for gpu in &picture.status.gpus {
        if let Some(mode) = &gpu.mode {
            modes.get_or_create(&kinded(gpu, mode)).set(1);
        }
        for noise in &gpu.noise {
            let kind = noise.contention.name().to_lowercase();
            noises.get_or_create(&kinded(gpu, &kind)).set(1);
        }
    }
    registry.register("gpu_mode", "How a GPU is given out", modes);
    let help = "What the pods on a GPU fight for";
    registry.register("gpu_noisy", help, noises);
}

fn devices(registry: &mut Registry, picture: &Picture) {
    let info = Family::<Info, Gauge>::default();
    let driver = picture.status.driver.as_ref();
    let version = driver.and_then(|driver| driver.version.clone());
    for seen in seen(picture) {
        let gpu = &seen.identity;
        info.get_or_create(&Info {
            gpu: gpu.index,
            uuid: gpu.uuid.clone().unwrap_or_default(),
            model: gpu.model.clone().unwrap_or_default(),
            memory: gpu.memory.clone().unwrap_or_default(),
            driver: version.clone().unwrap_or_default(),
        })
        .set(1);
    }
    registry.register("gpu_info", "What a GPU is", info);
    for (name, unit, help, read) in GAUGES {
        let values = Gauges::<Device>::default();
        for seen in seen(picture) {
            if let Some(value) = read(seen) {
                values.get_or_create(&device(&seen.identity)).set(value);
            }
        }
        register(registry, name, unit, help, values);
    }
    let energy = Counters::<Device>::default();
    let throttled = Family::<Kinded, Gauge>::default();
    let instances = Gauges::<Kinded>::default();
    for seen in seen(picture) {
        if let Some(millijoules) = seen.load.slow.energy_millijoules {
            let joules = energy.get_or_create(&device(&seen.identity));
            joules.inc_by(millijoules as f64 / 1000.0);
        }
        for reason in seen.load.throttled_by.iter().flatten() {
            throttled
                .get_or_create(&kinded(&seen.identity, reason))
                .set(1);
        }
        for instance in &seen.load.instances {
            if let Some(bytes) = instance.memory_used {
                let label = kinded(&seen.identity, &instance.uuid);
                instances.get_or_create(&label).set(bytes as f64);
            }
        }
    }
    let help = "Energy since the driver was loaded";
    registry.register_with_unit("gpu_energy", help, Unit::Joules, energy);
    registry.register("gpu_throttled", "What holds its clocks back", throttled);
    let help = "Memory in use of an instance";
    registry.register_with_unit("gpu_instance_memory_used", help, Unit::Bytes, instances);
}

type Read = fn(&Seen) -> Option<f64>;

const GAUGES: [(&str, Option<Unit>, &str, Read); 8] = [
    (
        "gpu_utilisation",
        Some(Unit::Ratios),
        "Part of the time in which a kernel ran",
        |seen| seen.load.utilisation.map(ratio),
    ),
    (
        "gpu_memory_utilisation",
        Some(Unit::Ratios),
        "Part of the time in which memory was read or written",
        |seen| seen.load.memory_utilisation.map(ratio),
    ),
    ("gpu_memory", Some(Unit::Bytes), "Its memory", |seen| {
        seen.load.memory_total.map(|bytes| bytes as f64)
    }),
    (
        "gpu_memory_used",
        Some(Unit::Bytes),
        "Memory in use",
        |seen| seen.load.memory_used.map(|bytes| bytes as f64),
    ),
    ("gpu_power_watts", None, "Power that it draws", |seen| {
        seen.load
            .power_milliwatts
            .map(|power| f64::from(power) / 1000.0)
    }),
    (
        "gpu_power_limit_watts",
        None,
        "Power that it may draw",
        |seen| seen.identity.power_limit_watts.map(f64::from),
    ),
    (
        "gpu_temperature",
        Some(Unit::Celsius),
        "Temperature of the chip",
        |seen| seen.load.slow.temperature.map(f64::from),
    ),
    (
        "gpu_clock_mhz",
        None,
        "Clock of its multiprocessors",
        |seen| seen.load.slow.clock_mhz.map(f64::from),
    ),
];

fn errors(registry: &mut Registry, picture: &Picture) {
    let ecc = Family::<Kinded, Counter>::default();
    for seen in seen(picture) {
        let slow = &seen.load.slow;
        let kinds = [
            ("corrected", slow.ecc_corrected),
            ("uncorrected", slow.ecc_uncorrected),
        ];
        for (kind, count) in kinds {
            if let Some(count) = count {
                ecc.get_or_create(&kinded(&seen.identity, kind))
                    .inc_by(count);
            }
        }
    }
    let help = "Errors of its memory since the driver was loaded";
    registry.register("gpu_ecc_errors", help, ecc);
    let xids = Family::<Kinded, Counter>::default();
    for ((card, code), count) in &picture.xids {
        let gpus = &picture.status.gpus;
        if let Some(gpu) = gpus.iter().find(|gpu| gpu.index == *card) {
            let code = code.map_or("unknown".to_owned(), |code| code.to_string());
            xids.get_or_create(&kinded(gpu, &code)).inc_by(*count);
        }
    }
    let help = "Errors that the driver has told, by NVIDIA's number";
    registry.register("gpu_xid_errors", help, xids);
}

/// What the processes of one container do on one card.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    processes: u32,
    memory: Option<u64>,
    utilisation: Option<u32>,
    memory_utilisation: Option<u32>,
}

fn pods(registry: &mut Registry, picture: &Picture) {
    let mut uses: BTreeMap<(u32, Option<&Holder>), Use> = BTreeMap::new();
    for seen in seen(picture) {
        for process in seen.processes.iter().flatten() {
            let holder = picture.holders.get(&process.pid).and_then(Option::as_ref);
            add(
                uses.entry((seen.identity.index, holder)).or_default(),
                process,
            );
        }
    }
    let (processes, strangers) = (
        Family::<Pod, Gauge>::default(),
        Family::<Device, Gauge>::default(),
    );
    let (memory, compute, bandwidth) = <(Gauges<Pod>, Gauges<Pod>, Gauges<Pod>)>::default();
    for ((card, holder), used) in &uses {
        let gpus = &picture.status.gpus;
        let Some(gpu) = gpus.iter().find(|gpu| gpu.index == *card) else {
            continue;
        };
        let Some(holder) = holder else {
            strangers
                .get_or_create(&device(gpu))
                .set(used.processes.into());
            continue;
        };
        let label = pod(gpu, holder);
        processes.get_or_create(&label).set(used.processes.into());
        set(&memory, &label, used.memory.map(|bytes| bytes as f64));
        set(&compute, &label, used.utilisation.map(ratio));
        set(&bandwidth, &label, used.memory_utilisation.map(ratio));
    }
    let help = "Processes of a container that use a GPU";
    registry.register("pod_gpu_processes", help, processes);
    let help = "Processes of no pod that use a GPU";
    registry.register("gpu_other_processes", help, strangers);
    let help = "Memory of a GPU that a container uses";
    registry.register_with_unit("pod_gpu_memory_used", help, Unit::Bytes, memory);
    let help = "Part of a GPU's multiprocessors that a container uses";
    registry.register_with_unit("pod_gpu_utilisation", help, Unit::Ratios, compute);
    let help = "Part of the bandwidth of a GPU's memory that a container uses";
    registry.register_with_unit("pod_gpu_memory_utilisation", help, Unit::Ratios, bandwidth);
    given(registry, picture);
}

/// What the kubelet has given, whether or not it is used.
fn given(registry: &mut Registry, picture: &Picture) {
    let slots = Family::<Pod, Gauge>::default();
    for grant in picture.given.iter().flat_map(|given| &given.grants) {
        let uuid = &grant.device.uuid;
        let Some(gpu) = picture.status.gpus.iter().find(|gpu| gpu.has(uuid)) else {
            continue;
        };
        let holder = Holder {
            pod_uid: grant.uid.clone().unwrap_or_default(),
            namespace: Some(grant.namespace.clone()),
            pod: Some(grant.pod.clone()),
            container: Some(grant.container.clone()),
        };
        slots.get_or_create(&pod(gpu, &holder)).inc();
    }
    let help = "Slots of a GPU, or instances, that a container was given";
    registry.register("pod_gpu_slots", help, slots);
}

fn add(sum: &mut Use, process: &Process) {
    let plus = |sum: Option<u32>, value: Option<u32>| match (sum, value) {
        (None, value) => value,
        (sum, None) => sum,
        (Some(sum), Some(value)) => Some(sum + value),
    };
    sum.processes += 1;
    sum.memory = match (sum.memory, process.memory_used) {
        (None, value) => value,
        (sum, None) => sum,
        (Some(sum), Some(value)) => Some(sum + value),
    };
    sum.utilisation = plus(sum.utilisation, process.utilisation);
    sum.memory_utilisation = plus(sum.memory_utilisation, process.memory_utilisation);
}

fn seen(picture: &Picture) -> impl Iterator<Item = &Seen> {
    let reading = picture.reading.iter();
    reading
        .flat_map(|reading| &reading.cards)
        .filter_map(|card| match card {
            Card::Seen(seen) => Some(&**seen),
            Card::Silent { .. } => None,
        })
}

fn register(
    registry: &mut Registry,
    name: &str,
    unit: Option<Unit>,
    help: &str,
    values: Gauges<Device>,
) {
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, values),
        None => registry.register(name, help, values),
    }
}

fn set(values: &Gauges<Pod>, label: &Pod, value: Option<f64>) {
    if let Some(value) = value {
        values.get_or_create(label).set(value);
    }
}

fn device(gpu: &Gpu) -> Device {
    Device {
        gpu: gpu.index,
        uuid: gpu.uuid.clone().unwrap_or_default(),
    }
}

fn kinded(gpu: &Gpu, kind: &str) -> Kinded {
    Kinded {
        gpu: gpu.index,
        uuid: gpu.uuid.clone().unwrap_or_default(),
        kind: kind.to_owned(),
    }
}

fn pod(gpu: &Gpu, holder: &Holder) -> Pod {
    Pod {
        gpu: gpu.index,
        uuid: gpu.uuid.clone().unwrap_or_default(),
        namespace: holder.namespace.clone().unwrap_or_default(),
        pod: holder.pod.clone().unwrap_or_default(),
        container: holder.container.clone().unwrap_or_default(),
        pod_uid: holder.pod_uid.clone(),
    }
}

fn ratio(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}
