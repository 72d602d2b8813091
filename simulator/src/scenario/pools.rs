//! The machines of a scenario.

use std::collections::BTreeMap;
use std::sync::Arc;

use prorata_core::device::WHOLE;
use prorata_core::needs::{Effect, Labels, Taint, Text as Label};
use prorata_core::{Devices, Gpus, Instance, Mode, Node, Resource, Resources};
use serde_saphyr::Location;

use super::fields::Fields;
use super::file::{self, File};
use super::written::{Text, Written};
use super::{Failures, Pool};
use crate::problem::suggest;

const NODES_MAX: u64 = 65_536;

/// How many slices NVIDIA's cards are cut into for MIG.
const SLICES: u32 = 7;

const EXAMPLE: &str = "small: {count: 4, gpus: 8, cpu: 96, memory: 1Ti}";

pub(super) fn pools(fields: &mut Fields<'_>, written: &File) -> Vec<Pool> {
    let mut pools = Vec::new();
    for (name, written) in &written.pools {
        let path = format!("pools.{name}");
        fields.name(&path, name, written.referenced);
        let example = EXAMPLE.replacen("small", name, 1);
        if let Some(pool) = fields.below(&path, written, &example) {
            pools.push(self::pool(fields, &path, name, pool));
        }
    }
    let nodes: u64 = pools.iter().map(|pool| u64::from(pool.count)).sum();
    if written.pools.is_empty() || nodes > NODES_MAX {
        let what = format!("have {nodes} nodes together");
        let remedy = format!("describe 1 to {NODES_MAX} nodes, such as `{EXAMPLE}`");
        fields.wrong(written.name.referenced, "pools", what, remedy);
    }
    half_told(fields, written);
    pools
}

/// A resource that one pool tells, all have to: else nobody knows whether the others have any.
fn half_told(fields: &mut Fields<'_>, written: &File) {
    let pools: Vec<(&String, &Written<file::Pool>)> = written.pools.iter().collect();
    let told = |pool: &file::Pool, r| match r {
        Resource::Cpu => pool.cpu.is_some(),
        _ => pool.memory.is_some(),
    };
    for resource in [Resource::Cpu, Resource::Memory] {
        let of = |(_, pool): &(&String, &Written<file::Pool>)| {
            pool.value.fields().map(|pool| told(pool, resource))
        };
        let Some((first, _)) = pools.iter().find(|pool| of(pool) == Some(true)) else {
            continue;
        };
        for (name, pool) in pools.iter().filter(|pool| of(pool) == Some(false)) {
            let what =
                format!("does not say how much {resource} its nodes have, but `{first}` does");
            let remedy = format!(
                "add `{resource}:` here, or take it away from all pools: then it is not limited"
            );
            fields.wrong(pool.referenced, &format!("pools.{name}"), what, remedy);
        }
    }
}

fn pool(fields: &mut Fields<'_>, path: &str, name: &str, written: &file::Pool) -> Pool {
    let gpus = fields.whole_gpus(&format!("{path}.gpus"), &written.gpus);
    let cards = gpus / Resource::Gpu.scale();
    if cards > u64::from(Devices::MAX) {
        let what = format!("a node cannot have {cards} GPUs");
        let remedy = format!("write at most {}", Devices::MAX);
        fields.wrong(
            written.gpus.referenced,
            &format!("{path}.gpus"),
            what,
            remedy,
        );
    }
    let mut amount = |r: Resource, key: &str, text: Option<&Text>| {
        text.map_or(0, |text| fields.amount(&format!("{path}.{key}"), r, text))
    };
    let allocatable = Resources::ZERO
        .with(Resource::Gpu, gpus)
        .with(
            Resource::Cpu,
            amount(Resource::Cpu, "cpu", written.cpu.as_ref()),
        )
        .with(
            Resource::Memory,
            amount(Resource::Memory, "memory", written.memory.as_ref()),
        );
    let memory = amount(
        Resource::GpuMemory,
        "gpuMemory",
        written.gpu_memory.as_ref(),
    );
    let mode = written.mode.as_ref();
    let model = written
        .model
        .as_ref()
        .map_or("", |model| model.value.trim());
    let node = Node {
        allocatable,
        gpus: Gpus {
            model: model.into(),
            mode: mode.map_or(Mode::Exclusive, |m| {
                self::mode(fields, &format!("{path}.mode"), m, cards)
            }),
            memory,
            ..Gpus::default()
        },
        labels: Arc::new(labels(fields, &format!("{path}.labels"), &written.labels)),
        taints: taints(fields, &format!("{path}.taints"), &written.taints).into(),
        ..Node::new(name)
    };
    let price = written.price.as_ref();
    Pool {
        name: name.to_owned(),
        count: fields.number(&format!("{path}.count"), &written.count, 1, 65_536),
        node,
        price: price.map(|price| fields.number(&format!("{path}.price"), price, 0.0, 1e6)),
        failures: failures(fields, &format!("{path}.failures"), written),
    }
}

