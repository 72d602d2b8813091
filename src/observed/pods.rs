//! Pods: whose seat they take, that they only take room, or that they find none.

use prorata_core::{Event, JobId, NodeId, PodId, Resource, Resources, TaskId};

use super::{News, Observed, Uid, Unscheduled};
use crate::plan::Plan;
use crate::translate::{Form, PodView};

impl Observed {
    pub(super) fn put_pod(&mut self, mut pod: PodView, news: &mut News) {
        let uid = pod.uid.clone();
        let unplaced = self.unscheduled.remove(&uid);
        news.touched.extend(unplaced.map(|pod| pod.job));
        news.touched.extend(self.coming.end(&uid));
        let known = self.pods.get(&uid);
        let is_newer = |known: &PodView| known.gated.is_some() && known.version > pod.version;
        if known.is_some_and(is_newer) {
            return;
        }
        // Kubernetes forgets where it was told to go when it is bound.
        let is_bound = pod.node.is_some();
        let told = known
            .filter(|_| is_bound)
            .and_then(|known| known.nominated.clone());
        pod.nominated = pod.nominated.or(told);
        // Whoever goes on alone does so for as long as it lives.
        let alone = known.and_then(|known| known.gated.clone());
        pod.gated = pod.gated.or(alone);
        // Whoever was a Job's stays so, even if the Job is deleted without its pods.
        let known = known.and_then(|known| known.job.clone());
        let group = known.is_none().then(|| self.join(&pod)).flatten();
        let owner = pod.job.map(|owner| self.top(&owner));
        pod.job = known.or(group).or(owner);
        let group = pod.job.clone().filter(|_| pod.gated.is_some());
        self.note_left(&pod);
        self.pods.insert(uid.clone(), pod);
        if let Some(group) = group {
            self.regroup(&group, news);
        }
        self.place(&uid, news);
    }

    /// Of pods without a node only those matter that kube-scheduler cannot place.
    pub(super) fn put_unbound(&mut self, pod: PodView, news: &mut News) {
        let known = self.unscheduled.get(&pod.uid);
        if known.is_some_and(|known| known.version > pod.version) {
            return;
        }
        let owner = pod.job.map(|owner| self.top(&owner));
        let before = self.unscheduled.remove(&pod.uid);
        news.touched
            .extend(before.as_ref().map(|pod| pod.job.clone()));
        match &owner {
            // Others have no place that could be given away.
            Some(job) if asks(&pod.takes) => {
                let before = self.coming.note(&pod.uid, &pod.namespace, job);
                news.touched.extend(before);
            }
            Some(_) => {}
            // What its Job left behind is anybody's pod from now on.
            None => news.touched.extend(self.coming.end(&pod.uid)),
        }
        let job = owner.filter(|job| {
            let view = self.jobs.get(job);
            view.is_some_and(|view| view.id.namespace() == pod.namespace)
        });
        let is_unplaced = pod.unschedulable.is_some() || pod.overlooked.is_some();
        if let Some(job) = job.filter(|_| is_unplaced) {
            news.touched.insert(job.clone());
            // What was said against its node lasts while it is only not looked at again.
            let why = pod.unschedulable.or_else(|| before.and_then(|b| b.why));
            let pod_now = Unscheduled {
                job,
                name: pod.name,
                version: pod.version,
                index: pod.index,
                asks: asks(&pod.takes),
                why,
                nominated: pod.nominated,
                overlooked: pod.overlooked,
            };
            self.unscheduled.insert(pod.uid, pod_now);
        }
    }

    /// UID and name of each pod of a Job that kube-scheduler does not place because it has not looked at its
    /// node, and that node, unless the pod has been told it already.
    pub fn overlooked(&self, job: &str) -> impl Iterator<Item = (&Uid, &str, &NodeId)> {
        let all = self
            .unscheduled
            .iter()
            .filter(move |(_, pod)| pod.job == job);
        let untold = all.filter(|(_, pod)| pod.nominated != pod.overlooked);
        untold.filter_map(|(uid, pod)| Some((uid, &*pod.name, pod.overlooked.as_ref()?)))
    }

    /// The bound pods that have a seat in their job's plan.
    pub(super) fn pods_in_seats(&self, job: &str) -> Vec<Uid> {
        let plan = self.plans.get(job);
        plan.map_or_else(Vec::new, |plan| plan.pods().cloned().collect())
    }

    /// A node that is lost with a pod of this job on it.
    #[must_use]
    pub fn lost_node(&self, job: &str) -> Option<&NodeId> {
        let plan = self.plans.get(job)?;
        let mut nodes = plan
            .pods()
            .filter_map(|uid| self.pods.get(uid)?.node.as_ref());
        nodes.find(|node| self.is_lost(node))
    }

