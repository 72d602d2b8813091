//! The work that arrives, and the nodes that fail: drawn from a seed, or told by a trace.
//!
//! Each stream has a generator of its own for arrivals, for sizes and for runtimes, and each node
//! one for its failures. A change to one of them leaves all other draws as they were, so that
//! variants compare job by job.

use std::sync::Arc;
use std::time::Duration;

use prorata_core::{Job, JobId, Needs, Resources, TenantId, Time};
use rand_distr::Distribution;
use rand_distr::weighted::WeightedIndex;
use rand_pcg::Pcg64;

use crate::scenario::Scenario;

mod arrivals;
mod conduct;
mod faults;
mod generator;
mod replay;
mod runtime;

pub use arrivals::{Arrivals, Rate};
pub use conduct::{Conduct, Longest};
pub use faults::{Failures, Fault, faults};
pub(crate) use replay::Fleet;
pub use replay::{Replay, Trace};
pub use runtime::Runtime;

/// Jobs of one tenant that are alike but for what is drawn.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Whose jobs they are; also their namespace.
    pub tenant: TenantId,
    /// What their names begin with.
    pub name: String,
    /// How many.
    pub jobs: u32,
    /// When they arrive.
    pub arrivals: Arrivals,
    /// How many tasks start together: sizes with weights.
    pub gangs: Vec<(u32, f64)>,
    /// What each task asks for.
    pub task: Resources,
    /// What each task demands of its node.
    pub needs: Arc<Needs>,
    /// How long they run.
    pub runtime: Runtime,
    /// How they behave, and how they may be treated.
    pub conduct: Conduct,
}

/// A job with what it does not know itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// What arrives, at the time that it says.
    pub job: Job,
    /// How long it will run, alone on its GPUs.
    pub runtime: Duration,
    /// How often it saves its work; `None`: never.
    pub checkpoint: Option<Duration>,
    /// Thousandths of its GPUs that it keeps busy.
    pub busy: u32,
    /// What each start after an eviction or a fault costs it, loading what it saved.
    pub restart: Duration,
}

/// The scenario's work: that of its trace, in order of submission, or else the jobs of all
/// streams, stream by stream, each in order of arrival. A trace is the same under every seed.
#[must_use]
pub fn draw(scenario: &Scenario, seed: u64) -> Vec<Drawn> {
    match &scenario.trace {
        Some(trace) => trace.work.to_vec(),
        None => streams(&scenario.streams, seed),
    }
}

fn streams(streams: &[Stream], seed: u64) -> Vec<Drawn> {
    let drawn = streams.iter().flat_map(|stream| stream.draw(seed));
    drawn.collect()
}

impl Stream {
    fn draw(&self, seed: u64) -> Vec<Drawn> {
        let arrivals = self.arrivals.times(self.generator(seed, "arrivals"));
        let sizes = self.sizes(self.generator(seed, "sizes"));
        let runtimes = self.runtime.spans(self.generator(seed, "runtimes"));
        let drawn = arrivals.zip(sizes).zip(runtimes).zip(1..=self.jobs);
        drawn
            .map(|(((submitted, gang), runtime), number)| {
                let job = self.job(number, submitted, gang);
                self.conduct.drawn(job, runtime)
            })
            .collect()
    }

    fn job(&self, number: u32, submitted: Time, gang: u32) -> Job {
        // Padded, so that names sort as the jobs arrive.
        let width = self.jobs.to_string().len().max(3);
        let name = format!("{}-{number:0width$}", self.name);
        let id = JobId::new(self.tenant.as_str(), &name, "");
        Job {
            submitted,
            needs: self.needs.clone(),
            ..Job::new(id, self.tenant.clone(), gang, self.task)
        }
    }

    fn sizes(&self, mut random: Pcg64) -> impl Iterator<Item = u32> + '_ {
        let weights = WeightedIndex::new(self.gangs.iter().map(|(_, weight)| *weight)).ok();
        std::iter::repeat_with(move || {
            let index = weights.as_ref().map_or(0, |w| w.sample(&mut random));
            self.gangs.get(index).map_or(1, |(size, _)| *size)
        })
    }

    /// A generator of its own for each kind of draw.
    fn generator(&self, seed: u64, kind: &str) -> Pcg64 {
        generator::generator(seed, &[self.tenant.as_str(), &self.name, kind])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const HOUR: Duration = Duration::from_secs(3600);

    fn stream(name: &str, runtime: Runtime) -> Stream {
        Stream {
            tenant: "red".into(),
            name: name.to_owned(),
            jobs: 200,
            arrivals: Arrivals::Poisson {
                from: Duration::from_secs(60),
                rate: Rate::steady(Duration::from_secs(300)),
            },
            gangs: vec![(1, 1.0), (4, 3.0)],
            task: Resources::gpus(1),
            needs: Arc::default(),
            runtime,
            conduct: Conduct::default(),
        }
    }

    #[test]
    fn another_runtime_or_stream_leaves_arrivals_and_sizes_as_they_were() {
        let lognormal = Runtime::Lognormal {
            median: HOUR,
            sigma: 1.0,
        };
        let one = streams(&[stream("a", Runtime::Fixed(HOUR))], 7);
        let both = [
            stream("b", Runtime::Fixed(HOUR)),
            stream("a", lognormal.clone()),
        ];
        let other = streams(&both, 7);
        let jobs = |drawn: &[Drawn]| -> Vec<_> {
            let jobs = drawn.iter().map(|d| &d.job);
            jobs.map(|j| (j.id.clone(), j.submitted, j.gang)).collect()
        };
        assert_eq!(jobs(&one), jobs(&other[200..]));
        let alone = streams(&[stream("a", lognormal.clone())], 7);
        assert_eq!(alone, other[200..]);
        assert_ne!(jobs(&one), jobs(&streams(&[stream("a", lognormal)], 8)));
    }

    #[test]
    fn draws_follow_their_distributions() {
        let lognormal = Runtime::Lognormal {
            median: HOUR,
            sigma: 0.5,
        };
        let drawn = streams(&[stream("a", lognormal)], 7);
        let shorter = drawn.iter().filter(|d| d.runtime < HOUR).count();
        assert!((80..120).contains(&shorter), "{shorter}");
        let fours = drawn.iter().filter(|d| d.job.gang == 4).count();
        assert!((130..170).contains(&fours), "{fours}");
        let last = drawn[199].job.submitted.as_millis() / 1000;
        assert!((48_000..72_000).contains(&last), "{last}");
        assert_eq!(drawn[0].job.id.to_string(), "red/a-001");
        assert!(drawn.is_sorted_by_key(|d| d.job.submitted));
    }
}
