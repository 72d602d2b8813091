//! What is to become of the record of a job.

use crate::api::{Admission, Eviction, Place, QueuedJobSpec, QueuedJobStatus};
use crate::translate::RecordView;

/// A write of our record.
#[derive(Clone, Debug)]
pub enum RecordWrite {
    /// It does not exist yet.
    Create(Box<QueuedJobSpec>, Box<QueuedJobStatus>),
    /// It is to say and show this instead.
    Change(Box<RecordView>, Box<QueuedJobSpec>, Box<QueuedJobStatus>),
    /// Nothing is left of what it stood for.
    Delete(Box<RecordView>),
    /// It is as it should be.
    Keep,
}

impl RecordWrite {
    /// Whether it changes who has which room.
    pub(super) fn binds(&self) -> bool {
        fn bond(spec: &QueuedJobSpec) -> (Option<&Admission>, Option<&Eviction>, &[Place]) {
            (
                spec.admission.as_ref(),
                spec.eviction.as_ref(),
                &spec.promise,
            )
        }
        match self {
            Self::Create(spec, _) => bond(spec) != (None, None, &[]),
            Self::Change(before, spec, _) => bond(spec) != bond(&before.spec),
            Self::Delete(_) | Self::Keep => false,
        }
    }

    /// The admission on record by which its job does not start any more once this is written.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        let Self::Change(before, spec, _) = self else {
            return None;
        };
        let known = before.spec.admission.as_ref()?;
        let is_kept = spec.admission.as_ref() == Some(known);
        let leaves = |said: &QueuedJobSpec| {
            let eviction = said.eviction.as_ref();
            eviction.is_some_and(|eviction| eviction.epoch == known.epoch)
        };
        let is_over = !is_kept || (leaves(spec) && !leaves(&before.spec));
        is_over.then_some(known.epoch)
    }

    /// The version of the record that it changes.
    pub(super) fn version(&self) -> Option<u64> {
        match self {
            Self::Change(record, ..) => Some(record.version),
            Self::Create(..) | Self::Delete(_) | Self::Keep => None,
        }
    }

    /// Whether it puts an eviction on record that was not there.
    pub(super) fn evicts(&self) -> bool {
        match self {
            Self::Create(spec, _) => spec.eviction.is_some(),
            Self::Change(before, spec, _) => {
                spec.eviction.is_some() && spec.eviction != before.spec.eviction
            }
            Self::Delete(_) | Self::Keep => false,
        }
    }
}
