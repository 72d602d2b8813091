//! The lines about nodes: what they are, and whether they and their devices work.

use std::collections::BTreeMap;
use std::sync::Arc;

use prorata_core::device::WHOLE;
use prorata_core::needs::{Effect, Labels, Taint};
use prorata_core::{Gpus, Instance, Mode, Node, NodeId, Resource};

use super::settings::{Settings, number, split};
use super::wrong::Wrong;

/// As many nodes as the core's sums are made for.
const NODES_MAX: usize = 65_536;

/// A card has room for seven compute slices.
const MIG_SLICES: u32 = 7;

/// The nodes that have been named.
#[derive(Default)]
pub(super) struct Nodes(BTreeMap<NodeId, Node>);

const KEYS: [&str; 9] = [
    "gpu",
    "cpu",
    "memory",
    "gpu-memory",
    "model",
    "mode",
    "label:",
    "taint:",
    "other:",
];

impl Nodes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `node`: these exist, like this.
    pub(super) fn describe(
        &mut self,
        names: &str,
        settings: &Settings<'_>,
    ) -> Result<Vec<Node>, Wrong> {
        settings.only(&KEYS)?;
        let all = Node {
            labels: labels(settings),
            taints: taints(settings)?.into(),
            others: settings.others()?,
            ..node(settings)?
        };
        let named = |name: &str| Node {
            id: name.into(),
            ..all.clone()
        };
        let nodes: Vec<Node> = split("node", names)?.into_iter().map(named).collect();
        let before = self.0.len();
        let known = nodes.iter().map(|node| (node.id.clone(), node.clone()));
        self.0.extend(known);
        // Told where the limit is passed, and not again in every line below.
        if before <= NODES_MAX && self.0.len() > NODES_MAX {
            let what = format!("makes {} nodes in all", self.0.len());
            let remedy = format!("name at most {NODES_MAX} in a script");
            return Err(Wrong::new("node", what, remedy));
        }
        Ok(nodes)
    }

    /// `node-down` and `node-up`: whether these take new work.
    pub(super) fn switch(
        &mut self,
        names: &str,
        up: bool,
        settings: &Settings<'_>,
    ) -> Result<Vec<Node>, Wrong> {
        settings.only(&[])?;
        let switched = |name: &str| {
            let node = self.known(name)?;
            node.schedulable = up;
            Ok(node.clone())
        };
        split("node", names)?.into_iter().map(switched).collect()
    }

    /// `device-down a[0]` and `device-up a[0]`: whether a device works.
    pub(super) fn device(
        &mut self,
        text: &str,
        works: bool,
        settings: &Settings<'_>,
    ) -> Result<(NodeId, u32), Wrong> {
        settings.only(&[])?;
        let wrong = || {
            let what = format!("`{text}` names no device");
            Wrong::new("device", what, "write NODE[INDEX], for example a[0]")
        };
        let (name, rest) = text.split_once('[').ok_or_else(wrong)?;
        let index: u32 = rest
            .strip_suffix(']')
            .and_then(|index| index.parse().ok())
            .ok_or_else(wrong)?;
        let node = self.known(name)?;
        let devices = node.gpus.devices(node.cards());
        if index >= devices {
            let what = format!("{name} has {devices} devices");
            return Err(Wrong::new("device", what, "count devices from 0"));
        }
        let device = std::iter::once(index).collect();
        if works {
            node.gpus.unhealthy.remove(&device);
        } else {
            node.gpus.unhealthy.insert(&device);
        }
        Ok((name.into(), index))
    }

    pub(super) fn known(&mut self, name: &str) -> Result<&mut Node, Wrong> {
        let node = self.0.get_mut(&NodeId::from(name));
        let what = || format!("no node is called {name}");
        node.ok_or_else(|| Wrong::new("node", what(), "name it in a node line above"))
    }
}

