//! `prorata cost`, `usage` and `tenant review` and `size`, as people meet them: exit code, stream and text.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use prorata_ledger::entry::{Entry, Held, PlaceId};
use prorata_ledger::record::{End, Payer, Stock, Why};
use prorata_ledger::store::{Book, Purpose};
use serde_json::{Value, json};
use tempfile::TempDir;

const DAY: u64 = 86_400_000;

const PRICES: &str = "\
apiVersion: config.prorata.dev/v1alpha1
kind: Prices
currency: EUR
prices:
- {model: a, hourly: 2}
- {model: own, owned: {capex: 250000, years: 4, opex: 30000, gpus: 8, targetUtilisation: 70%}}
";

const TENANTS: &str = "\
apiVersion: prorata.dev/v1alpha1
kind: Tenant
metadata: {name: vision}
spec: {guaranteed: {gpu: 8}, budget: {monthly: 1000, currency: EUR}}
";

/// A directory with a price file, Tenants, and what a ledger says of January 1970: vision holds 2 GPUs
/// for ten days, nobody's namespace one for a day, and there are 4.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let hold = |tenant: &str, job: &str, gpu_milli: u64, until_ms: u64| {
            json!({
                "jobUid": job, "epoch": 1, "node": "n", "model": "a", "tenant": tenant, "environment": "",
                "namespace": format!("ml-{tenant}"), "user": "ana", "costCenter": "4711", "department": "", "kind": "Job",
                "job": job, "priorityClass": "", "pool": "", "mode": "exclusive", "gpuMilli": gpu_milli, "fromMs": 0,
                "end": {"atMs": until_ms, "why": "finished", "estimated": false}, "busyMilli": 500,
            })
        };
        let extract = json!({
            "fromMs": 0, "untilMs": 31 * DAY, "keptUntilMs": 31 * DAY, "gaps": [], "names": {},
            "stock": [{"node": "n", "pool": "", "model": "a", "gpuMilli": 4000, "fromMs": 0, "untilMs": null}],
            "holds": [hold("vision", "train", 2000, 10 * DAY), hold("", "stray", 1000, DAY)],
        });
        for (name, text) in [
            ("prices.yaml", PRICES),
            ("tenants.yaml", TENANTS),
            ("extract.json", &extract.to_string()),
        ] {
            fs::write(place.path(name), text).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs it in the directory; no ledger and no cluster is known there.
    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
        for name in ["PRORATA_LEDGER", "PRORATA_PRICES"] {
            command.env_remove(name);
        }
        command
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn prints(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refuses(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_row_for_each_tenant_and_one_for_all() {
    let text = Place::new().prints("cost --extract extract.json --prices prices.yaml");
    // 4 GPUs for 31 days at 2; vision 480 GPU-hours, the stray one 24.
    assert_eq!(
        text,
        "\
TENANT            GPU-HOURS   COMPUTING   COST
__idle__          -           -           4,944.00 EUR
vision            480.0       50.0 %      960.00 EUR
__unallocated__   24.0        50.0 %      48.00 EUR
all               504.0       50.0 %      5,952.00 EUR
"
    );
}

#[test]
fn other_sums_and_forms() {
    let place = Place::new();
    let text = place.prints("cost --extract extract.json --prices prices.yaml --from 1970-01-01 --until 1970-01-02 --by job --tenant vision -o json");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&told["by"], &told["total"]),
        (&json!("job"), &json!("96.000000"))
    );
    assert_eq!(told["rows"][0]["name"], "ml-vision/train");
    assert_eq!(told["rows"][0]["gpuHours"], "48.000000");
    let csv =
        place.prints("cost --extract extract.json --prices prices.yaml --by cost-center -o csv");
    assert!(csv.starts_with("cost_center,gpu_hours,"), "{csv}");
    assert!(
        csv.contains("\r\n4711,504.000000,0.000000,500,1008.000000,EUR\r\n"),
        "{csv}"
    );
    let usage = place.prints("usage --extract extract.json --tenant vision");
    assert_eq!(
        usage,
        "JOB               GPU-HOURS   COMPUTING   PREEMPTED\nml-vision/train   480.0       50.0 %      -\n"
    );
    let all = place.prints("usage --extract extract.json -A --by tenant");
    assert_eq!(
        all,
        "\
TENANT            GPU-HOURS   COMPUTING   PREEMPTED
vision            480.0       50.0 %      -
__unallocated__   24.0        50.0 %      -
all               504.0       -           -
"
    );
}

#[test]
fn reports_and_exports() {
    let place = Place::new();
    place.prints(
        "cost report --extract extract.json --prices prices.yaml --tenants tenants.yaml --out out",
    );
    let page = fs::read_to_string(place.path("out/tenant-vision.html")).unwrap();
    assert!(page.contains("960.00 EUR; 96 % of the budget."), "{page}");
    let focus = place.prints(
        "cost export --extract extract.json --prices prices.yaml --format focus --account c1",
    );
    assert!(focus.starts_with("BilledCost,BillingAccountId,"), "{focus}");
    assert_eq!(focus.lines().count(), 4);
    // What was exported gives the same bill again.
    let again = place.prints("cost export --extract extract.json --format extract");
    fs::write(place.path("again.json"), again).unwrap();
    let bill = |file: &str| {
        place.prints(&format!(
            "cost --extract {file} --prices prices.yaml -o csv"
        ))
    };
    assert_eq!(bill("again.json"), bill("extract.json"));
}

#[test]
fn the_arithmetic_of_ones_own_machines_is_shown() {
    let text = Place::new().prints("cost price prices.yaml");
    assert!(
        text.contains("÷ (8760 h × 70 % in use = 6132 h) = 1.8856 an hour"),
        "{text}"
    );
}

#[test]
fn guarantees_are_held_against_use() {
    let place = Place::new();
    let text = place.prints("tenant review --extract extract.json --tenants tenants.yaml --from 1970-01-01 --until 1970-01-11");
    assert_eq!(
        text,
        "\
TENANT   GUARANTEED   USED   MOST   BORROWED   FITTING   VERDICT
vision   8            2      2      0.0        3         guaranteed more than it uses
"
    );
    let size = place.prints("tenant size --people 5 --history vision --extract extract.json --from 1970-01-01 --until 1970-01-11");
    assert!(
        size.ends_with("guaranteed: {gpu: 3, cpu: 75, memory: 150G}\n"),
        "{size}"
    );
}

#[test]
fn what_is_missing_or_wrong_is_told_with_a_remedy() {
    let place = Place::new();
    let text = place.refuses("cost --extract extract.json");
    assert!(
        text.starts_with("error: there is no price file, so there is no bill\n  help: "),
        "{text}"
    );
    let text = place.refuses("cost --prices prices.yaml");
    assert!(
        text.starts_with("error: no ledger is named\n  help: "),
        "{text}"
    );
    fs::write(
        place.path("wrong.yaml"),
        PRICES.replace("hourly: 2", "hourly: two"),
    )
    .unwrap();
    let text = place.refuses("cost price wrong.yaml");
    assert!(
        text.starts_with(
            "error: wrong.yaml:5:22: prices[0].hourly: `two` is not an amount of money\n  help: "
        ),
        "{text}"
    );
    let text = place.refuses("cost --extract extract.json --prices prices.yaml --month 1970-02");
    assert!(
        text.starts_with("error: the extract is of January 1970, not of February 1970\n  help: "),
        "{text}"
    );
    fs::write(
        place.path("other.yaml"),
        PRICES.replace("model: a,", "model: b,"),
    )
    .unwrap();
    let output = place.run("cost --extract extract.json --prices other.yaml");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("error: there is no price of \"a\" on 1970-01-01, so there is no bill: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_ledger_in_a_database_is_read() {
    let place = Place::new();
    let url = format!("sqlite://{}", place.path("ledger.db").display());
    let book = Book::open(&url, Purpose::Write).await.unwrap();
    let id = PlaceId {
        job_uid: "u".to_owned(),
        epoch: 1,
        seat: 0,
        node: "n".to_owned(),
    };
    let payer = Payer {
        tenant: "vision".to_owned(),
        namespace: "ml-vision".to_owned(),
        ..Payer::default()
    };
    let held = Held {
        id: id.clone(),
        from_ms: 0,
        model: "a".to_owned(),
        pool: String::new(),
        mode: "exclusive".to_owned(),
        gpu_milli: 2000,
        payer,
        kind: "Job".to_owned(),
        job: "train".to_owned(),
        priority_class: String::new(),
    };
    let stock = Stock {
        node: "n".to_owned(),
        pool: String::new(),
        model: "a".to_owned(),
        gpu_milli: 4000,
        from_ms: 0,
        until_ms: None,
    };
    let end = End {
        at_ms: DAY / 2,
        why: Why::Finished,
        estimated: false,
    };
    let entries = [
        Entry::There(stock),
        Entry::Held(Arc::new(held)),
        Entry::Freed(id, end),
    ];
    book.write(&entries, (0, DAY)).await.unwrap();
    book.close().await;
    let line = format!("cost --ledger {url} --prices prices.yaml --month 1970-01 --no-headers");
    // The book was kept for a day: 96 GPU-hours at 2.
    assert_eq!(
        place.prints(&line),
        "\
__idle__   -      -   144.00 EUR
vision     24.0   -   48.00 EUR
all        24.0   -   192.00 EUR
"
    );
    let absent = place.run("cost --ledger sqlite:///nowhere/ledger.db --prices prices.yaml");
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
}
