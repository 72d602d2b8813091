//! `prorata-sim run` as people call it: files, bytes, exit codes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/noisy-neighbour.yaml")
}

fn prorata_sim(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
    command
        .current_dir(folder)
        .arg("run")
        .args(args)
        .output()
        .unwrap()
}

/// Every file below a folder, with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read(entry.path()).unwrap(),
        )
    };
    let mut files: Vec<_> = entries.map(read).collect();
    files.sort();
    files
}

fn run(out: &Path, more: &[&str]) -> Vec<(String, Vec<u8>)> {
    let (scenario, svg) = (scenario(), out.join("chart.svg"));
    let (scenario, svg) = (scenario.to_str().unwrap(), svg.to_str().unwrap());
    let args = [
        &[scenario, "--out", out.to_str().unwrap(), "--svg", svg],
        more,
    ]
    .concat();
    let output = prorata_sim(out.parent().unwrap(), &args);
    assert!(output.status.success(), "{output:?}");
    files(out)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let scratch = tempfile::tempdir().unwrap();
    let out = |name: &str| scratch.path().join(name);
    let first = run(&out("a"), &[]);
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "chart.svg",
            "events.jsonl",
            "jobs.csv",
            "report.html",
            "summary.json",
            "timeline.csv"
        ]
    );
    assert_eq!(first, run(&out("b"), &[]));
    // A second run into the same folder leaves nothing of the first.
    let other = run(&out("a"), &["--seed", "2"]);
    assert_eq!(other, run(&out("c"), &["--seed", "2"]));
    for (one, another) in first.iter().zip(&other) {
        assert_ne!(one, another);
    }
}

#[test]
fn the_report_needs_no_network_and_stays_small() {
    let scratch = tempfile::tempdir().unwrap();
    let files = run(&scratch.path().join("out"), &[]);
    let report = String::from_utf8(files[3].1.clone()).unwrap();
    assert!(report.len() < 2_000_000);
    assert!(report.contains("Under drf the p95 wait of everybody else is"));
    let foreign = |text: &str| {
        text.replace("http://www.w3.org/2000/svg", "")
            .contains("http")
    };
    assert!(!foreign(&report) && !report.contains("@import"));
    // The only script is data, which nothing runs.
    let data = "<script type=\"application/json\" id=\"summary\">";
    assert_eq!(report.matches("<script").count(), 1);
    assert!(report.contains(data));
}

