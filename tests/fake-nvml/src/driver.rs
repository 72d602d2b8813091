//! The library itself, the driver, and the way to a card.

use std::ffi::{CStr, c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlGpuTopologyLevel_t, nvmlReturn_t};

use crate::state::{
    self, Answer, INVALID, LOST, NOT_FOUND, UNSUPPORTED, answer, answer_for, put, put_text,
};

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    state::begin("nvmlInit_v2")
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    state::begin("nvmlInitWithFlags")
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    state::end("nvmlShutdown")
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlSystemGetDriverVersion(
    to: *mut c_char,
    room: c_uint,
) -> nvmlReturn_t {
    // SAFETY: nvml.h asks the caller for `room` characters.
    answer("nvmlSystemGetDriverVersion", |machine| unsafe {
        put_text(to, room, &machine.driver.version)
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlSystemGetNVMLVersion(
    to: *mut c_char,
    room: c_uint,
) -> nvmlReturn_t {
    // SAFETY: nvml.h asks the caller for `room` characters.
    answer("nvmlSystemGetNVMLVersion", |machine| unsafe {
        put_text(to, room, &machine.driver.nvml)
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(to: *mut c_int) -> nvmlReturn_t {
    // SAFETY: nvml.h asks the caller for a place.
    answer("nvmlSystemGetCudaDriverVersion_v2", |machine| unsafe {
        put(to, machine.driver.cuda)
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> nvmlReturn_t {
    // SAFETY: nvml.h asks the caller for a place.
    answer("nvmlDeviceGetCount_v2", |machine| unsafe {
        put(to, machine.cards.len() as c_uint)
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    let symbol = "nvmlDeviceGetHandleByIndex_v2";
    answer(symbol, |machine| {
        let card = machine.cards.get(index as usize).ok_or(INVALID)?;
        state::fail(machine, symbol, Some(index as usize))?;
        if card.lost {
            return Err(LOST);
        }
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, state::handle(index as usize)) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    answer("nvmlDeviceGetHandleByUUID", |machine| {
        // SAFETY: nvml.h asks the caller for a string with an end.
        let uuid = unsafe { text(uuid) }?;
        let card = machine.cards.iter().position(|card| card.uuid == uuid);
        let instance = || {
            machine.cards.iter().enumerate().find_map(|(index, card)| {
                let devices = &card.mig.as_ref()?.devices;
                let number = devices.iter().position(|device| device.uuid == uuid)?;
                Some(state::instance_handle(index, number))
            })
        };
        let handle = card.map(state::handle).or_else(instance);
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, handle.ok_or(NOT_FOUND)?) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    bus_id: *const c_char,
    to: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    answer("nvmlDeviceGetHandleByPciBusId_v2", |machine| {
        // SAFETY: nvml.h asks the caller for a string with an end.
        let bus_id = unsafe { text(bus_id) }?;
        let mut cards = machine.cards.iter();
        let card = cards.position(|card| card.pci_bus_id.eq_ignore_ascii_case(bus_id));
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, state::handle(card.ok_or(NOT_FOUND)?)) }
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nvmlDeviceGetTopologyCommonAncestor(
    one: nvmlDevice_t,
    other: nvmlDevice_t,
    to: *mut nvmlGpuTopologyLevel_t,
) -> nvmlReturn_t {
    let symbol = "nvmlDeviceGetTopologyCommonAncestor";
    answer_for(symbol, one, |target| {
        let mut handles = (0..target.machine.cards.len()).map(state::handle);
        let second = handles
            .position(|handle| handle == other)
            .ok_or(UNSUPPORTED)?;
        let (low, high) = (target.index.min(second), target.index.max(second));
        let level = target.machine.levels.get(&format!("{low}-{high}"));
        // SAFETY: nvml.h asks the caller for a place.
        unsafe { put(to, level.copied().unwrap_or(50)) }
    })
}

/// A string of the caller's.
///
/// # Safety
/// It is null, or has an end.
unsafe fn text<'a>(of: *const c_char) -> Answer<&'a str> {
    if of.is_null() {
        return Err(INVALID);
    }
    // SAFETY: it is not null, and the caller vouches for its end.
    unsafe { CStr::from_ptr(of) }.to_str().map_err(|_| INVALID)
}
