//! `prorata-sim pack`: curves that were computed by hand, wrong inputs, and the published curves
//! of the openb lists, read from the folder that `PRORATA_DATA` names. Where they are absent, the
//! test says on stderr that it checked nothing. `PRORATA_PACK=all` checks all lists with all
//! seeds instead of two with one, which takes an optimised build.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::process::{Command, Output};

use prorata_simulator::pack::{self, Curve, Input, PLACES, Point};
use rayon::prelude::*;

use data::data;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\n\
    a,4000,1024,1,T4\n\
    b,1000,1024,1,T4\n";

/// Each asks for a quarter of the GPUs of both nodes.
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n\
    p,1000,0,1,500\n\
    q,1000,0,1,500\n";

/// The first two pods fill node a; the third takes half of b and its only CPU, so that the other
/// half is of use to nobody; the fourth and fifth fail, and a sixth would be beyond 130 %.
const CURVE: [(RangeInclusive<usize>, &str); 4] = [
    (0..=24, "0.0000,0.0000,0.0000"),
    (25..=49, "25.0000,0.0000,0.0000"),
    (50..=74, "50.0000,0.0000,0.0000"),
    (75..=130, "75.0000,100.0000,25.0000"),
];

const NO_SPREAD: &str = "0.0000,0.0000,0.0000";

/// A folder with a node list and a pod list.
fn lists(nodes: &str, pods: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nodes.csv"), nodes).unwrap();
    fs::write(folder.path().join("pods.csv"), pods).unwrap();
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let inputs = ["pack", "--nodes", "nodes.csv", "--pods", "pods.csv"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata-sim"));
    command.current_dir(folder).args(inputs).args(args);
    command.output().unwrap()
}

#[test]
fn the_curve_is_that_computed_by_hand() {
    let folder = lists(NODES, PODS);
    let output = run(
        folder.path(),
        &["--place", "first-fit,prorata", "--seeds", "3-4"],
    );
    assert!(output.status.success(), "{output:?}");
    let mut expected =
        String::from("# prorata-sim pack 1\nplace,seed,arrived,allocated,frag_ratio,frag_amount\n");
    for place in ["first-fit", "prorata"] {
        for seed in ["3", "4", "mean"] {
            for (percents, numbers) in CURVE {
                for percent in percents {
                    expected += &format!("{place},{seed},{percent},{numbers}\n");
                }
            }
        }
        for percent in 0..=130 {
            expected += &format!("{place},sd,{percent},{NO_SPREAD}\n");
        }
    }
    let written = fs::read_to_string(folder.path().join("pack.csv")).unwrap();
    assert_eq!(written, expected);
    let table = "\
PLACE      ARRIVED  ALLOCATED    SD  FRAGMENTS OF FREE    SD  FRAGMENTS OF ALL    SD
first-fit  90%         75.00%  0.00            100.00%  0.00            25.00%  0.00
first-fit  95%         75.00%  0.00            100.00%  0.00            25.00%  0.00
first-fit  100%        75.00%  0.00            100.00%  0.00            25.00%  0.00
first-fit  130%        75.00%  0.00            100.00%  0.00            25.00%  0.00
prorata    90%         75.00%  0.00            100.00%  0.00            25.00%  0.00
prorata    95%         75.00%  0.00            100.00%  0.00            25.00%  0.00
prorata    100%        75.00%  0.00            100.00%  0.00            25.00%  0.00
prorata    130%        75.00%  0.00            100.00%  0.00            25.00%  0.00

curves: pack.csv
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), table);
}

#[test]
fn models_whole_gpus_and_pods_without_any_count_too() {
    // `wide` finds its two GPUs on a alone and `picky` its model on b alone; `plain` takes the
    // CPUs of whichever is fuller. Nothing has room for a second of any, so all the same whoever
    // comes first: 2 + 1 of 4 GPUs, and then nothing more.
    let nodes = "sn,cpu_milli,memory_mib,gpu,model\na,3000,64,2,T4\nb,2000,64,2,V100\n";
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n\
        wide,2500,1,2,1000,\npicky,1500,1,1,1000,V100|A10\nplain,400,1,0,0,\n";
    let folder = lists(nodes, pods);
    for place in PLACES {
        let (inputs, seeds) = (folder.path(), 1..4);
        let input = pack::read(&inputs.join("nodes.csv"), &inputs.join("pods.csv")).unwrap();
        for seed in seeds {
            let curve = packed(&input, place.0, seed, 1500);
            let last = curve.points.last().unwrap();
            assert_eq!(curve.points.len(), 151);
            assert_eq!(
                (last.allocated, last.frag_amount),
                (75.0, 25.0),
                "{place:?}"
            );
        }
    }
}

