//! What each job was told, and whether it is time to tell it anew.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Job, JobId, Order, Snapshot, TenantId, Time};
use prorata_simulator::forecast::{Calibration, Eta, Question, Score, forecast};

use super::Batch;
use super::watched::Watched;
use crate::api::Forecast;

/// Jobs whose start is foretold; the first of each tenant's queue before the others.
const JOBS_MAX: usize = 1_000;
/// Forecasts that are written after one look.
const WRITES_MAX: usize = 50;
/// Jobs ahead that are named.
const NAMES_MAX: usize = 3;
/// A change by less than this is none.
const CHANGE_MIN: Duration = Duration::from_secs(120);
/// A change by less than one part in so many of the wait that was told is none.
const CHANGE_PART: u32 = 4;

/// Who tells.
#[derive(Debug, Default)]
pub(super) struct Teller {
    watched: Watched,
    told: BTreeMap<JobId, Told>,
    /// What was wrong with those before.
    calibration: Calibration,
    score: Score,
}

/// What a job was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// At first, and when that was.
    first: (Eta, Time),
    /// Last, and when that was.
    last: (Eta, Time),
    position: usize,
}

/// Where a job stands in its tenant's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) position: usize,
    /// The last few of those before it that are of its own namespace.
    pub(crate) ahead: Vec<String>,
}

impl Teller {
    /// Looks at a picture: what is to be told to whom.
    pub(super) fn look(&mut self, snapshot: &Snapshot, now: Time) -> Batch {
        for (job, at) in self.watched.look(snapshot, now) {
            if let Some(Told { first, .. }) = self.told.remove(&job) {
                let horizon = Question::default().horizon;
                self.score.enter(first.0, at, first.1, horizon);
                self.calibration.learn(first.0, at);
            }
        }
        self.told.retain(|id, _| snapshot.job(id).is_some());
        let standings = standings(snapshot);
        let question = Question {
            jobs: Some(first_of_each(&standings)),
            threads: super::threads(),
            ..Question::default()
        };
        let etas = forecast(snapshot, now, &self.watched.history, &question);
        let mut news: Vec<(JobId, Eta)> = etas
            .into_iter()
            .map(|(id, eta)| (id, self.calibration.corrected(eta, now)))
            .filter(|(id, eta)| self.is_news(id, *eta, standings[id].position))
            .collect();
        // Who was told nothing yet comes first, then who is nearest to its turn.
        news.sort_by_key(|(id, _)| (self.told.contains_key(id), standings[id].position));
        news.truncate(WRITES_MAX);
        let tell = |(id, eta): (JobId, Eta)| {
            let standing = &standings[&id];
            self.note(&id, eta, standing.position, now);
            let told = written(standing, eta, now, question.runs);
            (id.uid().to_owned(), told)
        };
        news.into_iter().map(tell).collect()
    }

    /// How good the forecasts were so far.
    pub(super) const fn score(&self) -> Score {
        self.score
    }

    fn is_news(&self, id: &JobId, eta: Eta, position: usize) -> bool {
        let Some(told) = self.told.get(id) else {
            return true;
        };
        let moved = told.position.abs_diff(position) * 4 > told.position;
        let (before, at) = told.last;
        moved || has_moved(before.p50, eta.p50, at) || has_moved(before.p90, eta.p90, at)
    }

    fn note(&mut self, id: &JobId, eta: Eta, position: usize, now: Time) {
        let first = self.told.get(id).map_or((eta, now), |told| told.first);
        let told = Told {
            first,
            last: (eta, now),
            position,
        };
        self.told.insert(id.clone(), told);
    }
}

/// Whether a quantile has moved so far that it is worth a write.
fn has_moved(before: Option<Time>, after: Option<Time>, at: Time) -> bool {
    match (before, after) {
        (None, None) => false,
        (Some(before), Some(after)) => {
            let moved = before.since(after).max(after.since(before));
            moved > CHANGE_MIN.max(before.since(at) / CHANGE_PART)
        }
        _ => true,
    }
}

/// Where each waiting job stands in its tenant's queue.
pub(crate) fn standings(snapshot: &Snapshot) -> BTreeMap<JobId, Standing> {
    let by_priority = snapshot.policy().order != Order::Fifo;
    let mut queues: BTreeMap<&TenantId, Vec<&Job>> = BTreeMap::new();
    for job in snapshot.jobs() {
        if !snapshot.holds_places(&job.id) && job.hold.is_none() {
            queues.entry(&job.tenant).or_default().push(job);
        }
    }
    let mut standings = BTreeMap::new();
    for mut queue in queues.into_values() {
        let priority = |job: &Job| if by_priority { job.priority } else { 0 };
        queue.sort_by_key(|job| (Reverse(priority(job)), job.submitted, &job.id));
        let mut own: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (index, job) in queue.into_iter().enumerate() {
            let before = own.entry(job.id.namespace()).or_default();
            let from = before.len().saturating_sub(NAMES_MAX);
            let standing = Standing {
                position: index + 1,
                ahead: before[from..].to_vec(),
            };
            before.push(job.id.name().to_owned());
            standings.insert(job.id.clone(), standing);
        }
    }
    standings
}

