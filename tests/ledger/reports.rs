//! The reports of the month as the command writes them, added up again from what the pods say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use prorata_ledger::bill::UNALLOCATED;
use prorata_ledger::money;
use prorata_ledger::period::{DAY, parse_rfc3339};
use prorata_ledger::record::Extract;
use tempfile::TempDir;

use super::history::Life;
use super::month::Month;
use super::{FLEET, GPUS, NOBODYS};
use crate::cluster::prorata;

/// What a GPU-hour of each model of the fleet costs, in millionths: odd enough that each line is
/// rounded.
const HOURLY_MICROS: [i128; 2] = [2_345_679, 719_983];
/// How long a place may be held before its pod is bound and after it is over, in seconds of the
/// control plane: nobody leads for several of them after each kill.
const WAITS: u64 = 20;
/// GPU-milliseconds in a GPU-hour, in thousandths of a GPU.
const GPU_HOUR: i128 = 3_600_000 * 1000;

/// What a table says, row by row, by column.
type Rows = Vec<BTreeMap<String, String>>;

/// The reports of the month: every figure of a tenant is that of its lines, these are what its pods
/// held, and all together are what the fleet costs.
pub(crate) fn add_up(
    directory: &TempDir,
    url: &str,
    manifests: &str,
    told: &Extract,
    month: &Month,
    lives: &[Life],
) {
    let out = write(directory.path(), url, manifests, told, month);
    let lines = rows(&out.join("lines.csv"));
    let all: i128 = lines.iter().map(|row| micros(&row["cost"])).sum();
    assert_eq!(
        all,
        fleet_micros(),
        "all lines are the fleet, to the millionth: {:#?}",
        told.stock
    );
    let mut held: BTreeMap<&str, Rows> = BTreeMap::new();
    for row in lines.iter().filter(|row| row["for"] == "held") {
        costs_its_time(row);
        held.entry(&row["tenant"]).or_default().push(row.clone());
    }
    let accounts = rows(&out.join("tenants.csv"));
    let named: BTreeSet<&str> = accounts.iter().map(|row| &*row["name"]).collect();
    assert_eq!(named, held.keys().copied().collect());
    let (mut hours, mut of_pods) = (0, 0);
    for account in &accounts {
        let own = &held[&*account["name"]];
        is_its_lines(account, own);
        let page = out.join(format!("tenant-{}.html", account["name"]));
        let page = fs::read_to_string(page).unwrap();
        let cost = format!("{} EUR", money::rounded(micros(&account["cost"])));
        assert!(page.contains(&cost), "{}: {cost}", account["name"]);
        hours += micros(&account["gpu_hours"]);
        of_pods += held_by_pods(&account["name"], own, (told, month), lives);
    }
    println!(
        "{} accounts, {} lines, {} EUR; {} of {} GPU-hours held were pods that ran",
        accounts.len(),
        lines.len(),
        money::rounded(all),
        of_pods / 1_000_000,
        hours / 1_000_000
    );
}

/// Has the command write the reports of the month; returns where they are.
fn write(directory: &Path, url: &str, manifests: &str, told: &Extract, month: &Month) -> PathBuf {
    let day = |ms: u64| {
        let at = Timestamp::from_millisecond(i64::try_from(ms).unwrap()).unwrap();
        at.strftime("%Y-%m-%d").to_string()
    };
    let (first, last) = (day(told.stock[0].from_ms), day(told.kept_until_ms + DAY));
    let export = ["cost", "export", "--ledger", url, "--format", "extract"];
    let exported = prorata(&[&export[..], &["--from", &first, "--until", &last]].concat());
    let exported: Extract = serde_json::from_str(&exported).unwrap();
    // What the command reads of the database is what the book says.
    assert_eq!(
        (exported.holds, exported.stock),
        (told.holds.clone(), told.stock.clone())
    );
    let stretched = serde_json::to_string(&month.stretched(told)).unwrap();
    let prices = FLEET.iter().zip(HOURLY_MICROS).map(|((model, _), hourly)| {
        let hourly = money::exact(hourly);
        format!("- {{model: {model}, hourly: {hourly}, source: a test}}\n")
    });
    let prices: String = prices.collect();
    let prices = format!(
        "apiVersion: config.prorata.dev/v1alpha1\nkind: Prices\ncurrency: EUR\nprices:\n{prices}"
    );
    let files = [
        ("month.json", &*stretched),
        ("prices.yaml", &prices),
        ("tenants.yaml", manifests),
    ];
    let [extract, prices, tenants] = files.map(|(name, text)| {
        fs::write(directory.join(name), text).unwrap();
        directory.join(name).display().to_string()
    });
    let out = directory.join("out").display().to_string();
    let report = ["cost", "report", "--month", Month::NAME, "--out", &out];
    let from = [
        "--extract",
        &extract,
        "--prices",
        &prices,
        "--tenants",
        &tenants,
    ];
    prorata(&[report, from].concat());
    directory.join("out")
}

