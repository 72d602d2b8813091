//! What is asked about a card or an instance of one.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};
use std::time::{SystemTime, UNIX_EPOCH};

use nvml_wrapper_sys::bindings::{
    NVML_NVLINK_MAX_LINKS, nvmlClockType_t, nvmlComputeMode_t, nvmlDevice_t,
    nvmlDeviceArchitecture_t, nvmlDeviceAttributes_t, nvmlEccCounterType_t, nvmlEnableState_t,
    nvmlMemory_v2_t, nvmlMemoryErrorType_t, nvmlPciInfo_t, nvmlProcessInfo_t,
    nvmlProcessUtilizationSample_t, nvmlReturn_t, nvmlTemperatureSensors_t, nvmlUtilization_t,
};

use crate::machine::{Card, Mig, Process};
use crate::state::{
    Answer, BAD_VERSION, INVALID, NOT_FOUND, Target, UNSUPPORTED, answer_for, handle,
    instance_handle, put, put_all, put_text,
};

/// What `nvmlProcessInfo_t` says where there is no number.
const NONE: u32 = u32::MAX;

/// Functions that write one value, which the card has or does not have.
macro_rules! values {
    ($($symbol:ident: $type:ty = $read:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $symbol(device: nvmlDevice_t, to: *mut $type) -> nvmlReturn_t {
                let read: fn(&Target<'_>) -> Option<$type> = $read;
                answer_for(stringify!($symbol), device, |target| {
                    // SAFETY: nvml.h asks the caller for a place.
                    unsafe { put(to, read(target).ok_or(UNSUPPORTED)?) }
                })
            }
        )*
    };
}

/// Functions that write a string into a buffer.
macro_rules! texts {
    ($($symbol:ident = $read:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $symbol(
                device: nvmlDevice_t,
                to: *mut c_char,
                room: c_uint,
            ) -> nvmlReturn_t {
                let read: fn(&Target<'_>) -> Option<String> = $read;
                answer_for(stringify!($symbol), device, |target| {
                    // SAFETY: nvml.h asks the caller for `room` characters.
                    unsafe { put_text(to, room, &read(target).ok_or(UNSUPPORTED)?) }
                })
            }
        )*
    };
}

texts! {
    nvmlDeviceGetName = |target| Some(match target.instance {
        Some(instance) => instance.name.clone(),
        None => target.card.name.clone(),
    });
    nvmlDeviceGetUUID = |target| Some(match target.instance {
        Some(instance) => instance.uuid.clone(),
        None => target.card.uuid.clone(),
    });
    nvmlDeviceGetSerial = |target| whole(target)?.serial.clone();
}

values! {
    nvmlDeviceGetIndex: c_uint = |target| Some(target.index as c_uint);
    nvmlDeviceGetMinorNumber: c_uint = |target| Some(whole(target)?.minor);
    nvmlDeviceGetArchitecture: nvmlDeviceArchitecture_t = |target| Some(target.card.architecture);
    nvmlDeviceGetNumaNodeId: c_uint = |target| whole(target)?.numa_node;
    nvmlDeviceGetComputeMode: nvmlComputeMode_t = |target| whole(target)?.compute_mode;
    nvmlDeviceGetPowerUsage: c_uint = |target| whole(target)?.power;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |target| whole(target)?.power_limit;
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong = |target| whole(target)?.energy;
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |target| whole(target)?.throttle_reasons;
    nvmlDeviceGetMaxMigDeviceCount: c_uint = |target| Some(mig(target).map_or(0, |mig| mig.capacity));
    nvmlDeviceIsMigDeviceHandle: c_uint = |target| Some(target.instance.is_some().into());
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: nvmlDevice_t = |target| {
        target.instance.map(|_| handle(target.index))
    };
    nvmlDeviceGetUtilizationRates: nvmlUtilization_t = |target| {
        let (gpu, memory) = whole(target)?.utilisation.filter(|_| !divided(target))?;
        Some(nvmlUtilization_t { gpu, memory })
    };
    nvmlDeviceGetAttributes_v2: nvmlDeviceAttributes_t = |target| {
        let instance = target.instance?;
        Some(nvmlDeviceAttributes_t {
            multiprocessorCount: instance.multiprocessors,
            sharedCopyEngineCount: instance.slices,
            sharedDecoderCount: 0,
            sharedEncoderCount: 0,
            sharedJpegCount: 0,
            sharedOfaCount: 0,
            gpuInstanceSliceCount: instance.slices,
            computeInstanceSliceCount: instance.slices,
            memorySizeMB: instance.memory >> 20,
        })
    };
    nvmlDeviceGetPciInfo_v3: nvmlPciInfo_t = |target| Some(pci(&whole(target)?.pci_bus_id));
}

/// The card, where it is meant as a whole.
fn whole<'a>(target: &Target<'a>) -> Option<&'a Card> {
    target.instance.is_none().then_some(target.card)
}