/// As many as can be foretold, the first of each queue before the second of any.
fn first_of_each(standings: &BTreeMap<JobId, Standing>) -> BTreeSet<JobId> {
    let mut all: Vec<(usize, &JobId)> = standings.iter().map(|(id, s)| (s.position, id)).collect();
    all.sort_unstable();
    all.truncate(JOBS_MAX);
    all.into_iter().map(|(_, id)| id.clone()).collect()
}

/// What is written.
pub(crate) fn written(standing: &Standing, eta: Eta, now: Time, runs: u32) -> Forecast {
    let first = match standing.position {
        1 => "no job of its tenant comes before it".to_owned(),
        2 => "one job of its tenant comes before it".to_owned(),
        position => format!("{} jobs of its tenant come before it", position - 1),
    };
    let within = |quantile: Option<Time>| {
        quantile.map(|at| humantime::format_duration(rounded(at.since(now))).to_string())
    };
    let odds = match (within(eta.p50), within(eta.p90)) {
        (Some(p50), Some(p90)) => {
            format!("it starts within {p50} as likely as not, nine times in ten within {p90}")
        }
        (Some(p50), None) => {
            format!("it starts within {p50} as likely as not, but may wait for more than 30 days")
        }
        (None, _) => "it waits for more than 30 days as likely as not".to_owned(),
    };
    Forecast {
        position: u32::try_from(standing.position).unwrap_or(u32::MAX),
        ahead: standing.ahead.clone(),
        p50: eta.p50.and_then(stamp),
        p90: eta.p90.and_then(stamp),
        detail: format!("{first}; {odds}, by {runs} runs"),
        as_of: stamp(now).unwrap_or_default(),
    }
}

/// To whole minutes, up.
fn rounded(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs().div_ceil(60) * 60)
}

/// RFC 3339, to the second.
fn stamp(at: Time) -> Option<String> {
    let seconds = i64::try_from(at.as_millis() / 1000).ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{Event, Node, Policy, Resources, Scheduler, Tenant};

    fn job(namespace: &str, name: &str, gpus: u64, submitted: u64) -> Job {
        let id = JobId::new(namespace, name, name);
        Job {
            submitted: Time::from_millis(submitted),
            ..Job::new(id, "red".into(), 1, Resources::gpus(gpus))
        }
    }

    fn cluster(jobs: &[Job]) -> Scheduler {
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(4),
            ..Node::new("a")
        };
        core.observe(Time::ZERO, Event::NodeSeen(node));
        core.observe(Time::ZERO, Event::TenantChanged(Tenant::new("red")));
        for job in jobs {
            core.observe(job.submitted, Event::JobSubmitted(job.clone()));
            let _ = core.cycle(job.submitted);
        }
        core
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn only_names_of_its_own_namespace_are_told() {
        let queue = [
            job("lab", "runs", 4, 0),
            job("other", "secret", 4, 1),
            job("lab", "mine", 4, 2),
            job("lab", "last", 4, 3),
        ];
        let snapshot = cluster(&queue).snapshot();
        let batch = Teller::default().look(&snapshot, at(60));
        let told = &batch.iter().find(|(uid, _)| uid == "last").unwrap().1;
        assert_eq!(
            (told.position, &told.ahead[..]),
            (3, &["mine".to_owned()][..])
        );
        assert!(
            told.detail
                .starts_with("2 jobs of its tenant come before it; it ")
        );
        assert_eq!(told.as_of, "1970-01-01T00:01:00Z");
        assert!(
            batch
                .iter()
                .all(|(_, told)| !told.detail.contains("secret"))
        );
    }

    #[test]
    fn nothing_is_told_twice_and_what_moved_is_told_again() {
        let queue = [job("lab", "runs", 4, 0), job("lab", "next", 4, 1)];
        let mut core = cluster(&queue);
        let mut teller = Teller::default();
        assert_eq!(teller.look(&core.snapshot(), at(60)).len(), 1);
        assert!(teller.look(&core.snapshot(), at(61)).is_empty());
        let urgent = Job {
            priority: 5,
            ..job("lab", "urgent", 4, 2)
        };
        core.observe(at(62), Event::JobSubmitted(urgent));
        let again = teller.look(&core.snapshot(), at(62));
        let told: Vec<&str> = again.iter().map(|(uid, _)| uid.as_str()).collect();
        assert_eq!(told, ["urgent", "next"]);
    }

    #[test]
    fn what_was_told_first_is_scored_when_the_job_starts() {
        let queue = [job("lab", "runs", 4, 0), job("lab", "next", 4, 1)];
        let mut core = cluster(&queue);
        let mut teller = Teller::default();
        let _ = teller.look(&core.snapshot(), at(60));
        core.observe(at(70), Event::JobWithdrawn(queue[0].id.clone()));
        let _ = core.cycle(at(70));
        let _ = teller.look(&core.snapshot(), at(80));
        let score = teller.score();
        assert_eq!((score.p50.count, score.p50.covered), (1, 1));
        assert!(score.p50.pinball_seconds > 0.0);
    }

    #[test]
    fn small_moves_are_no_news() {
        let moved = |before: u64, after: u64| has_moved(Some(at(before)), Some(at(after)), at(0));
        assert!(!moved(3600, 4400));
        assert!(moved(3600, 4600));
        assert!(!moved(60, 170));
        assert!(has_moved(None, Some(at(9)), at(0)));
        assert!(!has_moved(None, None, at(0)));
    }
}
