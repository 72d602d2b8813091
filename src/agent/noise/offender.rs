//! Who uses more than its part of a GPU.
//!
//! Of time and bandwidth, the part of a pod is its slots among those of all that use the GPU: what
//! others leave may be used. Of memory, it is its slots among all of the GPU: what is taken stays taken.

use super::User;
use super::window::Window;
use crate::api::gpunode::{Contention, Offender};

/// Pods that use more than their part by so many percent of it; the worst first.
pub(super) fn excesses(window: &Window, contention: Contention, percent: u32) -> Vec<Offender> {
    let read: fn(&User) -> Option<u32> = match contention {
        Contention::Compute | Contention::Power => |user| user.compute,
        Contention::Bandwidth => |user| user.bandwidth,
        Contention::Memory => |user| user.memory,
    };
    let users = window.users();
    let is_told = users
        .iter()
        .any(|user| window.mean_of(user, read).is_some());
    // The driver counts what clients of MPS compute for their server.
    let by_memory = !is_told && contention != Contention::Memory;
    let (read, slots): (fn(&User) -> Option<u32>, _) = match by_memory {
        true => (|user| user.memory, window.slots()),
        false if contention == Contention::Memory => (read, window.slots()),
        false => (read, None),
    };
    let mut found: Vec<Offender> = users
        .iter()
        .filter_map(|user| {
            let (uses, part) = (window.mean_of(user, read)?, part(users, user, slots));
            let limit = u64::from(part) * u64::from(100 + percent);
            (u64::from(uses) * 100 > limit).then(|| Offender {
                namespace: user.namespace.clone(),
                name: user.name.clone(),
                uid: user.uid.clone(),
                uses,
                part,
                by_memory,
            })
        })
        .collect();
    // The sort keeps the order by name.
    found.sort_by_key(|one| std::cmp::Reverse(one.uses - one.part));
    found
}

/// Whether they are one pod.
pub(super) fn is_same(one: &Offender, other: &Offender) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}

/// Percent of the GPU that is a pod's, of this many slots or of those that are in use. Who was given
/// none has none; where nobody was, nobody knows, and all are equal.
fn part(users: &[User], user: &User, slots: Option<u32>) -> u32 {
    let in_use: u32 = users.iter().map(|user| user.slots).sum();
    match slots.filter(|slots| *slots > 0) {
        _ if in_use == 0 => 100 / u32::try_from(users.len().max(1)).unwrap_or(u32::MAX),
        Some(slots) => user.slots.min(slots) * 100 / slots,
        None => user.slots * 100 / in_use,
    }
}
