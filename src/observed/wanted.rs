//! What the core is told about jobs: level by level, all of it whenever one was touched.

use std::num::NonZeroU32;
use std::sync::Arc;

use prorata_core::needs::{Operator, Requirement, Term};
use prorata_core::{Event, Hold, Job, Needs, Node, NodeId, Resource, Resources, TaskId, TenantId};

use super::{News, Observed};
use crate::plan::Plan;
use crate::translate::{self, JobView};

fn finished(plan: &Plan, index: u32) -> Event {
    let job = plan.job().clone();
    Event::TaskFinished(TaskId { job, index })
}

impl Observed {
    /// Adds the facts about every job that was touched.
    pub(super) fn tell(&mut self, news: &mut News) {
        self.go_on_alone(news);
        if self.follows {
            for uid in news.touched.clone() {
                self.heed(&uid, news);
            }
        } else {
            let late = news.touched.iter().filter(|uid| self.is_late(uid));
            for uid in late.cloned().collect::<Vec<_>>() {
                self.adopt_late(&uid, news);
            }
            let found = news.touched.iter().filter(|uid| self.is_taken_up(uid));
            for uid in found.cloned().collect::<Vec<_>>() {
                self.take_up(&uid, news);
            }
        }
        for uid in news.touched.clone() {
            let uid = &uid;
            self.end_eviction(uid);
            if self.has_stopped(uid) {
                self.detach_lost(uid, news);
            }
            self.await_binding(uid);
            self.await_ends(uid);
            if self.bypasses(uid) {
                self.bypass(uid, news);
            } else {
                self.bypassing.remove_mut(uid);
            }
            let wanted = self.wanted(uid);
            if self.follows {
                self.note_waiting(uid, wanted.as_ref());
            }
            if let Some(job) = wanted {
                self.told.insert(uid.clone(), job.id.clone());
                news.facts.extend(self.wanted_facts(uid, job));
            } else if let Some(id) = self.told.get(uid).cloned() {
                news.facts.push(Event::JobWithdrawn(id.clone()));
                let ended = self.jobs.get(uid).is_some_and(|job| job.has_ended);
                if ended {
                    self.detach_pods_of_composite(uid, news);
                }
                // Then all its pods are.
                let is_gone = ended && !self.is_over_for_its_operator(uid);
                // kube-scheduler may bind pods of a Job that is gone until they are deleted too; of an object
                // that is over not those that it cannot place now, which Filter has wait from then on.
                let mut coming = self.coming.to(id.namespace(), uid);
                let is_refused = |pod: &super::Uid| {
                    let said = self.unscheduled.get(pod);
                    said.is_some_and(|pod| pod.why.is_some() && pod.overlooked.is_none())
                };
                let comes = coming.any(|pod| !ended || !is_refused(pod))
                    && !self.has_waited_for_leftovers(uid);
                if is_gone || !(comes || self.is_let_go(uid)) {
                    news.facts.extend(self.vacated(uid, is_gone));
                } else if ended {
                    news.facts.extend(self.left(uid, false));
                }
            }
        }
    }

    /// The job as the core is to see it; `None` where the queue has nothing to do with it.
    pub(super) fn wanted(&self, uid: &str) -> Option<Job> {
        let view = self.jobs.get(uid)?;
        let tenant = self.tenant_of(view)?;
        let concerned = view.is_queued && !view.has_ended && !view.is_leaving;
        let mut job = view.job(tenant, self.priority(view));
        self.rank(&mut job, view);
        if let Some(unplaced) = self.unplaced.get(uid) {
            avoid(&mut job.needs, &unplaced.avoided);
            limit(&mut job.needs, unplaced.per_node);
        }
        self.spread_out(&mut job, view);
        avoid(&mut job.needs, &self.aside(uid));
        if self.is_stopping(uid) && job.hold.is_none() {
            job.hold = Some(Hold::Dependency);
        }
        if self.is_refused(uid) || self.forbidden(view).is_some() {
            job.task = Resources::ZERO;
        }
        // What has been started is not on hold, whatever is said of those of its pods that wait.
        if self.has_started(view) && job.hold == Some(Hold::User) {
            job.hold = None;
        }
        job.hold = self.group_waits_for(view).or(job.hold);
        (concerned && !self.bypasses(uid)).then_some(job)
    }

