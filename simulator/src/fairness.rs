//! How fair a run was: what it adds up to, moment by moment.
//!
//! All integrals run over the window from the first submission to the run's end.

use std::time::Duration;

use prorata_core::{Resource, Resources, Tenant, Time};

use crate::metrics::{Claim, entitlements, float, jain};
use crate::run::Run;
use crate::scenario::Scenario;
use crate::timeline::{Moment, Obstacle, Standing};

/// A stretch of time during which nothing changed.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// When it begins.
    pub from: Time,
    /// How long it lasts, in hours.
    pub hours: f64,
    /// How each tenant stands.
    pub tenants: &'a [Standing],
    /// The GPUs that each tenant is entitled to: see [`Forest::entitled`].
    pub entitled: Vec<f64>,
}

/// What a run adds up to for one tenant, with all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TenantSums {
    /// GPU-hours held: ∫ GPUs held dt.
    pub gpu_hours: f64,
    /// GPU-hours that were due and not given: ∫ max(0, min(entitled, wanted) − held) dt.
    /// A tenant that wants nothing has no deficit. A parent's is the sum of its children's.
    pub deficit_gpu_hours: f64,
}

/// What a run adds up to for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Each tenant, in the scenario's order.
    pub tenants: Vec<TenantSums>,
    /// GPU-hours of all nodes, whether or not they worked.
    pub fleet_gpu_hours: f64,
    /// GPU-hours of nodes that did not work.
    pub down_gpu_hours: f64,
    /// GPU-hours that were idle because nobody wanted them.
    pub unwanted_gpu_hours: f64,
    /// GPU-hours that were idle although jobs waited, by what was in the way. Where several
    /// things were, by how many GPUs the jobs behind each asked for.
    pub obstructed_gpu_hours: [f64; Obstacle::ALL.len()],
    /// GPU-hours held ÷ GPU-hours of nodes that worked, from first submission to end.
    pub allocated: f64,
    /// The same over the time during which some job waited; `None` when none ever did.
    pub allocated_while_waiting: Option<f64>,
    /// Greatest difference between two tenants that both have jobs waiting, of their dominant
    /// share (the largest part they hold of any resource) ÷ weight.
    pub share_gap_max: f64,
    /// The mean of that over the time during which at least two had; `None` when there never
    /// were two.
    pub share_gap_mean: Option<f64>,
    /// Jain's index of held ÷ entitled over the tenants that have jobs waiting, averaged over
    /// the time during which there were at least two; `None` when there never were.
    pub jain: Option<f64>,
    /// GPU-hours that no typical task could use ÷ GPU-hours that were idle, over the time for
    /// which it is known.
    pub fragmented_of_idle: Option<f64>,
    /// The same ÷ GPU-hours of nodes that worked.
    pub fragmented_of_all: Option<f64>,
}

/// The stretches of a run, from its first submission on.
pub fn spans(run: &Run) -> impl Iterator<Item = Span<'_>> {
    let next = run.timeline.iter().skip(1).map(|moment| moment.at);
    let ends = next.chain([run.end]);
    run.timeline.iter().zip(ends).map(|(moment, end)| Span {
        from: moment.at,
        hours: hours(end.since(moment.at)),
        entitled: moment.entitled.clone(),
        tenants: &moment.tenants,
    })
}

/// Tenants and the tenants below them, by their positions in a scenario.
#[derive(Clone, Debug)]
pub struct Forest {
    tenants: Vec<Tenant>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

impl Forest {
    /// Of these tenants; one whose parent is not among them stands at the top.
    #[must_use]
    pub fn new(tenants: &[Tenant]) -> Self {
        let position = |tenant: &Tenant| {
            let parent = tenant.parent.as_ref()?;
            tenants.iter().position(|other| other.id == *parent)
        };
        let parents: Vec<Option<usize>> = tenants.iter().map(position).collect();
        let below = |parent: Option<usize>| -> Vec<usize> {
            let all = 0..tenants.len();
            all.filter(|child| parents[*child] == parent).collect()
        };
        Self {
            children: (0..tenants.len()).map(|i| below(Some(i))).collect(),
            roots: below(None),
            parents,
            tenants: tenants.to_vec(),
        }
    }

