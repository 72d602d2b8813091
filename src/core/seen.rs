//! Which devices of its node a task really has. The device plugin chooses them, so a plan foretells
//! them, and is corrected by what is seen.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::device::{Devices, Part};
use crate::id::{NodeId, TaskId};
use crate::job::{Job, Slot};
use crate::task::{Progress, Tasks};
use crate::time::Time;

/// A task that has other devices than were planned.
struct Move {
    job: Arc<Job>,
    index: u32,
    before: Slot,
    after: Slot,
}

impl Cluster {
    /// Tasks on a node have these devices. All are corrected at once, because one by one they would
    /// stand in each other's way; none is, where a device would hold more than there is of it, or
    /// where it is not as many as the task has.
    pub(crate) fn devices_seen(&mut self, now: Time, node: &NodeId, seen: &[(TaskId, Devices)]) {
        let mut moves: Vec<Move> = Vec::new();
        for (task, devices) in seen {
            let is_new = |known: &Move| known.job.id != task.job || known.index != task.index;
            if moves.iter().all(is_new) {
                moves.extend(self.moved(node, task, *devices));
            }
        }
        if moves.is_empty() || !self.can_move(node, &moves) {
            return;
        }
        for moved in &moves {
            self.give_back(now, &moved.job, core::slice::from_ref(&moved.before), false);
        }
        for moved in moves {
            self.take(&moved.job, core::iter::once(&moved.after));
            let state = self.jobs.get_mut(&moved.job.id);
            if let Some(tasks) = state.and_then(|state| state.tasks.as_mut()) {
                tasks.move_to(moved.index, moved.after);
            }
        }
    }

    fn moved(&self, node: &NodeId, task: &TaskId, devices: Devices) -> Option<Move> {
        let state = self.jobs.get(&task.job)?;
        let tasks: &Tasks = state.tasks.as_ref()?;
        let index = usize::try_from(task.index).ok()?;
        let is_bound = tasks.progress.get(index) == Some(&Progress::Bound);
        let before = tasks.placement.slot(task.index)?;
        let is_other = before.devices != devices && before.devices.len() == devices.len();
        (is_bound && before.node == *node && is_other).then(|| Move {
            job: state.job.clone(),
            index: task.index,
            before: before.clone(),
            after: Slot {
                devices,
                ..before.clone()
            },
        })
    }

    /// Whether each device that somebody comes to has room for all that are on it then.
    fn can_move(&self, node: &NodeId, moves: &[Move]) -> bool {
        let Some(state) = self.nodes.get(node) else {
            return false;
        };
        let Some(spec) = state.spec.as_deref() else {
            return false;
        };
        let mut held = state.held.devices.clone();
        for moved in moves {
            held.remove(&moved.before.devices, moved.before.part);
        }
        for moved in moves {
            held.add(&moved.after.devices, moved.after.part);
        }
        let mut devices = moves.iter().flat_map(|moved| moved.after.devices.iter());
        devices.all(|index| {
            let there = usize::try_from(index)
                .ok()
                .and_then(|index| spec.devices().get(index));
            let there = there.copied().unwrap_or(Part::NONE);
            let taken = held.of(index);
            taken.milli <= there.milli && (there.memory == 0 || taken.memory <= there.memory)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Gpus, JobId, Mode, Node, Policy, Resource, Resources, Scheduler, Tenant};
    use std::string::ToString;

    /// Two jobs have a half of each of two cards.
    fn core() -> Scheduler {
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(2),
            gpus: Gpus {
                mode: Mode::Mps(2),
                ..Gpus::default()
            },
            ..Node::new("a")
        };
        core.observe(Time::ZERO, Event::NodeSeen(node));
        core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
        for name in ["one", "two"] {
            let half = Resources::ZERO.with(Resource::Gpu, 500);
            let job = Job::new(JobId::new("red", name, name), "red".into(), 1, half);
            core.observe(Time::ZERO, Event::JobSubmitted(job));
            let _ = core.cycle(Time::ZERO);
            core.observe(Time::ZERO, Event::TaskBound(task(name), "a".into()));
        }
        core
    }

    fn task(name: &str) -> TaskId {
        TaskId {
            job: JobId::new("red", name, name),
            index: 0,
        }
    }

    fn see(core: &mut Scheduler, seen: &[(&str, u32)]) -> [alloc::string::String; 2] {
        let seen = seen.iter().map(|&(name, device)| {
            let devices = core::iter::once(device).collect();
            (task(name), devices)
        });
        let seen = Event::DevicesSeen("a".into(), seen.collect());
        core.observe(Time::ZERO, seen.clone());
        core.observe(Time::ZERO, seen);
        let snapshot = core.snapshot();
        assert_eq!(snapshot.violations(), []);
        ["one", "two"].map(|name| {
            let placement = snapshot.placement(&task(name).job);
            placement.unwrap().to_string()
        })
    }

    #[test]
    fn a_plan_is_corrected_by_what_is_seen() {
        let mut core = core();
        let apart = ["a[0:500m]", "a[1:500m]"];
        let seen = see(&mut core, &[("one", 0), ("two", 1)]);
        assert_eq!(seen, apart, "wherever they were planned");
        // In turn each would be in the other's way if the cards were full.
        assert_eq!(
            see(&mut core, &[("one", 1), ("two", 0)]),
            ["a[1:500m]", "a[0:500m]"]
        );
        let half = Resources::ZERO.with(Resource::Gpu, 500);
        let job = Job::new(JobId::new("red", "more", "more"), "red".into(), 2, half);
        core.observe(Time::ZERO, Event::JobSubmitted(job));
        let _ = core.cycle(Time::ZERO);
        assert_eq!(
            see(&mut core, &[("one", 0), ("two", 1)]),
            apart,
            "full, and all at once"
        );
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let mut core = core();
        let before = see(&mut core, &[("one", 0), ("two", 0)]);
        assert_eq!(before, ["a[0:500m]", "a[0:500m]"]);
        assert_eq!(
            see(&mut core, &[("one", 2)]),
            before,
            "there is no such card"
        );
        let snapshot = core.snapshot();
        for unknown in [("b", "one"), ("a", "nobody")] {
            let seen = std::vec![(task(unknown.1), Devices::first(1))];
            core.observe(Time::ZERO, Event::DevicesSeen(unknown.0.into(), seen));
        }
        let two = std::vec![(task("one"), Devices::first(2))];
        core.observe(Time::ZERO, Event::DevicesSeen("a".into(), two));
        assert_eq!(core.snapshot(), snapshot);
    }
}