/// Names in these tables have neither commas nor quotes.
fn rows(path: &Path) -> Rows {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let titles: Vec<String> = lines.next().unwrap().collect();
    let row = |cells: Vec<String>| {
        assert_eq!(cells.len(), titles.len(), "{cells:?}");
        titles.iter().cloned().zip(cells).collect()
    };
    lines.map(|cells| row(cells.collect())).collect()
}

/// A decimal of six places, as a whole number of millionths.
fn micros(text: &str) -> i128 {
    let (units, part) = text.split_once('.').unwrap();
    assert_eq!(part.len(), 6, "{text}");
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let units: i128 = units.trim_start_matches('-').parse().unwrap();
    sign * (units * 1_000_000 + part.parse::<i128>().unwrap())
}

/// What the nodes cost that were there for the whole month.
fn fleet_micros() -> i128 {
    let hours = i128::from(Month::period().length_ms()) / 3_600_000;
    let of_model = FLEET.iter().zip(HOURLY_MICROS);
    let all = of_model.map(|((_, nodes), hourly)| i128::from(nodes * GPUS) * hours * hourly);
    all.sum()
}

/// A line costs its time at the price of its model, up to the rounding of one millionth.
fn costs_its_time(row: &BTreeMap<String, String>) {
    let mut models = FLEET.iter().zip(HOURLY_MICROS);
    let (_, hourly) = models
        .find(|((model, _), _)| *model == row["model"])
        .unwrap();
    let exact = time(row) * hourly;
    let off = (micros(&row["cost"]) * GPU_HOUR - exact).abs();
    assert!(off < GPU_HOUR, "{row:?}");
}

/// From when to when a line was held, in milliseconds.
fn span(row: &BTreeMap<String, String>) -> (u64, u64) {
    let ms = |column: &str| parse_rfc3339(&row[column]).unwrap();
    (ms("from"), ms("until"))
}

/// Thousandths of a GPU times milliseconds of a line.
fn time(row: &BTreeMap<String, String>) -> i128 {
    let (from, until) = span(row);
    let milli: u64 = row["gpus_thousandths"].parse().unwrap();
    i128::from(milli) * i128::from(until - from)
}

/// What an account says is the sum of its lines.
fn is_its_lines(account: &BTreeMap<String, String>, own: &Rows) {
    let cost: i128 = own.iter().map(|row| micros(&row["cost"])).sum();
    let held: i128 = own.iter().map(time).sum();
    assert_eq!(micros(&account["cost"]), cost, "{account:?}");
    let off = (micros(&account["gpu_hours"]) * GPU_HOUR / 1_000_000 - held).abs();
    assert!(off <= GPU_HOUR / 1_000_000, "{account:?}: {held}");
}

/// What a tenant's pods ran within the month, in millionths of a GPU-hour. The lines of each job are as
/// much, and no more beyond that than its pods' places may be held before and after them.
fn held_by_pods(
    tenant: &str,
    own: &Rows,
    (told, month): (&Extract, &Month),
    lives: &[Life],
) -> i128 {
    let namespace = match tenant {
        UNALLOCATED => NOBODYS,
        tenant => tenant,
    };
    let mut jobs: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for life in lives.iter().filter(|life| life.namespace == namespace) {
        let end = Month::period().until_ms;
        let [bound, over] = [life.bound_ms, life.over_ms].map(|ms| month.at(ms).min(end));
        let milli = i128::from(life.gpus * 1000);
        let (ran, waits) = jobs.entry(&life.job).or_default();
        *ran += milli * i128::from(over.saturating_sub(bound));
        *waits += milli * i128::from(2 * WAITS * 1000 * month.scale());
    }
    for (job, (ran, waits)) in &jobs {
        let lines = own.iter().filter(|row| row["job"] == *job);
        // Whatever was held after the last that is known of it nobody is charged.
        let is_estimated = told.holds.iter().any(|hold| {
            let is_it = hold.payer.namespace == namespace && hold.job == *job;
            is_it && hold.end.is_some_and(|end| end.estimated)
        });
        let held: i128 = lines.map(time).sum();
        if held < *ran && !is_estimated {
            let is_it = |of: &str| of == *job;
            let holds: Vec<_> = told.holds.iter().filter(|hold| is_it(&hold.job)).collect();
            let pods: Vec<_> = lives.iter().filter(|life| is_it(&life.job)).collect();
            panic!("{tenant}/{job}: {held} held, {ran} ran: {holds:#?} {pods:#?}");
        }
        assert!(
            held <= ran + waits,
            "{tenant}/{job}: {held} held, {ran} ran"
        );
    }
    let ran: i128 = jobs.values().map(|(ran, _)| ran).sum();
    ran * 1_000_000 / GPU_HOUR
}