#[test]
fn threads_change_no_byte_and_seeds_do() {
    let small = "c,1000,0,1,300\nd,500,0,1,200\ne,100,0,0,0\n";
    let folder = lists(NODES, &format!("{PODS}{small}"));
    let bytes = |args: &[&str]| {
        let places = ["--place", "random,first-fit,best-fit,fgd,prorata"];
        let output = run(folder.path(), &[&places, args].concat());
        assert!(output.status.success(), "{output:?}");
        fs::read(folder.path().join("pack.csv")).unwrap()
    };
    let one = bytes(&["--threads", "1"]);
    assert_eq!(one, bytes(&["--threads", "7"]));
    assert_eq!(one, bytes(&["--seeds", "45-51,42-44,50"]));
    assert_ne!(one, bytes(&["--seeds", "1-10"]));
}

#[test]
fn wrong_input_is_named_and_nothing_is_written() {
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n";
    let no_gpus = format!("{header}p,1,1,0,0\n");
    let half = format!("{header}p,1,1,1,500\nq,1,1,x,500\nr,1,1,y,500\n");
    let cases: [(&str, &str, &[&str], &str); 11] = [
        (
            "sn,gpu\na,1\n",
            PODS,
            &[],
            "error: nodes.csv:1: cpu_milli: there is no such column\n  help: name a node list",
        ),
        ("", PODS, &[], "error: nodes.csv: file: is empty\n  help: "),
        (
            NODES,
            NODES,
            &[],
            "error: pods.csv:1: name: there is no such column\n  help: name a pod list",
        ),
        (
            NODES,
            &half,
            &[],
            "error: pods.csv:3: num_gpu: `x` is not a number; 2 of 3 rows cannot be read\n  help: ",
        ),
        (
            NODES,
            &no_gpus,
            &[],
            "error: pods.csv:2: num_gpu: no pod asks for a GPU\n  help: ",
        ),
        (
            "sn,cpu_milli,memory_mib,gpu,model\na,1,1,0,\n",
            PODS,
            &[],
            "error: nodes.csv:2: gpu: no node has a GPU\n  help: ",
        ),
        (
            NODES,
            PODS,
            &["--out", "./pods.csv"],
            "error: ./pods.csv: --out: would be written over an input\n  help: ",
        ),
        (NODES, PODS, &["--place", "fdg"], "did you mean `fgd`?"),
        (
            NODES,
            PODS,
            &["--seeds", "7-3"],
            "write a seed or a range of at most 1000, such as 42-51",
        ),
        (
            NODES,
            PODS,
            &["--inflate", "0"],
            "write a ratio between 0.001 and 10, such as 1.3",
        ),
        (NODES, PODS, &["--threads", "0"], "--threads"),
    ];
    for (nodes, pods, args, expected) in cases {
        let folder = lists(nodes, pods);
        let output = run(folder.path(), args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
        assert!(output.stdout.is_empty());
        assert!(!folder.path().join("pack.csv").exists());
        assert_eq!(
            fs::read_to_string(folder.path().join("pods.csv")).unwrap(),
            pods
        );
    }
}

#[test]
fn odd_rows_are_told_of() {
    let folder = lists(NODES, &format!("{PODS}r,1000,0,1,1001\n"));
    let output = run(folder.path(), &["--seeds", "1"]);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "trace: 1 of 3 rows taken as asking for a whole GPU: one GPU, but not 1 to 1000 thousandths of it (first: line 4)\n"
    );
}

/// The lists, from the one that says most.
const LISTS: [&str; 5] = ["default", "multigpu30", "gpushare60", "gpuspec20", "cpu100"];

