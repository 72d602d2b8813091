//! Who has to leave for whom. Victims are whole gangs, and nobody leaves unless the job that
//! they leave for then has a place.
//!
//! The rules stand in `rules`. Later rules keep the victims of earlier ones. Then whoever
//! is not needed stays, the last first, and what remains must still be legal.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Bound;
use core::time::Duration;

use crate::cluster::Cluster;
use crate::decision::Rule;
use crate::drf::Arena;
use crate::entry::may_by_share;
use crate::id::{JobId, NodeId, TenantId};
use crate::job::{Ask, Job, Slot};
use crate::policy::Order;
use crate::queue::{Line, Queue, Stay, Victim, rank};
use crate::reason::Reason;
use crate::resource::{Resource, Resources};
use crate::rooms::{BoardId, Rooms};
use crate::rules::{Form, Meeting, Preemptor};
use crate::share::Share;
use crate::standing::JobState;
use crate::target::Target;
use crate::task::Tasks;
use crate::time::Time;
use crate::tree::Seat;
use crate::trial;

/// Who leaves, and by which rule, in the order in which they were chosen.
pub(crate) type Victims = Vec<(JobId, Rule)>;

/// At most so many victims are looked at for one job: a bound on what a search costs.
const LOOKED_AT_MAX: usize = 4096;

/// The search for those who have to leave for one job.
pub(crate) struct Search<'a> {
    /// The state before anybody leaves.
    start: &'a Cluster,
    queue: &'a Queue,
    /// Where room for the job is counted.
    rooms: (&'a Rooms, BoardId),
    /// The state when those chosen so far have left.
    pub(crate) then: Cluster,
    job: &'a Job,
    ask: Ask,
    claim: Preemptor,
    /// Tasks that would find room then.
    slots: u64,
    chosen: Victims,
    now: Time,
    /// GPU-milliseconds of work that may still be lost.
    may_lose: Option<u64>,
    /// Admitted just now: they were not there to be evicted.
    fresh: &'a BTreeSet<JobId>,
    looked_at: usize,
    /// Those chosen.
    gone: BTreeSet<JobId>,
    /// Room is all that it lacks, and not on every node: whoever leaves must leave it room.
    is_picky: bool,
    /// The share of our side with the job where it meets others', by what is above both.
    ours: Vec<(Seat, Option<Share>)>,
}

/// What a job asks for, and what it finds.
pub(crate) struct Wants {
    /// What it would be charged.
    pub(crate) request: Resources,
    /// Tasks that find room now.
    pub(crate) slots: u64,
    /// Some nodes would not do even if they were empty.
    pub(crate) is_picky: bool,
}

