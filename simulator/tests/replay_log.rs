//! A log of decisions is played again to the same decisions, and a change is found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use prorata_core::fragmentation::Mix;
use prorata_core::{
    Decision, Event, Gpus, Job, JobId, Mode, Needs, Node, Others, Placement, Policy, Resource,
    Resources, Scheduler, TaskId, Tenant, Time, Weight,
};
use prorata_simulator::replay::{ReplayError, Replayed, cycle, facts, header, replay};

/// A core that writes its log.
struct Logged {
    core: Scheduler,
    now: Time,
    log: String,
}

impl Logged {
    fn new(policy: Policy) -> Self {
        let log = header(&policy).unwrap() + "\n";
        Self {
            core: Scheduler::new(policy),
            now: Time::from_millis(1_767_225_600_000),
            log,
        }
    }

    fn tell(&mut self, told: Vec<Event>) {
        self.log += &(facts(self.now, &told).unwrap() + "\n");
        told.into_iter()
            .for_each(|fact| self.core.observe(self.now, fact));
    }

    fn cycle(&mut self) -> Vec<Decision> {
        self.now = self.now + Duration::from_secs(1);
        let decisions = self.core.cycle(self.now).decisions;
        self.log += &(cycle(self.now, &decisions).unwrap() + "\n");
        decisions
    }
}

fn policy() -> Policy {
    let typical = (Resources::gpus(1), Arc::new(Needs::default()), 3);
    Policy {
        reserve_after: Some(Duration::from_secs(60)),
        half_life: Some(Duration::from_secs(3600)),
        values: BTreeMap::from([("A100".into(), 2000)]),
        mix: Arc::new(Mix::of([typical], 100)),
        topology: vec!["rack".into()],
        ..Policy::default()
    }
}

/// A little of everything that a fact can say.
fn world() -> Vec<Event> {
    let node = |name: &str, model: &str, mode: Mode| {
        Event::NodeSeen(Node {
            allocatable: Resources::gpus(4).with(Resource::Memory, 1 << 40),
            gpus: Gpus {
                model: model.into(),
                mode,
                ..Gpus::default()
            },
            labels: Arc::new(BTreeMap::from([("rack".into(), "r1".into())])),
            ..Node::new(name)
        })
    };
    let tenant = |name: &str, gpus: u64| {
        Event::TenantChanged(Tenant {
            guaranteed: Resources::gpus(gpus),
            weight: Weight::new(3, std::num::NonZeroU32::new(2).unwrap()),
            ..Tenant::new(name)
        })
    };
    vec![
        node("a", "H100", Mode::Exclusive),
        node("b", "T4", Mode::TimeSlice(4)),
        tenant("red", 4),
        tenant("blue", 0),
        Event::TenantUsed("red".into(), 1 << 80, Time::from_millis(7)),
        Event::PodBound("pod".into(), "b".into(), Resources::gpus(1), Others::NONE),
    ]
}

fn job(tenant: &str, name: &str, gang: u32) -> Job {
    let id = JobId::new(tenant, name, name);
    Job {
        max_duration: Some(Duration::from_millis(90_500)),
        ..Job::new(id, tenant.into(), gang, Resources::gpus(1))
    }
}

/// Jobs come, are preempted, and end.
fn logged() -> (String, usize) {
    let mut logged = Logged::new(policy());
    logged.tell(world());
    let mut decided = 0;
    for round in 0..30 {
        let tenant = if round < 10 { "blue" } else { "red" };
        let submitted = Job {
            priority: i32::try_from(round).unwrap(),
            ..job(tenant, &format!("job-{round:02}"), 1 + round % 3)
        };
        logged.tell(vec![Event::JobSubmitted(submitted)]);
        let decisions = logged.cycle();
        decided += decisions.len();
        for decision in decisions {
            logged.tell(match decision {
                Decision::Admit(job, placement) => bound(&job, &placement),
                Decision::Evict { victim, .. } => finished(&victim),
            });
        }
    }
    assert!(logged.log.contains("Evict") && logged.log.contains("Admit"));
    (logged.log, decided)
}

fn bound(job: &JobId, placement: &Placement) -> Vec<Event> {
    let bound = |(index, slot): (u32, &prorata_core::Slot)| {
        let job = job.clone();
        Event::TaskBound(TaskId { job, index }, slot.node.clone())
    };
    (0..).zip(placement.slots()).map(bound).collect()
}

fn finished(job: &JobId) -> Vec<Event> {
    let finished = |index| {
        let job = job.clone();
        Event::TaskFinished(TaskId { job, index })
    };
    (0..3).map(finished).collect()
}

#[test]
fn the_same_facts_give_the_same_decisions() {
    let (log, decisions) = logged();
    let Replayed {
        cycles,
        decisions: again,
        ..
    } = replay(log.as_bytes()).unwrap();
    assert_eq!((cycles, again), (30, decisions));
}

#[test]
fn the_first_difference_is_told() {
    let (log, _) = logged();
    let (number, line) = log
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains("Admit"))
        .unwrap();
    let other = line.replacen("\"a\"", "\"b\"", 1).replacen("H", "h", 1);
    assert_ne!(other, line);
    let changed = log.replacen(line, &other, 1);
    match replay(changed.as_bytes()) {
        Err(ReplayError::Different { line, .. }) => assert_eq!(line, number + 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_cut_off_is_left_out_and_what_is_no_log_is_refused() {
    let (log, _) = logged();
    let last = log.rfind("{\"at\":").unwrap();
    let cut = &log[..log.len() - 5];
    let (whole, cut) = (
        replay(log.as_bytes()).unwrap(),
        replay(cut.as_bytes()).unwrap(),
    );
    let is_cycle = log[last..].contains("\"decisions\"");
    assert_eq!(whole.cycles - cut.cycles, usize::from(is_cycle));
    assert!(is_cycle || whole.facts > cut.facts);
    let later = log.replacen("\"version\":1", "\"version\":2", 1);
    let error = replay(later.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("version 2: this reads decisions, version 1"),
        "{error}"
    );
    assert!(replay(&b"{}\n"[..]).is_err());
    assert!(replay(&b""[..]).is_err());
}

#[test]
fn the_command_says_whether_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    let run = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
        let output = command.arg("replay").arg(&file).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (log, decisions) = logged();
    let (code, told) = run(&log);
    assert_eq!(code, Some(0));
    assert!(told.starts_with(&format!("the same {decisions} decisions in 30 cycles")));
    let other = log.replacen("\"place\"", "\"plaze\"", 1);
    assert_eq!(run(&other).0, Some(2));
    assert_eq!(
        run(&log.replace("\"rule\":\"Priority\"", "\"rule\":\"Order\"")).0,
        Some(1)
    );
}
