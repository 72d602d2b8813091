//! The report: what stands in it, that it needs nothing but itself, and that it stays small.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::time::Duration;

use prorata_core::{JobId, Time};
use prorata_simulator::report::Report;
use prorata_simulator::run::{Check, Fate, Run, run};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::summary::summarise;
use prorata_simulator::workload;
use prorata_simulator::world::Change;

const HEAD: &str = "apiVersion: sim.prorata.dev/v1alpha1\nkind: Scenario\n";

/// One job that starts at once.
const ALONE: &str = "name: alone
pools: {node: {count: 1, gpus: 2}}
tenants: [{name: red}]
workload:
  - {tenant: red, name: job, jobs: 1, arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}
";

fn scenario(name: &str) -> Scenario {
    let file = format!("{}/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    Scenario::parse(&file, &std::fs::read_to_string(&file).unwrap()).unwrap()
}

fn written(text: &str) -> Scenario {
    Scenario::parse("s.yaml", &format!("{HEAD}{text}")).unwrap()
}

fn simulated(scenario: &Scenario) -> Vec<Run> {
    let work = workload::draw(scenario, scenario.seed);
    let go_on = &mut |_| ControlFlow::Continue(());
    let one = |order: &_| run(scenario, *order, &work, Check::Debug, go_on).unwrap();
    scenario.orders.iter().map(one).collect()
}

fn page(scenario: &Scenario, runs: &[Run]) -> String {
    let report = Report {
        scenario,
        runs,
        summary: &summarise(scenario, runs),
    };
    report.html().unwrap()
}

fn report(scenario: &Scenario) -> String {
    page(scenario, &simulated(scenario))
}

/// What stands between the heading of a section and the next section.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.find(&format!("<section id=\"{id}\">")).unwrap();
    let length = page[from..].find("</section>").unwrap();
    &page[from..from + length]
}

fn embedded(page: &str) -> serde_json::Value {
    let begin = "<script type=\"application/json\" id=\"summary\">";
    let from = page.find(begin).unwrap() + begin.len();
    let length = page[from..].find("</script>").unwrap();
    serde_json::from_str(&page[from..from + length]).unwrap()
}

/// The rows of a section's tables, their cells parted by `|`.
fn rows(section: &str) -> Vec<String> {
    let row = |row: &str| {
        let cells = row.split("<td").skip(1).map(|cell| {
            let text = &cell[cell.find('>').unwrap() + 1..cell.find("</td>").unwrap()];
            text.replace("<code>", "").replace("</code>", "")
        });
        cells.collect::<Vec<_>>().join("|")
    };
    let rows = section.split("<tr").skip(1).map(row);
    rows.filter(|row| !row.is_empty()).collect()
}

const SECTIONS: [&str; 13] = [
    "numbers",
    "held",
    "queue",
    "waits",
    "shares",
    "nodes",
    "idle",
    "preemption",
    "sizes",
    "cost",
    "worst",
    "neighbours",
    "assumptions",
];

