//! Pairs of jobs on one GPU as Gavel measured them, read from the folder that `PRORATA_DATA` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use data::data;
use prorata_core::{Mode, Order};
use prorata_simulator::interference::{Client, Interference, ONE, gavel};
use prorata_simulator::run::{Check, Run, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload;
use serde_json::Value;

fn table() -> Option<(Value, Interference)> {
    let path = data("gavel-msr/simulation_throughputs.json")?;
    let text = fs::read_to_string(path).unwrap();
    let table = gavel::table("gavel", &text, "v100").unwrap();
    let table = Interference::parse("v100.yaml", &table).unwrap();
    Some((serde_json::from_str(&text).unwrap(), table))
}

/// Each job on one GPU: its key, and its name as a kind of work.
fn jobs(all: &Value) -> BTreeMap<String, String> {
    let keys = all["v100"].as_object().unwrap().keys();
    let single = keys.filter(|key| key.ends_with(", 1)"));
    let name = |key: &str| {
        let name = key.trim_start_matches("('").trim_end_matches("', 1)");
        let name = name.replace(" (batch size ", "-").replace(')', "");
        name.to_lowercase()
    };
    single.map(|key| (key.clone(), name(key))).collect()
}

fn speed(all: &Value, own: &str, other: &str) -> f64 {
    let own = &all["v100"][own];
    own[other][0].as_f64().unwrap() / own["null"].as_f64().unwrap()
}

#[test]
fn a_pair_is_slowed_as_it_was_measured() {
    let Some((all, table)) = table() else { return };
    let jobs = jobs(&all);
    assert_eq!(jobs.len(), 26);
    let client = |name: &str| Client {
        busy: 1000,
        part: 500,
        work: Some(table.pairs().work(name).unwrap()),
    };
    let mut losing = (0, 0);
    for (own, own_name) in &jobs {
        for (other, other_name) in &jobs {
            let measured = speed(&all, own, other);
            let slowdown =
                table.slowdown(&Mode::TimeSlice(2), client(own_name), &[client(other_name)]);
            // What stands still is a thousand times as slow.
            let simulated = (ONE as f64 / slowdown as f64 * 1000.0).round() / 1000.0;
            let expected = (measured.max(0.001) * 1000.0).round() / 1000.0;
            assert!(
                (simulated - expected).abs() < 0.001_5,
                "{own_name} beside {other_name}: {simulated} for {measured}"
            );
            let back = speed(&all, other, own);
            if own <= other && measured > 0.0 && back > 0.0 {
                losing.1 += 1;
                losing.0 += u32::from(measured + back < 1.0);
            }
        }
    }
    let percent = 100 * losing.0 / losing.1;
    println!(
        "{} of {} pairs that fit lose: {percent} %",
        losing.0, losing.1
    );
    assert!((20..=24).contains(&percent), "{percent}");
}

/// Jobs of each kind on cards for two, never more than the cards hold.
fn scenario(all: &Value, neighbours: &str, cards: u32) -> Scenario {
    let mut text = format!(
        "apiVersion: sim.prorata.dev/v1alpha1\nkind: Scenario\nname: pairs\nseed: 7\n\
         pools:\n  v100: {{count: {cards}, gpus: 1, mode: timeslice-2}}\n\
         tenants: [{{name: lab}}]\n\
         policy: {{orders: [drf], preemption: off, neighbours: {neighbours}}}\nworkload:\n"
    );
    for work in jobs(all).values() {
        let _ = writeln!(
            text,
            "  - {{tenant: lab, name: {work}, jobs: 12, arrivals: {{poisson: {{mean: 2h}}}}, task: {{share: 500m}}, \
             duration: {{lognormal: {{median: 1h, sigma: 0.5}}}}, work: {work}}}"
        );
    }
    Scenario::parse("pairs.yaml", &text).unwrap()
}

fn simulated(all: &Value, table: &Interference, neighbours: &str, cards: u32) -> Run {
    let mut scenario = scenario(all, neighbours, cards);
    scenario.interference = table.clone();
    let work = workload::draw(&scenario, scenario.seed);
    let go_on = &mut |_| ControlFlow::Continue(());
    run(&scenario, Order::Drf, &work, Check::Debug, go_on).unwrap()
}

#[test]
fn no_pair_loses_where_there_is_room_elsewhere() {
    let Some((all, table)) = table() else { return };
    let [ignored, heeded] =
        ["ignore", "heed"].map(|neighbours| simulated(&all, &table, neighbours, 40));
    let percent = |run: &Run| 100 * run.pairs.1 / run.pairs.0.max(1);
    println!(
        "neighbours ignored: {} of {} pairs lose, {} %; heeded: {} of {}, {} %",
        ignored.pairs.1,
        ignored.pairs.0,
        percent(&ignored),
        heeded.pairs.1,
        heeded.pairs.0,
        percent(&heeded)
    );
    assert!(percent(&ignored) >= 15, "without it many lose");
    assert!(ignored.pairs.0 >= 100 && heeded.pairs.0 >= 50, "pairs meet");
    assert_eq!(heeded.pairs.1, 0);
    let held = |run: &Run| run.jobs.iter().map(|fate| fate.held).sum::<Duration>();
    assert!(held(&heeded) < held(&ignored));
}