    /// Whether it has nobody below it.
    #[must_use]
    pub fn is_leaf(&self, tenant: usize) -> bool {
        self.children[tenant].is_empty()
    }

    /// Whether `tenant` is `above`, or below it.
    #[must_use]
    pub fn is_within(&self, tenant: usize, above: usize) -> bool {
        let mut at = Some(tenant);
        // A checked scenario has no cycles, and no way up is longer than all tenants.
        for _ in 0..=self.tenants.len() {
            match at {
                Some(here) if here == above => return true,
                Some(here) => at = self.parents[here],
                None => return false,
            }
        }
        false
    }

    /// The GPUs that each tenant is entitled to, from the top of the tree to the bottom: first
    /// what is guaranteed, then by weight what is left of its parent's, never more than it wants
    /// and than its limit. What leaves want is given.
    #[must_use]
    pub fn entitled(&self, capacity: f64, wanted: &[f64]) -> Vec<f64> {
        let mut claims: Vec<Option<Claim>> = vec![None; self.tenants.len()];
        for root in &self.roots {
            self.claim(*root, wanted, &mut claims);
        }
        let mut entitled = vec![0.0; self.tenants.len()];
        self.share_out(capacity, &self.roots, &claims, &mut entitled);
        entitled
    }

    fn claim(&self, at: usize, wanted: &[f64], claims: &mut [Option<Claim>]) -> Claim {
        let below = self.children[at].iter();
        let below: Vec<Claim> = below.map(|c| self.claim(*c, wanted, claims)).collect();
        let tenant = &self.tenants[at];
        let demand = match self.is_leaf(at) {
            true => wanted[at],
            false => below.iter().map(|claim| claim.demand).sum(),
        };
        let owned: f64 = below.iter().map(|claim| claim.guaranteed).sum();
        let limit = tenant.limit.get(Resource::Gpu);
        let limit = limit.map_or(f64::INFINITY, |milli| float(milli.into()) / 1000.0);
        let claim = Claim {
            guaranteed: gpus(&tenant.guaranteed).max(owned),
            weight: weight(tenant),
            demand: demand.min(limit),
        };
        claims[at] = Some(claim);
        claim
    }

    fn share_out(
        &self,
        amount: f64,
        among: &[usize],
        claims: &[Option<Claim>],
        entitled: &mut [f64],
    ) {
        let known: Vec<Claim> = among.iter().filter_map(|i| claims[*i]).collect();
        for (tenant, part) in among.iter().zip(entitlements(amount, &known)) {
            entitled[*tenant] = part;
            self.share_out(part, &self.children[*tenant], claims, entitled);
        }
    }
}

/// Adds a run up as it goes.
#[derive(Debug)]
pub(crate) struct Integral {
    forest: Forest,
    /// What all nodes offer when all work.
    fleet: Resources,
    sums: Sums,
    held: Mean,
    while_waiting: Mean,
    fair: Mean,
    gap: Mean,
    /// GPU-hours: fragmented, idle, and all, while the first is known.
    fragments: [f64; 3],
    /// For what [`Moment::entitled`] was worked out last: capacity and demands in milli-GPU.
    entitled_for: Vec<u64>,
}

impl Integral {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let tenants = vec![TenantSums::default(); scenario.tenants.len()];
        Self {
            forest: Forest::new(&scenario.tenants),
            fleet: scenario.capacity(),
            sums: Sums {
                tenants,
                ..Sums::default()
            },
            held: Mean::default(),
            while_waiting: Mean::default(),
            fair: Mean::default(),
            gap: Mean::default(),
            fragments: [0.0; 3],
            entitled_for: Vec::new(),
        }
    }

