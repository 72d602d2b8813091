//! What a trace becomes as the work of a scenario.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use prorata_core::{Resource, Resources, Time};
use prorata_simulator::scenario::Scenario;
use prorata_simulator::trace::Source;
use prorata_simulator::workload::{Drawn, draw};
use tempfile::TempDir;

const HEAD: &str = "\
apiVersion: sim.prorata.dev/v1alpha1
kind: Scenario
name: small
";
const POOLS: &str = "pools: {gpu: {count: 4, gpus: 8, cpu: 64}}\n";

const PHILLY: &str = "timestamp,duration,num_gpus,gpu_time,cluster\n\
    2017-10-11 00:00:00,60.0,24,60.0,Team_A\n\
    2017-10-09 00:00:00,600.0,1,600.0,team-a\n\
    2017-10-09 12:00:00,300.0,12,300.0,red\n\
    2017-10-09 12:00:00,300.0,0,300.0,red\n\
    2017-10-10 00:00:00,100.0,7,100.0,\n";

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn parse(&self, parts: &[&str]) -> Result<Scenario, String> {
        let file = self.0.path().join("s.yaml").display().to_string();
        let scenario = Scenario::parse(&file, &format!("{HEAD}{}", parts.concat()));
        scenario.map_err(|problems| self.told(&problems))
    }

    /// Without the folder's own path.
    fn told<P: ToString>(&self, problems: &[P]) -> String {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let folder = format!("{}/", self.0.path().display());
        lines.join("\n").replace(&folder, "")
    }

    fn source(&self, kind: &str, name: &str) -> Source {
        let file = self.0.path().join(name);
        format!("{kind}:{}", file.display()).parse().unwrap()
    }
}

fn jobs(scenario: &Scenario) -> Vec<(String, u64, u32, u64)> {
    let row = |d: &Drawn| {
        let hours = d.job.submitted.as_millis() / 3_600_000;
        let gpus = d.job.task.get(Resource::Gpu) / 1000;
        (d.job.id.to_string(), hours, d.job.gang, gpus)
    };
    draw(scenario, 1).iter().map(row).collect()
}

#[test]
fn tenants_may_come_from_the_trace() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let trace =
        "trace: {source: philly:p.csv, tenants: fromTrace, cpuPerGpu: 4, maxDuration: 2x}\n";
    let tenants = "tenants: [{name: red, guaranteed: {gpu: 8}}]\n";
    let scenario = folder.parse(&[POOLS, tenants, trace]).unwrap();
    let names: Vec<&str> = scenario.tenants.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(names, ["red", "team-a", "unknown", "team-a-2"]);
    // 12 GPUs are more than a node has, and 8 do not divide them; 7 are prime.
    assert_eq!(
        jobs(&scenario),
        [
            ("team-a/line-000003".to_owned(), 0, 1, 1),
            ("red/line-000004".to_owned(), 12, 2, 6),
            ("unknown/line-000006".to_owned(), 24, 1, 7),
            ("team-a-2/line-000002".to_owned(), 48, 3, 8),
        ]
    );
    let work = draw(&scenario, 2);
    assert_eq!(work, draw(&scenario, 3));
    assert_eq!(work[1].job.task.get(Resource::Cpu), 24_000);
    assert_eq!(work[1].job.max_duration, Some(Duration::from_secs(600)));
    assert_eq!(work[1].job.expected, Some(Duration::from_secs(300)));
    let help = "help: mend the rows of the trace, from this line on, if they matter";
    assert_eq!(
        folder.told(&scenario.warnings),
        format!(
            "warning: p.csv:5: trace: 1 of 5 rows skipped: asking for 0 GPUs\n  {help}\n\
             warning: p.csv:6: trace: 1 of 5 rows taken as of tenant `unknown`: no owner named\n  {help}"
        )
    );
}