    /// The tenant that its namespace belongs to; while it runs, the one by which it was started.
    fn tenant_of(&self, view: &JobView) -> Option<TenantId> {
        let known = self.namespaces.get(view.id.namespace()).cloned();
        let recorded = || {
            let record = self.records.get(view.id.uid())?;
            let runs = self.is_released(view);
            runs.then(|| record.spec.tenant.as_str().into())
        };
        known.or_else(recorded)
    }

    /// No more of its pods may be on one node than an even spread has there.
    pub(super) fn spread_out(&self, job: &mut Job, view: &JobView) {
        limit(&mut job.needs, self.spread(view));
    }

    /// How many of its pods may be on one node so that they are spread as evenly as they ask for:
    /// where some node has none, no more than the skew; else what each has when all have alike.
    fn spread(&self, view: &JobView) -> Option<NonZeroU32> {
        let skew = view.skew?;
        let gpus = view.task.get(Resource::Gpu);
        let holds =
            |node: &&Node| node.allocatable.get(Resource::Gpu) >= gpus && view.needs.allow(node);
        let nodes = u32::try_from(self.nodes.values().filter(holds).count()).unwrap_or(u32::MAX);
        let even = view.gang.div_ceil(nodes.max(1));
        NonZeroU32::new(even.max(skew.get()))
    }

    /// Whether the admission in force has started it.
    fn has_started(&self, view: &JobView) -> bool {
        self.plans.get(view.id.uid()).is_some_and(|plan| {
            let released = view.epoch == Some(plan.epoch()) && !view.is_suspended;
            !view.form.suspends() && view.has_begun || released
        })
    }

    /// Only who may break the glass starts a Job that asks for GPUs, and no Job without GPUs is
    /// ever asked about.
    pub(super) fn bypasses(&self, uid: &str) -> bool {
        // What is a part of another object is held or started with that.
        let started = |view: &JobView| {
            // What we let go ourselves asks for no GPUs, or has to queue for them.
            let is_freed = view.epoch == Some(translate::FREED);
            !view.is_suspended && !view.has_ended && view.owner.is_none() && !is_freed
        };
        self.jobs.get(uid).is_some_and(started)
            && self.plans.get(uid).is_none()
            && !self.leavers.contains_key(uid)
            && !(self.follows && self.was_admitted(uid))
    }

    fn wanted_facts(&self, uid: &str, job: Job) -> Vec<Event> {
        let view = &self.jobs[uid];
        let is_released = self.is_released(view);
        let stopped = self.has_stopped(uid);
        let mut facts = Vec::new();
        // Edited before it was started: it is planned anew as it is now.
        let is_on_its_way = is_released || self.is_let_go(uid);
        let outdated = |plan: &Plan| !is_on_its_way && !plan.shape().asks_as(&job.shape());
        // Nobody would make its pods.
        let is_futile = || !is_on_its_way && self.lost_and_awaited(uid).is_some();
        let is_planned = |plan: &Plan| outdated(plan) || is_futile();
        if self.plans.get(uid).is_some_and(is_planned) {
            facts.push(Event::DecisionFailed(job.id.clone()));
        }
        facts.extend(is_released.then(|| Event::JobReleased(job.id.clone())));
        if stopped {
            facts.push(Event::JobSubmitted(Job {
                hold: Some(Hold::User),
                ..job.clone()
            }));
            facts.extend(self.left(uid, !self.may_have_unseen_pods(uid)));
        }
        // Its pods are evicted one by one, and others may come to the gang meanwhile.
        let leaver = self.leavers.get(uid).filter(|_| !view.form.suspends());
        if leaver.is_some_and(|leaver| leaver.is_overdue || !self.is_on_its_way(uid)) {
            facts.extend(self.vacated(uid, false));
        }
        let was_never_recorded = self.was_never_recorded(view, &job);
        let saved = view.checkpointed.map(|at| (job.id.clone(), at));
        facts.push(Event::JobSubmitted(job));
        if was_never_recorded {
            facts.extend(self.vacated(uid, false));
        }
        facts.extend(saved.map(|(id, at)| Event::JobCheckpointed(id, at)));
        let record = self.records.get(uid);
        let times = record.map_or(0, |record| record.spec.evictions);
        facts.extend((times > 0).then(|| Event::JobLeft(view.id.clone(), times)));
        facts
    }

