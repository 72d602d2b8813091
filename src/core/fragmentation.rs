//! How much of the free GPUs the typical tasks can no longer use.
//!
//! The measure is that of Weng et al., *Beware of Fragmentation: Scheduling GPU-Sharing Workloads
//! with Fragmentation Gradient Descent*, USENIX ATC 2023: for node n and typical task m of
//! popularity p_m,
//!
//! ```text
//! F_n(m) = Σ_g R_{n,g}                   where n cannot run m, or m asks for no GPU
//!          Σ_g [R_{n,g} < d_m] R_{n,g}   elsewhere
//! F_n    = Σ_m p_m F_n(m)
//! ```
//!
//! with R the milli-GPU that are free of a device, and d what m asks of one.
//!
//! By this measure a room is as good as new to tasks of which one still fits. But 4 free GPUs
//! beside CPUs for one more task are worth one GPU. So Prorata's own placement also counts what
//! stays free once as many tasks m as fit have come, k_n(m) of them, each on d(m) milli-GPU:
//!
//! ```text
//! S_n(m) = Σ_g R_{n,g} − k_n(m) d(m)
//! loss   = Σ_m p_m (9 F_n(m) + S_n(m)) / 10
//! ```
//!
//! Mostly F, because S alone spares CPUs so much that it opens whole nodes too early. Nine to one
//! is better than F alone on each of the five openb lists; from four to one on, that with many
//! tasks of several GPUs becomes worse.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::id::Model;
use crate::job::Ask;
use crate::needs::Needs;
use crate::policy::Place;
use crate::resource::{Resource, Resources};
use crate::room::Room;

/// The tasks that are typical, with how popular they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mix {
    /// The popularity of all together.
    whole: u64,
    groups: Vec<Group>,
}

/// Typical tasks to which the same models of GPU will do, fewest CPUs first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Group {
    models: Vec<Model>,
    tasks: Vec<Typical>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Typical {
    task: Resources,
    ask: Ask,
    /// Popularity, in millionths.
    popularity: u64,
}

/// All popularities together.
const MILLION: u64 = 1_000_000;

/// The step in which losses are compared: 40 milli-GPU, in tenths of a millionth of a milli-GPU.
///
/// What is left of a card after a small task is worth a few milli-GPU more here than there. Were
/// that to decide, the load would spread over all nodes for next to nothing; in steps, most nodes
/// are as good as each other, and their order has them filled one after the other. On the openb
/// lists `default` and `gpushare60` that is worth two and four points of allocation. The simulator
/// of the measure's authors rounds to as much near zero.
pub(crate) const STEP: i64 = 40 * TENTHS as i64 * MILLION as i64;

/// A loss is counted in tenths, so that its parts can be weighed.
const TENTHS: u64 = 10;

/// Tenths of a loss that are what as many tasks as fit would leave free.
const STRANDED: u64 = 1;

impl Mix {
    /// Of the tasks that were seen so often, the most frequent kinds that together make up at
    /// least `percent` of all. Kinds that are as frequent come in the order of their requests.
    #[must_use]
    pub fn of(seen: impl IntoIterator<Item = (Resources, Arc<Needs>, u64)>, percent: u64) -> Self {
        let mut kinds: BTreeMap<(Resources, Arc<Needs>), u64> = BTreeMap::new();
        for (task, needs, count) in seen {
            *kinds.entry((task, needs)).or_default() += count;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| Reverse(*count));
        let all: u64 = kinds.iter().map(|(_, count)| count).sum();
        let mut covered = 0;
        kinds.retain(|(_, count)| {
            let wanted = covered * 100 < all * percent;
            covered += if wanted { *count } else { 0 };
            wanted
        });
        // The popularities of the first ones together are rounded, so that all make a whole.
        let mut seen = 0;
        let mut popularity = |count: u64| {
            let before = seen * MILLION / covered.max(1);
            seen += count;
            seen * MILLION / covered.max(1) - before
        };
        let mut mix = Self::default();
        for ((task, needs), count) in kinds {
            let popularity = popularity(count);
            if let Some(ask) = Ask::of(&task, &needs) {
                let typical = Typical {
                    task,
                    ask,
                    popularity,
                };
                mix.add(&needs.models, typical);
            }
        }
        for group in &mut mix.groups {
            group
                .tasks
                .sort_by_key(|typical| typical.task.get(Resource::Cpu));
        }
        mix
    }

    fn add(&mut self, models: &[Model], typical: Typical) {
        self.whole += typical.popularity;
        match self.groups.iter_mut().find(|group| group.models == models) {
            Some(group) => group.tasks.push(typical),
            None => self.groups.push(Group {
                models: models.to_vec(),
                tasks: [typical].into(),
            }),
        }
    }

    /// Whether nothing is known of what is typical.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The milli-GPU of a room that typical tasks cannot use, in millionths: F.
    pub(crate) fn fragments(&self, room: &Room) -> u64 {
        self.weigh(room, |all, use_| all - use_.next)
    }

    /// What is lost in a room by the measure of a way to place, in tenths of a millionth of a
    /// milli-GPU.
    pub(crate) fn loss(&self, place: Place, room: &Room) -> i64 {
        let stranded = match place {
            Place::Prorata => STRANDED,
            _ => 0,
        };
        let lost = self.weigh(room, |all, use_| {
            TENTHS * all - (TENTHS - stranded) * use_.next - stranded * use_.full
        });
        i64::try_from(lost).unwrap_or(i64::MAX)
    }

