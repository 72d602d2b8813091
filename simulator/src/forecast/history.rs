//! What was seen before, and what it lets expect: how long jobs run, and which arrive.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use prorata_core::{Job, JobId, TenantId, Time};
use rand::Rng as _;
use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64;

/// Run times that are remembered of a tenant, and of all together.
const RUNS_MAX: usize = 512;

/// So many run times tell something; a tenant with fewer is taken to be like all together.
const RUNS_MIN: usize = 20;

/// Of those that ran as long as a job has by now, so many tell how long it goes on.
const SURVIVORS_MIN: usize = 4;

/// Where nothing was seen, half of all jobs run longer than this.
const MEDIAN_MS: u64 = 30 * 60 * 1000;

/// Arrivals that are remembered.
const ARRIVALS_MAX: usize = 512;

/// Arrivals longer ago than this tell nothing about what comes next.
const ARRIVALS_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// So many arrivals tell something.
const ARRIVALS_MIN: usize = 10;

/// What has ended and what has arrived, as far as it tells about the future.
#[derive(Clone, Debug, Default)]
pub struct History {
    tenants: BTreeMap<TenantId, Runs>,
    all: Runs,
    arrivals: VecDeque<Job>,
}

/// The last run times.
#[derive(Clone, Debug, Default)]
struct Runs {
    times: Recent,
    /// Parts of the declared maximum, of 2¹⁶, where one was declared.
    parts: Recent,
}

/// The last few of some numbers.
#[derive(Clone, Debug, Default)]
struct Recent {
    inside: VecDeque<u64>,
    sorted: Vec<u64>,
}

impl History {
    /// A job has ended after running for so long.
    pub fn ended(&mut self, job: &Job, ran: Duration) {
        self.tenants
            .entry(job.tenant.clone())
            .or_default()
            .enter(job, ran);
        self.all.enter(job, ran);
    }

    /// A job has arrived, when it says. Arrivals are told in their order.
    pub fn arrived(&mut self, job: &Job) {
        self.arrivals.push_back(job.clone());
        let oldest = |arrivals: &VecDeque<Job>| {
            let first = arrivals.front().map(|first| first.submitted);
            first.is_some_and(|first| job.submitted.since(first) > ARRIVALS_WITHIN)
        };
        while self.arrivals.len() > ARRIVALS_MAX || oldest(&self.arrivals) {
            self.arrivals.pop_front();
        }
    }

    /// Whether enough has arrived to expect more.
    pub(super) fn expects(&self) -> bool {
        self.arrivals.len() >= ARRIVALS_MIN
    }

    /// How long a job runs in all that has run for `elapsed`. `luck` is the quantile, of 2³².
    ///
    /// What its tenant's last jobs ran for, or everybody's, less those that were over by then; as
    /// parts of the declared maximum where the job declares one and enough others did. Where
    /// nothing is known: as long again as the time that has passed and half an hour, times the
    /// odds, so that half of all jobs run longer. In no case longer than it declares.
    pub(super) fn run_time(&self, job: &Job, elapsed: Duration, luck: u32) -> Duration {
        let elapsed = millis(elapsed);
        let declared = job.max_duration.map(millis).filter(|max| *max > elapsed);
        let known = self.seen(job).and_then(|runs| match declared {
            Some(max) if runs.parts.sorted.len() >= RUNS_MIN => {
                let gone = (u128::from(elapsed) << 16) / u128::from(max);
                let part = runs.parts.beyond(u64::try_from(gone).ok()?, luck)?;
                let span = (u128::from(max) * u128::from(part)) >> 16;
                u64::try_from(span).ok()
            }
            _ => runs.times.beyond(elapsed, luck),
        });
        let span = known.unwrap_or_else(|| unknown(elapsed, luck));
        let span = declared.map_or(span, |max| span.min(max));
        Duration::from_millis(span.max(elapsed.saturating_add(1)))
    }

    fn seen(&self, job: &Job) -> Option<&Runs> {
        let enough = |runs: &&Runs| runs.times.sorted.len() >= RUNS_MIN;
        let own = self.tenants.get(&job.tenant).filter(enough);
        own.or(Some(&self.all).filter(enough))
    }

    /// Jobs that arrive after `now`, under these names: like those that arrived lately, as often
    /// as they did, each drawn by itself.
    pub(super) fn arrivals(&self, now: Time, names: &[JobId], random: &mut Pcg64) -> Vec<Job> {
        let Some(first) = self.arrivals.front().filter(|_| self.expects()) else {
            return Vec::new();
        };
        let mean_ms = millis(now.since(first.submitted)).max(1) / self.arrivals.len() as u64;
        let mut at = now;
        let mut next = |id: &JobId| {
            at = at + exponential(mean_ms, random);
            let one = random.next_u64() % self.arrivals.len() as u64;
            let like = &self.arrivals[usize::try_from(one).ok()?];
            Some(Job {
                id: id.clone(),
                submitted: at,
                ..like.clone()
            })
        };
        names.iter().filter_map(&mut next).collect()
    }
}

impl Runs {
    fn enter(&mut self, job: &Job, ran: Duration) {
        let ran = millis(ran);
        self.times.enter(ran);
        if let Some(max) = job.max_duration.map(millis).filter(|max| *max > 0) {
            let part = (u128::from(ran.min(max)) << 16) / u128::from(max);
            self.parts.enter(u64::try_from(part).unwrap_or(1 << 16));
        }
    }
}

impl Recent {
    fn enter(&mut self, number: u64) {
        let at = self.sorted.partition_point(|other| *other < number);
        self.sorted.insert(at, number);
        self.inside.push_back(number);
        if self.inside.len() > RUNS_MAX
            && let Some(oldest) = self.inside.pop_front()
            && let Ok(at) = self.sorted.binary_search(&oldest)
        {
            self.sorted.remove(at);
        }
    }

    /// One of those that are greater.
    fn beyond(&self, least: u64, luck: u32) -> Option<u64> {
        let survivors = &self.sorted[self.sorted.partition_point(|n| *n <= least)..];
        if survivors.len() < SURVIVORS_MIN {
            return None;
        }
        let index = (survivors.len() as u64 * u64::from(luck)) >> 32;
        survivors.get(usize::try_from(index).ok()?).copied()
    }
}

/// Log-logistic of shape one, given that so much has passed.
fn unknown(elapsed: u64, luck: u32) -> u64 {
    let scale = u128::from(elapsed.saturating_add(MEDIAN_MS));
    let odds = u128::from(luck) * scale / ((1 << 32) - u128::from(luck));
    elapsed.saturating_add(u64::try_from(odds).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ten years have fewer milliseconds than a float has digits, and casts saturate"
)]
fn exponential(mean_ms: u64, random: &mut Pcg64) -> Duration {
    let times: f64 = Exp1.sample(random);
    Duration::from_millis((times * mean_ms as f64).round() as u64)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
