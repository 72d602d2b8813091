//! Events: an error of the driver is told once to each set that waits for the card.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_uint;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlEventTypeXidCriticalError, nvmlReturn_t,
};

use crate::machine::Machine;
use crate::state::{self, Answer, INVALID, TIMEOUT, answer, answer_for, lock, put};

/// How often a waiting set looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What a set waits for.
#[derive(Default)]
struct Waiting {
    cards: BTreeSet<usize>,
    /// Events of the file that it has been told, or that happened before it was made.
    told: usize,
}

static SETS: Mutex<(usize, BTreeMap<usize, Waiting>)> = Mutex::new((0, BTreeMap::new()));

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlEventSetCreate(to: *mut nvmlEventSet_t) -> nvmlReturn_t {
    answer("nvmlEventSetCreate", |machine| {
        let mut sets = lock(&SETS);
        sets.0 += 1;
        let number = sets.0;
        let told = machine.events.len();
        let cards = BTreeSet::new();
        sets.1.insert(number, Waiting { cards, told });
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, (number as *mut ()).cast()) }
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    answer("nvmlEventSetFree", |_| {
        let removed = lock(&SETS).1.remove(&(set as usize));
        removed.map(|_| ()).ok_or(INVALID)
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetSupportedEventTypes(
    device: nvmlDevice_t,
    to: *mut u64,
) -> nvmlReturn_t {
    // SAFETY: nvml.h asks the caller for a place.
    answer_for("nvmlDeviceGetSupportedEventTypes", device, |_| unsafe {
        put(to, u64::from(nvmlEventTypeXidCriticalError))
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nvmlDeviceRegisterEvents(
    device: nvmlDevice_t,
    _types: u64,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    answer_for("nvmlDeviceRegisterEvents", device, |target| {
        let mut sets = lock(&SETS);
        let waiting = sets.1.get_mut(&(set as usize)).ok_or(INVALID)?;
        waiting.cards.insert(target.index);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    to: *mut nvmlEventData_t,
    timeout_ms: c_uint,
) -> nvmlReturn_t {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms.into());
    loop {
        let code = answer("nvmlEventSetWait_v2", |machine| {
            let event = next(set, machine)?;
            // SAFETY: nvml.h asks the caller for a place.
            unsafe { put(to, event) }
        });
        if code != TIMEOUT || Instant::now() >= deadline {
            return code;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The oldest event that the set has not been told.
fn next(set: nvmlEventSet_t, machine: &Arc<Machine>) -> Answer<nvmlEventData_t> {
    let mut sets = lock(&SETS);
    let waiting = sets.1.get_mut(&(set as usize)).ok_or(INVALID)?;
    while let Some(event) = machine.events.get(waiting.told) {
        waiting.told += 1;
        if waiting.cards.contains(&event.card) {
            return Ok(nvmlEventData_t {
                device: state::handle(event.card),
                eventType: nvmlEventTypeXidCriticalError.into(),
                eventData: event.xid,
                gpuInstanceId: u32::MAX,
                computeInstanceId: u32::MAX,
            });
        }
    }
    Err(TIMEOUT)
}