fn failures(fields: &mut Fields<'_>, path: &str, written: &file::Pool) -> Option<Failures> {
    let example = "failures: {mtbf: 30d, repair: 4h}";
    let failures = fields.below(path, written.failures.as_ref()?, example)?;
    Some(Failures {
        mtbf: fields.span(&format!("{path}.mtbf"), &failures.mtbf),
        repair: fields.span(&format!("{path}.repair"), &failures.repair),
    })
}

/// `exclusive`, `timeslice-4`, `mps-4`, `fractional` or `mig:3g.40gb+2g.20gb+2g.20gb`, the layout
/// of each card.
fn mode(fields: &mut Fields<'_>, path: &str, text: &Text, cards: u64) -> Mode {
    let slots = |prefix| {
        let count: u32 = text.value.strip_prefix(prefix)?.parse().ok()?;
        (1..=WHOLE).contains(&count).then_some(count)
    };
    if let Some(layout) = text.value.strip_prefix("mig:") {
        return mig(fields, path, (layout, text.referenced), cards);
    }
    match (slots("timeslice-"), slots("mps-"), &*text.value) {
        (Some(slots), _, _) => Mode::TimeSlice(slots),
        (_, Some(slots), _) => Mode::Mps(slots),
        (_, _, "exclusive") => Mode::Exclusive,
        (_, _, "fractional") => Mode::Fractional,
        (_, _, other) => {
            let what = format!("`{other}` is not a way of giving out GPUs");
            let known = [
                "exclusive",
                "timeslice-4",
                "mps-4",
                "fractional",
                "mig:3g.40gb+4g.40gb",
            ];
            fields.wrong(text.referenced, path, what, suggest(other, known));
            Mode::Exclusive
        }
    }
}

fn mig(fields: &mut Fields<'_>, path: &str, (layout, at): (&str, Location), cards: u64) -> Mode {
    let (mut card, mut slices) = (Vec::new(), 0);
    for profile in layout.split('+') {
        let Some((slice, instance)) = instance(profile) else {
            let what = format!("`{profile}` is not a MIG profile");
            let remedy = "write profiles such as mig:1g.10gb+2g.20gb+4g.40gb";
            fields.wrong(at, path, what, remedy);
            return Mode::Exclusive;
        };
        slices += slice;
        card.push(instance);
    }
    let instances = cards * card.len() as u64;
    if slices > SLICES || instances > u64::from(Devices::MAX) {
        let what = format!(
            "takes {slices} slices of each card, and makes {instances} instances of a node"
        );
        let remedy = format!(
            "take at most {SLICES} slices, and at most {} instances",
            Devices::MAX
        );
        fields.wrong(at, path, what, remedy);
        return Mode::Exclusive;
    }
    let node = (0..cards).flat_map(|_| card.iter().cloned());
    Mode::Mig(node.collect())
}

/// `3g.40gb`: three of a card's slices, with 40 GiB of its memory.
fn instance(profile: &str) -> Option<(u32, Instance)> {
    let (slices, memory) = profile.split_once("g.")?;
    let slices: u32 = slices.parse().ok().filter(|n| (1..=SLICES).contains(n))?;
    let memory: u64 = memory.strip_suffix("gb")?.parse().ok()?;
    let instance = Instance {
        profile: profile.into(),
        milli: slices * WHOLE / SLICES,
        memory: (1..=1024).contains(&memory).then_some(memory << 30)?,
    };
    Some((slices, instance))
}

fn labels(fields: &mut Fields<'_>, path: &str, written: &BTreeMap<String, Text>) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in written {
        label(fields, path, (key, value.referenced));
        labels.insert(key.as_str().into(), value.value.as_str().into());
    }
    labels
}

/// The key of a label or of a taint.
fn label(fields: &mut Fields<'_>, path: &str, (key, at): (&str, Location)) -> Label {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if key.is_empty() || key.len() > 317 || !key.bytes().all(plain) {
        let what = format!("`{key}` is not the key of a label");
        let remedy = "use letters, digits and - _ . / only, such as topology.kubernetes.io/zone";
        fields.wrong(at, path, what, remedy);
    }
    key.into()
}

/// `KEY=VALUE` or `KEY`, with `:NoSchedule` or `:NoExecute` behind it.
fn taints(fields: &mut Fields<'_>, path: &str, written: &[Text]) -> Vec<Taint> {
    let mut taints = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (name, effect) = text
            .value
            .split_once(':')
            .unwrap_or((&text.value, "NoSchedule"));
        let (key, value) = name.split_once('=').unwrap_or((name, ""));
        let key = label(fields, &path, (key, text.referenced));
        let effect = match effect {
            "NoSchedule" => Effect::NoSchedule,
            "NoExecute" => Effect::NoExecute,
            other => {
                let what = format!("`{other}` is not an effect that keeps tasks away");
                let remedy = "write NoSchedule or NoExecute behind the colon";
                fields.wrong(text.referenced, &path, what, remedy);
                continue;
            }
        };
        let value = value.into();
        taints.push(Taint { key, value, effect });
    }
    taints
}
