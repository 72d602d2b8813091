use serde_json::json;

use super::*;

const MINUTE: u64 = 60_000;

fn held(seat: u32, gpu_milli: u64, from_ms: u64) -> Held {
    Held {
        id: PlaceId {
            job_uid: "job".to_owned(),
            epoch: 7,
            seat,
            node: "a".to_owned(),
        },
        from_ms,
        model: "L4".to_owned(),
        pool: String::new(),
        mode: "exclusive".to_owned(),
        gpu_milli,
        payer: prorata_ledger::record::Payer::default(),
        kind: "Job".to_owned(),
        job: "train".to_owned(),
        priority_class: String::new(),
    }
}

fn usage(uid: &str, measured: u64, busy: u64) -> Usage {
    Usage {
        namespace: "red".to_owned(),
        pod: format!("pod-{uid}"),
        uid: Some(uid.to_owned()),
        measured,
        busy,
    }
}

/// From when to when, and how busy.
fn told(samples: Vec<Entry>) -> Vec<(u64, u64, u32)> {
    let of = |entry| match entry {
        Entry::Busy(busy) => (busy.from_ms, busy.until_ms, busy.milli),
        other => panic!("{other:?}"),
    };
    samples.into_iter().map(of).collect()
}

#[test]
fn a_sample_is_what_came_to_it_since_the_last_answer() {
    let mut known = Known::default();
    let own = |_: &Usage| Some(held(0, 2000, 0));
    let mut at = |minute: u64, measured: u64, busy: u64| {
        let usages = [usage("u", measured * 2000, busy * 2000)];
        told(known.samples("a", &usages, own, minute * MINUTE))
    };
    let first = at(10, 10 * MINUTE, 4 * MINUTE);
    assert_eq!(first, [], "who led before may have written it");
    let full = at(15, 15 * MINUTE, 9 * MINUTE);
    assert_eq!(full, [(10 * MINUTE, 15 * MINUTE, 1000)]);
    // Of five minutes two were measured, and of these one was busy.
    let part = at(20, 17 * MINUTE, 10 * MINUTE);
    assert_eq!(part, [(18 * MINUTE, 20 * MINUTE, 500)]);
    assert_eq!(at(25, 17 * MINUTE, 10 * MINUTE), [], "nothing was measured");
    let anew = at(30, 3 * MINUTE, 0);
    assert_eq!(anew, [(27 * MINUTE, 30 * MINUTE, 0)]);
}

#[test]
fn what_began_since_the_last_answer_is_new_and_what_ended_is_still_told() {
    let mut known = Known::default();
    let nobody = |_: &Usage| None;
    assert_eq!(told(known.samples("a", &[], nobody, 5 * MINUTE)), []);
    let own = |_: &Usage| Some(held(0, 1000, 6 * MINUTE));
    let seen = [usage("u", 4 * MINUTE * 1000, MINUTE * 1000)];
    let samples = told(known.samples("a", &seen, own, 10 * MINUTE));
    assert_eq!(samples, [(6 * MINUTE, 10 * MINUTE, 250)]);
    // Its place is free meanwhile.
    let seen = [usage("u", 5 * MINUTE * 1000, 2 * MINUTE * 1000)];
    let samples = told(known.samples("a", &seen, nobody, 15 * MINUTE));
    assert_eq!(samples, [(14 * MINUTE, 15 * MINUTE, 1000)]);
    assert_eq!(told(known.samples("a", &[], nobody, 20 * MINUTE)), []);
    assert!(known.said["a"].pods.is_empty());
}

#[test]
fn pods_that_hold_nothing_there_and_pods_without_uid_say_nothing() {
    let mut known = Known::default();
    let nobody = |_: &Usage| None;
    let nameless = Usage {
        uid: None,
        ..usage("v", 1, 1)
    };
    for minute in 1..4 {
        let usages = [usage("u", minute * 1000, 0), nameless.clone()];
        let samples = known.samples("a", &usages, nobody, minute * MINUTE);
        assert_eq!(told(samples), []);
    }
}

#[test]
fn an_agent_answers_where_its_pod_runs() {
    let pod = |phase: &str, port: &str| {
        let pod = json!({
            "metadata": {"name": "agent"},
            "spec": {"nodeName": "a", "containers": [{
                "name": "agent", "ports": [{"name": port, "containerPort": 9400}],
            }]},
            "status": {"phase": phase, "podIP": "10.0.0.7"},
        });
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let address = "10.0.0.7:9400".parse().unwrap();
    assert_eq!(
        agent(&pod("Running", "health")),
        Some(("a".to_owned(), address))
    );
    assert_eq!(agent(&pod("Pending", "health")), None);
    assert_eq!(agent(&pod("Running", "other")), None);
}