#[test]
fn tenants_that_are_not_described_are_mistakes() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let trace = "trace: {source: philly:p.csv}\n";
    let tenants = "tenants: [{name: lab}, {name: red, parent: lab}, {name: team-a}]\n";
    let said = folder.parse(&[POOLS, tenants, trace]).unwrap_err();
    assert_eq!(
        said,
        "error: p.csv: trace.tenants: 1 of its jobs are of tenant `unknown`, which the scenario does not describe\n\
         \x20 help: describe it under tenants (write one of red, team-a), or write `trace: {tenants: fromTrace}` there"
    );
    let tenants = "tenants: [{name: red}, {name: team-a}, {name: unknown}]\n";
    let scenario = folder.parse(&[POOLS, tenants, trace]).unwrap();
    assert!(jobs(&scenario)[3].0.starts_with("team-a/"));
}

#[test]
fn single_tenants_may_have_priorities_of_their_own() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let parse = |tenant: &str| {
        let trace = format!(
            "trace: {{source: philly:p.csv, tenants: fromTrace, priority: 3, checkpoint: 1m, \
             priorities: {{{tenant}: high}}}}\n"
        );
        folder.parse(&[POOLS, "priorityClasses: {high: 9}\n", &trace])
    };
    let scenario = parse("red").unwrap();
    for drawn in draw(&scenario, 1) {
        let expected = if drawn.job.tenant == "red".into() {
            9
        } else {
            3
        };
        assert_eq!(drawn.job.priority, expected, "{}", drawn.job.id);
        assert_eq!(drawn.checkpoint, Some(Duration::from_secs(60)));
    }
    let told = parse("rad").unwrap_err();
    assert!(
        told.contains("trace.priorities.rad: is no tenant's"),
        "{told}"
    );
}

#[test]
fn the_first_days_or_jobs_can_be_taken() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let taken = |options: &str| {
        let trace = format!("trace: {{source: philly:p.csv, tenants: fromTrace, {options}}}\n");
        let scenario = folder.parse(&[POOLS, &trace])?;
        Ok::<_, String>(jobs(&scenario).iter().map(|job| job.1).collect::<Vec<_>>())
    };
    assert_eq!(taken("days: 1").unwrap(), [0, 12]);
    assert_eq!(taken("jobs: 3").unwrap(), [0, 12, 24]);
    assert_eq!(taken("days: 2, jobs: 1").unwrap(), [0]);
}

#[test]
fn jobs_may_run_longer_or_shorter_than_the_trace_says() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let runtimes = |options: &str| {
        let trace = format!("trace: {{source: philly:p.csv, tenants: fromTrace{options}}}\n");
        let scenario = folder.parse(&[POOLS, &trace]).unwrap();
        let work = draw(&scenario, scenario.seed);
        let known = |d: &Drawn| d.job.expected == Some(d.runtime);
        assert!(work.iter().all(known));
        let millis = work.iter().map(|d| d.runtime.as_millis());
        millis.collect::<Vec<_>>()
    };
    assert_eq!(runtimes(""), [600_000, 300_000, 100_000, 60_000]);
    let longer = [609_000, 304_500, 101_500, 60_900];
    assert_eq!(runtimes(", runtime: 1.015x"), longer);
    assert_eq!(runtimes(", runtime: 0.001x"), [600, 300, 100, 60]);
}

#[test]
fn gangs_may_be_split_further() {
    let folder = Folder::new(&[("p.csv", PHILLY)]);
    let trace = "trace: {source: philly:p.csv, tenants: fromTrace, gpusPerTask: 4}\n";
    let gangs: Vec<_> = jobs(&folder.parse(&[POOLS, trace]).unwrap())
        .into_iter()
        .map(|(_, _, gang, gpus)| (gang, gpus))
        .collect();
    assert_eq!(gangs, [(1, 1), (3, 4), (7, 1), (6, 4)]);
}

