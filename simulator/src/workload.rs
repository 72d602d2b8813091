//! The work that arrives: streams of jobs, drawn from a seed.
//!
//! Each stream has a generator of its own for arrivals, for sizes and for runtimes. A change to
//! one of them leaves all other draws as they were, so that variants compare job by job.

use std::time::Duration;

use prorata_core::{Job, JobId, Resources, TenantId, Time};
use rand::SeedableRng;
use rand_distr::weighted::WeightedIndex;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

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
    /// Value of their PriorityClass.
    pub priority: i32,
    /// How long they run.
    pub runtime: Runtime,
}

/// When jobs arrive.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    /// All at this time.
    At(Duration),
    /// The first at `from`, then one every `gap`.
    Every {
        /// When the first arrives.
        from: Duration,
        /// The time between two.
        gap: Duration,
    },
    /// Independently of each other: exponential gaps, also before the first.
    Poisson {
        /// When it begins.
        from: Duration,
        /// The mean time between two.
        mean: Duration,
    },
}

/// How long jobs run.
#[derive(Clone, Copy, Debug)]
pub enum Runtime {
    /// All as long as this.
    Fixed(Duration),
    /// Lognormal: half of them longer than the median, a few very much longer.
    Lognormal {
        /// The median.
        median: Duration,
        /// The standard deviation of the logarithm.
        sigma: f64,
    },
}

/// A job with what it does not know itself.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// What arrives, at the time that it says.
    pub job: Job,
    /// How long it will run.
    pub runtime: Duration,
}

/// The jobs of all streams, stream by stream, each in order of arrival.
#[must_use]
pub fn draw(streams: &[Stream], seed: u64) -> Vec<Drawn> {
    streams
        .iter()
        .flat_map(|stream| stream.draw(seed))
        .collect()
}

impl Stream {
    fn draw(&self, seed: u64) -> Vec<Drawn> {
        let arrivals = self.arrivals.times(self.generator(seed, "arrivals"));
        let sizes = self.sizes(self.generator(seed, "sizes"));
        let runtimes = self.runtime.spans(self.generator(seed, "runtimes"));
        let drawn = arrivals.zip(sizes).zip(runtimes).zip(1..=self.jobs);
        drawn
            .map(|(((submitted, gang), runtime), number)| Drawn {
                job: self.job(number, submitted, gang),
                runtime,
            })
            .collect()
    }

    fn job(&self, number: u32, submitted: Time, gang: u32) -> Job {
        // Padded, so that names sort as the jobs arrive.
        let width = self.jobs.to_string().len().max(3);
        let name = format!("{}-{number:0width$}", self.name);
        let id = JobId::new(self.tenant.as_str(), &name, "");
        Job {
            priority: self.priority,
            submitted,
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
        let mut digest = Sha256::new();
        digest.update(seed.to_le_bytes());
        for part in [self.tenant.as_str(), &self.name, kind] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        Pcg64::from_seed(digest.finalize().into())
    }
}

impl Arrivals {
    fn times(self, mut random: Pcg64) -> impl Iterator<Item = Time> {
        let mut before = Duration::ZERO;
        (0_u32..).map(move |number| match self {
            Self::At(at) => Time::ZERO + at,
            Self::Every { from, gap } => Time::ZERO + from + gap.saturating_mul(number),
            Self::Poisson { from, mean } => {
                let gap: f64 = Exp1.sample(&mut random);
                before += scaled(mean, gap);
                Time::ZERO + from + before
            }
        })
    }
}

impl Runtime {
    fn spans(self, mut random: Pcg64) -> impl Iterator<Item = Duration> {
        std::iter::repeat_with(move || match self {
            Self::Fixed(span) => span,
            Self::Lognormal { median, sigma } => {
                let z: f64 = StandardNormal.sample(&mut random);
                scaled(median, (sigma * z).exp()).max(Duration::from_millis(1))
            }
        })
    }
}

/// `factor` times this, in whole milliseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ten years have fewer milliseconds than a float has digits, and casts saturate"
)]
fn scaled(span: Duration, factor: f64) -> Duration {
    Duration::from_millis((span.as_millis() as f64 * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, runtime: Runtime) -> Stream {
        Stream {
            tenant: "red".into(),
            name: name.to_owned(),
            jobs: 200,
            arrivals: Arrivals::Poisson {
                from: Duration::from_secs(60),
                mean: Duration::from_secs(300),
            },
            gangs: vec![(1, 1.0), (4, 3.0)],
            task: Resources::gpus(1),
            priority: 0,
            runtime,
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn another_runtime_leaves_arrivals_and_sizes_as_they_were() {
        let lognormal = Runtime::Lognormal {
            median: HOUR,
            sigma: 1.0,
        };
        let one = draw(&[stream("a", Runtime::Fixed(HOUR))], 7);
        let other = draw(
            &[stream("b", Runtime::Fixed(HOUR)), stream("a", lognormal)],
            7,
        );
        let jobs = |drawn: &[Drawn]| drawn.iter().map(|d| d.job.clone()).collect::<Vec<_>>();
        assert_eq!(jobs(&one), jobs(&other[200..]));
        assert_ne!(jobs(&one), jobs(&draw(&[stream("a", lognormal)], 8)));
    }

    #[test]
    fn draws_follow_their_distributions() {
        let lognormal = Runtime::Lognormal {
            median: HOUR,
            sigma: 0.5,
        };
        let drawn = draw(&[stream("a", lognormal)], 7);
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