    /// Works out what each tenant is entitled to at a moment, if that has changed.
    pub(crate) fn entitle(&mut self, moment: &mut Moment) {
        let wanted = moment.tenants.iter().map(|t| t.wanted.get(Resource::Gpu));
        let inputs: Vec<u64> = wanted.chain([moment.capacity.get(Resource::Gpu)]).collect();
        if inputs != self.entitled_for {
            let wanted: Vec<f64> = moment.tenants.iter().map(|t| gpus(&t.wanted)).collect();
            moment.entitled = self.forest.entitled(gpus(&moment.capacity), &wanted);
            self.entitled_for = inputs;
        }
    }

    /// For so long, things stood like this.
    pub(crate) fn add(&mut self, span: Duration, moment: &Moment) {
        if span.is_zero() {
            return;
        }
        let hours = hours(span);
        let capacity = gpus(&moment.capacity);
        let all = moment.tenants.iter();
        let all = all.fold(Standing::default(), |sum, one| sum.plus(one));
        let held = gpus(&all.held);
        self.held.add(held * hours, capacity * hours);
        if all.waiting > 0 {
            self.while_waiting.add(held * hours, capacity * hours);
        }
        self.fairness(hours, moment);
        self.idle(hours, (capacity - held).max(0.0), &all);
        self.sums.fleet_gpu_hours += gpus(&self.fleet) * hours;
        self.sums.down_gpu_hours += (gpus(&self.fleet) - capacity).max(0.0) * hours;
        if let Some(fragments) = moment.fragments {
            let idle = (capacity - held).max(0.0);
            let lost = (float(fragments.into()) / 1000.0).min(idle);
            for (sum, gpus) in self.fragments.iter_mut().zip([lost, idle, capacity]) {
                *sum += gpus * hours;
            }
        }
        for (tenant, sum) in self.sums.tenants.iter_mut().enumerate() {
            if self.forest.is_leaf(tenant) {
                let held = gpus(&moment.tenants[tenant].held);
                sum.gpu_hours += held * hours;
                sum.deficit_gpu_hours += (moment.entitled[tenant] - held).max(0.0) * hours;
            }
        }
    }

    fn fairness(&mut self, hours: f64, moment: &Moment) {
        if let Some(index) = jain(&satisfaction(moment)) {
            self.fair.add(index * hours, hours);
        }
        if let Some(gap) = share_gap(&self.forest.tenants, moment) {
            self.sums.share_gap_max = self.sums.share_gap_max.max(gap);
            self.gap.add(gap * hours, hours);
        }
    }

    /// Splits what is idle by why.
    fn idle(&mut self, hours: f64, idle: f64, all: &Standing) {
        let asked = all.obstructed.map(|milli| float(milli.into()) / 1000.0);
        let queued: f64 = asked.iter().sum();
        let obstructed = idle.min(queued);
        self.sums.unwanted_gpu_hours += (idle - obstructed) * hours;
        if queued > 0.0 {
            for (sum, asked) in self.sums.obstructed_gpu_hours.iter_mut().zip(asked) {
                *sum += obstructed * asked / queued * hours;
            }
        }
    }

    pub(crate) fn close(self) -> Sums {
        let mut sums = self.sums;
        let leaves = sums.tenants.clone();
        for (above, sum) in sums.tenants.iter_mut().enumerate() {
            let within = (0..leaves.len()).filter(|leaf| self.forest.is_within(*leaf, above));
            *sum = within.fold(TenantSums::default(), |sum, leaf| TenantSums {
                gpu_hours: sum.gpu_hours + leaves[leaf].gpu_hours,
                deficit_gpu_hours: sum.deficit_gpu_hours + leaves[leaf].deficit_gpu_hours,
            });
        }
        sums.allocated = self.held.ratio().unwrap_or_default();
        sums.allocated_while_waiting = self.while_waiting.ratio();
        sums.jain = self.fair.ratio();
        sums.share_gap_mean = self.gap.ratio();
        let [lost, idle, all] = self.fragments;
        sums.fragmented_of_idle = (idle > 0.0).then(|| lost / idle);
        sums.fragmented_of_all = (all > 0.0).then(|| lost / all);
        sums
    }
}

/// A number of hours.
#[must_use]
pub fn hours(span: Duration) -> f64 {
    float(span.as_millis()) / 3_600_000.0
}

