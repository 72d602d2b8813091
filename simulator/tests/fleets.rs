//! The fleets that the project brings for public traces, read from the folder that `PRORATA_DATA`
//! names: whether the offered load is what their files say. Where the traces are absent, each
//! test says on stderr that it checked nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;

use std::path::Path;

use prorata_core::Resource;
use prorata_simulator::scenario::Scenario;
use prorata_simulator::trace::Source;
use prorata_simulator::workload::{Drawn, draw};

use data::data;

/// A scenario with a trace of this kind; where the trace is not, says so.
fn with_trace(name: &str, kind: &str, path: &str) -> Option<Scenario> {
    let trace = data(path)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let scenario = Scenario::parse(&file.display().to_string(), &text).unwrap();
    let source: Source = format!("{kind}:{}", trace.display()).parse().unwrap();
    Some(scenario.with_trace(&source).unwrap())
}

/// In thousandths: GPU-time that is asked for ÷ (GPUs × time from the first submission to when the
/// last job would end if none waited).
fn offered_load(scenario: &Scenario, work: &[Drawn]) -> u128 {
    let asked = |d: &Drawn| u128::from(d.job.milli_gpu()) * d.runtime.as_millis();
    let ends = work
        .iter()
        .map(|d| (d.job.submitted + d.runtime).as_millis());
    let capacity = u128::from(scenario.capacity().get(Resource::Gpu));
    work.iter().map(asked).sum::<u128>() * 1000 / (capacity * u128::from(ends.max().unwrap()))
}

#[test]
fn philly_is_offered_to_two_fleets() {
    for (name, load) in [("philly-like", 899), ("philly-overloaded", 1087)] {
        let Some(scenario) = with_trace(name, "philly", "philly-82k/philly.csv") else {
            return;
        };
        let work = draw(&scenario, scenario.seed);
        assert_eq!((scenario.tenants.len(), work.len()), (15, 82_247));
        assert_eq!(offered_load(&scenario, &work), load, "{name}");
        // No gang is beyond the fleet, and none is split into single GPUs.
        let largest = work.iter().map(|d| d.job.milli_gpu()).max().unwrap();
        assert_eq!(largest, 128_000);
        let gang = work.iter().map(|d| d.job.gang).max();
        assert_eq!(gang, Some(16));
    }
}

#[test]
fn muri_fits_into_its_fleet() {
    for (trace, jobs) in [("trace1", 1494), ("trace3", 992)] {
        let path = format!("muri-philly-2022/{trace}.csv");
        let Some(scenario) = with_trace("muri", "muri", &path) else {
            return;
        };
        let work = draw(&scenario, scenario.seed);
        assert_eq!(work.len(), jobs, "{trace}");
        assert_eq!(scenario.tenants.len(), 1);
        let gangs = work
            .iter()
            .map(|d| (d.job.gang, d.job.task.get(Resource::Gpu)));
        assert_eq!(gangs.max(), Some((4, 8000)), "{trace}");
    }
}
