//! `sweep` and `merge`: tables, whole and in parts, here and on a cluster.

use std::fs;
use std::path::Path;

use clap::Parser;
use prorata_simulator::cli;
use serde_json::{Value, json};

use super::{DRAWN, TWELVE, command, folder, refused, told};

#[test]
fn a_sweep_has_a_row_for_each_run() {
    let folder = folder(&[("s.yaml", TWELVE)]);
    let line = "sweep s.yaml --set pools.gpu.count=2..4:2 --set workload.train.jobs=12,24 \
                --seeds 5,6 --order fifo,drf --out grid.csv";
    assert_eq!(told(folder.path(), line), "16 runs: grid.csv\n");
    let mut reader = csv::Reader::from_path(folder.path().join("grid.csv")).unwrap();
    let columns = reader.headers().unwrap().clone();
    let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let keys = |row: &csv::StringRecord| row.iter().take(4).collect::<Vec<_>>().join(" ");
    assert_eq!(
        rows.iter().map(keys).collect::<Vec<_>>()[..6],
        [
            "2 12 5 fifo",
            "2 12 5 drf",
            "2 12 6 fifo",
            "2 12 6 drf",
            "2 24 5 fifo",
            "2 24 5 drf"
        ]
    );
    for row in rows {
        let number = |name: &str| row[place(name)].parse::<f64>().unwrap();
        let (gpus, jobs) = (number("pools.gpu.count"), number("workload.train.jobs"));
        assert_eq!(number("makespan_ms"), jobs / gpus * 3_600_000.0);
        assert_eq!(
            (number("gpus"), number("tenant.red.finished")),
            (gpus, jobs)
        );
    }
}

const GRID: &str =
    "sweep s.yaml --set pools.gpu.count=1..3 --set tenants.red.weight=1/2,2 --seeds 1-3";

#[test]
fn the_bytes_of_a_sweep_depend_on_neither_threads_nor_shards() {
    let folder = folder(&[("s.yaml", DRAWN)]);
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    told(
        folder.path(),
        &format!("{GRID} --threads 1 --out whole.csv"),
    );
    told(
        folder.path(),
        &format!("{GRID} --threads 7 --out again.csv"),
    );
    assert_eq!(bytes("whole.csv"), bytes("again.csv"));
    for index in [3, 0, 4, 1, 2] {
        let line = format!("{GRID} --shard {index}/5 --out shard-{index}.csv");
        let rows = if index == 0 { 8 } else { 7 };
        assert_eq!(
            told(folder.path(), &line),
            format!("shard {index} of 5, {rows} of 36 runs: shard-{index}.csv\n")
        );
    }
    let files = "shard-2.csv shard-0.csv shard-4.csv shard-3.csv shard-1.csv";
    told(folder.path(), &format!("merge {files} --out merged.csv"));
    assert_eq!(bytes("whole.csv"), bytes("merged.csv"));
}

#[test]
fn a_pod_knows_its_shard_by_itself() {
    let folder = folder(&[("s.yaml", DRAWN)]);
    let line = format!("{GRID} --shard 9 --out own.csv");
    let as_pod = |index: &str| {
        let mut pod = command(folder.path(), &line);
        let output = pod.env("JOB_COMPLETION_INDEX", index).output();
        output.unwrap().status.code()
    };
    assert_eq!(as_pod("4"), Some(0));
    told(
        folder.path(),
        &format!("{GRID} --shard 4/9 --out named.csv"),
    );
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("own.csv"), bytes("named.csv"));
    assert_eq!(as_pod("9"), Some(2));
    let (code, told) = refused(folder.path(), &line);
    assert_eq!(code, 2);
    assert!(told.contains("$JOB_COMPLETION_INDEX is not set"), "{told}");
}

#[test]
fn a_missing_doubled_or_foreign_shard_is_refused() {
    let folder = folder(&[("s.yaml", DRAWN)]);
    for index in 0..3 {
        let line = format!("{GRID} --shard {index}/3 --out {index}.csv");
        told(folder.path(), &line);
    }
    let other = GRID.replace("--seeds 1-3", "--seeds 2-4");
    told(
        folder.path(),
        &format!("{other} --shard 2/3 --out other.csv"),
    );
    fs::write(folder.path().join("merged.csv"), "from before").unwrap();
    for (files, why) in [
        ("0.csv 2.csv", "merge: shards: of 3, these are missing: 1\n"),
        (
            "0.csv 1.csv 2.csv 1.csv",
            "1.csv: shard: is shard 1, as 1.csv is\n",
        ),
        (
            "0.csv 1.csv other.csv",
            "other.csv: shard: is of another sweep than 0.csv\n",
        ),
        ("s.yaml 0.csv", "s.yaml: shard: does not begin as a shard\n"),
    ] {
        let line = format!("merge {files} --out merged.csv");
        let (code, told) = refused(folder.path(), &line);
        assert_eq!(code, 2, "{told}");
        assert!(told.starts_with(&format!("error: {why}")), "{told}");
        let merged = fs::read_to_string(folder.path().join("merged.csv")).unwrap();
        assert_eq!(merged, "from before");
    }
}