    fn weigh(&self, room: &Room, lost: impl Fn(u64, Use) -> u64) -> u64 {
        let all: u64 = room.parts().iter().map(|part| u64::from(part.milli)).sum();
        if all == 0 {
            return 0;
        }
        let suits = |group: &&Group| group.models.is_empty() || group.models.contains(room.model());
        let cpus = room.free.get(Resource::Cpu);
        // Most find no CPUs on most nodes of a full cluster.
        let has_cpus = |typical: &&Typical| typical.task.get(Resource::Cpu) <= cpus;
        let nothing = lost(all, Use::default());
        let groups = self.groups.iter().filter(suits);
        let saved = groups
            .flat_map(|group| group.tasks.iter().take_while(has_cpus))
            .map(|typical| typical.popularity * (nothing - lost(all, typical.use_of(room))));
        self.whole * nothing - saved.sum::<u64>()
    }
}

/// What a kind of task could have of a room's GPUs, in milli-GPU.
#[derive(Clone, Copy, Default)]
struct Use {
    /// All of the devices on which one more could be.
    next: u64,
    /// What as many as fit would have.
    full: u64,
}

impl Typical {
    fn use_of(&self, room: &Room) -> Use {
        // First what costs least.
        let lacks_memory = self.task.get(Resource::Memory) > room.free.get(Resource::Memory);
        if matches!(self.ask, Ask::Nothing) || lacks_memory {
            return Use::default();
        }
        let each = room.milli_for(&self.ask);
        let least = match &self.ask {
            Ask::Devices(count, _) => each / u64::from(*count),
            _ => each,
        };
        let parts = room.parts().iter().map(|part| u64::from(part.milli));
        let next = parts.filter(|milli| *milli >= least).sum();
        if next < each {
            return Use::default();
        }
        match room.times(&self.task, &self.ask) {
            0 => Use::default(),
            times => Use {
                next,
                full: u64::from(times) * each,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Mode;
    use crate::node::Node;
    use alloc::vec;

    fn milli(milli: u64) -> Resources {
        Resources::ZERO.with(Resource::Gpu, milli)
    }

    fn room(taken: &[u64]) -> Room {
        let mut node = Node::new("a");
        node.allocatable = Resources::gpus(taken.len() as u64);
        node.gpus.mode = Mode::Fractional;
        let parts = taken.iter().map(|t| crate::device::Part {
            milli: 1000 - u32::try_from(*t).unwrap(),
            memory: 0,
        });
        let free = Resources::gpus(taken.len() as u64).beyond(&milli(taken.iter().sum()));
        Room::new(&node.gpus, &free, parts.collect())
    }

    fn mix(tasks: &[(u64, u64)]) -> Mix {
        let seen = tasks
            .iter()
            .map(|(m, count)| (milli(*m), Arc::default(), *count));
        Mix::of(seen, 100)
    }

    fn popularities(mix: &Mix) -> Vec<u64> {
        let tasks = mix.groups.iter().flat_map(|group| &group.tasks);
        tasks.map(|typical| typical.popularity).collect()
    }

    #[test]
    fn what_no_typical_task_can_use_is_lost() {
        // Half of the tasks ask for 2 whole GPUs, which 400 and 1000 free cannot give; the other
        // half for 500 milli, for which the 400 are too little.
        let mix = mix(&[(2000, 1), (500, 1)]);
        assert_eq!(mix.fragments(&room(&[600, 0])), (1400 + 400) * MILLION / 2);
        assert_eq!(mix.fragments(&room(&[0, 0])), 0);
        assert_eq!(mix.fragments(&room(&[1000, 1000])), 0);
    }

    #[test]
    fn tasks_without_gpu_can_use_none() {
        let cpu = Resources::ZERO.with(Resource::Cpu, 1000);
        let mix = Mix::of(
            vec![(cpu, Arc::default(), 1), (milli(500), Arc::default(), 3)],
            100,
        );
        assert_eq!(mix.fragments(&room(&[0])), 250 * MILLION);
    }

    #[test]
    fn rare_tasks_are_not_typical() {
        let seen = [(500, 90), (1000, 6), (2000, 4)];
        let seen = seen.map(|(m, count)| (milli(m), Arc::default(), count));
        let mix = Mix::of(seen, 95);
        assert_eq!(popularities(&mix), [937_500, 62_500]);
    }

    #[test]
    fn free_gpus_without_cpus_are_lost_to_prorata_alone() {
        // 4 free GPUs, and CPUs for one more task. It fits, so the measure sees nothing lost; but
        // three of the GPUs stay free.
        let task = milli(1000).with(Resource::Cpu, 4000);
        let mix = Mix::of([(task, Arc::default(), 1)], 100);
        let mut room = room(&[0, 0, 0, 0]);
        room.free = room.free.with(Resource::Cpu, 4000);
        let loss = |room: &Room| {
            let loss = |place| mix.loss(place, room) / i64::try_from(MILLION).unwrap();
            (loss(Place::Fgd), loss(Place::Prorata))
        };
        assert_eq!(loss(&room), (0, 3000));
        // None fits any more: everything is lost to both.
        room.free = room.free.with(Resource::Cpu, 3999);
        assert_eq!(loss(&room), (40_000, 40_000));
        room.free = room.free.with(Resource::Cpu, 16_000);
        assert_eq!(loss(&room), (0, 0));
    }

    #[test]
    fn popularities_make_a_whole() {
        let mix = mix(&[(250, 1), (500, 1), (1000, 1)]);
        assert_eq!(popularities(&mix).iter().sum::<u64>(), MILLION);
    }
}
