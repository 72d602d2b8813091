//! What NVIDIA's device plugin calls a device: the UUID of a GPU or of an instance, and the number of
//! a slot where it is shared. Pure.

/// A device of the plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Of the GPU or the instance.
    pub uuid: String,
    /// Which slot; absent where it is not shared.
    pub slot: Option<u32>,
}

/// Reads `GPU-UUID`, `GPU-UUID::SLOT`, or the same of an instance; `None` for what another plugin calls
/// its devices.
#[must_use]
pub fn device(id: &str) -> Option<Device> {
    let (uuid, slot) = match id.split_once("::") {
        Some((uuid, slot)) => (uuid, Some(slot.parse().ok()?)),
        None => (id, None),
    };
    let is_ours = uuid.starts_with("GPU-") || uuid.starts_with("MIG-");
    let uuid = uuid.to_owned();
    is_ours.then_some(Device { uuid, slot })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_cards_slots_and_instances() {
        let read = |id| device(id).map(|device| (device.uuid, device.slot));
        let found = |uuid: &str, slot| Some((uuid.to_owned(), slot));
        assert_eq!(read("GPU-1b2c"), found("GPU-1b2c", None));
        assert_eq!(read("GPU-1b2c::3"), found("GPU-1b2c", Some(3)));
        assert_eq!(read("MIG-77"), found("MIG-77", None));
        assert_eq!(read("MIG-77::0"), found("MIG-77", Some(0)));
        // As drivers before 470 call them.
        assert_eq!(read("MIG-GPU-1b2c/1/0"), found("MIG-GPU-1b2c/1/0", None));
    }

    #[test]
    fn what_other_plugins_call_their_devices_is_none() {
        for id in [
            "",
            "0",
            "nvidia0",
            "GPU-1b2c::",
            "GPU-1b2c::x",
            "0000:3b:00.0",
        ] {
            assert_eq!(device(id), None, "{id}");
        }
    }
}