#[test]
fn every_section_has_what_the_scenario_gives() {
    let page = report(&scenario("prod-preempts-dev"));
    let places = SECTIONS.map(|id| page.find(&format!("<section id=\"{id}\">")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    for id in [
        "held", "queue", "waits", "shares", "nodes", "idle", "sizes", "cost",
    ] {
        let section = section(&page, id);
        let charts = section.matches("<svg role=\"img\"").count();
        assert!(charts > 0, "{id}");
        assert_eq!(section.matches("<title>").count(), charts, "{id}");
    }
    let numbers = rows(section(&page, "numbers"));
    assert!(
        numbers
            .iter()
            .any(|row| row.starts_with("search and below|all|drf|66 / 66|"))
    );
    assert!(
        numbers
            .iter()
            .any(|row| row.starts_with("search-prod|production (1000)|fifo|6 / 6|"))
    );
    let [by_prod, by_dev] = &rows(section(&page, "preemption"))[..] else {
        panic!("two tenants under one order");
    };
    assert!(by_prod.starts_with("–|46 × · "), "{by_prod}");
    assert_eq!(by_dev, "–|–");
    let cost = rows(section(&page, "cost"));
    let total = cost.iter().find(|row| row.starts_with("drf|all|")).unwrap();
    let lines = cost
        .iter()
        .filter(|row| row.starts_with("drf|") && *row != total);
    let hours = |row: &String| row.split('|').nth(2).unwrap().parse::<f64>().unwrap();
    assert!(
        (lines.map(hours).sum::<f64>() - hours(total)).abs() < 2.0,
        "{cost:?}"
    );
    let worst = section(&page, "worst");
    assert!(
        worst.contains("too little is free for the whole gang (CapacityFull)"),
        "{worst}"
    );
    assert!(section(&page, "assumptions").contains("<dt>Seed</dt><dd>1</dd>"));
    assert!(section(&page, "assumptions").contains("<code>CapacityFull</code>"));
    let summary = embedded(&page);
    assert_eq!(summary["orders"][1]["order"], "drf");
    assert_eq!(summary["orders"][1]["all"]["evictions"], 46);
}

#[test]
fn nodes_that_fail_are_seen() {
    let page = report(&scenario("node-failure"));
    assert!(section(&page, "nodes").contains("class=\"f-down\""));
    assert!(section(&page, "cost").contains("class=\"f-down\""));
    assert!(page.contains("Failures broke jobs off 8 times"));
    // The line of all GPUs goes down, up and down again: eight corners.
    let held = section(&page, "held");
    let line = held
        .split("<polyline")
        .skip(1)
        .find(|line| line.contains("stroke-width=\"2\""));
    let (_, points) = line.unwrap().split_once("points=\"").unwrap();
    let corners = points.split('"').next().unwrap().split_whitespace().count();
    assert_eq!(corners, 8);
}

#[test]
fn shared_cards_are_told_by_mode() {
    let page = report(&scenario("sharing-modes"));
    let rows = rows(section(&page, "neighbours"));
    let modes: Vec<&str> = rows
        .iter()
        .map(|row| row.split('|').nth(1).unwrap())
        .collect();
    assert_eq!(modes, ["exclusive", "mig", "mps-4", "timeslice-4"]);
    // Where no card is shared nobody is slowed; the tail and what gets done are told of all.
    let cells = |row: &String| row.split('|').map(str::to_owned).collect::<Vec<_>>();
    let [whole, mig, mps, sliced] = [0, 1, 2, 3].map(|row| cells(&rows[row]));
    assert!(whole[6..].iter().all(|cell| cell == "–"), "{whole:?}");
    for row in [&whole, &mig, &mps, &sliced] {
        assert_eq!(row[2], "76");
        assert!(row[3].ends_with("min"), "p99: {row:?}");
        assert!(row[5].parse::<f64>().unwrap() > 5.0, "{row:?}");
    }
    assert_eq!(whole[4], "60 min");
    assert_ne!(sliced[6], "–");
}

#[test]
fn an_order_that_changes_nothing_is_said_to() {
    let page = report(&scenario("mis-set-quota"));
    assert!(page.contains("under fifo it is the same."));
    assert!(page.contains("mostly because of limits, or of what others do not lend."));
    assert!(section(&page, "idle").contains("class=\"f-i2\""));
    assert!(
        rows(section(&page, "cost"))
            .iter()
            .any(|row| row.starts_with("drf|idle|"))
    );
}

#[test]
fn what_is_absent_is_said() {
    let page = report(&written(ALONE));
    assert!(section(&page, "preemption").contains("Nobody had to leave"));
    assert!(section(&page, "neighbours").contains("No two jobs shared a card"));
    assert!(section(&page, "worst").contains("No job waited"));
    assert!(!section(&page, "cost").contains("Cost"));
    assert!(!page.contains("NaN") && !page.contains(">inf"));
}

#[test]
fn jobs_that_can_never_start_are_told() {
    let page = report(&written(&ALONE.replace("task: {gpu: 1}", "task: {gpu: 3}")));
    assert!(
        page.contains("Under drf no job could ever start."),
        "{page}"
    );
    assert!(section(&page, "worst").contains("NoSuchGpu"));
    assert!(!page.contains("NaN"));
}

#[test]
fn needs_nothing_but_itself_and_cannot_be_broken_out_of() {
    let evil = "</script><script>alert(1)</script>&amp; \\\"quoted\\\"";
    let text = format!("description: \"{evil}\"\n{ALONE}");
    let mut scenario = written(&text);
    "a <script>alert(2)</script>".clone_into(&mut scenario.name);
    let page = report(&scenario);
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(embedded(&page)["scenario"], "a <script>alert(2)</script>");
    for link in page.split("href=\"").skip(1) {
        assert!(link.starts_with('#'), "{}", &link[..20]);
    }
    for word in [
        "src=",
        "@import",
        "<link",
        "<iframe",
        "<base",
        "url(http",
        "javascript:",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(
        !page
            .replace("http://www.w3.org/2000/svg", "")
            .contains("http")
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let scenario = scenario("noisy-neighbour");
    assert_eq!(report(&scenario), report(&scenario));
}

#[test]
fn odd_rows_of_a_trace_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.csv");
    let trace = "timestamp,duration,num_gpus,gpu_time,cluster\n\
        2017-10-09 00:00:00,600.0,1,600.0,red\n\
        2017-10-09 12:00:00,300.0,0,300.0,red\n";
    std::fs::write(&file, trace).unwrap();
    let text = "name: odd\npools: {gpu: {count: 1, gpus: 8}}\ntrace: {tenants: fromTrace}\n";
    let source = format!("philly:{}", file.display()).parse().unwrap();
    let scenario = written(text).with_trace(&source).unwrap();
    let page = report(&scenario);
    let assumptions = section(&page, "assumptions");
    assert!(
        assumptions.contains("1 of 2 rows skipped: asking for 0 GPUs"),
        "{assumptions}"
    );
    // Where the trace lies is the reader's own business.
    assert!(!page.contains(&*folder.path().to_string_lossy()));
}

/// Twenty tenants on a hundred nodes.
fn many_tenants() -> Scenario {
    let names: Vec<String> = (0..20).map(|i| format!("team-{i:02}")).collect();
    let tenants: Vec<String> = names.iter().map(|n| format!("  - name: {n}\n")).collect();
    let stream = |name: &String| {
        format!(
            "  - {{tenant: {name}, name: j, jobs: 20, arrivals: {{poisson: {{mean: 5m}}}}, \
             gang: {{1: 0.5, 4: 0.3, 16: 0.2}}, task: {{gpu: 1}}, \
             duration: {{lognormal: {{median: 1h, sigma: 1}}}}}}\n"
        )
    };
    let streams: Vec<String> = names.iter().map(stream).collect();
    written(&format!(
        "name: many\npools: {{gpu: {{count: 100, gpus: 8}}}}\npolicy: {{orders: [fifo, drf]}}\n\
         tenants:\n{}workload:\n{}",
        tenants.concat(),
        streams.concat()
    ))
}

/// A run again and again, each time later and with somewhat other waits.
fn repeated(run: &Run, times: u64) -> Run {
    let lasts = run.end.since(Time::ZERO);
    let id =
        |id: &JobId, turn: u64| JobId::new(id.namespace(), &format!("{}-{turn}", id.name()), "");
    let mut long = Run {
        jobs: Vec::new(),
        timeline: Vec::new(),
        records: Vec::new(),
        ..run.clone()
    };
    for turn in 0..times {
        let later = lasts * u32::try_from(turn).unwrap();
        for fate in &run.jobs {
            let mut fate: Fate = fate.clone();
            fate.job.id = id(&fate.job.id, turn);
            fate.job.submitted = fate.job.submitted + later;
            fate.started = fate.started.map(|at| at + later);
            fate.finished = fate.finished.map(|at| at + later);
            fate.waited += Duration::from_secs(turn * turn);
            long.jobs.push(fate);
        }
        for record in &run.records {
            let mut record = record.clone();
            record.job = id(&record.job, turn);
            record.time = record.time + later;
            if let Change::Evicted(by, _) = &mut record.what {
                *by = id(by, turn);
            }
            long.records.push(record);
        }
        // As many moments as a timeline has at most.
        for moment in run.timeline.iter().step_by(run.timeline.len() / 10) {
            let mut moment = moment.clone();
            moment.at = moment.at + later;
            long.timeline.push(moment);
        }
        long.end = run.end + later;
    }
    long
}

#[test]
fn eighty_thousand_jobs_make_less_than_two_megabytes() {
    let scenario = many_tenants();
    let runs: Vec<Run> = simulated(&scenario)
        .iter()
        .map(|run| repeated(run, 200))
        .collect();
    assert_eq!(runs[0].jobs.len(), 80_000);
    assert!((2_000..2_300).contains(&runs[0].timeline.len()));
    let page = page(&scenario, &runs);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("8 others"));
    assert!(section(&page, "nodes").contains("every 2 nodes"));
}
