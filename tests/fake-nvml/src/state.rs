//! The file as it is now, who has initialised the library, and what goes wrong before any answer.

use std::ffi::c_char;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nvml_wrapper_sys::bindings as nvml;
use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};

use crate::machine::{Card, Machine, MigDevice};

/// What a C function returns.
pub(crate) type Answer<T = ()> = Result<T, nvmlReturn_t>;

pub(crate) const UNINITIALIZED: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
pub(crate) const INVALID: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
pub(crate) const UNSUPPORTED: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
pub(crate) const NOT_FOUND: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
pub(crate) const SHORT: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
pub(crate) const NO_DRIVER: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED;
pub(crate) const TIMEOUT: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_TIMEOUT;
pub(crate) const LOST: nvmlReturn_t = nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
pub(crate) const BAD_VERSION: nvmlReturn_t =
    nvml::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;

/// Which file was read last, and what it held.
struct Loaded {
    path: PathBuf,
    stamp: (u64, u64, i64, i64),
    machine: Arc<Machine>,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// How often the library was initialised, and with which load of the driver.
static SESSIONS: Mutex<(u32, u32)> = Mutex::new((0, 0));

/// Answers a function that is about no card: faults first, then whoever is not initialised.
pub(crate) fn answer(symbol: &str, reply: impl FnOnce(&Arc<Machine>) -> Answer) -> nvmlReturn_t {
    code(load().and_then(|machine| {
        fail(&machine, symbol, None)?;
        initialised(&machine)?;
        reply(&machine)
    }))
}

/// Answers a function that is about a card or an instance.
pub(crate) fn answer_for(
    symbol: &str,
    handle: nvmlDevice_t,
    reply: impl FnOnce(&Target<'_>) -> Answer,
) -> nvmlReturn_t {
    code(load().and_then(|machine| {
        let (card, instance) = numbers(handle);
        fail(&machine, symbol, card)?;
        initialised(&machine)?;
        let index = card.ok_or(INVALID)?;
        let card = machine.cards.get(index).ok_or(INVALID)?;
        if card.lost {
            return Err(LOST);
        }
        let instance = match instance {
            Some(number) => {
                let mig = card.mig.as_ref().ok_or(INVALID)?;
                Some(mig.devices.get(number).ok_or(INVALID)?)
            }
            None => None,
        };
        let machine = &machine;
        reply(&Target {
            machine,
            index,
            card,
            instance,
        })
    }))
}

/// What a function is asked about.
pub(crate) struct Target<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) index: usize,
    pub(crate) card: &'a Card,
    /// An instance of the card, where that is meant.
    pub(crate) instance: Option<&'a MigDevice>,
}

/// Initialises: another driver than that of earlier sessions ends them.
pub(crate) fn begin(symbol: &str) -> nvmlReturn_t {
    code(load().and_then(|machine| {
        fail(&machine, symbol, None)?;
        let mut sessions = lock(&SESSIONS);
        let loads = machine.driver.loads;
        *sessions = match *sessions {
            (count, known) if known == loads => (count + 1, loads),
            _ => (1, loads),
        };
        Ok(())
    }))
}

/// Ends a session.
pub(crate) fn end(symbol: &str) -> nvmlReturn_t {
    code(load().and_then(|machine| {
        fail(&machine, symbol, None)?;
        let mut sessions = lock(&SESSIONS);
        sessions.0 = sessions.0.checked_sub(1).ok_or(UNINITIALIZED)?;
        Ok(())
    }))
}

/// The handle of a card: never null.
pub(crate) fn handle(card: usize) -> nvmlDevice_t {
    (((card + 1) << 8) as *mut ()).cast()
}

/// The handle of an instance.
pub(crate) fn instance_handle(card: usize, instance: usize) -> nvmlDevice_t {
    ((((card + 1) << 8) | (instance + 1)) as *mut ()).cast()
}

fn numbers(handle: nvmlDevice_t) -> (Option<usize>, Option<usize>) {
    let number = handle as usize;
    ((number >> 8).checked_sub(1), (number & 0xff).checked_sub(1))
}

/// Faults of a call that has no handle yet.
pub(crate) fn fail(machine: &Machine, symbol: &str, card: Option<usize>) -> Answer {
    for fault in &machine.faults {
        let named = fault.symbol == symbol || (fault.symbol == "*" && card.is_some());
        if named && (fault.card.is_none() || fault.card == card) {
            std::thread::sleep(Duration::from_millis(fault.hang_ms));
            if fault.code != 0 {
                return Err(fault.code);
            }
        }
    }
    Ok(())
}

fn initialised(machine: &Machine) -> Answer {
    match *lock(&SESSIONS) {
        (0, _) => Err(UNINITIALIZED),
        (_, loads) if loads != machine.driver.loads => Err(UNINITIALIZED),
        _ => Ok(()),
    }
}

/// The file, read again when it is another one. Without one there is no driver.
fn load() -> Answer<Arc<Machine>> {
    let path = PathBuf::from(std::env::var_os(crate::STATE).ok_or(NO_DRIVER)?);
    let about = fs::metadata(&path).map_err(|_| NO_DRIVER)?;
    let stamp = (about.ino(), about.len(), about.mtime(), about.mtime_nsec());
    let mut loaded = lock(&LOADED);
    if let Some(known) = &*loaded
        && known.path == path
        && known.stamp == stamp
    {
        return Ok(Arc::clone(&known.machine));
    }
    let bytes = fs::read(&path).map_err(|_| NO_DRIVER)?;
    let machine: Machine = serde_json::from_slice(&bytes).map_err(|error| {
        eprintln!("fake NVML: {}: {error}", path.display());
        NO_DRIVER
    })?;
    let machine = Arc::new(machine);
    *loaded = Some(Loaded {
        path,
        stamp,
        machine: Arc::clone(&machine),
    });
    Ok(machine)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code(answer: Answer) -> nvmlReturn_t {
    answer.err().unwrap_or(nvml::nvmlReturn_enum_NVML_SUCCESS)
}

/// Writes one value of an answer.
///
/// # Safety
/// `to` is null or may be written to.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Answer {
    if to.is_null() {
        return Err(INVALID);
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a string with its end.
///
/// # Safety
/// `to` is null or has room for `room` characters.
pub(crate) unsafe fn put_text(to: *mut c_char, room: u32, text: &str) -> Answer {
    if to.is_null() {
        return Err(INVALID);
    }
    if text.len() >= room as usize {
        return Err(SHORT);
    }
    for (place, byte) in text.bytes().chain([0]).enumerate() {
        // SAFETY: the text and its end are no longer than the room, and the caller vouches for that.
        unsafe { to.add(place).write(byte as c_char) };
    }
    Ok(())
}

/// Writes as many elements as there are, or only their number where there is no room for them.
///
/// # Safety
/// `count` may be read and written; `to` is null or has room for as many elements as `count` says.
pub(crate) unsafe fn put_all<T: Copy>(to: *mut T, count: *mut u32, all: &[T]) -> Answer {
    if count.is_null() {
        return Err(INVALID);
    }
    // SAFETY: it is not null, and the caller vouches for the rest.
    let room = unsafe { count.read() } as usize;
    // SAFETY: as above.
    unsafe { count.write(all.len() as u32) };
    if all.is_empty() {
        return Ok(());
    }
    if to.is_null() || room < all.len() {
        return Err(SHORT);
    }
    // SAFETY: there is room for `room` elements, which is not less.
    unsafe { to.copy_from_nonoverlapping(all.as_ptr(), all.len()) };
    Ok(())
}
