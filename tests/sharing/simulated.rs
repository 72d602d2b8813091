//! The same jobs in the simulator: who is admitted, in which order, and where.

use std::collections::{BTreeMap, BTreeSet};

use prorata_core::Pairs;
use prorata_simulator::play;

use super::inputs::{self, Input};
use super::watched::{JobName, Watched};
use crate::equivalence::simulated;

/// What has been admitted since the simulator was last asked is compared with what it makes of the jobs
/// that waited then, on nodes that nobody uses.
#[derive(Default)]
pub(crate) struct Comparison {
    /// Jobs that were admitted before.
    before: BTreeSet<JobName>,
    /// Jobs and pods that were where the simulator has them.
    pub(crate) same: (usize, usize),
}

impl Comparison {
    /// What is admitted from now on is to be compared.
    pub(crate) fn begin(&mut self, watched: &Watched) {
        let admitted = watched.admissions().into_iter();
        self.before = admitted.map(|(job, _, _)| job).collect();
    }

    /// Who has been admitted, in which order and to which cards, is what the simulator makes of the same
    /// input; and every pod is on the node of its place.
    pub(crate) fn check(&mut self, inputs: &[Input], watched: &Watched) {
        let there = watched.jobs();
        let waited: Vec<&Input> = inputs
            .iter()
            .filter(|input| {
                let name = (input.tenant.to_owned(), input.name.clone());
                there.contains(&name) && !self.before.contains(&name)
            })
            .collect();
        let expected = played(&waited, measured());
        if self.before.is_empty() {
            let unheeding = played(&waited, Pairs::default());
            assert_ne!(
                expected, unheeding,
                "it matters what kinds of work they are"
            );
        }
        let admissions = watched.admissions().into_iter();
        let new = admissions.filter(|(job, _, _)| !self.before.contains(job));
        let live: Vec<(JobName, String)> = new
            .map(|(job, places, _)| {
                let place = |p: &prorata::api::Place| format!("{}[{}]", p.node, list(&p.devices));
                let places: Vec<String> = places.iter().map(place).collect();
                (job, places.join(" "))
            })
            .collect();
        assert_eq!(
            live, expected,
            "who was admitted, in which order, and where"
        );
        let pods = on_their_nodes(watched);
        self.same.0 += live.len();
        self.same.1 += pods;
    }
}

/// What the simulator admits of these jobs, in order, and where.
fn played(jobs: &[&Input], pairs: Pairs) -> Vec<(JobName, String)> {
    let mut script = simulated::read(&inputs::script(jobs));
    script.policy.pairs = pairs.into();
    let outcome = play::play("sharing", &script).unwrap_or_else(|wrong| panic!("{wrong}"));
    outcome.lines().filter_map(admitted).collect()
}

/// How fast kinds of work run beside each other, as the controller is told.
fn measured() -> Pairs {
    let works = ["heavy", "light"].map(Into::into).to_vec();
    Pairs::new(works, vec![400_000, 900_000, 900_000, 1_000_000]).unwrap()
}

/// Every pod runs on the node of its place; says how many do.
fn on_their_nodes(watched: &Watched) -> usize {
    let mut nodes: BTreeMap<JobName, Vec<String>> = BTreeMap::new();
    let running = watched.running();
    for pod in &running {
        let job = (pod.namespace.clone(), pod.job.clone());
        nodes.entry(job).or_default().push(pod.node.clone());
    }
    for (job, places) in watched.places() {
        let planned: Vec<String> = places.into_iter().map(|place| place.node).collect();
        assert_eq!(
            nodes.get(&job),
            Some(&planned),
            "nodes of the pods of {job:?}"
        );
    }
    running.len()
}

fn list(devices: &[u32]) -> String {
    let devices: Vec<String> = devices.iter().map(u32::to_string).collect();
    devices.join(",")
}

/// Reads `0s admit red/train on a[0:250m] b[0-1]`: the job, and each of its places.
fn admitted(line: &str) -> Option<(JobName, String)> {
    let (job, places) = line.split_once(" admit ")?.1.split_once(" on ")?;
    let (namespace, name) = job.split_once('/')?;
    let mut all = Vec::new();
    for place in places.split(' ') {
        let (node, devices) = place.trim_end_matches(']').split_once('[').unwrap();
        match devices.split_once(':') {
            Some((device, _)) => all.push(format!("{node}[{device}]")),
            // Whole cards of several pods stand together.
            None => all.extend(indexes(devices).map(|device| format!("{node}[{device}]"))),
        }
    }
    Some(((namespace.to_owned(), name.to_owned()), all.join(" ")))
}

/// The devices that `0-1` or `3` are.
fn indexes(devices: &str) -> impl Iterator<Item = u32> + use<> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    devices
        .split(',')
        .flat_map(range)
        .collect::<Vec<_>>()
        .into_iter()
}
