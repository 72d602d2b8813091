//! The places of one admitted gang, from plan to end.

use alloc::vec;
use alloc::vec::Vec;

use crate::device::Devices;
use crate::id::NodeId;
use crate::job::{Placement, Slot};
use crate::reason::Verdict;

/// How far one task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its place is taken for it by our own decision.
    Assumed,
    /// It is on its node.
    Bound,
    /// It is gone and its place is free.
    Finished,
}

/// What becomes of a job once the last of its places is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It is over.
    ForGood,
    /// It waits again, with the age that it had.
    ToTheQueue,
}

/// What it means for the places that are held that a task is on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It has the place that was held for it.
    AsPlanned,
    /// It has another place than the one that was held for it.
    Elsewhere(Slot),
    /// No place was held for it any more.
    Anew,
}

/// The places of one gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tasks {
    pub(crate) placement: Placement,
    pub(crate) progress: Vec<Progress>,
    /// Tasks whose place is held.
    open: usize,
    /// Tasks whose place is held by our own decision alone.
    assumed: usize,
    /// They may be on their nodes before anybody says so.
    released: bool,
    leaving: Option<Leaving>,
}

impl Tasks {
    pub(crate) fn assumed(placement: Placement) -> Self {
        let gang = placement.slots().len();
        Self {
            progress: vec![Progress::Assumed; gang],
            open: gang,
            assumed: gang,
            placement,
            released: false,
            leaving: None,
        }
    }

    /// The places that are taken, each with its task's progress.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&Slot, Progress)> {
        let all = self.placement.slots().zip(self.progress.iter().copied());
        all.filter(|(_, progress)| *progress != Progress::Finished)
    }

    /// The nodes on which places are taken, each once.
    pub(crate) fn nodes(&self) -> Vec<&NodeId> {
        let mut nodes: Vec<&NodeId> = self.held().map(|(slot, _)| &slot.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    pub(crate) const fn release(&mut self) {
        self.released = true;
    }

    pub(crate) const fn is_released(&self) -> bool {
        self.released
    }

    /// Whether any of them may be on its node.
    pub(crate) fn has_begun(&self) -> bool {
        self.released || self.assumed < self.progress.len()
    }

    /// They were not released after all; false where one of them was on a node.
    pub(crate) const fn take_back(&mut self) -> bool {
        let all_assumed = self.assumed == self.progress.len();
        self.released &= !all_assumed;
        all_assumed
    }

    /// What became of the job, as far as its places tell.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.assumed > 0 {
            Verdict::Admitted(self.placement.clone())
        } else {
            Verdict::Running
        }
    }

    /// Whether the job queues again once its places are given up.
    pub(crate) fn requeues(&self) -> bool {
        self.leaving == Some(Leaving::ToTheQueue)
    }

    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Gives up what no task can have taken up yet, and answers with it. A job that leaves for good
    /// does not come back.
    pub(crate) fn leave(&mut self, leaving: Leaving) -> Vec<Slot> {
        if self.leaving != Some(Leaving::ForGood) {
            self.leaving = Some(leaving);
        }
        if leaving == Leaving::ForGood && !self.released && self.assumed == self.progress.len() {
            // Nothing of it is remembered.
            self.progress.fill(Progress::Finished);
            (self.open, self.assumed) = (0, 0);
            return self.placement.slots().cloned().collect();
        }
        let assumed = |index: &u32| self.progress_of(*index) == Some(Progress::Assumed);
        let all = 0..if self.released { 0 } else { self.len() };
        let given_up: Vec<u32> = all.filter(assumed).collect();
        given_up
            .into_iter()
            .filter_map(|index| self.finish(index))
            .collect()
    }

    /// Marks a task as bound, and says what that means for the places that are held.
    ///
    /// In a gang that leaves, a task may be bound although its place has just been given up: it
    /// then holds it until it is known to have finished.
    pub(crate) fn bind(&mut self, index: u32, node: &NodeId) -> Option<Binding> {
        let planned = self.placement.slot(index)?;
        let progress = self.progress.get_mut(usize::try_from(index).ok()?)?;
        let binding = match *progress {
            Progress::Finished if self.leaving.is_some() => {
                self.open += 1;
                Binding::Anew
            }
            Progress::Finished => return None,
            Progress::Assumed | Progress::Bound if planned.node == *node => Binding::AsPlanned,
            _ => Binding::Elsewhere(planned.clone()),
        };
        self.assumed -= usize::from(*progress == Progress::Assumed);
        *progress = Progress::Bound;
        Some(binding)
    }

    /// Corrects the plan by what happened.
    pub(crate) fn move_to(&mut self, index: u32, actual: Slot) {
        self.placement.replace(index, actual);
    }

    /// Frees a task's place, and answers with it if it was taken. What is remembered of it no
    /// longer names devices, because they are another's from now on.
    pub(crate) fn finish(&mut self, index: u32) -> Option<Slot> {
        let slot = self.placement.slot(index)?.clone();
        let progress = self.progress.get_mut(usize::try_from(index).ok()?)?;
        match core::mem::replace(progress, Progress::Finished) {
            Progress::Finished => return None,
            Progress::Assumed => self.assumed -= 1,
            Progress::Bound => {}
        }
        self.open -= 1;
        let empty = Slot {
            devices: Devices::default(),
            ..slot.clone()
        };
        self.move_to(index, empty);
        Some(slot)
    }

    fn progress_of(&self, index: u32) -> Option<Progress> {
        self.progress.get(usize::try_from(index).ok()?).copied()
    }

    fn len(&self) -> u32 {
        u32::try_from(self.progress.len()).unwrap_or(u32::MAX)
    }

    /// What becomes of the job, if it holds no place any more.
    pub(crate) fn left(&self) -> Option<Leaving> {
        (self.open == 0).then(|| self.leaving.unwrap_or(Leaving::ForGood))
    }
}