impl<'a> Search<'a> {
    /// A search on behalf of a waiting job.
    pub(crate) fn new(
        arena: &Arena<'a>,
        board: BoardId,
        fresh: &'a BTreeSet<JobId>,
        (job, seat): (&'a Job, Seat),
        wants: Wants,
        may_lose: Option<u64>,
    ) -> Self {
        let start = arena.cluster;
        let mut search = Self {
            start,
            queue: arena.queue,
            rooms: (arena.rooms, board),
            then: start.clone(),
            ask: Ask::of(&job.task, &job.needs).unwrap_or(Ask::Nothing),
            job,
            claim: Preemptor {
                seat,
                request: wants.request,
                asked: job.task,
                blocking: Vec::new(),
            },
            slots: wants.slots,
            chosen: Victims::new(),
            now: arena.now,
            may_lose,
            fresh,
            looked_at: 0,
            gone: BTreeSet::new(),
            is_picky: false,
            ours: Vec::new(),
        };
        search.await_leaving();
        search.is_picky = wants.is_picky && search.has_quota();
        if search.claim.owns_something(&start.tree) {
            search.claim.blocking = search.what_blocks();
        }
        search
    }

    /// What those leave who were evicted before is as good as free.
    fn await_leaving(&mut self) {
        let leaving = self.start.leaving.iter();
        for (job, tasks) in leaving.filter_map(|id| self.start.running(id)) {
            self.change(tasks, |then| then.clear(job, tasks));
        }
    }

    /// Those who have to leave, with the state that follows; `None` where nobody can be made to
    /// so that the job has a place. Also, how many were looked at.
    pub(crate) fn find(mut self) -> (Option<(Victims, Cluster)>, usize) {
        let found = match self.start.policy.order {
            Order::Drf => {
                let evicted = self.times_evicted();
                let own = |search: &mut Self| {
                    search.by_priority() || search.by_tenant(Rule::Reclaim, Form::Strict)
                };
                let by_share = |search: &mut Self| {
                    search.by_tenant(Rule::FairShare, Form::Strict)
                        || search.by_tenant(Rule::FairShare, Form::Initial)
                };
                let may_by_share = evicted == 0 && may_by_share(self.start, self.claim.seat);
                (evicted <= 1 && own(&mut self)) || (may_by_share && by_share(&mut self))
            }
            _ => self.by_order(),
        };
        // Where quota that was given up a moment ago was all that it lacked, nobody need leave, and
        // it starts when it is its turn.
        let found = found && !self.chosen.is_empty() && self.give_back();
        let looked_at = self.looked_at;
        (found.then_some((self.chosen, self.then)), looked_at)
    }

    /// Since the last arrival or end of a job.
    fn times_evicted(&self) -> u32 {
        let times = self.start.evicted.get(&self.job.id);
        times.copied().unwrap_or_default()
    }

    /// Whether the job would have its place and its quota now.
    fn fits(&self) -> bool {
        self.slots >= u64::from(self.job.gang) && self.has_quota()
    }

    fn has_quota(&self) -> bool {
        self.quota(&self.claim.request) == Some(Ok(()))
    }

    /// Whether its tenant, or one above it, may not have this much of a resource.
    fn is_refused(&self, resource: Resource) -> bool {
        let amount = self.claim.request.get(resource);
        self.quota(&Resources::ZERO.with(resource, amount)) != Some(Ok(()))
    }

    fn quota(&self, request: &Resources) -> Option<Result<(), Reason>> {
        let spec = self.then.tenants.get(&self.job.tenant)?.spec.as_deref()?;
        let (kind, seat) = (self.job.kind(), self.claim.seat);
        Some(trial::quota(&self.then, spec, seat, &kind, request))
    }

    /// Rule 1.
    fn by_priority(&mut self) -> bool {
        let Some(line) = self.queue.lines.get(&self.job.tenant) else {
            return false;
        };
        for (victim, stay) in &line.running {
            if self.fits() || victim.priority >= self.job.priority {
                break;
            }
            if self.may_leave((victim, stay)) {
                self.choose(&victim.job, Rule::Priority);
            }
        }
        self.fits()
    }

    /// The only rule of an order other than by share.
    fn by_order(&mut self) -> bool {
        let running = self.queue.lines.values().flat_map(|line| &line.running);
        let own = self
            .start
            .jobs
            .get(&self.job.id)
            .map(|state| self.place(state));
        let later = |(victim, stay): (&'a Victim, &'a Stay)| {
            let theirs = self.place(self.start.jobs.get(&victim.job)?);
            (Some(theirs) > own).then_some((theirs, victim, stay))
        };
        let mut later: Vec<_> = running.filter_map(later).collect();
        later.sort_by(|(a, x, _), (b, y, _)| b.cmp(a).then_with(|| x.cmp(y)));
        for (_, victim, stay) in later {
            if self.fits() {
                break;
            }
            if self.may_leave((victim, stay)) {
                self.choose(&victim.job, Rule::Order);
            }
        }
        self.fits()
    }

    /// Where a job stands among all jobs now; the least comes first.
    fn place(&self, state: &JobState) -> (u64, Reverse<i32>) {
        let order = self.start.policy.order;
        let running = state
            .started
            .map_or(Duration::ZERO, |at| self.now.since(at));
        let priority = if order == Order::Priority {
            state.job.priority
        } else {
            0
        };
        (
            rank(order, &state.job, state.ran + running),
            Reverse(priority),
        )
    }

    /// Rules 2 and 3: from the tenant with the highest share, as long as the rule allows it.
    fn by_tenant(&mut self, rule: Rule, form: Form) -> bool {
        if rule == Rule::Reclaim && self.claim.blocking.is_empty() {
            return self.fits();
        }
        if rule == Rule::Reclaim && !self.claim.is_within_guarantee(&self.then.tree) {
            return self.fits();
        }
        let others = self.queue.lines.iter();
        let others = others.filter(|(tenant, _)| **tenant != self.job.tenant);
        let tree = &self.start.tree;
        let target = |(tenant, line): (&TenantId, &'a Line)| {
            let meeting = self.claim.meeting(tree, tree.seat(tenant)?)?;
            Some(Target::new(meeting, line))
        };
        let all = others.filter_map(target).collect::<Vec<_>>().into_iter();
        self.ours.clear();
        let mut targets = Vec::with_capacity(all.len());
        self.enter(&mut targets, all, rule);
        while !self.fits() && self.looked_at < LOOKED_AT_MAX {
            let Some(mut highest) = targets.pop() else {
                break;
            };
            let Some(victim) = self.next_of(&mut highest, rule, form) else {
                continue;
            };
            self.choose(victim, rule);
            // Nothing changes for those that share no part of the way up with who has left, unless we do.
            let (tree, left) = (&self.then.tree, highest.meeting.target);
            let is_near = tree.are_kin(left, self.claim.seat);
            let changes =
                |target: &mut Target<'_>| is_near || tree.are_kin(left, target.meeting.target);
            let changed: Vec<Target<'a>> = targets.extract_if(.., changes).collect();
            if is_near {
                self.ours.clear();
            }
            self.enter(&mut targets, changed.into_iter().chain([highest]), rule);
        }
        self.fits()
    }

    /// Puts tenants in the order of their shares among the others, the highest last. Those of which
    /// nothing may be taken are left out.
    fn enter(
        &mut self,
        targets: &mut Vec<Target<'a>>,
        more: impl Iterator<Item = Target<'a>>,
        rule: Rule,
    ) {
        for mut target in more {
            let ours = self.ours(target.meeting);
            let tree = &self.then.tree;
            if self.claim.is_open(tree, (target.meeting, ours), rule) {
                target.measure(tree, &self.job.task);
                let is_lower = |other: &Target<'_>| other.is_below(&target, tree);
                targets.insert(targets.partition_point(is_lower), target);
            }
        }
    }

    /// The share of our side with the job, where it meets a target's.
    fn ours(&mut self, meeting: Meeting) -> Option<Share> {
        let known = self
            .ours
            .iter()
            .find(|(common, _)| *common == meeting.common);
        if let Some((_, known)) = known {
            return *known;
        }
        let share = self.claim.share_with_job(&self.then.tree, meeting);
        self.ours.push((meeting.common, share));
        share
    }

    /// The next job of a tenant that may leave and that the rule lets the job push out.
    fn next_of(&mut self, target: &mut Target<'a>, rule: Rule, form: Form) -> Option<&'a JobId> {
        let after = target.last.map_or(Bound::Unbounded, Bound::Excluded);
        let left = (after, Bound::Unbounded);
        for (victim, stay) in target.line.running.range::<Victim, _>(left) {
            if self.looked_at >= LOOKED_AT_MAX {
                break;
            }
            target.last = Some(victim);
            if self.may_leave((victim, stay)) {
                self.looked_at += 1;
                let sides = (target.meeting, self.ours(target.meeting));
                let held = self.held(&victim.job);
                let allows = |held| self.claim.allows(&self.then.tree, sides, &held, rule, form);
                if held.is_some_and(allows) {
                    return Some(&victim.job);
                }
            }
        }
        None
    }

    /// Whether a job may be made to leave at all.
    fn may_leave(&self, (victim, stay): (&Victim, &Stay)) -> bool {
        let ripe = stay.is_ripe(self.now, self.start.policy.preemption.min_runtime);
        let affordable = |left| stay.loss(self.now) <= left;
        stay.is_open
            && ripe
            && self.may_lose.is_none_or(affordable)
            && !self.fresh.contains(&victim.job)
            && !self.gone.contains(&victim.job)
            && (!self.is_picky || self.could_use(&victim.job))
    }

    /// Whether the job could use a node that another is on, if nothing else ran there.
    fn could_use(&self, id: &JobId) -> bool {
        let (rooms, board) = self.rooms;
        let suits = |(slot, _): (&Slot, _)| rooms.suits_when_empty(board, &slot.node);
        let found = self.start.running(id);
        found.is_some_and(|(_, tasks)| tasks.held().any(suits))
    }

    /// Whose a job is, and what it is charged.
    fn charged(&self, id: &JobId) -> Option<(Seat, Resources)> {
        let state = self.start.jobs.get(id)?;
        let seat = self.start.tree.seat(&state.job.tenant)?;
        Some((seat, self.held(id)?))
    }

    /// What a job is charged.
    fn held(&self, id: &JobId) -> Option<Resources> {
        let (job, tasks) = self.start.running(id)?;
        let slots = tasks.held().map(|(slot, _)| slot);
        Some(crate::holdings::charges(job, slots))
    }

    /// Has a job leave.
    fn choose(&mut self, id: &JobId, rule: Rule) {
        self.looked_at += 1;
        let lost = self.start.jobs.get(id).map(|state| state.loss(self.now));
        let left = self.may_lose.zip(lost);
        self.may_lose = left.map(|(left, lost)| left.saturating_sub(lost));
        self.vacate(id);
        self.gone.insert(id.clone());
        self.chosen.push((id.clone(), rule));
    }

    fn vacate(&mut self, id: &JobId) {
        if let Some((job, tasks)) = self.start.running(id) {
            self.change(tasks, |then| then.vacate(job, tasks));
        }
    }

    /// Changes the state where these tasks are, and counts what room there is then.
    fn change(&mut self, tasks: &Tasks, change: impl FnOnce(&mut Cluster)) {
        let nodes = tasks.nodes();
        self.slots -= self.slots_on(&nodes);
        change(&mut self.then);
        self.slots += self.slots_on(&nodes);
    }

    /// Tasks of the job that find room on these nodes then.
    fn slots_on(&self, nodes: &[&NodeId]) -> u64 {
        let reservation = self
            .then
            .reservation
            .as_ref()
            .filter(|r| r.job != self.job.id);
        let open = |id: &&NodeId| !reservation.is_some_and(|r| r.nodes.contains(*id));
        let count = |id: &NodeId| Some(self.then.nodes.get(id)?.times(self.job, &self.ask));
        let counts = nodes.iter().copied().filter(open).filter_map(count);
        counts.map(u64::from).sum()
    }

    /// Lets those stay who are not needed, the last first; whether what remains is legal.
    fn give_back(&mut self) -> bool {
        for index in (0..self.chosen.len()).rev() {
            if self.chosen.len() == 1 {
                break;
            }
            let (id, rule) = self.chosen.remove(index);
            if let Some((job, tasks)) = self.start.running(&id) {
                self.change(tasks, |then| then.reoccupy(job, tasks));
            }
            if !self.fits() || !self.is_all_legal() {
                self.vacate(&id);
                self.chosen.insert(index, (id, rule));
            }
        }
        self.is_all_legal()
    }

    /// Whether each of those chosen may be pushed out when those before it have left.
    fn is_all_legal(&self) -> bool {
        if self.chosen.iter().all(|(_, rule)| *rule == Rule::Priority) {
            return true;
        }
        // What they hold of nodes makes no difference.
        let mut tree = self.start.tree.clone();
        self.chosen.iter().enumerate().all(|(number, (id, rule))| {
            let Some((target, held)) = self.charged(id) else {
                return false;
            };
            let Some(meeting) = self.claim.meeting(&tree, target) else {
                return false;
            };
            let sides = (meeting, self.claim.share_with_job(&tree, meeting));
            let allows = |form| self.claim.allows(&tree, sides, &held, *rule, form);
            let is_legal = allows(Form::Strict) || allows(Form::Initial);
            if number + 1 < self.chosen.len() {
                tree.remove(target, &held);
            }
            is_legal
        })
    }

    /// The resources whose shortage blocks the job: those that its tenant may not have; else
    /// those of which too little is free in all; else those of which too little is free in one
    /// place; else all that it asks for.
    fn what_blocks(&self) -> Vec<Resource> {
        let counts =
            |r: &Resource| self.claim.request.get(*r) > 0 && self.then.capacity.get(*r) > 0;
        let asked: Vec<Resource> = Resource::ALL.into_iter().filter(counts).collect();
        let short = |r: &Resource| {
            self.is_refused(*r) || self.claim.request.get(*r) > self.then.free.get(*r)
        };
        let scarce: Vec<Resource> = asked.iter().copied().filter(short).collect();
        if !scarce.is_empty() {
            return scarce;
        }
        let open = self
            .then
            .nodes
            .values()
            .filter_map(|node| Some((node.open()?, node.free()?)));
        let mut times = [0_u64; Resource::ALL.len()];
        let apart = |times: &[u64], r: &Resource| times[*r as usize] < u64::from(self.job.gang);
        for (_, free) in open.filter(|(spec, _)| spec.allows(&self.job.needs)) {
            if !asked.iter().any(|r| apart(&times, r)) {
                return asked;
            }
            for r in &asked {
                times[*r as usize] += free
                    .get(*r)
                    .checked_div(self.job.task.get(*r))
                    .unwrap_or_default();
            }
        }
        let short = |r: &Resource| apart(&times, r);
        let apart: Vec<Resource> = asked.iter().copied().filter(short).collect();
        if apart.is_empty() { asked } else { apart }
    }
}

/// GPU-milliseconds of work that are lost when a job leaves whose work is safe up to then.
pub(crate) fn loss(milli_gpu: u64, safe: Time, now: Time) -> u64 {
    let span = u64::try_from(now.since(safe).as_millis()).unwrap_or(u64::MAX);
    milli_gpu.saturating_mul(span) / 1000
}
