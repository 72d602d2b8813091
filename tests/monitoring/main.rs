//! Alert rules and dashboards: the rules fire at what they should, and a real Prometheus that scrapes
//! the controller's and an agent's own metrics knows every query and every name in it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../agent/bench.rs"]
mod bench;
mod prometheus;
mod queries;
mod shown;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prorata_fake_nvml::{Event, Machine, Process, profile};
use serde_json::Value;

use bench::{Bench, Running};
use prometheus::{Prometheus, found_or_skip};
use queries::Query;

/// Names that others export: Prometheus itself, and kube-apiserver.
const OF_OTHERS: [&str; 2] = ["apiserver_validating_admission_policy_check_total", "up"];

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring")
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(monitoring())
        .output();
    let output = output.unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
fn rules_fire_at_what_they_should() {
    if !found_or_skip("promtool") {
        return;
    }
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["test", "rules", "rules.test.yaml"]);
}

/// A test of promtool that expects nothing passes whatever a rule says.
#[test]
fn every_alert_is_expected_somewhere_and_has_its_page_in_the_runbook() {
    let tests = fs::read_to_string(monitoring().join("rules.test.yaml")).unwrap();
    let runbook = monitoring().join("../../docs/runbook.md");
    let runbook = fs::read_to_string(runbook).unwrap();
    let headings: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| format!("docs/runbook.md#{}", heading.to_lowercase()))
        .collect();
    let rules = queries::rules(&monitoring());
    assert!(rules.len() > 20, "{}", rules.len());
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        let expected = tests.lines().any(|line| {
            let about = line.contains(name) || line.contains("Prorata") && matches(line, name);
            about && (line.contains("exp_samples") || line.contains("alertname: "))
        }) || tests.contains(&format!("alertname=\"{name}\","));
        assert!(expected, "nothing is expected of {name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        let page = rule["annotations"]["runbook"].as_str().unwrap();
        assert!(
            headings.contains(page),
            "{name}: {page} is not in the runbook"
        );
        assert!(runbook.contains(name), "the runbook does not name {name}");
        for text in ["summary", "description"] {
            assert!(
                rule["annotations"][text].as_str().unwrap().len() > 20,
                "{name}"
            );
        }
    }
}

/// Whether a pattern of a test's line such as `Prorata.*Down|ProrataX` is about this alert.
fn matches(line: &str, name: &str) -> bool {
    let Some((_, rest)) = line.split_once("alertname=~\"") else {
        return false;
    };
    let pattern = rest.split('"').next().unwrap_or_default();
    pattern
        .split('|')
        .any(|part| match part.strip_suffix(".*") {
            Some(start) => name.starts_with(start),
            None => part == name,
        })
}

#[test]
fn chart_and_component_hold_these_very_rules_and_dashboards() {
    let chart = monitoring().join("../helm/prorata/files/monitoring");
    for file in ["rules.yaml", "team.json", "platform.json", "cost.json"] {
        let source = match file {
            "rules.yaml" => monitoring().join(file),
            dashboard => monitoring().join("dashboards").join(dashboard),
        };
        let wanted = fs::read_to_string(source).unwrap();
        let copy = chart.join(file);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(&chart).unwrap();
            fs::write(&copy, &wanted).unwrap();
        }
        let held = fs::read_to_string(&copy).unwrap_or_default();
        assert!(
            held == wanted,
            "{file} differs; `BLESS=1 cargo test --test monitoring` records it"
        );
    }
}

#[test]
fn a_real_prometheus_knows_every_query_and_every_name_in_it() {
    if !found_or_skip("prometheus") {
        return;
    }
    let controller = shown::serve();
    let bench = Bench::new(&machine());
    let (uid, id) = ("2c48913c-b29f-11e7-9350-020968147796", "9a".repeat(32));
    bench.process(41, &format!("0::/kubepods/pod{uid}/{id}\n"));
    bench.container("vision", "train-7", "main", &id);
    let agent = Running::start(&bench, &["--no-publish"]);
    let pod = "prorata_pod_gpu_processes";
    agent.until("it sees the pod", |metrics| metrics.get(pod, &[]).is_some());
    let mut after = machine();
    after.events.push(Event { card: 1, xid: 31 });
    bench.change(&after);
    let errors = "prorata_gpu_xid_errors_total";
    agent.until("it is told of an error", |metrics| {
        metrics.get(errors, &[]).is_some()
    });
    let targets = [
        ("prorata-system/prorata-controller", controller.as_str()),
        ("prorata-agent/prorata-agent", agent.address()),
    ];
    let prometheus = Prometheus::start(&targets, &monitoring().join("rules.yaml"));
    prometheus.until_scraped(&targets);

    let exported = prometheus.names();
    let queries = queries::all(&monitoring());
    assert!(queries.len() > 80, "{}", queries.len());
    let mut unknown = BTreeSet::new();
    for Query { place, text } in &queries {
        let answer = prometheus.ask(text);
        assert_eq!(answer["status"], "success", "{place}: {text}\n{answer}");
        for name in queries::names(text) {
            let known = exported.contains(&name) || OF_OTHERS.contains(&name.as_str());
            if !known {
                unknown.insert(format!("{name} in {place}"));
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "nobody exports {unknown:#?}\nbut {exported:#?}"
    );
    is_answered(&prometheus, &queries);
    let health: Value = prometheus.get("/api/v1/rules");
    let groups = health["data"]["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule}");
    }
}

/// There is an answer to every query of a dashboard: labels that do not match would leave a panel empty
/// for ever.
fn is_answered(prometheus: &Prometheus, queries: &[Query]) {
    let of_dashboards = queries.iter().filter(|query| query.place.ends_with(']'));
    for query in of_dashboards {
        let answer = prometheus.until_answered(&query.text);
        let rows = answer["data"]["result"].as_array().unwrap();
        assert!(
            !rows.is_empty(),
            "{}: {} says nothing",
            query.place,
            query.text
        );
    }
}

/// Two cards, on one of which a pod computes, and the other is hot and has had an error.
fn machine() -> Machine {
    let mut machine = profile::t4(2);
    machine.cards[0].utilisation = Some((90, 40));
    machine.cards[0].processes = vec![Process {
        pid: 41,
        memory: Some(3 << 30),
        sm: Some(70),
        memory_bandwidth: 20,
    }];
    machine
}
