//! What a card is: read when it appears, and now and then.

use std::fs;
use std::path::Path;

use nvml_wrapper::enum_wrappers::device::{ComputeMode, TopologyLevel};
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::{Round, known};
use crate::api::gpunode::{Gpu, Mig, MigInstance, Peer};

/// No card has more links.
const LINKS_MAX: u32 = 18;

/// What the card of this number is.
pub(super) fn read(
    nvml: &Nvml,
    pci: &Path,
    device: &Device<'_>,
    index: u32,
    round: &Round<'_>,
) -> Result<Gpu, NvmlError> {
    let capability = known(device.cuda_compute_capability())?;
    let bus_id = known(device.pci_info())?.map(|pci| pci.bus_id);
    let memory = known(device.memory_info())?;
    let (switch_links, peers) = ways(nvml, device, index, round)?;
    Ok(Gpu {
        index,
        uuid: known(device.uuid())?,
        model: known(device.name())?,
        serial: known(device.serial())?,
        minor: known(device.minor_number())?,
        numa_node: bus_id.as_ref().and_then(|id| numa_node(pci, id)),
        pci_bus_id: bus_id,
        architecture: known(device.architecture())?.and_then(architecture),
        compute_capability: capability.map(|c| format!("{}.{}", c.major, c.minor)),
        memory: memory.map(|memory| mebibytes(memory.total)),
        compute_mode: known(device.compute_mode())?.map(compute_mode),
        mig: mig(device)?,
        ecc: known(device.is_ecc_enabled())?.map(|ecc| ecc.currently_enabled),
        power_limit_watts: known(device.enforced_power_limit())?.map(|limit| limit / 1000),
        switch_links,
        peers,
        ..Gpu::default()
    })
}

/// The NUMA node beside a card, as the kernel says; NVML tells only of cards that are one themselves.
/// The kernel writes -1 where it does not know, and a domain of four digits where NVML writes eight.
fn numa_node(pci: &Path, bus_id: &str) -> Option<u32> {
    let (domain, place) = bus_id.split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    let device = format!("{domain:04x}:{}", place.to_ascii_lowercase());
    let node = fs::read_to_string(pci.join(device).join("numa_node")).ok()?;
    node.trim().parse().ok()
}

fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}

fn architecture(of: DeviceArchitecture) -> Option<String> {
    match of {
        DeviceArchitecture::Unknown => None,
        known => Some(format!("{known:?}")),
    }
}

fn compute_mode(mode: ComputeMode) -> String {
    let name = match mode {
        ComputeMode::Default => "Default",
        ComputeMode::ExclusiveThread => "ExclusiveThread",
        ComputeMode::Prohibited => "Prohibited",
        ComputeMode::ExclusiveProcess => "ExclusiveProcess",
    };
    name.to_owned()
}

fn mig(device: &Device<'_>) -> Result<Option<Mig>, NvmlError> {
    let Some(mode) = known(device.mig_mode())? else {
        return Ok(None);
    };
    let capacity = known(device.mig_device_count())?;
    let enabled = mode.current == 1;
    let mut instances = Vec::new();
    // Numbers of instances that are not there lie between those that are.
    for number in 0..capacity.filter(|_| enabled).unwrap_or_default() {
        if let Some(instance) = known(device.mig_device_by_index(number))? {
            instances.extend(mig_instance(&instance)?);
        }
    }
    Ok(Some(Mig {
        enabled,
        changes: mode.current != mode.pending,
        capacity,
        instances,
    }))
}

fn mig_instance(instance: &Device<'_>) -> Result<Option<MigInstance>, NvmlError> {
    let Some(uuid) = known(instance.uuid())? else {
        return Ok(None);
    };
    let name = known(instance.name())?;
    let profile = name.and_then(|name| Some(name.split_once(" MIG ")?.1.to_owned()));
    let attributes = known(instance.attributes())?;
    let memory = known(instance.memory_info())?;
    Ok(Some(MigInstance {
        uuid,
        profile,
        memory: memory.map(|memory| mebibytes(memory.total)),
        slices: attributes.map(|attributes| attributes.gpu_instance_slice_count),
    }))
}

/// Links to switches, and the way to each other card. What cannot be told from a link to a switch, because
/// a card's place or a link's end is not known, is not counted at all.
fn ways(
    nvml: &Nvml,
    device: &Device<'_>,
    index: u32,
    round: &Round<'_>,
) -> Result<(Option<u32>, Vec<Peer>), NvmlError> {
    let ends = link_ends(device)?;
    let (mut direct, mut all_known) = (0, true);
    let mut peers = Vec::new();
    for other in (0..nvml.device_count()?).filter(|other| *other != index) {
        // Another card's trouble is told of that one.
        (round.at)(Some(other));
        let peer = match round.skip.contains(&other) {
            true => None,
            false => nvml.device_by_index(other).ok(),
        };
        let Some(peer) = peer else {
            all_known = false;
            continue;
        };
        let bus_id = peer.pci_info().ok().map(|pci| pci.bus_id);
        all_known &= bus_id.is_some();
        let links = bus_id.zip(ends.as_ref()).map(|(id, ends)| {
            let own = ends.iter().filter(|end| end.eq_ignore_ascii_case(&id));
            own.count()
        });
        direct += links.unwrap_or_default();
        let nvlinks = links.and_then(positive);
        let path = device.topology_common_ancestor(peer).ok().map(path);
        if nvlinks.is_some() || path.is_some() {
            peers.push(Peer {
                index: other,
                path,
                nvlinks,
            });
        }
    }
    (round.at)(Some(index));
    let switches = ends.filter(|_| all_known).map(|ends| ends.len() - direct);
    Ok((switches.and_then(positive), peers))
}

fn positive(count: usize) -> Option<u32> {
    u32::try_from(count).ok().filter(|count| *count > 0)
}

/// Where each active link leads, by bus id; `None` where one does not tell.
fn link_ends(device: &Device<'_>) -> Result<Option<Vec<String>>, NvmlError> {
    let mut ends = Vec::new();
    for number in 0..LINKS_MAX {
        let link = device.link_wrapper_for(number);
        match known(link.is_active())? {
            Some(true) => match known(link.remote_pci_info())? {
                Some(pci) => ends.push(pci.bus_id),
                None => return Ok(None),
            },
            Some(false) => {}
            // It has no link of this number, and so none of a higher one.
            None => break,
        }
    }
    Ok(Some(ends))
}

fn path(level: TopologyLevel) -> String {
    let name = match level {
        TopologyLevel::Internal => "Internal",
        TopologyLevel::Single => "Switch",
        TopologyLevel::Multiple => "Switches",
        TopologyLevel::HostBridge => "HostBridge",
        TopologyLevel::Node => "NumaNode",
        TopologyLevel::System => "System",
    };
    name.to_owned()
}
