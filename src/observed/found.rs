//! What ran in a tenant's namespace before the queue was there: before it was installed, or before
//! the namespace had a tenant. It keeps its nodes, and its tenant is charged for its GPUs.
//!
//! A Job is taken up as if the queue had started it where it runs, once each of its pods has a node:
//! its object says so first, then a record is made of it. So is a pod that its Job has left behind ([`super::left`]).
//! All else that has GPUs is charged pod by pod.

use prorata_core::{Event, Job, NodeId, TenantId};

use super::{News, Observed, Uid};
use crate::api::Place;
use crate::plan::Plan;
use crate::translate::{self, FOUND, Form, JobView, PodView};

/// A pod of such a Job, and its node.
type Seated = (Uid, NodeId);

impl Observed {
    /// Whether a Job is to be taken up, and its object does not say so yet.
    #[must_use]
    pub fn is_found(&self, view: &JobView) -> bool {
        view.form == Form::Job && view.epoch.is_none() && self.seats_found(view).is_some()
    }

    /// Whether its object says that it is taken up, and no admission is in force. A pod need not say so.
    pub(super) fn is_taken_up(&self, uid: &str) -> bool {
        let says = |view: &&JobView| view.form == Form::Pod || view.epoch == Some(FOUND);
        let view = self.jobs.get(uid).filter(says);
        view.is_some_and(|view| self.seats_found(view).is_some())
    }

    /// Its admission is where its pods are, whatever is wanted of nodes or asked of PriorityClasses.
    pub(super) fn take_up(&mut self, uid: &str, news: &mut News) {
        let Some(view) = self.jobs.get(uid) else {
            return;
        };
        let tenant = self.namespaces.get(view.id.namespace()).cloned();
        let Some((seats, tenant)) = self.seats_found(view).zip(tenant) else {
            return;
        };
        let places: Vec<Place> = seats.iter().map(|(_, node)| place(node)).collect();
        let mut job = Job {
            gang: u32::try_from(seats.len()).unwrap_or(u32::MAX),
            hold: None,
            ..view.job(tenant, self.priority(view))
        };
        self.rank(&mut job, view);
        let placement = translate::placement(&places);
        let plan = Plan::new(&job, FOUND, placement.clone(), false);
        let (id, since) = (view.id.clone(), view.begun.unwrap_or(view.created));
        let free = seats
            .iter()
            .map(|(pod, _)| Event::PodGone(pod.as_str().into()));
        news.facts.extend(free);
        news.facts.extend([
            Event::JobSubmitted(job),
            Event::JobAdmitted(id.clone(), placement, since),
            Event::JobReleased(id.clone()),
        ]);
        self.told.insert(uid.to_owned(), id);
        self.plans.insert_mut(uid.to_owned(), plan);
        self.seat_pods_of(uid, news);
    }

    /// The pods of a Job that was started without the queue, each with its node; `None` where the
    /// queue knows the Job, has nothing to do with it, or some of its pods are still to come.
    fn seats_found(&self, view: &JobView) -> Option<Vec<Seated>> {
        let uid = view.id.uid();
        let namespace = view.id.namespace();
        // Whatever is created where the policies are in force says who created it.
        let was_there = match view.form {
            Form::Job => view.is_queued && view.creator.is_none(),
            Form::Pod => self.is_left_behind(uid),
            Form::Gang | Form::Composite(_) => false,
        };
        let is_known = self.is_withdrawn(uid);
        let can_be_planned = view.obstacle.is_none() && !view.is_leaving && !is_known;
        let concerned = was_there && can_be_planned && self.namespaces.contains_key(namespace);
        if !concerned || !self.bypasses(uid) || self.coming.has(namespace, uid) {
            return None;
        }
        let own = |pod: &&PodView| pod.job.as_deref() == Some(uid) && pod.namespace == namespace;
        let own = self.pods.values().filter(own);
        let seats: Vec<Seated> = own
            .map(|pod| Some((pod.uid.clone(), pod.node.clone()?)))
            .collect::<Option<_>>()?;
        let is_whole = u32::try_from(seats.len()) == Ok(view.remaining);
        (is_whole && !seats.is_empty()).then_some(seats)
    }

    /// The tenant that pays for the GPUs of a pod which no plan has a place for: it was there before, is
    /// of what was started past the queue, or goes on although the object that it is of is over.
    pub(super) fn pays_for(&self, pod: &PodView) -> Option<&TenantId> {
        let of_none = || match &pod.job {
            None => pod.gated.is_none(),
            Some(job) => self.bypassing.contains(job) || self.is_over_for_its_operator(job),
        };
        let is_found = super::pods::asks(&pod.takes) && of_none();
        is_found.then(|| self.namespaces.get(&pod.namespace))?
    }

    /// Whether an operator says that all of an object is over. That of a Job says so of its pods, too.
    pub(super) fn is_over_for_its_operator(&self, uid: &str) -> bool {
        let view = self.jobs.get(uid);
        view.is_some_and(|view| view.has_ended && matches!(view.form, Form::Composite(_)))
    }

    /// A Job was started past the queue: its tenant is charged for the pods of it that are there.
    pub(super) fn bypass(&mut self, uid: &str, news: &mut News) {
        if self.bypassing.contains(uid) {
            return;
        }
        self.bypassing.insert_mut(uid.to_owned());
        let namespace = self.jobs.get(uid).map(|view| view.id.namespace());
        if !namespace.is_some_and(|name| self.namespaces.contains_key(name)) {
            return;
        }
        let own = self.pods.values();
        let own = own.filter(|pod| pod.job.as_deref() == Some(uid) && pod.node.is_some());
        news.facts.extend(own.filter_map(|pod| self.charge(pod)));
    }

    /// Its tenant pays for such a pod.
    pub(super) fn charge(&self, pod: &PodView) -> Option<Event> {
        let tenant = self.pays_for(pod)?.clone();
        Some(Event::PodCharged(pod.uid.as_str().into(), tenant))
    }

    /// The namespace has another tenant, or none: others pay for what is there and no plan has a
    /// place for.
    pub(super) fn charge_anew(&mut self, namespace: &str, news: &mut News) {
        let found = |pod: &&PodView| {
            let of_whom = pod.job.as_ref().and_then(|job| self.plans.get(job));
            let has_seat = of_whom.is_some_and(|plan| plan.seat_of(&pod.uid).is_some());
            let bypasses = |job: &Uid| self.bypassing.contains(job);
            let is_outside = pod.gated.is_none() || pod.job.as_ref().is_some_and(bypasses);
            let is_there = pod.namespace == namespace && pod.node.is_some();
            is_there && is_outside && super::pods::asks(&pod.takes) && !has_seat
        };
        let found: Vec<Uid> = self
            .pods
            .values()
            .filter(found)
            .map(|p| p.uid.clone())
            .collect();
        for pod in found {
            // What is charged once stays so until it is gone.
            news.facts.push(Event::PodGone(pod.as_str().into()));
            self.place(&pod, news);
        }
    }
}

/// Which of its node's GPUs such a pod has is for its agent to say.
fn place(node: &NodeId) -> Place {
    Place {
        node: node.to_string(),
        devices: Vec::new(),
        milli: None,
        model: None,
    }
}