    /// Whether a Job was suspended after it had been started by the admission in force.
    fn has_stopped(&self, uid: &str) -> bool {
        let both = self.jobs.get(uid).zip(self.plans.get(uid));
        both.is_some_and(|(view, plan)| {
            let released = view.epoch == Some(plan.epoch());
            view.form.suspends() && view.is_suspended && released
        })
    }

    /// The tasks whose pods have come and gone, and with the others those that have none.
    fn left(&self, uid: &str, and_others: bool) -> Vec<Event> {
        let Some(plan) = self.plans.get(uid) else {
            return Vec::new();
        };
        let has_left = |seat: &u32| !plan.is_taken(*seat) && (and_others || plan.was_taken(*seat));
        let seats = (0..plan.seats()).filter(has_left);
        seats.map(|seat| finished(plan, seat)).collect()
    }

    /// The tasks without a pod, or all of them.
    pub(super) fn vacated(&self, uid: &str, all: bool) -> Vec<Event> {
        let Some(plan) = self.plans.get(uid) else {
            return Vec::new();
        };
        let gone = (0..plan.seats()).filter(|index| all || !plan.is_taken(*index));
        gone.map(|seat| finished(plan, seat)).collect()
    }

    /// What an administrator says of its PriorityClass.
    pub(super) fn rank(&self, job: &mut Job, view: &JobView) {
        let class = self.class(view).unwrap_or_default();
        job.cluster_wide = self.classes.cluster_wide.contains(class);
        job.protected = self.classes.protected.contains(class);
    }

    pub(super) fn priority(&self, view: &JobView) -> i32 {
        let known = self
            .class(view)
            .and_then(|class| self.priorities.get(class));
        known.map(|(value, _)| *value).unwrap_or_default()
    }

    /// The PriorityClass of a Job: the one that it names, or the default.
    fn class<'a>(&'a self, view: &'a JobView) -> Option<&'a str> {
        let default = || {
            self.priorities
                .iter()
                .find(|(_, (_, is_default))| *is_default)
        };
        let named = view.priority_class.as_deref();
        named.or_else(|| Some(default()?.0.as_str()))
    }

    /// What to tell the user of a Job that names a PriorityClass which its tenant may not use.
    pub(super) fn forbidden(&self, view: &JobView) -> Option<String> {
        let class = view.priority_class.as_ref()?;
        let tenant = self.namespaces.get(view.id.namespace())?;
        let allowed = self.tenants.get(tenant)?.classes.as_ref();
        let is_allowed = match allowed {
            Some(allowed) => allowed.contains(class),
            None => {
                !self.classes.cluster_wide.contains(class)
                    && !self.classes.protected.contains(class)
            }
        };
        let instead = allowed
            .filter(|allowed| !allowed.is_empty())
            .map(|allowed| {
                let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
                format!("one of {}, or ", names.join(", "))
            });
        (!is_allowed).then(|| {
            format!(
                "tenant {tenant} may not use PriorityClass {class}: name {}none in spec.template",
                instead.unwrap_or_default()
            )
        })
    }
}

/// None of these nodes will do.
fn avoid(needs: &mut Arc<Needs>, nodes: &[NodeId]) {
    if nodes.is_empty() {
        return;
    }
    let names = nodes.iter().map(|node| node.as_str().into()).collect();
    let requirement = Requirement {
        key: translate::NODE_NAME.into(),
        operator: Operator::NotIn(names),
    };
    let affinity = &mut Arc::make_mut(needs).affinity;
    if affinity.is_empty() {
        affinity.push(Term(Vec::new()));
    }
    for term in affinity {
        term.0.push(requirement.clone());
    }
}

/// So many pods may be on one node, unless fewer may already.
fn limit(needs: &mut Arc<Needs>, per_node: Option<NonZeroU32>) {
    let least = per_node.into_iter().chain(needs.per_node).min();
    if least != needs.per_node {
        Arc::make_mut(needs).per_node = least;
    }
}