fn node(settings: &Settings<'_>) -> Result<Node, Wrong> {
    let offered = settings.resources()?;
    let memory = offered.get(Resource::GpuMemory);
    let mode = settings.get("mode").map_or(Ok(Mode::Exclusive), |text| {
        mode(text, offered.get(Resource::Gpu) / u64::from(WHOLE))
    })?;
    let gpus = Gpus {
        model: settings.get("model").unwrap_or_default().into(),
        mode,
        memory,
        ..Gpus::default()
    };
    Ok(Node {
        allocatable: offered.with(Resource::GpuMemory, 0),
        gpus,
        ..Node::new("")
    })
}

fn mode(text: &str, cards: u64) -> Result<Mode, Wrong> {
    let slots = |kind: &str, count| {
        let count: u32 = number("mode", &format!("mode={kind}-"), count)?;
        match count {
            1..=WHOLE => Ok(count),
            _ => Err(Wrong::new(
                "mode",
                format!("a card has no {count} slots"),
                format!("write a number from 1 to {WHOLE}"),
            )),
        }
    };
    if let Some(count) = text.strip_prefix("timeslice-") {
        return Ok(Mode::TimeSlice(slots("timeslice", count)?));
    }
    if let Some(count) = text.strip_prefix("mps-") {
        return Ok(Mode::Mps(slots("mps", count)?));
    }
    if let Some(layout) = text.strip_prefix("mig:") {
        let card: Result<Vec<Instance>, Wrong> = layout.split('+').map(instance).collect();
        let card = card?;
        let cards = (0..cards).flat_map(|_| card.iter().cloned());
        return Ok(Mode::Mig(cards.collect()));
    }
    match text {
        "exclusive" => Ok(Mode::Exclusive),
        "fractional" => Ok(Mode::Fractional),
        _ => {
            let known = [
                "exclusive",
                "fractional",
                "timeslice-4",
                "mps-4",
                "mig:1g.10gb+3g.40gb",
            ];
            Err(Wrong::word("mode", text, &known))
        }
    }
}

/// `3g.40gb`: three of a card's seven compute slices, with 40 GiB of its memory.
fn instance(profile: &str) -> Result<Instance, Wrong> {
    let parts = profile.split_once("g.").and_then(|(slices, memory)| {
        let slices: u32 = slices.parse().ok()?;
        let memory: u64 = memory.strip_suffix("gb")?.parse().ok()?;
        Some((slices, memory))
    });
    match parts {
        Some((slices @ 1..=MIG_SLICES, memory @ 1..=1024)) => Ok(Instance {
            profile: profile.into(),
            milli: slices * WHOLE / MIG_SLICES,
            memory: memory << 30,
        }),
        _ => {
            let what = format!("`{profile}` is no MIG profile");
            Err(Wrong::new(
                "mode",
                what,
                "for example: mode=mig:1g.10gb+1g.10gb+3g.40gb",
            ))
        }
    }
}

fn labels(settings: &Settings<'_>) -> Arc<Labels> {
    let labels = settings.with_prefix("label:");
    Arc::new(
        labels
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
    )
}

/// `taint:KEY=VALUE` or `taint:KEY=VALUE:NoExecute`.
fn taints(settings: &Settings<'_>) -> Result<Vec<Taint>, Wrong> {
    let taint = |(key, text): (&str, &str)| {
        let (value, effect) = text.split_once(':').unwrap_or((text, "NoSchedule"));
        let effect = match effect {
            "NoSchedule" => Effect::NoSchedule,
            "NoExecute" => Effect::NoExecute,
            other => {
                let what = format!("`{other}` is no effect that repels tasks");
                let remedy = format!("for example: taint:{key}={value}:NoExecute");
                return Err(Wrong::new("taint", what, remedy));
            }
        };
        Ok(Taint {
            key: key.into(),
            value: value.into(),
            effect,
        })
    };
    settings.with_prefix("taint:").map(taint).collect()
}
