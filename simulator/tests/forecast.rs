//! What is foretold about the start of jobs, where the answer is known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;
use std::time::Duration;

use prorata_core::{
    Event, Hold, Job, JobId, Node, Policy, Resources, Rule, Scheduler, Snapshot, Tenant, Time,
};
use prorata_simulator::forecast::{Eta, History, Question, Score, forecast, what_if};

const HOUR: u64 = 3600;

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(name: &str) -> JobId {
    JobId::new("red", name, name)
}

fn job(name: &str, gpus: u64, submitted: u64) -> Job {
    Job {
        submitted: at(submitted),
        ..Job::new(id(name), "red".into(), 1, Resources::gpus(gpus))
    }
}

/// Jobs of one tenant on one node of four GPUs, each told when it is submitted.
fn core(jobs: &[Job]) -> Scheduler {
    let mut core = Scheduler::new(Policy::default());
    let node = Node {
        allocatable: Resources::gpus(4),
        ..Node::new("a")
    };
    core.observe(at(0), Event::NodeSeen(node));
    for name in ["red", "blue"] {
        core.observe(at(0), Event::TenantChanged(Tenant::new(name)));
    }
    for job in jobs {
        let now = job.submitted;
        core.observe(now, Event::JobSubmitted(job.clone()));
        let _ = core.cycle(now);
    }
    core
}

fn snapshot(jobs: &[Job]) -> Snapshot {
    core(jobs).snapshot()
}

/// Jobs that ran for so many seconds each.
fn ran(spans: &[u64]) -> History {
    let mut history = History::default();
    for span in spans.iter().cycle().take(60.max(spans.len())) {
        history.ended(&job("past", 4, 0), seconds(*span));
    }
    history
}

/// Within what moments are told apart by.
fn about(eta: Option<Time>, expected: u64, now: u64) -> bool {
    let grain = (expected - now) / 16 + 1;
    eta.is_some_and(|eta| (at(expected)..=at(expected + grain)).contains(&eta))
}

#[test]
fn what_always_takes_an_hour_is_foretold_to_the_minute() {
    let snapshot = snapshot(&[job("runs", 4, 0), job("next", 4, 60), job("then", 4, 120)]);
    let told = forecast(&snapshot, at(600), &ran(&[HOUR]), &Question::default());
    for (name, hours) in [("next", 1), ("then", 2)] {
        let Eta { p50, p90 } = told[&id(name)];
        assert!(about(p50, hours * HOUR, 600), "{name}: {p50:?}");
        assert!(about(p90, hours * HOUR, 600), "{name}: {p90:?}");
    }
    assert_eq!(told.len(), 2);
}

#[test]
fn runs_that_are_shorter_than_moments_are_apart_take_as_long_on_the_whole() {
    let name = |number: u64| format!("job-{number:03}");
    let jobs: Vec<Job> = (0..=200).map(|n| job(&name(n), 4, n)).collect();
    let now = 201;
    let told = forecast(
        &snapshot(&jobs),
        at(now),
        &ran(&[HOUR]),
        &Question::default(),
    );
    for number in [50, 100, 200] {
        let hours = told[&id(&name(number))]
            .p50
            .unwrap()
            .since(at(now))
            .as_secs()
            / HOUR;
        assert!(
            (number * 19 / 20..=number * 21 / 20).contains(&hours),
            "{number}: {hours} h"
        );
    }
}

#[test]
fn quantiles_are_those_of_the_run_times_that_are_still_possible() {
    let snapshot = snapshot(&[job("runs", 4, 0), job("next", 4, 60)]);
    // It has run for two hours: what took one is out, and the rest is 3 h or 10 h, 8 to 2.
    let history = ran(&[1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 10, 10].map(|h| h * HOUR));
    let question = Question {
        runs: 400,
        ..Question::default()
    };
    let now = 2 * HOUR;
    let eta = forecast(&snapshot, at(now), &history, &question)[&id("next")];
    assert!(about(eta.p50, 3 * HOUR, now), "{eta:?}");
    assert!(about(eta.p90, 10 * HOUR, now), "{eta:?}");
}

#[test]
fn a_declared_maximum_is_a_bound_and_the_part_that_others_used_tells_more() {
    let declared = |name: &str, max| Job {
        max_duration: Some(seconds(max)),
        ..job(name, 4, 0)
    };
    let waits = job("next", 4, 60);
    let long = snapshot(&[declared("runs", 2 * HOUR), waits.clone()]);
    let eta =
        |history: &History| forecast(&long, at(600), history, &Question::default())[&waits.id];
    // Nobody has declared anything so far.
    assert!(about(eta(&ran(&[9 * HOUR])).p90, 2 * HOUR, 600));
    let mut half = History::default();
    for _ in 0..60 {
        half.ended(&declared("past", 600), seconds(300));
    }
    assert!(about(eta(&half).p90, HOUR, 600));
}

