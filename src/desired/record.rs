//! What a record says beside what the core decides: what it keeps, and what it counts.

use prorata_core::Snapshot;

use super::shares;
use crate::api::{Admission, Eviction, QueuedJobSpec};
use crate::observed::Observed;
use crate::translate::{self, JobView, RecordView};

/// With what else its record is to say of a job.
pub(super) fn whole(
    mut spec: QueuedJobSpec,
    observed: &Observed,
    snapshot: &Snapshot,
    view: &JobView,
) -> QueuedJobSpec {
    let uid = view.id.uid();
    let (leaver, record) = (observed.leaver(uid), observed.record(uid));
    let is_planned = spec.admission.is_some();
    spec.admission = record.and_then(|r| in_force(r, view)).or(spec.admission);
    shares::name_models(&mut spec, observed, record);
    let leaves = leaver.map(|leaver| leaver.eviction.clone());
    spec.eviction = leaves.or_else(|| last_eviction(record).filter(|_| !is_planned));
    if let Some(record) = record {
        spec.last_epoch = spec.last_epoch.max(record.last_epoch());
        let leaves_anew = spec.eviction.as_ref().is_some_and(|e| is_new(e, record));
        spec.evictions = record.spec.evictions + u32::from(leaves_anew);
    }
    spec.aside = observed.recorded_aside(uid);
    let promised = snapshot.promised(&view.id);
    spec.promise = promised.map(translate::places).unwrap_or_default();
    spec
}

/// The admission by which a Job runs. It may hold nothing here, such as while it leaves and none of
/// its pods has come; but whoever takes over after a crash must know by what it was started.
fn in_force(record: &RecordView, view: &JobView) -> Option<Admission> {
    let known = record.spec.admission.as_ref();
    let runs = view.form.suspends() && !view.is_suspended && !view.has_ended;
    let by_it = |known: &&Admission| runs && view.epoch == Some(known.epoch);
    known.filter(by_it).cloned()
}

/// Whether an eviction ends the admission on record, and is not on record.
fn is_new(eviction: &Eviction, record: &RecordView) -> bool {
    let ends = |epoch: i64| epoch == eviction.epoch;
    let RecordView { spec, .. } = record;
    spec.admission.as_ref().is_some_and(|a| ends(a.epoch))
        && !spec.eviction.as_ref().is_some_and(|e| ends(e.epoch))
}

/// For whom a job left last; forgotten when it starts again.
fn last_eviction(record: Option<&RecordView>) -> Option<Eviction> {
    record?.spec.eviction.clone()
}
