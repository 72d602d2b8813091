//! Pods of Jobs that are not on a node yet, as far as anybody has told.

use std::collections::{BTreeMap, BTreeSet};

use super::Uid;

/// Such pods.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// The Job of each.
    jobs: BTreeMap<Uid, Uid>,
    /// The same the other way round.
    pods: BTreeSet<(Uid, Uid)>,
}

impl Coming {
    /// All of them.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Uid> {
        self.jobs.keys()
    }

    /// Whether any pod of this Job is to come.
    pub(super) fn has(&self, job: &str) -> bool {
        let from = (job.to_owned(), Uid::new());
        let next = self.pods.range(from..).next();
        next.is_some_and(|(next, _)| next == job)
    }

    /// A pod of a Job has no node.
    pub(super) fn note(&mut self, pod: &str, job: &str) {
        self.end(pod);
        self.jobs.insert(pod.to_owned(), job.to_owned());
        self.pods.insert((job.to_owned(), pod.to_owned()));
    }

    /// A pod has a node, or is gone; the Job that it was to come to.
    pub(super) fn end(&mut self, pod: &str) -> Option<Uid> {
        let job = self.jobs.remove(pod)?;
        self.pods.remove(&(job.clone(), pod.to_owned()));
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_pods_to_come_until_the_last_has_come_or_gone() {
        let mut coming = Coming::default();
        coming.note("p", "j");
        coming.note("q", "j");
        coming.note("q", "j");
        assert!(coming.has("j") && !coming.has("i") && !coming.has("k"));
        assert_eq!(coming.end("p").as_deref(), Some("j"));
        assert!(coming.has("j"));
        assert_eq!(coming.end("q").as_deref(), Some("j"));
        assert!(!coming.has("j") && coming.end("q").is_none());
    }
}
