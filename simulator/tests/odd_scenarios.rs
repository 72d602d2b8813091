//! Whatever stands in a field: a scenario is taken and can be drawn, or is refused at a place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload::{draw, faults};

const ODD: [&str; 14] = [
    "",
    "~",
    "-1",
    "0",
    "0.001",
    "1e9",
    "99999999999999999999",
    "[]",
    "{}",
    "[1, 2]",
    "{a: b}",
    "x",
    "'é'",
    "100%",
];

/// Where values stand in a text: behind `: `, up to the next comma, bracket or comment.
fn values(text: &str) -> Vec<(usize, usize)> {
    let starts = text.match_indices(": ").map(|(at, _)| at + 2);
    let end = |start: usize| {
        let rest = &text[start..];
        let length = rest.find([',', '}', ']', '\n', '#']).unwrap_or(rest.len());
        start + rest[..length].trim_end().len()
    };
    starts.map(|start| (start, end(start))).collect()
}

#[test]
fn no_value_is_too_odd() {
    let guide = include_str!("../scenarios/README.md");
    let example = guide.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    // Without its comments, which hold no values.
    let lines = example.lines().map(|line| line.split(" #").next().unwrap());
    let example: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
    let (mut taken, mut refused) = (0, 0);
    for (start, end) in values(&example) {
        for odd in ODD {
            let text = format!("{}{odd}{}", &example[..start], &example[end..]);
            match Scenario::parse("s.yaml", &text) {
                Ok(scenario) => {
                    taken += 1;
                    assert!(draw(&scenario, 1).iter().all(|d| !d.runtime.is_zero()));
                    assert!(faults(&scenario, 1).is_sorted());
                }
                Err(problems) => {
                    refused += 1;
                    let placed = problems.iter().all(|problem| problem.place().0 > 0);
                    assert!(placed, "{odd}: {problems:?}\n{text}");
                }
            }
        }
    }
    assert!(taken > 50 && refused > 500, "{taken} {refused}");
}

#[test]
fn what_is_left_empty_is_left_out() {
    let text = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
pools:
  gpu: {count: 2, gpus: 8, labels: , taints: }
tenants:
  - {name: red, guaranteed: , limit: }
priorityClasses:
policy: {values: , topology: , preemption: }
faults:
workload:
  - {tenant: red, name: a, jobs: 1, arrivals: {at: 0s}, task: {gpu: 1}, models: , select: , tolerate: , duration: {fixed: 1h}}
";
    let scenario = Scenario::parse("s.yaml", text).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    });
    assert_eq!(scenario.warnings, []);
    assert!(scenario.policy.preemption.enabled);
}