fn mig<'a>(target: &Target<'a>) -> Option<&'a Mig> {
    whole(target)?.mig.as_ref()
}

/// A divided card has no utilisation of its own.
fn divided(target: &Target<'_>) -> bool {
    mig(target).is_some_and(|mig| mig.enabled)
}

/// A bus id such as `00000000:3B:00.0` in its parts.
fn pci(bus_id: &str) -> nvmlPciInfo_t {
    let number =
        |text: Option<&str>| u32::from_str_radix(text.unwrap_or_default(), 16).unwrap_or(0);
    let mut parts = bus_id.split([':', '.']);
    let mut info = nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain: number(parts.next()),
        bus: number(parts.next()),
        device: number(parts.next()),
        pciDeviceId: 0x1eb8_10de,
        pciSubSystemId: 0x12a2_10de,
        busId: [0; 32],
    };
    let long = bus_id.bytes().take(31);
    for (place, byte) in info.busId.iter_mut().zip(long) {
        *place = byte as c_char;
    }
    let short = bus_id.bytes().skip(4).take(15);
    for (place, byte) in info.busIdLegacy.iter_mut().zip(short) {
        *place = byte as c_char;
    }
    info
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: nvmlDevice_t,
    major: *mut c_int,
    minor: *mut c_int,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetCudaComputeCapability", device, |target| {
        let (high, low) = target.card.compute_capability;
        // SAFETY: nvml.h asks the caller for two places.
        unsafe {
            put(major, high)?;
            put(minor, low)
        }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    to: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    const VERSION: u32 = size_of::<nvmlMemory_v2_t>() as u32 | (2 << 24);
    answer_for("nvmlDeviceGetMemoryInfo_v2", device, |target| {
        if to.is_null() {
            return Err(INVALID);
        }
        // SAFETY: it is not null, and nvml.h asks the caller for the version in it.
        if unsafe { (*to).version } != VERSION {
            return Err(BAD_VERSION);
        }
        let (total, reserved, used) = match target.instance {
            Some(instance) => (instance.memory, 0, instance.memory_used),
            None => {
                let card = target.card;
                (card.memory, card.memory_reserved, card.memory_used)
            }
        };
        let free = total.saturating_sub(reserved + used);
        let version = VERSION;
        // SAFETY: nvml.h asks the caller for a place.
        unsafe {
            put(
                to,
                nvmlMemory_v2_t {
                    version,
                    total,
                    reserved,
                    free,
                    used,
                },
            )
        }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetMigMode", device, |target| {
        let mig = mig(target).ok_or(UNSUPPORTED)?;
        // SAFETY: nvml.h asks the caller for two places.
        unsafe {
            put(current, mig.enabled.into())?;
            put(pending, mig.pending.into())
        }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nvmlDevice_t,
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetMigDeviceHandleByIndex", device, |target| {
        let mig = mig(target).ok_or(UNSUPPORTED)?;
        if !mig.enabled || index as usize >= mig.devices.len() {
            return Err(NOT_FOUND);
        }
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, instance_handle(target.index, index as usize)) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetNvLinkState(
    device: nvmlDevice_t,
    link: c_uint,
    to: *mut nvmlEnableState_t,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetNvLinkState", device, |target| {
        let links = links(target, link)?;
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, links.get(link as usize).is_some().into()) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(
    device: nvmlDevice_t,
    link: c_uint,
    to: *mut nvmlPciInfo_t,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetNvLinkRemotePciInfo_v2", device, |target| {
        let other = links(target, link)?.get(link as usize).ok_or(UNSUPPORTED)?;
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, pci(other)) }
    })
}