#[test]
fn where_nothing_is_known_half_of_all_jobs_go_on_for_as_long_again_and_half_an_hour() {
    let snapshot = snapshot(&[job("runs", 4, 0), job("next", 4, 60)]);
    let question = Question {
        runs: 2000,
        horizon: seconds(20 * HOUR),
        ..Question::default()
    };
    let eta = forecast(&snapshot, at(HOUR), &History::default(), &question)[&id("next")];
    // Half: an hour and a half later. Nine of ten: nine times that.
    let after = |quantile: Option<Time>| quantile.unwrap().since(at(HOUR)).as_secs();
    assert!((5000..6200).contains(&after(eta.p50)), "{eta:?}");
    assert!((43_000..57_000).contains(&after(eta.p90)), "{eta:?}");
    let near = Question {
        horizon: seconds(4 * HOUR),
        ..question
    };
    let eta = forecast(&snapshot, at(HOUR), &History::default(), &near)[&id("next")];
    assert!(eta.p50.is_some() && eta.p90.is_none(), "{eta:?}");
}

#[test]
fn those_that_arrive_lately_are_expected_to_come_again() {
    let wide = job("wide", 4, 60);
    let snapshot = snapshot(&[job("runs", 4, 0), wide.clone()]);
    let mut history = ran(&[HOUR]);
    let alone = forecast(&snapshot, at(600), &history, &Question::default())[&wide.id];
    // A tenant that has nothing comes before one with a job of four GPUs.
    for number in 0..60 {
        history.arrived(&Job {
            tenant: "blue".into(),
            priority: 9,
            cluster_wide: true,
            ..job("past", 4, number * 10)
        });
    }
    let later = forecast(&snapshot, at(600), &history, &Question::default())[&wide.id];
    assert!(
        later.p50.is_none_or(|p50| Some(p50) > alone.p50),
        "{later:?} {alone:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_numbers_on_any_number_of_threads() {
    let jobs: Vec<Job> = (0..40)
        .map(|n| job(&format!("j{n:02}"), 1 + n % 4, n))
        .collect();
    let snapshot = snapshot(&jobs);
    let history = ran(&[60, 600, HOUR, 5 * HOUR]);
    let told = |seed, threads| {
        let question = Question {
            seed,
            threads: NonZeroUsize::new(threads).unwrap(),
            ..Question::default()
        };
        forecast(&snapshot, at(100), &history, &question)
    };
    let alone = told(1, 1);
    for threads in [1, 2, 3, 7] {
        assert_eq!(told(1, threads), alone, "{threads} threads");
    }
    assert_ne!(told(2, 1), alone);
}

#[test]
fn what_somebody_holds_or_nothing_could_run_is_not_foretold() {
    let held = Job {
        hold: Some(Hold::User),
        ..job("held", 1, 60)
    };
    let snapshot = snapshot(&[job("runs", 4, 0), held, job("huge", 8, 60)]);
    let told = forecast(&snapshot, at(100), &ran(&[HOUR]), &Question::default());
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn what_if_says_who_would_have_to_leave() {
    let question = Question::default();
    let ask =
        |snapshot: &Snapshot, job: Job| what_if(snapshot, at(600), job, &ran(&[HOUR]), &question);
    let half = snapshot(&[job("runs", 2, 0)]);
    let fits = ask(&half, job("asked", 2, 600));
    assert_eq!(fits.starts.unwrap().to_string(), "a[2-3]");
    assert_eq!((fits.victims, fits.reason), (Vec::new(), None));
    assert_eq!(fits.eta.unwrap().p90, Some(at(600)));

    let waits = ask(&half, job("asked", 3, 600));
    assert_eq!(waits.reason.unwrap().code(), "CapacityFull");
    assert!(waits.starts.is_none() && waits.victims.is_empty());
    assert!(about(waits.eta.unwrap().p50, HOUR, 600));

    let urgent = Job {
        priority: 10,
        ..job("asked", 3, 600)
    };
    let evicts = ask(&half, urgent);
    assert_eq!(evicts.victims, [(id("runs"), Rule::Priority)]);
    assert_eq!(evicts.starts.unwrap().slots().len(), 1);

    let never = ask(&half, job("asked", 8, 600));
    assert!(never.eta.is_none() && never.reason.unwrap().is_final());
    // Nothing was changed by asking.
    assert!(half.job(&id("asked")).is_none());
}

#[test]
fn a_score_is_coverage_and_pinball_loss() {
    let mut score = Score::default();
    let eta = Eta {
        p50: Some(at(100)),
        p90: None,
    };
    score.enter(eta, at(160), at(0), seconds(1000));
    score.enter(eta, at(80), at(0), seconds(1000));
    assert_eq!(score.p50.coverage(), Some(0.5));
    assert_eq!(score.p50.pinball(), Some((0.5 * 60.0 + 0.5 * 20.0) / 2.0));
    assert_eq!(score.p90.coverage(), Some(1.0));
    let losses = 0.1 * 840.0 + 0.1 * 920.0;
    assert!((score.p90.pinball().unwrap() - losses / 2.0).abs() < 1e-9);
}
