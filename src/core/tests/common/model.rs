//! The rules of fair sharing once more, as simply as they can be written: no indexes, nothing
//! kept between two questions, every sum made anew. What the core decides is held against it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use prorata_core::{
    Decision, Job, JobId, NodeId, Placement, Resource, Resources, Rule, Tenant, TenantId,
};

use super::Setting;

/// A ratio; infinite ones compare by what they were before they were divided by zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    infinite: bool,
    above: u128,
    below: u128,
}

impl Ratio {
    const ZERO: Self = Self {
        infinite: false,
        above: 0,
        below: 1,
    };

    fn is_zero(self) -> bool {
        self.above == 0
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ratio {}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |a: &Self, b: &Self| a.above * b.below;
        let ratio = product(self, other).cmp(&product(other, self));
        self.infinite.cmp(&other.infinite).then(ratio)
    }
}

/// What is true, with nothing derived.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    nodes: BTreeMap<NodeId, Resources>,
    tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) placed: BTreeMap<JobId, Placement>,
    /// How often each was evicted since the last arrival or end.
    pub(crate) evicted: BTreeMap<JobId, u32>,
}

/// No tenant: the root.
type Seat = Option<TenantId>;

impl Model {
    pub(crate) fn of(setting: &Setting) -> Self {
        let nodes = setting.nodes.iter();
        let tenants = setting.tenants.iter();
        let jobs = setting.running.iter().map(|(job, _)| job);
        let placed = setting.running.iter();
        Self {
            nodes: nodes.map(|n| (n.id.clone(), n.allocatable)).collect(),
            tenants: tenants.map(|t| (t.id.clone(), t.clone())).collect(),
            jobs: jobs
                .chain(&setting.waiting)
                .map(|job| (job.id.clone(), job.clone()))
                .collect(),
            placed: placed
                .map(|(job, at)| (job.id.clone(), at.clone()))
                .collect(),
            evicted: BTreeMap::new(),
        }
    }

    pub(crate) fn submit(&mut self, job: &Job) {
        self.jobs.insert(job.id.clone(), job.clone());
        self.evicted.clear();
    }

    fn parent(&self, id: &TenantId) -> Seat {
        self.tenants[id].parent.clone()
    }

    fn children(&self, seat: &Seat) -> Vec<TenantId> {
        let all = self.tenants.values().filter(|t| t.parent == *seat);
        all.map(|t| t.id.clone()).collect()
    }

    /// From the tenant up to the one right below the root.
    fn way(&self, id: &TenantId) -> Vec<TenantId> {
        let up = std::iter::successors(Some(id.clone()), |id| self.parent(id));
        up.collect()
    }

    fn capacity(&self, r: Resource) -> u64 {
        self.nodes.values().map(|node| node.get(r)).sum()
    }

    fn guaranteed(&self, id: &TenantId, r: Resource) -> u64 {
        let below = self.children(&Some(id.clone()));
        let below: u64 = below.iter().map(|child| self.guaranteed(child, r)).sum();
        self.tenants[id].guaranteed.get(r).max(below)
    }

    fn subtree(&self, id: &TenantId, r: Resource) -> u64 {
        let children = self.children(&Some(id.clone()));
        let below: u64 = children.iter().map(|c| self.guaranteed(c, r)).sum();
        let lent: u64 = children
            .iter()
            .map(|c| self.subtree(c, r) - self.kept(c, r))
            .sum();
        self.guaranteed(id, r) - below + lent
    }

    fn kept(&self, id: &TenantId, r: Resource) -> u64 {
        let lends = self.tenants[id].lending_limit.get(r);
        lends.map_or(0, |lends| self.subtree(id, r).saturating_sub(lends))
    }

    fn usage(&self, id: &TenantId, r: Resource) -> u64 {
        let children = self.children(&Some(id.clone()));
        if children.is_empty() {
            let own = self.placed.keys().map(|id| &self.jobs[id]);
            let own = own.filter(|job| job.tenant == *id);
            return own.map(|job| request(job).get(r)).sum();
        }
        let above = |c: &TenantId| self.usage(c, r).saturating_sub(self.kept(c, r));
        children.iter().map(above).sum()
    }

    fn borrowed(&self, id: &TenantId, r: Resource) -> u64 {
        self.usage(id, r).saturating_sub(self.subtree(id, r))
    }

    fn potential(&self, seat: &Seat, r: Resource) -> u64 {
        let Some(id) = seat else {
            let kept: u64 = self.tenants.keys().map(|id| self.kept(id, r)).sum();
            return self.capacity(r).saturating_sub(kept);
        };
        let most = self.kept(id, r) + self.potential(&self.parent(id), r);
        self.tenants[id].limit.get(r).map_or(most, |l| l.min(most))
    }

