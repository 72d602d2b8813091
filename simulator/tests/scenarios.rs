//! The scenarios that the project brings.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use prorata_core::Resource;
use prorata_simulator::scenario::Scenario;
use prorata_simulator::workload::{draw, faults};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

fn parse(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).unwrap();
    Scenario::parse(&file.display().to_string(), &text).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

#[test]
fn every_scenario_can_be_run_and_says_what_to_look_for() {
    assert!(files().len() >= 9);
    for file in files() {
        let (scenario, text) = (parse(&file), fs::read_to_string(&file).unwrap());
        let name = file.file_stem().unwrap().to_string_lossy();
        assert_eq!(scenario.name, name);
        assert_eq!(scenario.warnings, [], "{name}");
        assert!(!scenario.description.is_empty(), "{name}");
        let command = format!("prorata-sim run simulator/scenarios/{name}.yaml");
        assert!(text.contains(&command), "{name}");
        let with_trace = text.contains(&format!("{command} --trace "));
        assert_eq!(
            scenario.without_work("", "").is_some(),
            with_trace,
            "{name}"
        );
        // Small enough to be run by a test.
        assert!(draw(&scenario, scenario.seed).len() <= 1000, "{name}");
    }
}

/// Somewhere there has to be room for each job, or its scenario shows nothing.
#[test]
fn every_job_fits_into_the_empty_cluster() {
    for file in files() {
        let scenario = parse(&file);
        let nodes = scenario.nodes();
        for drawn in draw(&scenario, scenario.seed) {
            let allowed = nodes.iter().filter(|node| drawn.job.needs.allow(node));
            let offers = allowed.map(|node| node.allocatable.with(Resource::GpuMemory, u64::MAX));
            let room: u64 = offers
                .map(|offer| u64::from(drawn.job.task.times_in(&offer)))
                .sum();
            assert!(room >= u64::from(drawn.job.gang), "{}", drawn.job.id);
        }
    }
}

/// What the guide shows can be run as it stands.
#[test]
fn the_guide_shows_what_is_taken() {
    let guide = include_str!("../scenarios/README.md");
    let mut shown = guide.split("```yaml\n").skip(1);
    let mut next = || shown.next().unwrap().split("```").next().unwrap();
    let (example, trace) = (next(), next());
    let scenario = Scenario::parse("example.yaml", example).unwrap();
    assert_eq!(scenario.warnings, []);
    assert_eq!(draw(&scenario, scenario.seed).len(), 200);
    let (head, _) = example.split_once("workload:").unwrap();
    let problems = Scenario::parse("x/example.yaml", &format!("{head}{trace}")).unwrap_err();
    assert!(
        problems[0].to_string().contains("x/philly.csv: file"),
        "{}",
        problems[0]
    );
    for file in files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(guide.contains(&format!("({name})")), "{name}");
    }
}

fn named(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    parse(&folder.join(format!("{name}.yaml")))
}

#[test]
fn the_modes_are_given_the_same_work() {
    let scenario = named("sharing-modes");
    let work = draw(&scenario, scenario.seed);
    let of = |tenant: &str| -> Vec<_> {
        let own = work.iter().filter(|d| d.job.tenant.as_str() == tenant);
        own.map(|d| {
            let job = &d.job;
            (job.id.name().to_owned(), job.submitted, d.runtime, d.busy)
        })
        .collect()
    };
    assert_eq!(of("whole-cards").len(), 76);
    assert_eq!(of("whole-cards"), of("time-slicing"));
    assert_eq!(of("whole-cards"), of("mps"));
    assert_eq!(of("whole-cards"), of("mig"));
}

#[test]
fn nodes_that_fail_are_in_the_scenario() {
    let scenario = named("node-failure");
    let away: Vec<_> = faults(&scenario, scenario.seed)
        .iter()
        .map(|fault| (fault.node.to_string(), fault.until.is_some()))
        .collect();
    assert_eq!(
        away,
        [("gpu-02".to_owned(), true), ("gpu-04".to_owned(), false)]
    );
}