#[test]
fn a_trace_of_the_command_line_replaces_all_work() {
    let other = "timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-11 00:00:00,60.0,2,60.0,b\n";
    let folder = Folder::new(&[("p.csv", PHILLY), ("q.csv", other)]);
    let named = "trace: {source: philly:p.csv, tenants: fromTrace}\n";
    let unnamed = "trace: {tenants: fromTrace}\n";
    let scenario = folder.parse(&[POOLS, unnamed]).unwrap();
    let problem = scenario
        .without_work("s.yaml", "a: 1\ntrace:")
        .unwrap()
        .to_string();
    assert_eq!(
        problem,
        "error: s.yaml:2: trace: does not name its source, so there is no work\n\
         \x20 help: add `source: philly:FILE` below it, or name a trace on the command line: --trace philly:FILE"
    );
    let source = folder.source("philly", "q.csv");
    let replaced = folder
        .parse(&[POOLS, named])
        .unwrap()
        .with_trace(&source)
        .unwrap();
    let given = scenario.with_trace(&source).unwrap();
    for scenario in [&replaced, &given] {
        assert_eq!(jobs(scenario), [("b/line-000002".to_owned(), 0, 1, 2)]);
        assert_eq!(scenario.tenants.len(), 1);
        assert_eq!(scenario.warnings, []);
        assert!(scenario.without_work("", "").is_none());
    }
    assert_ne!(
        given.input_hash,
        folder.parse(&[POOLS, unnamed]).unwrap().input_hash
    );
}

#[test]
fn streams_give_way_to_a_trace_of_their_tenants() {
    let folder = Folder::new(&[(
        "m.csv",
        "job_id,num_gpu,submit_time,duration\n7,32,5000,9000\n",
    )]);
    let streams = "tenants: [{name: muri}]\nworkload:\n  - {tenant: muri, name: a, jobs: 1, \
        arrivals: {at: 0s}, task: {gpu: 1}, duration: {fixed: 1h}}\n";
    let scenario = folder.parse(&[POOLS, streams]).unwrap();
    let scenario = scenario
        .with_trace(&folder.source("muri", "m.csv"))
        .unwrap();
    assert_eq!(jobs(&scenario), [("muri/7".to_owned(), 0, 4, 8)]);
    assert_eq!(draw(&scenario, 1)[0].job.submitted, Time::ZERO);
}

#[test]
fn what_the_trace_tells_itself_stands() {
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,\
        deletion_time,scheduled_time\n\
        a,3001,2048,0,0,,LS,Succeeded,0,100,0\n\
        b,4000,2048,1,250,T4|P100,LS,Succeeded,0,100,0\n\
        c,6000,2048,2,1000,,LS,Succeeded,0,100,0\n";
    let folder = Folder::new(&[("o.csv", pods)]);
    let trace =
        "trace: {source: openb:o.csv, tenants: fromTrace, cpuPerGpu: 9, memoryPerGpu: 9Gi}\n";
    let tasks = |pools: &str| -> Vec<(Resources, usize)> {
        let scenario = folder.parse(&[pools, trace]).unwrap();
        let work = draw(&scenario, 1);
        work.iter()
            .map(|d| (d.job.task, d.job.needs.models.len()))
            .collect()
    };
    let asks = |milli, cpu| {
        let gpus = Resources::ZERO.with(Resource::Gpu, milli);
        gpus.with(Resource::Cpu, cpu)
    };
    // Memory is not limited where no pool says that it has any, and nobody knows models here.
    assert_eq!(
        tasks(POOLS),
        [
            (asks(0, 3001), 0),
            (asks(250, 4000), 0),
            (asks(2000, 6000), 0)
        ]
    );
    let t4 = "pools: {gpu: {count: 4, gpus: 1, model: T4}}\n";
    assert_eq!(tasks(t4), [(asks(250, 0), 2), (asks(1000, 0), 0)]);
    let scenario = folder.parse(&[t4, trace]).unwrap();
    let last = scenario.warnings.last().unwrap().to_string();
    assert!(
        last.contains("1 of 3 jobs are left out: they ask for nothing"),
        "{last}"
    );
}