    fn share(&self, id: &TenantId, asked: &Resources) -> Ratio {
        let leaf = self.children(&Some(id.clone())).is_empty();
        let weight = self.tenants[id].weight;
        let ratio = |r: Resource| {
            let potential = self.potential(&self.parent(id), r);
            let borrowed = self.borrowed(id, r);
            if potential == 0 || borrowed == 0 || !(leaf || asked.get(r) > 0) {
                return Ratio::ZERO;
            }
            let infinite = weight.numerator() == 0;
            let weight = if infinite {
                (1, 1)
            } else {
                (weight.numerator(), weight.denominator())
            };
            Ratio {
                infinite,
                above: u128::from(borrowed) * u128::from(weight.1),
                below: u128::from(potential) * u128::from(weight.0),
            }
        };
        Resource::ALL.into_iter().map(ratio).max().unwrap()
    }

    /// Whether the job's tenant, and those above it, may hold it as well.
    fn has_quota(&self, job: &Job) -> bool {
        let request = request(job);
        let asked = Resource::ALL.into_iter().filter(|r| request.get(*r) > 0);
        asked.into_iter().all(|r| {
            let amount = i128::from(request.get(r));
            let own = self.tenants[&job.tenant].guaranteed.get(r);
            let rest = i128::from(own) - i128::from(self.usage(&job.tenant, r));
            amount <= self.room(&Some(job.tenant.clone()), r) && (job.preemptible || amount <= rest)
        })
    }

    /// What of one resource those below a seat can still have. A parent that is above what it may
    /// have takes nothing from what its children keep for themselves.
    fn room(&self, seat: &Seat, r: Resource) -> i128 {
        let Some(id) = seat else {
            let kept: u64 = self.tenants.keys().map(|id| self.kept(id, r)).sum();
            let tops = self.children(&None);
            let above = |id: &TenantId| self.usage(id, r).saturating_sub(self.kept(id, r));
            let used: u64 = tops.iter().map(above).sum();
            return i128::from(self.capacity(r)) - i128::from(kept) - i128::from(used);
        };
        let kept = self.kept(id, r).saturating_sub(self.usage(id, r));
        let most = i128::from(kept) + self.room(&self.parent(id), r).max(0);
        let limit = self.tenants[id].limit.get(r);
        let left = |limit| i128::from(limit) - i128::from(self.usage(id, r));
        limit.map_or(most, |limit| most.min(left(limit)))
    }

    /// The same with this job in place; where does not matter.
    fn with(&self, job: &Job) -> Self {
        let mut with = self.clone();
        with.placed
            .insert(job.id.clone(), std::iter::empty().collect());
        with
    }

    fn without(&self, job: &JobId) -> Self {
        let mut without = self.clone();
        without.placed.remove(job);
        without
    }

    /// Whether the whole gang finds room on the nodes.
    pub(crate) fn has_room(&self, job: &Job) -> bool {
        let times = |(id, all): (&NodeId, &Resources)| {
            let mut free = *all;
            for (other, placement) in &self.placed {
                let here = placement.slots().filter(|slot| slot.node == *id);
                here.for_each(|_| free = free.beyond(&self.jobs[other].task));
            }
            u64::from(job.task.times_in(&free))
        };
        self.nodes.iter().map(times).sum::<u64>() >= u64::from(job.gang)
    }

    fn waiting(&self) -> impl Iterator<Item = &Job> {
        let waits = |job: &&Job| !self.placed.contains_key(&job.id);
        self.jobs.values().filter(waits)
    }

    /// Who starts next, of all that wait.
    pub(crate) fn next(&self) -> Option<JobId> {
        let could = |job: &&Job| self.has_room(job) && self.has_quota(job);
        let able: Vec<&Job> = self.waiting().filter(could).collect();
        self.best_below(&None, &able).map(|job| job.id.clone())
    }

