//! A cluster of one node, or of those that a case names, in which a case happens.

use std::collections::BTreeMap;

use prorata_core::device::Devices;
use prorata_core::{
    Decision, Event, Gpus, Job, JobId, Limits, Mode, Node, Placement, Policy, Resource, Resources,
    Rule, Scheduler, Slot, Snapshot, TaskId, Tenant, TenantId, Time,
};
use prorata_simulator::quantity;
use serde_json::{Value, json};

use crate::cases::{amount, amounts, map};

/// A cluster in which a case happens. What is admitted starts at once, and what is evicted is
/// gone at once.
pub(crate) struct World {
    scheduler: Scheduler,
    now: Time,
    /// What a task of each tenant asks for, where the case says so.
    tasks: BTreeMap<String, Resources>,
    /// What a plain number means.
    unit: Resource,
    jobs: u64,
    devices: u32,
}

/// An eviction: who, for whom, by which rule.
pub(crate) type Eviction = (JobId, JobId, Rule);

impl World {
    /// A node with all there is, and the tenants of the case.
    pub(crate) fn of(case: &Value) -> Self {
        let mut world = Self::with(&case["capacity"], "exclusive");
        for field in ["tree", "tenants"] {
            if case[field].is_object() {
                world.tenants(&case[field], None);
            }
        }
        world
    }

    /// A node with all there is, whose devices are shared like this.
    pub(crate) fn with(capacity: &Value, mode: &str) -> Self {
        Self::with_node(&amounts(capacity), mode)
    }

    /// The same, by amounts.
    pub(crate) fn with_node(capacity: &Resources, mode: &str) -> Self {
        let mut world = Self::empty();
        let mode = match mode {
            "fractional" => Mode::Fractional,
            other => {
                assert_eq!(other, "exclusive");
                Mode::Exclusive
            }
        };
        world.node("node", capacity, mode);
        world
    }

    /// No nodes yet.
    pub(crate) fn empty() -> Self {
        Self {
            scheduler: Scheduler::new(Policy::default()),
            now: Time::ZERO,
            tasks: BTreeMap::new(),
            unit: Resource::Gpu,
            jobs: 0,
            devices: 0,
        }
    }

    /// A plain number means so much of this resource.
    pub(crate) const fn count_in(&mut self, unit: Resource) {
        self.unit = unit;
    }

    pub(crate) fn node(&mut self, name: &str, allocatable: &Resources, mode: Mode) {
        let gpus = Gpus {
            mode,
            ..Gpus::default()
        };
        let node = Node {
            allocatable: *allocatable,
            gpus,
            ..Node::new(name)
        };
        self.observe(Event::NodeSeen(node));
    }

    fn tenants(&mut self, all: &Value, parent: Option<&str>) {
        for (name, spec) in map(all) {
            self.tenant(name, spec, parent);
        }
    }

    /// `{g: {gpu: 3}, weight: 1/2, lend: {gpu: 1}, task: {cpu: 1}}`; other fields are tenants
    /// below it.
    pub(crate) fn tenant(&mut self, name: &str, spec: &Value, parent: Option<&str>) {
        let mut tenant = Tenant::new(name);
        tenant.parent = parent.map(TenantId::from);
        for (field, value) in map(spec) {
            match field {
                "g" => tenant.guaranteed = amounts(value),
                "lend" => tenant.lending_limit = caps(value),
                "limit" => tenant.limit = caps(value),
                "task" => drop(self.tasks.insert(name.to_owned(), amounts(value))),
                "weight" => {
                    let text = value.to_string();
                    tenant.weight = quantity::parse_weight(text.trim_matches('"')).unwrap();
                }
                child => self.tenant(child, value, Some(name)),
            }
        }
        self.observe(Event::TenantChanged(tenant));
    }

    /// Every tenant of which the case says what a task asks for submits so many.
    pub(crate) fn fill(&mut self, count: u64) {
        for (tenant, task) in self.tasks.clone() {
            (0..count).for_each(|_| drop(self.submit_task(&tenant, task, 0)));
        }
        self.settle();
    }

    /// So many jobs of one unit.
    pub(crate) fn submit_units(&mut self, tenant: &str, count: u64) {
        (0..count).for_each(|_| drop(self.submit(tenant, &json!(1))));
    }

    /// A job: a number of units, or `{cpu: 1, gpu: 2, priority: high}`.
    pub(crate) fn submit(&mut self, tenant: &str, spec: &Value) -> JobId {
        let (task, priority) = self.task(spec);
        self.submit_task(tenant, task, priority)
    }

    pub(crate) fn submit_task(&mut self, tenant: &str, task: Resources, priority: i32) -> JobId {
        let job = self.job(tenant, task, priority);
        let id = job.id.clone();
        self.observe(Event::JobSubmitted(job));
        id
    }

    fn task(&self, spec: &Value) -> (Resources, i32) {
        if spec.is_number() {
            let units = amount(self.unit, spec);
            return (Resources::ZERO.with(self.unit, units), 0);
        }
        let priority = match spec["priority"].as_str() {
            Some("high") => 1,
            other => {
                assert!(matches!(other, None | Some("low")), "{other:?}");
                0
            }
        };
        (amounts(spec), priority)
    }

