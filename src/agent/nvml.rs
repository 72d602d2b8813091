//! NVML, by nvml-wrapper: the only place that knows it. What an error means is decided here once: what
//! is not supported is absent, a card that is gone is silent, and a driver that is gone ends the
//! session.

mod identity;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::{ProcessInfo, ProcessUtilizationSample};
use nvml_wrapper::{Device, EventSet, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use super::reading::{Card, Error, InstanceLoad, Load, Process, Reading, Seen, Silence, Slow, Xid};
use crate::api::gpunode::{Gpu, GpuDriver};

/// What a card is, is read again after so many looks: somebody may have divided it.
const IDENTITY_EVERY: u64 = 60;
/// What changes slowly is read at every so manieth look.
const SLOW_EVERY: u64 = 10;
/// Errors told in one look; more wait for the next one.
const XIDS_MAX: usize = 64;

/// Loads the library, from where the system has it or from this path.
///
/// # Errors
/// When there is none, or no driver.
pub fn open(library: Option<&Path>) -> Result<Nvml, Error> {
    let mut builder = Nvml::builder();
    if let Some(path) = library {
        builder.lib_path(path.as_os_str());
    }
    builder.init().map_err(|error| match error {
        NvmlError::LibloadingError(_) | NvmlError::FailedToLoadSymbol(_) => {
            Error::NoLibrary(error.to_string())
        }
        other => Error::NoDriver(other.to_string()),
    })
}

/// The driver since it was opened, and what is remembered of its cards.
pub struct Session<'nvml> {
    nvml: &'nvml Nvml,
    driver: GpuDriver,
    /// What the kernel says of PCI devices.
    pci: PathBuf,
    /// Each card's own set, so that an error is known by it even where its card is lost; `None` where
    /// the card tells no errors.
    events: BTreeMap<u32, Option<EventSet<'nvml>>>,
    known: Vec<Option<Known>>,
    /// Cards that did not answer when the others were asked for the ways to them.
    silent: Vec<u32>,
    looks: u64,
}

/// How a look goes about it.
pub struct Round<'a> {
    /// Cards that are not touched; they are told as unresponsive.
    pub skip: &'a [u32],
    /// Is told which card is being asked about, and `None` for the driver: a call may not return.
    pub at: &'a dyn Fn(Option<u32>),
}

/// What is remembered of a card.
#[derive(Default)]
struct Known {
    identity: Arc<Gpu>,
    slow: Slow,
    /// The driver's time of the newest sample of a process.
    sampled: u64,
}

impl<'nvml> Session<'nvml> {
    /// Begins to look. The kernel shows PCI devices here, such as in `/sys/bus/pci/devices`.
    #[must_use]
    pub fn begin(nvml: &'nvml Nvml, pci: PathBuf) -> Self {
        Self {
            nvml,
            driver: driver(nvml),
            pci,
            events: BTreeMap::new(),
            known: Vec::new(),
            silent: Vec::new(),
            looks: 0,
        }
    }

    /// Looks at every card.
    ///
    /// # Errors
    /// When the driver is gone; then there has to be another session.
    pub fn look(&mut self, round: &Round<'_>) -> Result<Reading, Error> {
        (round.at)(None);
        let count = self.nvml.device_count().map_err(ended)?;
        if self.known.len() != count as usize {
            self.known = std::iter::repeat_with(|| None)
                .take(count as usize)
                .collect();
            self.events.clear();
        }
        let mut cards = self.cards(count, round)?;
        let mut xids = self.xids(round);
        let silent = silent_ones(&cards);
        if silent != self.silent {
            // The ways to a card can be told only while it answers.
            self.known.fill_with(|| None);
            cards = self.cards(count, round)?;
            // Whether a card that has come back still tells its errors is not known.
            let is_back = |index: &u32| self.silent.contains(index) && !silent.contains(index);
            self.events.retain(|index, _| !is_back(index));
            self.silent = silent;
        }
        self.listen(round);
        xids.extend(self.xids(round));
        (round.at)(None);
        self.looks += 1;
        Ok(Reading {
            driver: self.driver.clone(),
            cards,
            xids,
        })
    }

    fn cards(&mut self, count: u32, round: &Round<'_>) -> Result<Vec<Card>, Error> {
        let card = |index| {
            (round.at)(Some(index));
            match round.skip.contains(&index) {
                true => Ok(silent(index, Silence::Unresponsive)),
                false => self.card(index, round),
            }
        };
        (0..count).map(card).collect()
    }