    fn best_below<'j>(&self, seat: &Seat, able: &[&'j Job]) -> Option<&'j Job> {
        let children = self.children(seat);
        if children.is_empty() {
            let own = able.iter().filter(|job| Some(&job.tenant) == seat.as_ref());
            let turn = |job: &&&Job| {
                let order = std::cmp::Reverse(job.priority);
                (order, job.submitted, job.id.clone())
            };
            return own.min_by_key(turn).copied();
        }
        let candidate = |child: &TenantId| {
            let job = self.best_below(&Some(child.clone()), able)?;
            let with = self.with(job);
            let claim = (
                with.is_borrowing(child, &job.task),
                with.share(child, &job.task),
                self.share(child, &job.task),
                job.submitted,
                job.id.clone(),
            );
            Some((claim, job))
        };
        let best = children
            .iter()
            .filter_map(candidate)
            .min_by(|a, b| a.0.cmp(&b.0));
        best.map(|(_, job)| job)
    }

    /// Whether the tenant is above what it owns of what is asked for; where it owns nothing of
    /// any of that, it can only borrow.
    fn is_borrowing(&self, id: &TenantId, asked: &Resources) -> bool {
        let owned = |r: &Resource| asked.get(*r) > 0 && self.subtree(id, *r) > 0;
        let owned: Vec<Resource> = Resource::ALL.into_iter().filter(owned).collect();
        owned.is_empty() || owned.iter().any(|r| self.borrowed(id, *r) > 0)
    }

    /// What is wrong with having these leave for a job, in this order; nothing should be.
    pub(crate) fn wrong_with(&self, preemptor: &Job, victims: &[(JobId, Rule)]) -> Option<String> {
        let short = self.short_of(preemptor);
        let mut then = self.clone();
        for (victim, rule) in victims {
            let fault = then.illegal(preemptor, &then.jobs[victim], *rule, &short);
            if let Some(fault) = fault {
                return Some(format!("{victim} for {} by {rule}: {fault}", preemptor.id));
            }
            then.placed.remove(victim);
        }
        if !(then.has_room(preemptor) && then.has_quota(preemptor)) {
            return Some(format!("{} still has no place", preemptor.id));
        }
        let needless = (0..victims.len()).find(|one| {
            let mut rest = victims.to_vec();
            rest.remove(*one);
            !rest.is_empty() && self.serves(preemptor, &rest)
        });
        needless.map(|one| format!("{} need not leave", victims[one].0))
    }

    /// Whether it is legal and enough that these leave.
    fn serves(&self, preemptor: &Job, victims: &[(JobId, Rule)]) -> bool {
        let short = self.short_of(preemptor);
        let mut then = self.clone();
        let legal = victims.iter().all(|(victim, rule)| {
            let fault = then.illegal(preemptor, &then.jobs[victim], *rule, &short);
            then.placed.remove(victim);
            fault.is_none()
        });
        legal && then.has_room(preemptor) && then.has_quota(preemptor)
    }

    fn illegal(
        &self,
        preemptor: &Job,
        victim: &Job,
        rule: Rule,
        short: &[Resource],
    ) -> Option<&'static str> {
        if !self.placed.contains_key(&victim.id) {
            return Some("it does not run");
        }
        if !victim.preemptible || victim.protected {
            return Some("it may not be evicted");
        }
        let own = preemptor.tenant == victim.tenant;
        let evicted = self.evicted.get(&preemptor.id).copied().unwrap_or_default();
        match rule {
            _ if evicted > 1 => Some("it was evicted twice"),
            Rule::Priority if !own => Some("it is another tenant's"),
            Rule::Priority => (victim.priority >= preemptor.priority).then_some("priority"),
            _ if own => Some("it is its own tenant's"),
            Rule::Reclaim => self.cannot_reclaim(preemptor, victim, short),
            Rule::FairShare if evicted > 0 => Some("it was evicted"),
            Rule::FairShare => self.cannot_by_share(preemptor, victim),
            Rule::Order => Some("the order is by share"),
        }
    }

    /// The preemptor is within its guarantee on what it is short of, and the victim holds some of
    /// that, which its side borrows all the way up.
    fn cannot_reclaim(
        &self,
        preemptor: &Job,
        victim: &Job,
        short: &[Resource],
    ) -> Option<&'static str> {
        let with = self.with(preemptor);
        let own =
            |r: &Resource| with.usage(&preemptor.tenant, *r) <= self.subtree(&preemptor.tenant, *r);
        let (_, theirs) = self.sides(preemptor, victim);
        let borrowed = |r: &Resource| {
            request(victim).get(*r) > 0 && theirs.iter().all(|id| self.borrowed(id, *r) > 0)
        };
        match (short.iter().all(own), short.iter().any(borrowed)) {
            (false, _) => Some("it is not within its guarantee"),
            (_, false) => Some("its side borrows nothing of that"),
            _ => None,
        }
    }

    /// The resources whose shortage blocks a job: those that its tenant may not have or of which
    /// too little is free in all; else those of which too little is free in one place.
    fn short_of(&self, job: &Job) -> Vec<Resource> {
        let asked = Resource::ALL
            .into_iter()
            .filter(|r| request(job).get(*r) > 0);
        let asked: Vec<Resource> = asked.collect();
        let free = |node: &NodeId, r: Resource| {
            let here =
                |placement: &Placement| placement.slots().filter(|s| s.node == *node).count();
            let taken = self.placed.iter().map(|(id, placement)| {
                self.jobs[id].task.get(r) * u64::try_from(here(placement)).unwrap()
            });
            self.nodes[node].get(r) - taken.sum::<u64>()
        };
        let in_all = |r: Resource| self.nodes.keys().map(|node| free(node, r)).sum::<u64>();
        let lacks = |r: &Resource| {
            let amount = request(job).get(*r);
            let room = self.room(&Some(job.tenant.clone()), *r);
            amount > in_all(*r) || i128::from(amount) > room
        };
        let short: Vec<Resource> = asked.iter().copied().filter(lacks).collect();
        if !short.is_empty() {
            return short;
        }
        let times = |r: Resource| {
            let times = self
                .nodes
                .keys()
                .map(|node| free(node, r) / job.task.get(r));
            times.sum::<u64>()
        };
        let apart = asked
            .iter()
            .copied()
            .filter(|r| times(*r) < u64::from(job.gang));
        let apart: Vec<Resource> = apart.collect();
        if apart.is_empty() { asked } else { apart }
    }

    fn cannot_by_share(&self, preemptor: &Job, victim: &Job) -> Option<&'static str> {
        let asked = &preemptor.task;
        let (ours, theirs) = self.sides(preemptor, victim);
        if theirs.iter().any(|id| self.share(id, asked).is_zero()) {
            return Some("its side borrows nothing");
        }
        let (our_top, their_top) = (ours.last().unwrap(), theirs.last().unwrap());
        let our_share = self.with(preemptor).share(our_top, asked);
        let before = self.share(their_top, asked);
        let after = self.without(&victim.id).share(their_top, asked);
        let strict = our_share <= after && after < before;
        let initial = our_share < before && after < before;
        (!(strict || initial)).then_some("shares")
    }

    /// Each one's tenants from the leaf up to right below what they have in common.
    fn sides(&self, a: &Job, b: &Job) -> (Vec<TenantId>, Vec<TenantId>) {
        let (a, b) = (self.way(&a.tenant), self.way(&b.tenant));
        let only = |this: &[TenantId], other: &[TenantId]| {
            let apart = this.iter().filter(|id| !other.contains(id));
            apart.cloned().collect()
        };
        (only(&a, &b), only(&b, &a))
    }

    /// Holds the decisions of one cycle against the rules, and carries them out. `promised` is
    /// where those go for whom others leave.
    pub(crate) fn check(&mut self, decisions: &[Decision], promised: &BTreeMap<JobId, Placement>) {
        let mut evictions: Vec<(JobId, Vec<(JobId, Rule)>)> = Vec::new();
        let mut promised = promised.clone();
        for decision in decisions {
            match decision {
                // Others left for it, but their quota was all that it lacked.
                Decision::Admit(job, placement) if !evictions.is_empty() => {
                    assert!(evictions.iter().any(|(preemptor, _)| preemptor == job));
                    promised.insert(job.clone(), placement.clone());
                }
                Decision::Admit(job, placement) => {
                    if !self.placed.contains_key(job) {
                        assert_eq!(self.next().as_ref(), Some(job), "who is next");
                    }
                    self.placed.insert(job.clone(), placement.clone());
                }
                Decision::Evict {
                    victim,
                    preemptor,
                    rule,
                } => {
                    let entry = (victim.clone(), *rule);
                    match evictions.last_mut().filter(|(last, _)| last == preemptor) {
                        Some((_, victims)) => victims.push(entry),
                        None => evictions.push((preemptor.clone(), vec![entry])),
                    }
                }
            }
        }
        assert_eq!(self.next(), None, "what could start is started");
        for (preemptor, victims) in evictions {
            let job = self.jobs[&preemptor].clone();
            assert_eq!(self.wrong_with(&job, &victims), None, "{victims:?}");
            for (victim, _) in &victims {
                self.placed.remove(victim);
                *self.evicted.entry(victim.clone()).or_default() += 1;
            }
            self.placed
                .insert(preemptor.clone(), promised[&preemptor].clone());
        }
    }

    /// A job that waits although one other that may be evicted for it, by priority or to reclaim
    /// what is guaranteed, is all that stands in its way.
    pub(crate) fn cheated(&self) -> Option<(JobId, JobId)> {
        let cheats = |job: &Job| {
            let serves = |victim: &&JobId| {
                let rules = [Rule::Priority, Rule::Reclaim];
                rules
                    .iter()
                    .any(|rule| self.serves(job, &[((*victim).clone(), *rule)]))
            };
            Some((job.id.clone(), self.placed.keys().find(serves)?.clone()))
        };
        self.waiting().find_map(cheats)
    }
}

/// What a whole gang asks for.
fn request(job: &Job) -> Resources {
    job.task.checked_mul(job.gang).unwrap()
}