#[test]
fn a_wrong_point_is_named_before_anything_runs() {
    let folder = folder(&[("s.yaml", DRAWN)]);
    let told = |set: &str| {
        let (code, told) = refused(folder.path(), &format!("sweep s.yaml {set} --out x.csv"));
        assert_eq!(code, 2, "{told}");
        told
    };
    assert_eq!(
        told("--set pools.gpu.count=1,2 --set tenants.red.weight=1,heavy"),
        "error: s.yaml with pools.gpu.count=1, tenants.red.weight=heavy: tenants[0].weight: \
         `heavy` is not a weight\n\
         \x20 help: write a whole number or a fraction such as 2, 1/2 or 0.5\n"
    );
    assert!(told("--set pools.gpu.cuont=1").contains("did you mean `count`?"));
    assert!(told("--set pool.gpu.count=1").contains("did you mean `pools`?"));
    assert!(told("--set seed=1").contains("--seeds"));
    assert!(told("--set until=1h --set until=2h").contains("names a field twice"));
    let many = "--set until=1..9999 --set description=1..9999";
    assert!(told(many).contains("more than 1000000 runs"));
    assert!(!folder.path().join("x.csv").exists());
    // What is wrong with the file itself has its place there.
    let wrong = DRAWN.replace("jobs: 5", "jobs: few");
    fs::write(folder.path().join("s.yaml"), wrong).unwrap();
    let told = told("--set pools.gpu.count=1");
    let start = "error: s.yaml:19:11: workload[1].jobs:";
    assert!(told.starts_with(start), "{told}");
}

#[test]
fn odd_points_are_told_once() {
    let text = DRAWN.replace("weight: 1}", "guaranteed: {gpu: 8}}");
    let folder = folder(&[("s.yaml", &text)]);
    let points = "--set pools.gpu.count=1..3 --set pools.gpu.gpus=1,2";
    let line = format!("sweep s.yaml {points} --seeds 1 --out x.csv");
    let (code, told) = refused(folder.path(), &line);
    assert_eq!(code, 0, "{told}");
    let warnings = told.matches("the guarantees of gpu sum to more").count();
    assert_eq!(warnings, 1, "{told}");
    let start = "warning: s.yaml with pools.gpu.count=1, pools.gpu.gpus=1: tenants:";
    assert!(told.starts_with(start), "{told}");
    let rest = "  and 5 more points have such warnings\n";
    assert!(told.ends_with(rest), "{told}");
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    _command: cli::Command,
}

#[test]
fn the_job_on_a_cluster_is_called_as_the_command_wants_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sweep-job.yaml");
    let text = fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let kind = |kind: &str| documents.iter().find(|d| d["kind"] == kind).unwrap();
    let (job, claim) = (kind("Job"), kind("PersistentVolumeClaim"));
    let pod = &job["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    assert_eq!(job["spec"]["completions"], job["spec"]["parallelism"]);
    let results = &pod["volumes"][1]["persistentVolumeClaim"];
    assert_eq!(results["claimName"], claim["metadata"]["name"]);
    // What the restricted Pod Security Standard asks for.
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let rights = &container["securityContext"];
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]));

    assert_eq!(container["command"], json!(["prorata", "sim"]));
    let args = container["args"].as_array().unwrap();
    let args = args.iter().map(|arg| arg.as_str().unwrap());
    let args: Vec<String> = args
        .map(|arg| arg.replace("$(JOB_COMPLETION_INDEX)", "3"))
        .collect();
    let shards = format!("--shard={}", job["spec"]["completions"]);
    assert!(args.contains(&shards), "{args:?}");
    assert_eq!(args.last().unwrap(), "--out=/results/shard-3.csv");
    let line = ["prorata-sim".to_owned()].into_iter().chain(args);
    if let Err(error) = Line::try_parse_from(line) {
        panic!("{error}");
    }
}