    fn card(&mut self, index: u32, round: &Round<'_>) -> Result<Card, Error> {
        match self.seen(index, round) {
            Ok(seen) => Ok(Card::Seen(Box::new(seen))),
            Err(error) => {
                // What comes back is looked at anew.
                self.known[index as usize] = None;
                silence(error).map(|why| silent(index, why))
            }
        }
    }

    fn seen(&mut self, index: u32, round: &Round<'_>) -> Result<Seen, NvmlError> {
        let device = self.nvml.device_by_index(index)?;
        let slot = &mut self.known[index as usize];
        let is_new = slot.is_none();
        let known = slot.get_or_insert_default();
        if is_new || self.looks.is_multiple_of(IDENTITY_EVERY) {
            let identity = identity::read(self.nvml, &self.pci, &device, index, round)?;
            if *known.identity != identity {
                known.identity = Arc::new(identity);
            }
        }
        (round.at)(Some(index));
        if is_new || self.looks.is_multiple_of(SLOW_EVERY) {
            known.slow = slow(&device)?;
        }
        (round.at)(Some(index));
        let divided = known.identity.mig.as_ref().is_some_and(|mig| mig.enabled);
        let (instances, processes) = match divided {
            true => instances(&device, &known.identity)?,
            false => (Vec::new(), processes(&device, known)?),
        };
        (round.at)(Some(index));
        let mut load = load(&device)?;
        (load.slow, load.instances) = (known.slow, instances);
        Ok(Seen {
            identity: Arc::clone(&known.identity),
            load,
            processes,
        })
    }

    /// Asks each card for its errors, if it has not been asked since it came. A set stays
    /// while its card is silent, so that what the driver says last of it is heard.
    fn listen(&mut self, round: &Round<'_>) {
        if self.looks.is_multiple_of(IDENTITY_EVERY) {
            self.events.retain(|_, set| set.is_some());
        }
        for index in 0..self.known.len() as u32 {
            if self.events.contains_key(&index) || round.skip.contains(&index) {
                continue;
            }
            (round.at)(Some(index));
            self.events.insert(index, event_set(self.nvml, index));
        }
    }

    fn xids(&self, round: &Round<'_>) -> Vec<Xid> {
        let mut xids = Vec::new();
        for (&card, set) in &self.events {
            let Some(set) = set.as_ref().filter(|_| !round.skip.contains(&card)) else {
                continue;
            };
            (round.at)(Some(card));
            let told = std::iter::from_fn(|| set.wait(0).ok()).take(XIDS_MAX);
            xids.extend(told.filter_map(|event| {
                let code = match event.event_data? {
                    XidError::Value(code) => Some(code),
                    XidError::Unknown => None,
                };
                Some(Xid { card, code })
            }));
        }
        xids
    }
}

/// A set that is told the errors of this card alone.
fn event_set(nvml: &Nvml, index: u32) -> Option<EventSet<'_>> {
    let device = nvml.device_by_index(index).ok()?;
    let supported = device.supported_event_types().ok()?;
    let wanted = supported & EventTypes::CRITICAL_XID_ERROR;
    if wanted.is_empty() {
        return None;
    }
    // A set that the card could not be added to is freed by the wrapper.
    device
        .register_events(wanted, nvml.create_event_set().ok()?)
        .ok()
}

fn silent_ones(cards: &[Card]) -> Vec<u32> {
    let silent = cards
        .iter()
        .filter(|card| matches!(card, Card::Silent { .. }));
    silent.map(Card::index).collect()
}

fn silent(index: u32, why: Silence) -> Card {
    Card::Silent { index, why }
}

/// What the driver's answer about one card says of the card, unless it says that the driver is gone.
fn silence(error: NvmlError) -> Result<Silence, Error> {
    match error {
        NvmlError::GpuLost => Ok(Silence::Lost),
        NvmlError::ResetRequired => Ok(Silence::ResetRequired),
        error if is_end(&error) => Err(ended(error)),
        error => Ok(Silence::Failed(error.to_string())),
    }
}

fn is_end(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::Uninitialized | NvmlError::DriverNotLoaded | NvmlError::LibRmVersionMismatch
    )
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn ended(error: NvmlError) -> Error {
    Error::Ended(error.to_string())
}