    /// Nobody waits any more for pods of this job that are on lost nodes.
    pub(super) fn detach_lost(&mut self, job: &str, news: &mut News) {
        for uid in self.pods_in_seats(job) {
            let node = self.pods.get(&uid).and_then(|pod| pod.node.as_ref());
            if node.is_some_and(|node| self.is_lost(node)) {
                self.detach(&uid, news);
            }
        }
    }

    /// A pod gives up its seat, and only takes room from now on, until it is gone.
    pub(super) fn detach(&mut self, uid: &str, news: &mut News) {
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let Some((node, job)) = pod.node.clone().zip(pod.job.clone()) else {
            return;
        };
        let (takes, others) = (self.takes_on(&node, pod), pod.others.clone());
        let Some(mut plan) = self.plans.get(&job).cloned() else {
            return;
        };
        let Some(index) = plan.leave(uid) else {
            return;
        };
        let id = plan.job().clone();
        self.plans.insert_mut(job, plan);
        self.detached.insert(uid.to_owned());
        let task = TaskId { job: id, index };
        news.facts.push(Event::TaskFinished(task));
        news.facts
            .push(Event::PodBound(uid.into(), node, takes, others));
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
        let has_ended = queued && view.is_some_and(|view| view.has_ended);
        let is_job = view.is_some_and(|view| view.form == Form::Job);
        if has_ended && is_job {
            return;
        }
        let mut plan = self.plans.get(job).filter(|plan| owns(plan.job())).cloned();
        // An operator may say that all is over while pods of it are still ending.
        if self.detached.contains(uid) || has_ended {
            plan = None;
        }
        // Pods of what is suspended come to the nodes of its admission alone: one elsewhere is of an
        // earlier one, and still ending. In a seat it would free the place of the pod that it belongs to.
        let is_suspendable = view.is_some_and(|view| view.form.suspends());
        let is_earlier = |plan: &Plan| is_suspendable && !plan.is_on(&node);
        if plan.as_ref().is_some_and(is_earlier) {
            plan = None;
        }
        // Pods without GPUs are in no gang that asks for some.
        let is_seatless = |plan: &Plan| asks(&plan.shape().task) && !asks(&pod.takes);
        if plan.as_ref().is_some_and(is_seatless) {
            plan = None;
        }
        match plan.as_mut().and_then(|plan| plan.seat(pod)) {
            Some(index) => {
                let plan = plan.expect("a seat is a plan's");
                let task = TaskId {
                    job: plan.job().clone(),
                    index,
                };
                news.facts.push(Event::TaskBound(task, node.clone()));
                news.touched.insert(job.to_owned());
                self.plans.insert_mut(job.to_owned(), plan);
                // The others are waited for anew.
                self.incomplete.remove(job);
                news.facts.extend(self.seen_on(&node));
                // Before its plan was known it may have counted as somebody else's.
                news.facts.push(Event::PodGone(uid.into()));
            }
            None => {
                news.touched.extend(self.planned_on(&node));
                let (id, takes) = (PodId::from(uid), self.takes_on(&node, pod));
                let others = pod.others.clone();
                let takes_room = Event::PodBound(id.clone(), node, takes, others);
                news.facts.push(takes_room);
                let is_overdue = self.leavers.get(job).is_some_and(|l| l.is_overdue);
                let tenant = self.namespaces.get(&pod.namespace).filter(|_| is_overdue);
                let tenant = tenant.or_else(|| self.pays_for(pod));
                news.facts
                    .extend(tenant.map(|tenant| Event::PodCharged(id, tenant.clone())));
                // It may be heard of only when what it is of is over: its end is waited for, too.
                if has_ended || self.bypassing.contains(job) {
                    news.touched.insert(job.to_owned());
                }
            }
        }
    }

    pub(super) fn pod_gone(&mut self, uid: &str, news: &mut News) {
        self.detached.remove(uid);
        self.left.remove(uid);
        let unbound = self.unscheduled.remove(uid);
        news.touched.extend(unbound.map(|pod| pod.job));
        news.touched.extend(self.coming.end(uid));
        let Some(pod) = self.pods.remove(uid) else {
            self.departed.note(uid);
            return;
        };
        self.part(uid, news);
        news.facts.push(Event::PodGone(uid.into()));
        let Some(job) = pod.job else {
            return;
        };
        news.touched.insert(job.clone());
        if let Some(mut plan) = self.plans.get(&job).cloned() {
            let was_full = plan.is_full();
            plan.leave(uid);
            self.plans.insert_mut(job.clone(), plan);
            if was_full {
                self.seat_pods_of(&job, news);
            }
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

pub(super) fn asks(task: &Resources) -> bool {
    task.get(Resource::Gpu) > 0
}