/// A number of GPUs.
#[must_use]
pub fn gpus(amounts: &Resources) -> f64 {
    float(amounts.get(Resource::Gpu).into()) / float(Resource::Gpu.scale().into())
}

/// Held ÷ entitled, of each tenant that has jobs waiting.
fn satisfaction(moment: &Moment) -> Vec<f64> {
    let backlogged = moment.tenants.iter().zip(&moment.entitled);
    backlogged
        .filter(|(standing, entitled)| standing.waiting > 0 && **entitled > 0.0)
        .map(|(standing, entitled)| gpus(&standing.held) / entitled)
        .collect()
}

/// Between tenants with jobs waiting; `None` when there are fewer than two.
fn share_gap(tenants: &[Tenant], moment: &Moment) -> Option<f64> {
    let backlogged = tenants
        .iter()
        .zip(&moment.tenants)
        .filter(|(t, s)| s.waiting > 0 && weight(t) > 0.0);
    let shares = backlogged.map(|(t, s)| dominant_share(&s.held, &moment.capacity) / weight(t));
    let (least, most, count) = shares.fold(
        (f64::INFINITY, f64::NEG_INFINITY, 0),
        |(least, most, count), share| (least.min(share), most.max(share), count + 1),
    );
    (count > 1).then_some(most - least)
}

fn dominant_share(held: &Resources, capacity: &Resources) -> f64 {
    let part = |(r, amount): (Resource, u64)| match capacity.get(r) {
        0 => 0.0,
        all => float(amount.into()) / float(all.into()),
    };
    held.iter().map(part).fold(0.0, f64::max)
}

fn weight(tenant: &Tenant) -> f64 {
    f64::from(tenant.weight.numerator()) / f64::from(tenant.weight.denominator())
}

/// One sum by another.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    of: f64,
}

impl Mean {
    fn add(&mut self, value: f64, of: f64) {
        self.sum += value;
        self.of += of;
    }

    fn ratio(&self) -> Option<f64> {
        (self.of > 0.0).then(|| self.sum / self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str, parent: Option<&str>, guaranteed: u64) -> Tenant {
        Tenant {
            parent: parent.map(Into::into),
            guaranteed: Resources::gpus(guaranteed),
            ..Tenant::new(name)
        }
    }

    #[test]
    fn a_tree_is_shared_out_from_the_top() {
        // Research owns 6 through its children, and both parents weigh the same.
        let tenants = [
            tenant("research", None, 0),
            tenant("vision", Some("research"), 6),
            tenant("speech", Some("research"), 0),
            tenant("product", None, 0),
            tenant("search", Some("product"), 0),
        ];
        let forest = Forest::new(&tenants);
        assert!(forest.is_within(1, 0) && !forest.is_within(1, 3) && forest.is_leaf(4));
        // 6 are research's own, the other 10 are shared: 11 for research. Vision has its 6, and
        // 5 are shared by vision and speech.
        let entitled = forest.entitled(16.0, &[0.0, 20.0, 20.0, 0.0, 20.0]);
        assert_eq!(entitled, [11.0, 8.5, 2.5, 5.0, 5.0]);
        // What vision does not want, speech gets; what research does not want, product.
        let entitled = forest.entitled(16.0, &[0.0, 1.0, 20.0, 0.0, 20.0]);
        assert_eq!(entitled, [11.0, 1.0, 10.0, 5.0, 5.0]);
        let entitled = forest.entitled(16.0, &[0.0, 1.0, 2.0, 0.0, 20.0]);
        assert_eq!(entitled, [3.0, 1.0, 2.0, 13.0, 13.0]);
    }

    #[test]
    fn a_limit_caps_what_a_tenant_is_entitled_to() {
        let mut tenants = [tenant("a", None, 0), tenant("b", None, 0)];
        tenants[0].limit = tenants[0].limit.with(Resource::Gpu, 2000);
        let entitled = Forest::new(&tenants).entitled(10.0, &[10.0, 10.0]);
        assert_eq!(entitled, [2.0, 8.0]);
    }
}
