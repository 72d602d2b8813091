//! What was last told of each waiting job, so that only news is told.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::JobId;
use crate::job::Job;
use crate::reason::Reason;

/// Why each waiting job waits, as it was last told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(BTreeMap<JobId, Reason>);

impl Told {
    /// Takes note of why all waiting jobs wait, which come in the order of their names. The answer
    /// is those of which that was not known.
    pub(crate) fn renew<'a>(
        &mut self,
        waiting: impl Iterator<Item = (&'a Job, Reason)>,
    ) -> Vec<(&'a Job, Reason)> {
        let mut news = Vec::new();
        let mut now = Vec::new();
        let mut before = self.0.iter().peekable();
        for (job, reason) in waiting {
            while before.next_if(|(id, _)| **id < job.id).is_some() {}
            let known = before.next_if(|(id, _)| **id == job.id);
            if known.is_none_or(|(_, known)| *known != reason) {
                news.push((job, reason.clone()));
            }
            now.push((job.id.clone(), reason));
        }
        self.0 = now.into_iter().collect();
        news
    }

    /// The job no longer waits.
    pub(crate) fn forget(&mut self, id: &JobId) {
        self.0.remove(id);
    }
}
