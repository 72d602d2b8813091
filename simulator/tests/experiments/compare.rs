//! `compare`: differences, with how sure they are.

use std::fs;

use serde_json::{Value, json};

use super::{DRAWN, TWELVE, folder, refused, squeezed, told};

#[test]
fn a_comparison_finds_what_is_worked_out_by_hand() {
    let two = TWELVE.replace("count: 1", "count: 2");
    let folder = folder(&[("one.yaml", TWELVE), ("two.yaml", &two)]);
    let line = "compare one.yaml two.yaml --seeds 1-3 --out c.json";
    let table = told(folder.path(), line);
    assert!(table.starts_with("A: one.yaml under drf\nB: two.yaml under drf\n3 seeds\n"));
    let row = |name: &str| {
        let row = table.lines().find(|line| line.starts_with(name));
        squeezed(row.unwrap())
    };
    let makespan =
        "makespan_ms 12 h 00 min 6 h 00 min -6 h 00 min -6 h 00 min to -6 h 00 min better";
    assert_eq!(row("makespan_ms"), makespan);
    assert!(row("wait_ms.mean").contains("5 h 30 min 2 h 30 min -3 h 00 min"));
    assert!(row("allocation_ratio ").ends_with("no clear difference"));

    let json = fs::read_to_string(folder.path().join("c.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "prorata.dev/comparison/v1alpha1");
    assert_eq!(json["seeds"], json!([1, 2, 3]));
    let metrics = json["metrics"].as_array().unwrap();
    let is = |metric: &&Value| metric["name"] == "tenant.red.jct_ms.max";
    let longest = metrics.iter().find(is).unwrap();
    assert_eq!(longest["difference"], -21_600_000.0);
    assert_eq!(longest["verdict"], "better");
}

#[test]
fn a_scenario_does_not_differ_from_itself() {
    let folder = folder(&[("a.yaml", DRAWN), ("b.yaml", DRAWN)]);
    let table = told(folder.path(), "compare a.yaml b.yaml --seeds 1-4");
    let rows: Vec<&str> = table.lines().skip(5).collect();
    assert!(rows.len() >= 10, "{table}");
    for row in rows {
        let same = squeezed(row).contains(" 0 0 to 0 no clear difference");
        assert!(same, "{row}");
    }
}

#[test]
fn a_comparison_says_when_the_work_differs_and_when_it_cannot_tell() {
    let other = DRAWN.replace("fixed: 30m", "fixed: 31m");
    let folder = folder(&[("a.yaml", DRAWN), ("b.yaml", &other)]);
    let (code, told) = refused(folder.path(), "compare a.yaml b.yaml --seeds 1-4");
    assert_eq!(code, 0);
    let warning = "warning: 4 of 4 seeds drew different work";
    assert!(told.starts_with(warning), "{told}");
    let (code, told) = refused(folder.path(), "compare a.yaml b.yaml --seeds 4");
    assert_eq!(code, 2);
    assert_eq!(
        told,
        "error: command line: --seeds: one seed alone tells nothing about chance\n\
         \x20 help: write two or more, such as --seeds 1-10\n"
    );
    let (code, told) = refused(folder.path(), "compare a.yaml b.yaml --out ./b.yaml");
    assert_eq!(code, 2);
    assert!(told.contains("would replace a file that is read"), "{told}");
}

#[test]
fn each_side_has_the_order_that_it_names_alone() {
    let fifo = TWELVE.replace("orders: [drf]", "orders: [fifo]");
    let both = TWELVE.replace("orders: [drf]", "orders: [fifo, drf]");
    let folder = folder(&[("fifo.yaml", &fifo), ("both.yaml", &both)]);
    let table = told(folder.path(), "compare fifo.yaml both.yaml --seeds 1-2");
    assert!(table.starts_with("A: fifo.yaml under fifo\nB: both.yaml under drf\n"));
    let line = "compare fifo.yaml both.yaml --seeds 1-2 --order fifo";
    assert!(told(folder.path(), line).contains("\nB: both.yaml under fifo\n"));
}
