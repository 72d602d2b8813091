//! What is waited for, and for how long: nodes that are not ready, victims that do not end, pods
//! that kube-scheduler cannot place. Time is an argument. It frees nothing: pods that are no
//! longer waited for take their room until they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use prorata_core::{Event, NodeId, TenantId, Time};

use super::evictions::Leaver;
use super::{News, Observed, Uid, Unscheduled};

/// How long what may pass by itself is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a node that is not ready is taken for lost.
    pub node: Duration,
    /// Until the pods of an evicted job have ended.
    pub victim: Duration,
    /// Until the pods of a started job are made and bound.
    pub binding: Duration,
    /// Whether all on a GPU leave when clients of MPS cannot be ended one by one.
    pub together: bool,
}

impl Patience {
    /// How long PodDisruptionBudgets are heeded: so that pods have as long again to end before
    /// whoever is to get their room looks elsewhere.
    fn budgets(&self) -> Duration {
        self.victim / 2
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            node: Duration::from_secs(60),
            victim: Duration::from_secs(120),
            binding: Duration::from_secs(60),
            together: true,
        }
    }
}

/// How long it is heeded where kube-scheduler could not place a pod of a job.
const AVOIDED_FOR: Duration = Duration::from_secs(600);
/// How long a job waits whose pods could not be placed; twice as long each time.
const PAUSE: Duration = Duration::from_secs(10);
/// How often that is doubled at most.
const DOUBLINGS_MAX: u32 = 6;

/// A job of which kube-scheduler could not place a pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Unplaced {
    /// How often, since all its pods were last bound.
    times: u32,
    /// Where its pods are not planned, until then.
    pub(super) avoided: Vec<NodeId>,
    /// How many of them are planned on one node at most, until then.
    pub(super) per_node: Option<NonZeroU32>,
    until: Time,
}

impl Unplaced {
    /// Whether it is planned otherwise than its user asks for.
    fn is_heeded(&self) -> bool {
        !self.avoided.is_empty() || self.per_node.is_some()
    }

    /// Heeds that pods found no place on these nodes, each of which had so many of the gang.
    fn learn(&mut self, nodes: BTreeMap<NodeId, u32>, until: Time) {
        for (node, bound) in nodes {
            match NonZeroU32::new(bound) {
                // The next one may have something against those that are there.
                Some(bound) => {
                    let least = self.per_node.map_or(bound, |known| known.min(bound));
                    self.per_node = Some(least);
                }
                None => self.avoided.push(node),
            }
        }
        self.until = until;
    }
}

/// What the passing of time amounts to.
#[derive(Debug, Default)]
pub struct Expired {
    /// What follows for the core.
    pub news: News,
    /// Jobs that were taken back, and may be planned again after this long.
    pub paused: Vec<(Uid, Duration)>,
}

