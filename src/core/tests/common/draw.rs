//! Settings drawn from a seed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use prorata_core::{
    Devices, Job, JobId, Limits, Node, NodeId, Placement, Resource, Resources, Slot, Tenant,
    TenantId, Time, Weight,
};

use super::Setting;

/// Numbers that look random: Steele et al.'s *SplitMix*, OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`, without it.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred draws.
    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn size(&mut self, end: u64) -> usize {
        usize::try_from(self.below(end)).unwrap()
    }
}

/// What a setting may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) nodes: u64,
    pub(crate) tenants: u64,
    pub(crate) jobs: u64,
    /// Of a hundred jobs, as many run at the beginning.
    pub(crate) running: u64,
}

pub(crate) const USUAL: Bounds = Bounds {
    nodes: 4,
    tenants: 6,
    jobs: 14,
    running: 50,
};

/// Trees to depth 3, weights down to 0, lending limits, limits, gangs, priorities, two or three
/// resources.
pub(crate) fn setting(seed: u64, bounds: Bounds) -> Setting {
    let mut draw = Draw::new(seed);
    let with_cpu = draw.chance(60);
    let with_memory = draw.chance(25);
    let amounts = |draw: &mut Draw, gpus: u64, cpus: u64, memory: u64| {
        let mut amounts = Resources::gpus(draw.below(gpus));
        if with_cpu {
            amounts = amounts.with(Resource::Cpu, draw.below(cpus) * 1000);
        }
        if with_memory {
            amounts = amounts.with(Resource::Memory, draw.below(memory) << 30);
        }
        amounts
    };
    let mut setting = Setting::default();
    for index in 0..=draw.below(bounds.nodes) {
        let mut node = Node::new(&format!("n{index}"));
        node.allocatable = amounts(&mut draw, 7, 13, 9);
        setting.nodes.push(node);
    }
    setting.tenants = tenants(&mut draw, bounds, |draw| amounts(draw, 4, 6, 4));
    let leaves = leaves(&setting.tenants);
    for index in 0..2 + draw.below(bounds.jobs - 1) {
        let tenant = leaves[draw.size(leaves.len() as u64)].clone();
        let id = JobId::new(tenant.as_str(), &format!("j{index:02}"), "");
        let mut task = amounts(&mut draw, 4, 5, 4);
        if task.is_zero() {
            task = Resources::gpus(1);
        }
        let gang = if draw.chance(30) {
            1 + draw.below(3)
        } else {
            1
        };
        let job = Job {
            priority: i32::try_from(draw.below(3)).unwrap(),
            submitted: Time::from_millis(draw.below(3)),
            preemptible: !draw.chance(5),
            ..Job::new(id, tenant, u32::try_from(gang).unwrap(), task)
        };
        let runs = draw.chance(bounds.running);
        match place(&mut draw, &setting, &job).filter(|_| runs) {
            Some(placement) => setting.running.push((job, placement)),
            None => setting.waiting.push(job),
        }
    }
    setting
}

fn tenants(
    draw: &mut Draw,
    bounds: Bounds,
    amounts: impl Fn(&mut Draw) -> Resources,
) -> Vec<Tenant> {
    let mut tenants: Vec<Tenant> = Vec::new();
    let mut depths: BTreeMap<TenantId, u32> = BTreeMap::new();
    for index in 0..=draw.below(bounds.tenants) {
        let mut tenant = Tenant::new(&format!("t{index}"));
        if index > 0 && draw.chance(50) {
            let above = tenants[draw.size(index)].id.clone();
            if depths[&above] < 3 {
                tenant.parent = Some(above);
            }
        }
        let depth = tenant.parent.as_ref().map_or(1, |above| depths[above] + 1);
        depths.insert(tenant.id.clone(), depth);
        let above = u32::try_from(draw.below(4)).unwrap();
        let below = NonZeroU32::new(1 + u32::try_from(draw.below(2)).unwrap()).unwrap();
        tenant.weight = Weight::new(above, below);
        if draw.chance(50) {
            tenant.guaranteed = amounts(draw);
        }
        if draw.chance(20) {
            tenant.lending_limit = caps(&amounts(draw));
        }
        if draw.chance(20) {
            let most = amounts(draw).checked_mul(2).unwrap();
            tenant.limit = caps(&most.checked_add(&tenant.guaranteed).unwrap());
        }
        tenants.push(tenant);
    }
    tenants
}

fn caps(amounts: &Resources) -> Limits {
    let named = amounts.iter().filter(|(_, amount)| *amount > 0);
    named.fold(Limits::NONE, |caps, (r, amount)| caps.with(r, amount))
}

/// Tenants that have none below them.
pub(crate) fn leaves(tenants: &[Tenant]) -> Vec<TenantId> {
    let is_above = |id: &TenantId| tenants.iter().any(|t| t.parent.as_ref() == Some(id));
    let ids = tenants.iter().map(|tenant| tenant.id.clone());
    ids.filter(|id| !is_above(id)).collect()
}

/// Somewhere with room beside what runs already.
fn place(draw: &mut Draw, setting: &Setting, job: &Job) -> Option<Placement> {
    let mut free: BTreeMap<NodeId, (Resources, Vec<u32>)> = BTreeMap::new();
    for node in &setting.nodes {
        let devices = (0..node.cards()).collect();
        free.insert(node.id.clone(), (node.allocatable, devices));
    }
    for (other, placement) in &setting.running {
        for slot in placement.slots() {
            let (amounts, devices) = free.get_mut(&slot.node)?;
            *amounts = amounts.beyond(&other.task);
            devices.retain(|device| !slot.devices.contains(*device));
        }
    }
    let slot = |_| {
        let fits: Vec<NodeId> = free
            .iter()
            .filter(|(_, (amounts, _))| job.task.fits_in(amounts))
            .map(|(id, _)| id.clone())
            .collect();
        let node = fits.get(draw.size(fits.len().max(1) as u64))?.clone();
        let (amounts, left) = free.get_mut(&node)?;
        *amounts = amounts.beyond(&job.task);
        let cards = usize::try_from(job.task.get(Resource::Gpu) / 1000).ok()?;
        let devices: Devices = left.drain(..cards).collect();
        Some(Slot::whole(node, devices))
    };
    (0..job.gang)
        .map(slot)
        .collect::<Option<Vec<Slot>>>()
        .map(FromIterator::from_iter)
}
