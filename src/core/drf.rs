//! Who is next: weighted dominant-resource fairness over what is borrowed above the guarantee.
//!
//! The source of the measure is Ghodsi et al., *Dominant Resource Fairness*, NSDI 2011: a
//! tenant's share is that of the resource of which it has most, and the next place goes to the
//! lowest share. Here use inside a tenant's guarantee is free, as in Kueue's fair sharing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::id::{JobId, NodeId, TenantId};
use crate::job::{Job, Kind, Placement};
use crate::queue::Order;
use crate::resource::{Resource, Resources};
use crate::share::Share;
use crate::tenant::{Tenant, TenantState};
use crate::time::Time;
use crate::trial;

/// The weighted dominant share of a tenant that holds `usage` where `potential` could be had:
/// the greatest, over the resources, of `borrowed / potential ÷ weight`.
#[must_use]
pub fn share(tenant: &Tenant, usage: &Resources, potential: &Resources) -> Share {
    let borrowed = usage.beyond(&tenant.guaranteed);
    Resource::ALL
        .into_iter()
        .map(|r| Share::new(borrowed.get(r), potential.get(r), tenant.weight))
        .max()
        .unwrap_or(Share::ZERO)
}

/// Rounds between the tenants' candidates: the first job of each queue that could start now.
///
/// Within one cycle room only shrinks, so a kind of job that could not start cannot start later
/// in it: it is tried once.
pub(crate) struct Tournament {
    contestants: Vec<Contestant>,
    potential: Resources,
}

impl Tournament {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let contestant = |tenant: &TenantId| Contestant {
            tenant: tenant.clone(),
            failed: BTreeSet::new(),
        };
        Self {
            contestants: cluster.tenants.keys().map(contestant).collect(),
            potential: cluster.capacity(),
        }
    }

    /// The job with the least claim, and where it goes; `None` when no job could start.
    pub(crate) fn winner(&mut self, cluster: &Cluster) -> Option<(JobId, Placement)> {
        let potential = &self.potential;
        let candidates = self.contestants.iter_mut().filter_map(|contestant| {
            let candidate = contestant.candidate(cluster)?;
            Some((candidate.claim(cluster.order, potential), candidate))
        });
        let (_, winner) = candidates.min_by(|(a, _), (b, _)| a.cmp(b))?;
        let placement = cluster.with_devices(winner.job, &winner.nodes);
        Some((winner.job.id.clone(), placement))
    }
}

/// One tenant in the tournament.
struct Contestant {
    tenant: TenantId,
    /// Kinds of its jobs that cannot start in this cycle.
    failed: BTreeSet<Kind>,
}

/// A job that could start, and where.
struct Candidate<'c> {
    job: &'c Job,
    tenant: &'c TenantState,
    nodes: Vec<NodeId>,
}

impl Contestant {
    /// The first job of the queue that could start now.
    fn candidate<'c>(&mut self, cluster: &'c Cluster) -> Option<Candidate<'c>> {
        let tenant = cluster.tenants.get(&self.tenant)?;
        loop {
            let job = &cluster.jobs[tenant.queue.first_but(&self.failed)?].job;
            match trial::attempt(cluster, tenant, &job.kind()) {
                Ok(nodes) => return Some(Candidate { job, tenant, nodes }),
                Err(_) => {
                    self.failed.insert(job.kind());
                }
            }
        }
    }
}

impl Candidate<'_> {
    fn claim(&self, order: Order, potential: &Resources) -> Claim {
        match (order, &self.tenant.spec, self.job.shape().request()) {
            (Order::Drf, Some(tenant), Some(request)) => {
                Claim::fair(tenant, &self.tenant.usage, potential, self.job, &request)
            }
            _ => Claim::first_come(self.job),
        }
    }
}

/// A tenant's candidate as the tournament sees it. The least claim wins.
// The order of the fields is the order of the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// Admitting it would pass the guarantee on a resource that it asks for.
    borrows: bool,
    /// The share that the tenant would have with it.
    after: Share,
    /// The share that the tenant has without it.
    before: Share,
    submitted: Time,
    job: JobId,
}

impl Claim {
    /// The claim of `job`, which asks for `request` in all, while its tenant holds `usage`.
    fn fair(
        tenant: &Tenant,
        usage: &Resources,
        potential: &Resources,
        job: &Job,
        request: &Resources,
    ) -> Self {
        let with = usage
            .checked_add(request)
            .expect("what was placed is at most the capacity");
        Self {
            borrows: borrows(tenant, &with, request),
            after: share(tenant, &with, potential),
            before: share(tenant, usage, potential),
            ..Self::first_come(job)
        }
    }

    /// The claim of `job` where the oldest job of all is next, whoever's it is.
    fn first_come(job: &Job) -> Self {
        Self {
            borrows: false,
            after: Share::ZERO,
            before: Share::ZERO,
            submitted: job.submitted,
            job: job.id.clone(),
        }
    }
}

/// Whether a tenant that would hold `with` passes its guarantee on what `request` asks for.
/// A resource without guarantee does not count, unless none of those asked for has one:
/// a tenant that owns nothing can only borrow.
fn borrows(tenant: &Tenant, with: &Resources, request: &Resources) -> bool {
    let owns = |r: &Resource| request.get(*r) > 0 && tenant.guaranteed.get(*r) > 0;
    let mut owned = Resource::ALL.into_iter().filter(owns).peekable();
    owned.peek().is_none() || owned.any(|r| with.get(r) > tenant.guaranteed.get(r))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Weight;

    fn cpu_gpu(cpu: u64, gpu: u64) -> Resources {
        Resources::gpus(gpu).with(Resource::Cpu, cpu * 1000)
    }

    fn tenant(guaranteed: Resources) -> Tenant {
        Tenant {
            guaranteed,
            ..Tenant::new("red")
        }
    }

    #[test]
    fn only_what_is_borrowed_counts_and_the_greatest_part_decides() {
        // The case share-two-resources: 1 of 10 CPU and 2 of 10 GPU are borrowed.
        let share = share(&tenant(cpu_gpu(2, 5)), &cpu_gpu(3, 7), &cpu_gpu(10, 10));
        assert_eq!(share.per_mille(), Some(200));
    }

    #[test]
    fn a_resource_without_guarantee_is_no_borrowing_beside_one_that_has_it() {
        let owner = tenant(cpu_gpu(0, 4));
        let request = cpu_gpu(1, 1);
        assert!(!borrows(&owner, &cpu_gpu(9, 4), &request));
        assert!(borrows(&owner, &cpu_gpu(9, 5), &request));
    }

    #[test]
    fn a_tenant_that_owns_nothing_asked_for_borrows() {
        assert!(borrows(
            &tenant(Resources::ZERO),
            &cpu_gpu(1, 1),
            &cpu_gpu(1, 1)
        ));
        assert!(borrows(
            &tenant(cpu_gpu(0, 4)),
            &cpu_gpu(1, 0),
            &cpu_gpu(1, 0)
        ));
    }

    #[test]
    fn the_heavier_tenant_has_the_lesser_share() {
        let mut heavy = tenant(Resources::ZERO);
        heavy.weight = Weight::new(2, core::num::NonZeroU32::MIN);
        let (held, all) = (cpu_gpu(0, 4), cpu_gpu(0, 8));
        assert!(share(&heavy, &held, &all) < share(&tenant(Resources::ZERO), &held, &all));
    }
}