impl Observed {
    /// When somebody will have been waited for long enough. Whoever follows knows the rest by the records.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.follows {
            return self.next_leftovers();
        }
        let Patience {
            node,
            victim,
            binding,
            ..
        } = self.patience;
        let nodes = self.unready.values().map(|since| due(*since, node));
        let starts = self.incomplete.values().map(|since| due(*since, binding));
        let victims = self.leavers.values().filter(|leaver| !leaver.is_overdue);
        let victims = victims.map(|leaver| decided(leaver) + victim);
        let put_off = self
            .leavers
            .iter()
            .filter(|(uid, leaver)| self.heeds_budgets(uid, leaver));
        let put_off = put_off.map(|(_, leaver)| decided(leaver) + self.patience.budgets());
        let avoided = self.unplaced.values().filter(|u| u.is_heeded());
        let avoided = avoided.map(|unplaced| unplaced.until);
        let back = self.next_back();
        nodes
            .chain(starts)
            .chain(victims)
            .chain(put_off)
            .chain(avoided)
            .chain(back)
            .chain(self.next_leftovers())
            .min()
    }

    /// Takes up what nobody waits for any more.
    pub fn expire(&mut self, now: Time) -> Expired {
        let mut expired = Expired::default();
        self.end_outliving(now, &mut expired.news);
        if !self.follows {
            self.give_up(now, &mut expired);
        }
        self.tell(&mut expired.news);
        expired
    }

    /// What only who decides gives up.
    fn give_up(&mut self, now: Time, expired: &mut Expired) {
        self.lose_nodes(now, &mut expired.news);
        self.insist(now, &mut expired.news);
        self.give_up_victims(now, &mut expired.news);
        self.take_back_starts(now, expired);
        self.let_back(now, &mut expired.news);
        for (uid, unplaced) in &mut self.unplaced {
            if unplaced.until <= now && unplaced.is_heeded() {
                unplaced.avoided.clear();
                unplaced.per_node = None;
                expired.news.touched.insert(uid.clone());
            }
        }
    }

    fn lose_nodes(&mut self, now: Time, news: &mut News) {
        let patience = self.patience.node;
        let mut lost = Vec::new();
        for (node, since) in &mut self.unready {
            if *since.get_or_insert(now) + patience <= now {
                lost.push(node.clone());
            }
        }
        for node in lost {
            self.unready.remove(&node);
            news.touched.extend(self.jobs_on(&node));
            self.lost.insert(node);
        }
    }

    /// Whether nobody knows of pods on a node: it does not exist, or was not ready for long.
    pub(super) fn is_lost(&self, node: &NodeId) -> bool {
        self.lost.contains(node) || !self.nodes.contains_key(node)
    }

    /// Budgets have put off evictions for long enough.
    fn insist(&mut self, now: Time, news: &mut News) {
        let patience = self.patience.budgets();
        let due = |(uid, leaver): &(&Uid, &Leaver)| {
            self.heeds_budgets(uid, leaver) && decided(leaver) + patience <= now
        };
        let due = self.leavers.iter().filter(due);
        let due: Vec<Uid> = due.map(|(uid, _)| uid.clone()).collect();
        for uid in due {
            if let Some(leaver) = self.leavers.get_mut(&uid) {
                leaver.insists = true;
            }
            news.touched.insert(uid);
        }
    }

    /// Whether PodDisruptionBudgets have a say in how a job leaves. Of what is suspended they have none.
    fn heeds_budgets(&self, uid: &str, leaver: &Leaver) -> bool {
        let view = self.jobs.get(uid);
        !leaver.insists && view.is_some_and(|view| !view.form.suspends())
    }

    /// The room of pods that do not end stays theirs, and is charged to their tenant again, but nobody
    /// is kept waiting for it. Those that are evicted one by one go on being evicted.
    fn give_up_victims(&mut self, now: Time, news: &mut News) {
        let patience = self.patience.victim;
        let mut overdue = Vec::new();
        for (uid, leaver) in &mut self.leavers {
            if !leaver.is_overdue && decided(leaver) + patience <= now {
                leaver.is_overdue = true;
                overdue.push(uid.clone());
            }
        }
        for uid in overdue {
            let view = self.jobs.get(&uid);
            let tenant = view.and_then(|view| self.namespaces.get(view.id.namespace()));
            let tenant = tenant.cloned();
            for pod in self.pods_in_seats(&uid) {
                self.detach(&pod, news);
                let charged =
                    |tenant: &TenantId| Event::PodCharged(pod.as_str().into(), tenant.clone());
                news.facts.extend(tenant.as_ref().map(charged));
            }
            news.touched.insert(uid);
        }
    }

    fn take_back_starts(&mut self, now: Time, expired: &mut Expired) {
        let patience = self.patience.binding;
        let mut late = Vec::new();
        for (uid, since) in &mut self.incomplete {
            if *since.get_or_insert(now) + patience <= now {
                late.push(uid.clone());
            }
        }
        for uid in late {
            self.incomplete.remove(&uid);
            let why = self.why_unplaced(&uid);
            let refusing = self.refusing_nodes(&uid);
            let unplaced = self.unplaced.entry(uid.clone()).or_default();
            unplaced.learn(refusing, now + AVOIDED_FOR);
            let pause = PAUSE * 2_u32.pow(unplaced.times.min(DOUBLINGS_MAX));
            unplaced.times += 1;
            self.refused.insert(uid.clone(), why);
            expired.paused.push((uid.clone(), pause));
            expired.news.touched.insert(uid);
        }
    }

    /// The pods of a job that kube-scheduler cannot place.
    fn refused_of(&self, uid: &str) -> impl Iterator<Item = &Unscheduled> + Clone {
        let all = self.unscheduled.values();
        all.filter(move |pod| pod.job == uid && pod.why.is_some())
    }

    /// How many pods of a job that are to have places kube-scheduler has not placed, as it says.
    fn unplaced_pods(&self, uid: &str) -> usize {
        let all = self.unscheduled.values();
        all.filter(|pod| pod.job == uid && pod.asks).count()
    }

    fn why_unplaced(&self, uid: &str) -> String {
        let mut refused = self.refused_of(uid);
        match refused.find_map(|pod| pod.why.as_ref()) {
            Some(why) => {
                format!("it was started, but kube-scheduler cannot place its pods: {why}")
            }
            None if self.unscheduled.values().any(|pod| pod.job == uid) => {
                "it was started, but kube-scheduler has not come to look at the nodes of its pods"
                    .to_owned()
            }
            None => "it was started, but not all of its pods are made: its Events say why, such \
                 as a ResourceQuota of its namespace"
                .to_owned(),
        }
    }

    /// Nodes where pods were to come that kube-scheduler does not place there, each with how many
    /// pods of the same job are on it.
    fn refusing_nodes(&self, uid: &str) -> BTreeMap<NodeId, u32> {
        let refused = self.refused_of(uid).filter(|pod| pod.asks);
        let Some(plan) = self
            .plans
            .get(uid)
            .filter(|_| refused.clone().next().is_some())
        else {
            return BTreeMap::new();
        };
        let mut nodes = BTreeMap::new();
        let others = self.unscheduled.values();
        let others = others.filter(|pod| pod.job == uid && pod.asks && pod.why.is_none());
        let theirs: BTreeSet<&NodeId> = others.filter_map(|pod| pod.overlooked.as_ref()).collect();
        let is_theirs = |seat: &u32| plan.node(*seat).is_some_and(|node| theirs.contains(node));
        for pod in refused {
            let own = pod.index.and_then(|index| plan.seat_of_index(index));
            let open = (0..plan.seats()).filter(|seat| own.is_none() && !plan.is_taken(*seat));
            let open = open.filter(|seat| !is_theirs(seat));
            let planned = own
                .into_iter()
                .chain(open)
                .filter_map(|seat| plan.node(seat));
            // Of one that takes nothing at all there is nothing to learn.
            let takes_work = |node: &&NodeId| {
                let known = self.nodes.get(node);
                known.is_none_or(|node| node.schedulable)
            };
            let planned = planned.filter(takes_work);
            nodes.extend(planned.map(|node| (node.clone(), 0)));
        }
        for uid in plan.pods() {
            let node = self.pods.get(uid).and_then(|pod| pod.node.as_ref());
            if let Some(bound) = node.and_then(|node| nodes.get_mut(node)) {
                *bound += 1;
            }
        }
        nodes
    }

    /// Begins or ends to wait for the pods of a started Job.
    pub(super) fn await_binding(&mut self, uid: &str) {
        let started = self.jobs.get(uid).zip(self.plans.get(uid));
        let started = started.filter(|(view, plan)| {
            !view.is_suspended && view.epoch == Some(plan.epoch()) && !view.has_ended
        });
        let Some((view, plan)) = started else {
            self.incomplete.remove(uid);
            return;
        };
        // One that is made in place of another has no place before that is gone, and what an autoscaler
        // adds has none at all.
        let missed = self.remaining(view).min(plan.seats());
        // To start it anew ends what would go on without the missed one.
        let ends_nothing = view.at_once || !plan.has_pods();
        let comes_anew = ends_nothing
            && plan.has_fewer_than(missed)
            && self.unplaced_pods(uid) > self.ending(view);
        if !plan.awaits_pods() && !comes_anew {
            self.incomplete.remove(uid);
            self.unplaced.remove(uid);
            return;
        }
        let is_unplaced = self.unscheduled.values().any(|pod| pod.job == uid);
        if is_unplaced || view.active.max(self.active_parts(uid)) < self.remaining(view) {
            self.incomplete.entry(uid.to_owned()).or_default();
        } else {
            self.incomplete.remove(uid);
        }
    }
}

/// What is due although nobody has looked at the clock yet is due now.
pub(super) fn due(since: Option<Time>, patience: Duration) -> Time {
    since.map_or(Time::ZERO, |since| since + patience)
}

/// When it was decided that it leaves.
pub(super) fn decided(leaver: &super::Leaver) -> Time {
    let ms = leaver.eviction.at.0.as_millisecond();
    Time::from_millis(u64::try_from(ms).unwrap_or_default())
}
