//! What goes wrong, by seed: each seed has some kinds of faults and not others, for all at once
//! would hide what one does.

use super::random::Random;
use super::store::Author;
use super::users::{self, NODES};
use super::world::World;

/// How often what happens, in times out of a thousand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Processes of ours; with more than one, one leads.
    pub(crate) controllers: u64,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    /// How long things go wrong.
    pub(crate) storm_ms: u64,
    pub(crate) jobs: u64,
    pub(crate) submits: u64,
    /// Of what is submitted, pods.
    pub(crate) pods: u64,
    /// And gangs of pods.
    pub(crate) sets: u64,
    /// Of steps, those with a new pod that asks for GPUs and is of no tenant.
    pub(crate) strangers: u64,
    /// How long a job runs at least before it has to leave.
    pub(crate) min_runtime_ms: u64,
    /// Of the time, how much of it a PodDisruptionBudget forbids to evict pods of sets.
    pub(crate) budgets: u64,
    /// Of pods that kube-scheduler has a node for, those that are bound late.
    pub(crate) binds_late: u64,
    pub(crate) meddles: u64,
    pub(crate) edits_tenants: u64,
    pub(crate) pods_fail: u64,
    pub(crate) stubborn: u64,
    pub(crate) batch_lags: u64,
    pub(crate) requests_delayed: u64,
    pub(crate) requests_fail: u64,
    pub(crate) requests_lost: u64,
    pub(crate) replies_lost: u64,
    pub(crate) stale_lists: u64,
    pub(crate) watches_cut: u64,
    pub(crate) outdated: u64,
    pub(crate) events_missed: u64,
    pub(crate) events_doubled: u64,
    crashes: u64,
    freezes: u64,
    nodes_lost: u64,
    nodes_unready: u64,
    /// Of what a watch is to say, that before which it stands still for a while.
    pub(crate) stalls: u64,
    /// Of steps, those from which on the extender does not answer.
    silences: u64,
    /// Of what a process had just sent when it ended, what arrives long after that.
    lingers: u64,
}

impl Faults {
    /// Those of a seed.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let jobs = random.between(4, 14);
        let controllers = if random.chance(400) { 2 } else { 1 };
        let storm_ms = random.between(20, 120) * 1000;
        // What was added later leaves the stories alone of seeds that do not have it.
        let mut later = Random::new(random.clone().below(u64::MAX));
        let mut added = |of: u64, rate: u64| match later.chance(of) {
            true => rate,
            false => 0,
        };
        let (stalls, silences, lingers) = (added(200, 30), added(200, 2), added(300, 500));
        let mut some = |of: u64, rate: u64| match random.chance(of) {
            true => rate,
            false => 0,
        };
        Self {
            controllers,
            is_calm: false,
            storm_ms,
            jobs,
            submits: 20,
            pods: some(400, 250),
            sets: some(400, 350),
            strangers: some(300, 4),
            min_runtime_ms: some(500, 2000),
            budgets: some(300, 600),
            binds_late: some(300, 300),
            meddles: some(500, 3),
            edits_tenants: some(200, 2),
            pods_fail: some(300, 100),
            stubborn: some(200, 100),
            batch_lags: some(300, 200),
            requests_delayed: some(300, 30),
            requests_fail: some(200, 30),
            requests_lost: some(200, 20),
            replies_lost: some(400, 30),
            stale_lists: some(200, 300),
            watches_cut: some(300, 20),
            outdated: some(200, 10),
            events_missed: some(200, 10),
            events_doubled: some(300, 30),
            crashes: some(600, 4),
            freezes: if controllers > 1 { some(600, 2) } else { 0 },
            nodes_lost: some(300, 1),
            nodes_unready: some(300, 2),
            stalls,
            silences,
            lingers,
        }
    }

    /// Whether nobody acts on what is long past; of two controllers, one may.
    pub(crate) const fn are_recent(&self) -> bool {
        self.controllers == 1
            && self.requests_delayed == 0
            && self.lingers == 0
            && self.stale_lists == 0
            && self.events_missed == 0
    }

    /// Whether besides everybody hears in time that a node is gone, or back.
    pub(crate) const fn let_nodes_be_heard_of(&self) -> bool {
        self.are_recent() && (self.stalls == 0 || self.nodes_lost == 0)
    }

    /// How long a request is on its way.
    pub(crate) fn delay(&self, random: &mut Random) -> u64 {
        match random.chance(self.requests_delayed) {
            true => random.between(100, 45_000),
            false => 0,
        }
    }
}