#[test]
fn orders_can_be_chosen_and_files_placed() {
    let scratch = tempfile::tempdir().unwrap();
    let scenario = scenario();
    let args = [
        scenario.to_str().unwrap(),
        "--order",
        "drf",
        "--report",
        "elsewhere/page.html",
    ];
    let output = prorata_sim(scratch.path(), &args);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("ORDER  TENANT      JOBS"), "{table}");
    assert!(!table.contains("fifo"), "{table}");
    assert!(table.ends_with("report: elsewhere/page.html\n"), "{table}");
    assert!(scratch.path().join("elsewhere/page.html").exists());
    let summary = fs::read_to_string(scratch.path().join("report/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["schema"], "prorata.dev/summary/v1alpha2");
    assert_eq!(summary["orders"][0]["order"], "drf");
    assert_eq!(summary["orders"][0]["all"]["finished"], 132);
}

#[test]
fn a_run_can_be_cut_short_and_share_cards_by_another_table() {
    let scratch = tempfile::tempdir().unwrap();
    let sharing = scenario().with_file_name("sharing-modes.yaml");
    let table = scenario().with_file_name("../interference.yaml");
    let costly = fs::read_to_string(table).unwrap();
    let costly = costly.replace("slope: 500000", "slope: 5000000");
    fs::write(scratch.path().join("costly.yaml"), costly).unwrap();
    let summary = |more: &[&str]| {
        let output = prorata_sim(
            scratch.path(),
            &[&[sharing.to_str().unwrap()], more].concat(),
        );
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(scratch.path().join("report/summary.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let usual = summary(&[]);
    let slow = summary(&["--interference", "costly.yaml", "--grace", "30s"]);
    assert_ne!(usual["interference_hash"], slow["interference_hash"]);
    let gain = |summary: &serde_json::Value| {
        summary["orders"][0]["neighbours"]["net_gain"]
            .as_f64()
            .unwrap()
    };
    assert!(
        gain(&slow) < gain(&usual),
        "{} {}",
        gain(&slow),
        gain(&usual)
    );
    let cut = summary(&["--until", "2h"]);
    assert_eq!(cut["orders"][0]["end_ms"], 2 * 3_600_000);
    let wrong = prorata_sim(
        scratch.path(),
        &[sharing.to_str().unwrap(), "--until", "soon"],
    );
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_wrong_scenario_exits_with_2_and_writes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(scenario())
        .unwrap()
        .replace("jobs: 100", "jobs: many");
    fs::write(scratch.path().join("wrong.yaml"), text).unwrap();
    let output = prorata_sim(scratch.path(), &["wrong.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: wrong.yaml:37:11: workload[0].jobs: `many` is not a number from 1 to 1000000\n\
         \x20 help: write a number in that range, without a unit\n"
    );
    assert!(!scratch.path().join("report").exists());
    assert_eq!(
        prorata_sim(scratch.path(), &["wrong.yaml", "--order", "dfr"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        prorata_sim(scratch.path(), &["absent.yaml"]).status.code(),
        Some(2)
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_exits_with_130_and_leaves_what_was_there() {
    let scratch = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(scenario()).unwrap();
    // Far more than can be run before the signal comes.
    let long = text.replace("jobs: 100", "jobs: 20000");
    fs::write(scratch.path().join("long.yaml"), long).unwrap();
    let out = scratch.path().join("report");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("summary.json"), "from before").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_prorata-sim"))
        .current_dir(scratch.path())
        .args(["run", "long.yaml"])
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(
        files(&out),
        [("summary.json".to_owned(), b"from before".to_vec())]
    );
}

#[test]
fn each_output_needs_a_file_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    fs::copy(scenario(), scratch.path().join("s.yaml")).unwrap();
    let cases: [(&[&str], &str); 4] = [
        (
            &["--report", "./report/summary.json"],
            "./report/summary.json: the report: would be the same file as summary.json",
        ),
        (
            &["--report", "report/jobs.csv"],
            "report/jobs.csv: the report: would be the same file as jobs.csv",
        ),
        (
            &["--svg", "report/report.html"],
            "report/report.html: the chart (--svg): would be the same file as the report",
        ),
        (
            &["--report", "s.yaml"],
            "s.yaml: the report: would be the same file as the scenario",
        ),
    ];
    for (args, what) in cases {
        let output = prorata_sim(scratch.path(), &[&["s.yaml"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let help = "  help: choose other names with --out, --report and --svg";
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, format!("error: {what}\n{help}\n"));
        assert!(!scratch.path().join("report").exists());
    }
}

#[test]
fn a_folder_in_the_way_of_one_output_keeps_all_from_being_written() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("report/chart")).unwrap();
    let scenario = scenario();
    let args = [scenario.to_str().unwrap(), "--svg", "report/chart"];
    let output = prorata_sim(scratch.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let entries = fs::read_dir(scratch.path().join("report")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn a_price_file_prices_each_order_in_the_summary_and_the_report() {
    let scratch = tempfile::tempdir().unwrap();
    let scenario = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: one
pools: {node: {count: 1, gpus: 2, model: H100}}
tenants: [{name: red}]
policy: {orders: [fifo, drf]}
workload:
  - {tenant: red, name: job, jobs: 1, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
";
    let prices = "{apiVersion: config.prorata.dev/v1alpha1, kind: Prices, currency: EUR, prices: [{model: H100, hourly: 3}]}";
    for (name, text) in [
        ("s.yaml", scenario),
        ("p.yaml", prices),
        ("q.yaml", &prices.replace("H100", "A100")),
    ] {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    let priced = prorata_sim(
        scratch.path(),
        &["s.yaml", "--out", "out", "--prices", "p.yaml"],
    );
    assert!(priced.status.success(), "{priced:?}");
    let text = String::from_utf8(priced.stdout).unwrap();
    assert_eq!(
        text.matches("  costs 6.00 EUR: 3.00 held, of which 0.00 lost; 3.00 nobody's")
            .count(),
        2,
        "{text}"
    );
    let summary = fs::read(scratch.path().join("out/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["orders"][1]["priced"]["tenants"][0]["cost"], 3.0);
    let report = fs::read_to_string(scratch.path().join("out/report.html")).unwrap();
    assert!(report.contains("The bill, in EUR"));
    let unpriced = prorata_sim(
        scratch.path(),
        &["s.yaml", "--out", "other", "--prices", "q.yaml"],
    );
    assert_eq!(unpriced.status.code(), Some(2));
    let text = String::from_utf8(unpriced.stderr).unwrap();
    assert!(
        text.starts_with("error: q.yaml: prices: there is no price of \"H100\""),
        "{text}"
    );
    assert!(!scratch.path().join("other").exists());
}