/// What a card or its driver does not support is absent; what says more about the card, or the end
/// of the driver, is passed on.
fn known<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => Err(error),
        Err(error) if is_end(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn driver(nvml: &Nvml) -> GpuDriver {
    let cuda = nvml.sys_cuda_driver_version().ok().map(|version| {
        let major = cuda_driver_version_major(version);
        format!("{major}.{}", cuda_driver_version_minor(version))
    });
    GpuDriver {
        version: nvml.sys_driver_version().ok(),
        nvml: nvml.sys_nvml_version().ok(),
        cuda,
    }
}

fn load(device: &Device<'_>) -> Result<Load, NvmlError> {
    let rates = known(device.utilization_rates())?;
    let memory = known(device.memory_info())?;
    let throttled_by = known(device.current_throttle_reasons())?.map(reasons);
    Ok(Load {
        utilisation: rates.as_ref().map(|rates| rates.gpu),
        memory_utilisation: rates.map(|rates| rates.memory),
        memory_total: memory.as_ref().map(|memory| memory.total),
        memory_used: memory.map(|memory| memory.used),
        power_milliwatts: known(device.power_usage())?,
        throttled_by,
        ..Load::default()
    })
}

fn slow(device: &Device<'_>) -> Result<Slow, NvmlError> {
    let errors = |kind| known(device.total_ecc_errors(kind, EccCounter::Volatile));
    Ok(Slow {
        temperature: known(device.temperature(TemperatureSensor::Gpu))?,
        energy_millijoules: known(device.total_energy_consumption())?,
        clock_mhz: known(device.clock_info(Clock::SM))?,
        ecc_corrected: errors(MemoryError::Corrected)?,
        ecc_uncorrected: errors(MemoryError::Uncorrected)?,
    })
}

/// An idle card, and one whose clocks somebody has set, are not held back.
fn reasons(bits: ThrottleReasons) -> Vec<&'static str> {
    let all = [
        (ThrottleReasons::SW_POWER_CAP, "power-cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware-slowdown"),
        (ThrottleReasons::SYNC_BOOST, "sync-boost"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "thermal"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hardware-thermal"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power-brake"),
    ];
    let given = all.into_iter().filter(|(bit, _)| bits.contains(*bit));
    given.map(|(_, name)| name).collect()
}

/// Who uses an undivided card, with what each does where the driver says so.
fn processes(device: &Device<'_>, card: &mut Known) -> Result<Option<Vec<Process>>, NvmlError> {
    let own = known(device.running_compute_processes())?;
    let by_mps = known(device.mps_running_compute_processes())?;
    if own.is_none() && by_mps.is_none() {
        return Ok(None);
    }
    // The driver says `not found` where nothing has been sampled, which is no less a fact.
    let samples = known(device.process_utilization_stats(card.sampled))?.unwrap_or_default();
    let newest = samples.iter().map(|sample| sample.timestamp).max();
    card.sampled = newest.unwrap_or(card.sampled);
    let own = own.into_iter().flatten().map(|info| (info, false));
    let by_mps = by_mps.into_iter().flatten().map(|info| (info, true));
    let all = own.chain(by_mps).map(|(info, mps)| Process {
        utilisation: mean(&samples, info.pid, |sample| sample.sm_util),
        memory_utilisation: mean(&samples, info.pid, |sample| sample.mem_util),
        mps,
        ..process(&info)
    });
    Ok(Some(all.collect()))
}

fn process(info: &ProcessInfo) -> Process {
    Process {
        pid: info.pid,
        memory_used: match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        ..Process::default()
    }
}

/// The mean over the samples of a process. Of some drivers a sample is more than 100 %.
fn mean(
    samples: &[ProcessUtilizationSample],
    pid: u32,
    read: impl Fn(&ProcessUtilizationSample) -> u32,
) -> Option<u32> {
    let own = samples.iter().filter(|sample| sample.pid == pid);
    let values: Vec<u32> = own.map(|sample| read(sample).min(100)).collect();
    let count = u32::try_from(values.len())
        .ok()
        .filter(|count| *count > 0)?;
    Some((values.iter().sum::<u32>() + count / 2) / count)
}

/// What each instance of a divided card does, and who uses it. The driver does not say how much
/// each process computes there.
fn instances(
    device: &Device<'_>,
    identity: &Gpu,
) -> Result<(Vec<InstanceLoad>, Option<Vec<Process>>), NvmlError> {
    let capacity = identity.mig.as_ref().and_then(|mig| mig.capacity);
    let (mut loads, mut all) = (Vec::new(), None::<Vec<Process>>);
    for number in 0..capacity.unwrap_or_default() {
        let Some(instance) = known(device.mig_device_by_index(number))? else {
            continue;
        };
        let Some(uuid) = known(instance.uuid())? else {
            continue;
        };
        if let Some(infos) = known(instance.running_compute_processes())? {
            let own = infos.iter().map(|info| Process {
                instance: Some(uuid.clone()),
                ..process(info)
            });
            all.get_or_insert_default().extend(own);
        }
        let memory_used = known(instance.memory_info())?.map(|memory| memory.used);
        loads.push(InstanceLoad { uuid, memory_used });
    }
    Ok((loads, all))
}