impl World {
    /// Something goes wrong now, perhaps.
    pub(crate) fn strike(&mut self) {
        if self.random.chance(self.faults.crashes) && !self.processes.is_empty() {
            let index = self.random.index(self.processes.len());
            self.crash(index);
        }
        self.freeze_or_thaw();
        if self.faults.silences > 0 {
            let odds = if self.is_silent {
                20
            } else {
                self.faults.silences
            };
            if self.random.chance(odds) {
                self.silence(!self.is_silent);
            }
        }
        if self.random.chance(self.faults.nodes_lost) {
            let node = *self.random.pick(&NODES);
            self.lose_or_return(node);
        }
        if self.random.chance(self.faults.nodes_unready) {
            let node = *self.random.pick(&NODES);
            let was_down = self.kubelet.down.remove(node);
            if !was_down {
                self.kubelet.down.insert(node.to_owned());
            }
            users::set_ready(&mut self.store, node, was_down);
        }
    }

    /// A process ends, in the middle of whatever it does, and another takes its place. What it has
    /// sent arrives before that or is lost, unless it lingers or is among what is on its way for long.
    fn crash(&mut self, index: usize) {
        self.collect();
        let ended = self.processes.remove(index);
        self.streams.retain(|stream| stream.process != ended.number);
        let (now, number) = (self.store.now_ms, ended.number);
        drop(ended);
        for at in (0..self.requests.len()).rev() {
            let (arrives, sent) = &self.requests[at];
            if sent.process == number && *arrives <= now {
                if self.faults.lingers > 0 && self.random.chance(self.faults.lingers) {
                    self.requests[at].0 = now + self.random.between(500, 20_000);
                    continue;
                }
                let (_, sent) = self.requests.swap_remove(at);
                if self.random.chance(500) {
                    self.arrive(sent);
                }
            }
        }
        self.start_process();
    }

    fn freeze_or_thaw(&mut self) {
        for index in 0..self.processes.len() {
            let is_frozen = self.processes[index].is_frozen;
            let odds = if is_frozen { 15 } else { self.faults.freezes };
            if self.random.chance(odds) {
                match is_frozen {
                    true => self.processes[index].thaw(self.store.now_ms),
                    false => self.processes[index].is_frozen = true,
                }
            }
        }
    }

    /// The extender does not answer any more, or does again.
    fn silence(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
        for process in &self.processes {
            process.probed(!is_silent);
        }
    }

    fn lose_or_return(&mut self, node: &str) {
        let key = super::scheduler::node_key(node);
        if self.store.get(&key).is_some() {
            self.store.remove(&key, Author::Kubernetes);
        } else {
            users::add_node(&mut self.store, node);
            if self.kubelet.down.contains(node) {
                users::set_ready(&mut self.store, node, false);
            }
        }
    }

    /// From now on nothing goes wrong, and nobody is held.
    pub(crate) fn calm(&mut self) {
        self.faults = Faults {
            is_calm: true,
            controllers: self.faults.controllers,
            ..Faults::default()
        };
        for process in &mut self.processes {
            if process.is_frozen {
                process.thaw(self.store.now_ms);
            }
        }
        if self.is_silent {
            self.silence(false);
        }
        for node in NODES {
            self.kubelet.down.remove(node);
            if self.store.get(&super::scheduler::node_key(node)).is_none() {
                users::add_node(&mut self.store, node);
            }
            users::set_ready(&mut self.store, node, true);
        }
        users::resume_all(&mut self.store);
    }
}