    fn job(&mut self, tenant: &str, task: Resources, priority: i32) -> Job {
        self.jobs += 1;
        let id = JobId::new(tenant, &format!("{:04}", self.jobs), "");
        Job {
            priority,
            submitted: self.now,
            ..Job::new(id, tenant.into(), 1, task)
        }
    }

    /// A job that runs.
    pub(crate) fn run(&mut self, tenant: &str, spec: &Value) -> JobId {
        let (task, priority) = self.task(spec);
        let job = self.job(tenant, task, priority);
        self.run_job(job)
    }

    /// A job that runs and may not be evicted.
    pub(crate) fn run_for_good(&mut self, tenant: &str, spec: &Value) -> JobId {
        let (task, priority) = self.task(spec);
        let job = Job {
            preemptible: false,
            ..self.job(tenant, task, priority)
        };
        self.run_job(job)
    }

    fn run_job(&mut self, job: Job) -> JobId {
        let cards = u32::try_from(job.task.get(Resource::Gpu).div_ceil(1000)).unwrap();
        let devices: Devices = (self.devices..self.devices + cards).collect();
        self.devices += cards;
        self.run_on(job, "node", devices)
    }

    /// A job of whole GPUs that runs on these.
    pub(crate) fn run_gpu(
        &mut self,
        tenant: &str,
        priority: i32,
        node: &str,
        device: u32,
    ) -> JobId {
        let job = self.job(tenant, Resources::gpus(1), priority);
        self.run_on(job, node, std::iter::once(device).collect())
    }

    fn run_on(&mut self, job: Job, node: &str, devices: Devices) -> JobId {
        let id = job.id.clone();
        let placement = Placement::from_iter([Slot::whole(node.into(), devices)]);
        let task = TaskId {
            job: id.clone(),
            index: 0,
        };
        self.observe(Event::JobSubmitted(job));
        self.observe(Event::JobAdmitted(id.clone(), placement, self.now));
        self.observe(Event::TaskBound(task, node.into()));
        assert!(self.snapshot().violations().is_empty());
        id
    }

    /// Time moves on a little.
    pub(crate) fn wait(&mut self) {
        self.now = Time::from_millis(self.now.as_millis() + 1000);
    }

    /// Cycles until nothing is decided any more; who had to leave for whom. There are at most
    /// as many evictions as the square of the number of jobs.
    pub(crate) fn settle(&mut self) -> Vec<Eviction> {
        self.try_to_settle().expect("preemptions end")
    }

    /// The same; `None` where it takes more evictions.
    pub(crate) fn try_to_settle(&mut self) -> Option<Vec<Eviction>> {
        let most = usize::try_from(self.jobs * self.jobs).unwrap();
        let mut evictions = Vec::new();
        loop {
            let decisions = self.scheduler.cycle(self.now).decisions;
            let done = decisions.is_empty();
            for decision in decisions {
                evictions.extend(self.carry_out(decision));
            }
            assert_eq!(self.snapshot().violations(), []);
            if done || evictions.len() > most {
                return done.then_some(evictions);
            }
        }
    }

    fn carry_out(&mut self, decision: Decision) -> Option<Eviction> {
        match decision {
            Decision::Admit(job, placement) => {
                for (index, slot) in (0..).zip(placement.slots()) {
                    let task = TaskId {
                        job: job.clone(),
                        index,
                    };
                    self.observe(Event::TaskBound(task, slot.node.clone()));
                }
                None
            }
            Decision::Evict {
                victim,
                preemptor,
                rule,
            } => {
                self.finish(&victim);
                Some((victim, preemptor, rule))
            }
        }
    }

    fn finish(&mut self, job: &JobId) {
        let task = TaskId {
            job: job.clone(),
            index: 0,
        };
        self.observe(Event::TaskFinished(task));
    }

    /// One of a tenant's running jobs completes.
    pub(crate) fn finish_one_of(&mut self, tenant: &str) {
        let snapshot = self.snapshot();
        let mut running = snapshot.jobs().filter(|job| job.tenant.as_str() == tenant);
        let one = running.find(|job| snapshot.placement(&job.id).is_some());
        self.finish(&one.unwrap().id);
    }

    fn observe(&mut self, event: Event) {
        self.scheduler.observe(self.now, event);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    /// How many jobs of each tenant have a place.
    pub(crate) fn admitted(&self) -> BTreeMap<String, u64> {
        let snapshot = self.snapshot();
        let mut admitted: BTreeMap<String, u64> = BTreeMap::new();
        for job in snapshot
            .jobs()
            .filter(|job| snapshot.placement(&job.id).is_some())
        {
            *admitted.entry(job.tenant.to_string()).or_default() += 1;
        }
        admitted
    }
}

fn caps(value: &Value) -> Limits {
    map(value).fold(Limits::NONE, |caps, (name, units)| {
        let named = Resource::ALL.into_iter().find(|r| r.name() == name);
        let resource = named.unwrap();
        caps.with(resource, amount(resource, units))
    })
}
