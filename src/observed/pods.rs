//! Bound pods: whose seat they take, or that they only take room.

use prorata_core::{Event, JobId, PodId, TaskId};

use super::{News, Observed, Uid};
use crate::translate::PodView;

impl Observed {
    pub(super) fn put_pod(&mut self, mut pod: PodView, news: &mut News) {
        let uid = pod.uid.clone();
        let version = |pod: &PodView| pod.gated.as_ref().map(|gated| gated.version);
        let known = self.pods.get(&uid);
        if known.is_some_and(|known| version(known) > version(&pod)) {
            return;
        }
        // Whoever was a Job's stays so, even if the Job is deleted without its pods.
        let known = known.and_then(|known| known.job.clone());
        let group = known.is_none().then(|| self.join(&pod)).flatten();
        pod.job = known.or(group).or(pod.job);
        let group = pod.job.clone().filter(|_| pod.gated.is_some());
        self.pods.insert(uid.clone(), pod);
        if let Some(group) = group {
            self.regroup(&group, news);
        }
        self.place(&uid, news);
    }

    /// A bound pod takes its seat in its job's plan, or is nobody's task and only takes room.
    pub(super) fn place(&mut self, uid: &str, news: &mut News) {
        let Some((pod, node)) = self
            .pods
            .get(uid)
            .and_then(|pod| Some((pod, pod.node.clone()?)))
        else {
            return;
        };
        let job = pod.job.as_deref().unwrap_or_default();
        // Owners are of the same namespace; a pod that claims another one's is nobody's.
        let owns = |id: &JobId| id.namespace() == pod.namespace;
        let view = self.jobs.get(job).filter(|view| owns(&view.id));
        // Where there is no tenant, users make pods of any owner that they like.
        let queued = self.namespaces.contains_key(&pod.namespace);
        if queued && view.is_some_and(|view| view.has_ended) {
            return;
        }
        let mut plan = self.plans.get(job).filter(|plan| owns(plan.job())).cloned();
        match plan.as_mut().and_then(|plan| plan.seat(pod)) {
            Some(index) => {
                let plan = plan.expect("a seat is a plan's");
                let task = TaskId {
                    job: plan.job().clone(),
                    index,
                };
                news.facts.push(Event::TaskBound(task, node));
                news.touched.insert(job.to_owned());
                self.plans.insert_mut(job.to_owned(), plan);
                // Before its plan was known it may have counted as somebody else's.
                news.facts.push(Event::PodGone(uid.into()));
            }
            None => {
                news.touched.extend(self.planned_on(&node));
                let id = PodId::from(uid);
                news.facts.push(Event::PodBound(id, node, pod.takes));
            }
        }
    }

    pub(super) fn pod_gone(&mut self, uid: &str, news: &mut News) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        self.part(uid, news);
        news.facts.push(Event::PodGone(uid.into()));
        let Some(job) = pod.job else {
            return;
        };
        if let Some(mut plan) = self.plans.get(&job).cloned() {
            let was_full = plan.is_full();
            plan.leave(uid);
            self.plans.insert_mut(job.clone(), plan);
            if was_full {
                self.seat_pods_of(&job, news);
            }
            news.touched.insert(job);
        }
    }

    /// Bound pods of a Job take their seats, or take room: a pod may be replaced before it is gone,
    /// and its successor has no seat until then.
    pub(super) fn seat_pods_of(&mut self, job: &str, news: &mut News) {
        let of_job = |(_, pod): &(&Uid, &PodView)| pod.job.as_deref() == Some(job);
        let pods: Vec<Uid> = self
            .pods
            .iter()
            .filter(of_job)
            .map(|(uid, _)| uid.clone())
            .collect();
        for pod in pods {
            self.place(&pod, news);
        }
    }
}
