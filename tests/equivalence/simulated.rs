//! What `prorata-sim play` makes of the inputs, by the rule that the first running Job by name
//! ends whenever nothing moves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use prorata_core::{JobId, Policy, Preemption, Time};
use prorata_simulator::play::{self, Player};
use prorata_simulator::script::{Script, Step};

use super::inputs::{CLASSES, Inputs, JobName, TENANTS};

const NAME: &str = "equivalence";

/// Each Job in the order of admission, with the node of each pod by completion index.
pub(crate) fn play(inputs: &Inputs) -> Vec<(JobName, Vec<String>)> {
    let whole = complete(inputs);
    let script = read(&whole);
    let outcome = play::play(NAME, &script).unwrap_or_else(|wrong| panic!("{wrong}"));
    admitted(inputs, &outcome)
}

/// The script with the ends that follow from the rule.
fn complete(inputs: &Inputs) -> String {
    let mut script = script(inputs);
    let start = read(&script);
    let mut player = Player::new(start.policy);
    let mut running = BTreeSet::new();
    let mut steps = start.steps;
    for end in 1.. {
        for (line, step) in steps {
            let outcome = player
                .step(NAME, line, &step)
                .unwrap_or_else(|wrong| panic!("{wrong}"));
            running.extend(admitted(inputs, &outcome).into_iter().map(|(job, _)| job));
        }
        let Some(job) = running.pop_first() else {
            break;
        };
        let _ = write!(script, "finish {job}\nat {end}s\n");
        let JobName(namespace, name) = &job;
        let time = Time::from_millis(end * 1000);
        steps = vec![
            (0, Step::Finish(JobId::new(namespace, name, ""))),
            (0, Step::At(time)),
        ];
    }
    script
}

/// Under the policy of the controller: nobody is evicted.
pub(crate) fn read(text: &str) -> Script {
    let mut script = Script::read(NAME, text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let preemption = Preemption {
        enabled: false,
        ..Preemption::default()
    };
    script.policy = Policy {
        preemption,
        reserve_after: Some(Duration::from_secs(15 * 60)),
        ..Policy::default()
    };
    script
}

fn script(inputs: &Inputs) -> String {
    let names: Vec<String> = (1..=inputs.nodes)
        .map(prorata_controlplane::nodes::name)
        .collect();
    let mut script = format!("node {} gpu=8 cpu=128 memory=1Ti\n", names.join(","));
    for (tenant, gpus) in TENANTS {
        let _ = writeln!(script, "tenant {tenant} guaranteed=gpu:{gpus}");
    }
    for job in &inputs.jobs {
        let value = CLASSES.iter().find(|(class, _)| job.class == Some(class));
        let priority = value.map_or(0, |(_, value)| *value);
        let (name, pods, gpus) = (&job.name, job.pods, job.gpus);
        let _ = writeln!(
            script,
            "submit {name} gang={pods} gpu={gpus} cpu=2 memory=8Gi priority={priority}"
        );
    }
    script + "at 0s\n"
}

/// Reads lines such as `3s admit red/train on a[0-3] b[0-1]`. A gang fills one node after another.
fn admitted(inputs: &Inputs, outcome: &str) -> Vec<(JobName, Vec<String>)> {
    let line = |line: &str| {
        let (job, places) = line.split_once(" admit ")?.1.split_once(" on ")?;
        let (namespace, name) = job.split_once('/')?;
        let job = JobName(namespace.to_owned(), name.to_owned());
        let gpus = inputs.jobs.iter().find(|input| input.name == job)?.gpus as usize;
        let nodes = places.split(' ').flat_map(|place| {
            let (node, devices) = place.trim_end_matches(']').split_once('[').unwrap();
            vec![node.to_owned(); count(devices) / gpus]
        });
        Some((job, nodes.collect()))
    };
    outcome.lines().filter_map(line).collect()
}

/// How many devices `0-3,7` are.
fn count(devices: &str) -> usize {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
    };
    devices.split(',').map(range).sum()
}
