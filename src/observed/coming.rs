//! Pods of Jobs that ask for GPUs and are not on a node yet, as far as anybody has told.

use std::collections::{BTreeMap, BTreeSet};

use super::Uid;

/// Such pods. A Job may be heard of later than its pods: it is known by its UID, and by the namespace
/// of the pod, for whoever makes a pod may say that it is anybody's.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// The namespace and the Job of each.
    jobs: BTreeMap<Uid, (String, Uid)>,
    /// The same the other way round: namespace, Job and pod.
    pods: BTreeSet<(String, Uid, Uid)>,
}

impl Coming {
    /// All of them.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Uid> {
        self.jobs.keys()
    }

    /// Whether any pod of this Job is to come.
    pub(super) fn has(&self, namespace: &str, job: &str) -> bool {
        self.to(namespace, job).next().is_some()
    }

    /// The pods that are to come to this Job.
    pub(super) fn to<'a>(&'a self, namespace: &str, job: &'a str) -> impl Iterator<Item = &'a Uid> {
        let from = (namespace.to_owned(), job.to_owned(), Uid::new());
        let namespace = namespace.to_owned();
        let next = self.pods.range(from..);
        let theirs = next.take_while(move |(near, next, _)| *near == namespace && next == job);
        theirs.map(|(_, _, pod)| pod)
    }

    /// A pod of a Job has no node; the other Job that it was to come to before.
    pub(super) fn note(&mut self, pod: &str, namespace: &str, job: &str) -> Option<Uid> {
        let before = self.end(pod).filter(|before| before != job);
        let of = (namespace.to_owned(), job.to_owned());
        self.pods
            .insert((of.0.clone(), of.1.clone(), pod.to_owned()));
        self.jobs.insert(pod.to_owned(), of);
        before
    }

    /// What was to come to a Job comes to the object that this is a part of.
    pub(super) fn hand_over(&mut self, job: &str, to: &str) {
        let theirs = self.jobs.iter().filter(|(_, (_, of))| of == job);
        let theirs: Vec<_> = theirs
            .map(|(pod, (namespace, _))| (pod.clone(), namespace.clone()))
            .collect();
        for (pod, namespace) in theirs {
            self.note(&pod, &namespace, to);
        }
    }

    /// A pod has a node, or is gone; the Job that it was to come to.
    pub(super) fn end(&mut self, pod: &str) -> Option<Uid> {
        let (namespace, job) = self.jobs.remove(pod)?;
        self.pods.remove(&(namespace, job.clone(), pod.to_owned()));
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_pods_to_come_until_the_last_has_come_or_gone() {
        let mut coming = Coming::default();
        coming.note("p", "red", "j");
        coming.note("q", "red", "j");
        coming.note("q", "red", "j");
        let has = |coming: &Coming, job| coming.has("red", job);
        assert!(has(&coming, "j") && !has(&coming, "i") && !has(&coming, "k"));
        assert!(
            !coming.has("blue", "j"),
            "a pod says whose it is as it likes"
        );
        assert_eq!(coming.end("p").as_deref(), Some("j"));
        assert!(has(&coming, "j"));
        assert_eq!(coming.end("q").as_deref(), Some("j"));
        assert!(!has(&coming, "j") && coming.end("q").is_none());
    }

    #[test]
    fn whose_owner_is_seen_later_comes_to_the_whole() {
        let mut coming = Coming::default();
        assert_eq!(coming.note("p", "red", "job"), None);
        coming.hand_over("job", "set");
        assert!(coming.has("red", "set") && !coming.has("red", "job"));
        assert_eq!(coming.note("p", "red", "set"), None);
        assert_eq!(coming.note("p", "red", "job").as_deref(), Some("set"));
    }
}