/// Which of ours is which of theirs.
const PUBLISHED: [(&str, &str); 3] = [
    ("random", "01-Random"),
    ("best-fit", "05-BestFit"),
    ("fgd", "06-FGD"),
];

#[test]
fn the_published_curves_come_out() {
    let Some(folder) = data("openb-fgd-2023") else {
        return;
    };
    let allocated = published(&folder.join("expected/allo.csv"));
    let frag_ratio = published(&folder.join("expected/frag_ratio.csv"));
    let all = env::var("PRORATA_PACK").is_ok_and(|which| which == "all");
    let (lists, seeds) = if all { (5, 42..=51) } else { (2, 42..=42) };
    for list in &LISTS[..lists] {
        let means = means(&folder, list, seeds.clone());
        for (ours, theirs) in PUBLISHED {
            let key = ((*list).to_owned(), theirs.to_owned());
            let near = |what: &str, percent: usize, ours: f64, theirs: f64, by: f64| {
                let apart = (ours - theirs).abs();
                let told = format!("{list} {theirs}: {what} at {percent} %: {ours} for {theirs}");
                assert!(apart <= by, "{told}");
            };
            let curve = &means[ours];
            for percent in [100, 130] {
                let (ours, theirs) = (curve[percent].allocated, allocated[&key][percent]);
                near("allocated", percent, ours, theirs, 0.8);
            }
            near(
                "fragmentation",
                90,
                curve[90].frag_ratio,
                frag_ratio[&key][90],
                5.0,
            );
        }
        for percent in [100, 130] {
            let at = |place: &str| means[place][percent].allocated;
            let (prorata, fgd) = (at("prorata"), at("fgd"));
            assert!(prorata >= fgd, "{list} at {percent} %: {prorata} < {fgd}");
        }
    }
}

/// Of each way to place, the mean curve over the seeds.
fn means(
    folder: &Path,
    list: &str,
    seeds: RangeInclusive<u64>,
) -> BTreeMap<&'static str, Vec<Point>> {
    let nodes = folder.join("openb_node_list_gpu_node.csv");
    let pods = folder.join(format!("openb_pod_list_{list}.csv"));
    let input = pack::read(&nodes, &pods).unwrap();
    let places = ["random", "best-fit", "fgd", "prorata"];
    let runs: Vec<_> = places
        .into_iter()
        .flat_map(|place| seeds.clone().map(move |seed| (place, seed)))
        .collect();
    let curves: Vec<(&str, Curve)> = runs
        .into_par_iter()
        .map(|(place, seed)| (place, packed(&input, place, seed, 1300)))
        .collect();
    let mean = |place: &str| {
        let curves = curves.iter().filter(|(of, _)| *of == place);
        let curves: Vec<&Curve> = curves.map(|(_, curve)| curve).collect();
        Point::over(&curves, |values| pack::spread(values).mean)
    };
    places
        .into_iter()
        .map(|place| (place, mean(place)))
        .collect()
}

fn packed(input: &Input, place: &str, seed: u64, inflation: u64) -> Curve {
    let (_, place) = PLACES.into_iter().find(|(name, _)| *name == place).unwrap();
    pack::pack(input, place, seed, inflation, &|| ControlFlow::Continue(())).unwrap()
}

/// Mean curves by list and way to place, as published seed by seed.
fn published(file: &Path) -> BTreeMap<(String, String), Vec<f64>> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header = reader.headers().unwrap().clone();
    let first = header.iter().position(|name| name == "0").unwrap();
    let mut curves: BTreeMap<(String, String), Vec<Vec<f64>>> = BTreeMap::new();
    for row in reader.records() {
        let row = row.unwrap();
        let numbers = row.iter().skip(first).take(131).map(|n| n.parse().unwrap());
        let list = row[0].strip_prefix("openb_pod_list_").unwrap();
        let key = (list.to_owned(), row[1].to_owned());
        curves.entry(key).or_default().push(numbers.collect());
    }
    let mean = |curves: Vec<Vec<f64>>| {
        let at = |percent: usize| {
            let values: Vec<f64> = curves.iter().map(|curve| curve[percent]).collect();
            pack::spread(&values).mean
        };
        (0..=130).map(at).collect()
    };
    curves
        .into_iter()
        .map(|(key, curves)| (key, mean(curves)))
        .collect()
}