fn links<'a>(target: &Target<'a>, link: c_uint) -> Answer<&'a [String]> {
    if link >= NVML_NVLINK_MAX_LINKS {
        return Err(INVALID);
    }
    let links = &whole(target).ok_or(UNSUPPORTED)?.links;
    match links.is_empty() {
        true => Err(UNSUPPORTED),
        false => Ok(links),
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    to: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    answer_for(
        "nvmlDeviceGetComputeRunningProcesses_v3",
        device,
        |target| {
            let mut all: Vec<nvmlProcessInfo_t> = Vec::new();
            let whole_card = target.instance.is_none();
            if whole_card {
                all.extend(target.card.processes.iter().map(|p| running(p, NONE)));
            }
            let mig = target.card.mig.iter().filter(|mig| mig.enabled);
            for (number, instance) in mig.flat_map(|mig| &mig.devices).enumerate() {
                let meant = target
                    .instance
                    .is_some_and(|meant| meant.uuid == instance.uuid);
                if whole_card || meant {
                    let number = number as u32 + 1;
                    all.extend(instance.processes.iter().map(|p| running(p, number)));
                }
            }
            // SAFETY: nvml.h asks the caller for room, and for its size in `count`.
            unsafe { put_all(to, count, &all) }
        },
    )
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    to: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    answer_for(
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        device,
        |target| {
            let processes = whole(target).and_then(|card| card.mps_processes.as_ref());
            let processes = processes.ok_or(UNSUPPORTED)?;
            let all: Vec<_> = processes.iter().map(|p| running(p, NONE)).collect();
            // SAFETY: nvml.h asks the caller for room, and for its size in `count`.
            unsafe { put_all(to, count, &all) }
        },
    )
}

fn running(process: &Process, instance: u32) -> nvmlProcessInfo_t {
    nvmlProcessInfo_t {
        pid: process.pid,
        usedGpuMemory: process.memory.unwrap_or(u64::MAX),
        gpuInstanceId: instance,
        computeInstanceId: if instance == NONE { NONE } else { 0 },
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nvmlDevice_t,
    to: *mut nvmlProcessUtilizationSample_t,
    count: *mut c_uint,
    since: c_ulonglong,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetProcessUtilization", device, |target| {
        let card = whole(target).ok_or(UNSUPPORTED)?;
        if divided(target) || card.utilisation.is_none() {
            return Err(UNSUPPORTED);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_micros() as u64);
        let processes = card
            .processes
            .iter()
            .chain(card.mps_processes.iter().flatten());
        let samples: Vec<nvmlProcessUtilizationSample_t> = processes
            .filter(|_| now > since)
            .filter_map(|process| {
                Some(nvmlProcessUtilizationSample_t {
                    pid: process.pid,
                    timeStamp: now,
                    smUtil: process.sm?,
                    memUtil: process.memory_bandwidth,
                    encUtil: 0,
                    decUtil: 0,
                })
            })
            .collect();
        if samples.is_empty() {
            return Err(NOT_FOUND);
        }
        // SAFETY: nvml.h asks the caller for room, and for its size in `count`.
        unsafe { put_all(to, count, &samples) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetEccMode(
    device: nvmlDevice_t,
    current: *mut nvmlEnableState_t,
    pending: *mut nvmlEnableState_t,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetEccMode", device, |target| {
        let ecc = whole(target).and_then(|card| card.ecc).ok_or(UNSUPPORTED)?;
        // SAFETY: nvml.h asks the caller for two places.
        unsafe {
            put(current, ecc.into())?;
            put(pending, ecc.into())
        }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nvmlDevice_t,
    kind: nvmlMemoryErrorType_t,
    _since: nvmlEccCounterType_t,
    to: *mut c_ulonglong,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetTotalEccErrors", device, |target| {
        let card = whole(target).filter(|card| card.ecc == Some(true));
        let (corrected, uncorrected) = card.ok_or(UNSUPPORTED)?.ecc_errors;
        let errors = [corrected, uncorrected];
        let errors = errors.get(kind as usize).ok_or(INVALID)?;
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, *errors) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetTemperature(
    device: nvmlDevice_t,
    _sensor: nvmlTemperatureSensors_t,
    to: *mut c_uint,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetTemperature", device, |target| {
        let degrees = whole(target).and_then(|card| card.temperature);
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, degrees.ok_or(UNSUPPORTED)?) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetClockInfo(
    device: nvmlDevice_t,
    kind: nvmlClockType_t,
    to: *mut c_uint,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceGetClockInfo", device, |target| {
        let clocks = whole(target).and_then(|card| card.clocks);
        let (processors, memory) = clocks.ok_or(UNSUPPORTED)?;
        // Graphics, multiprocessors, memory.
        let clock = [processors, processors, memory];
        let clock = clock.get(kind as usize).ok_or(UNSUPPORTED)?;
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, *clock) }
    })
}
