//! Which jobs come, and when: one team floods the queue, the others come a little later and in peace.
//! The same seed gives the same jobs.

use std::time::Duration;

/// A job that a team submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    /// The namespace of its team.
    pub(super) team: &'static str,
    /// Its name.
    pub(super) name: String,
    /// Pods that start together.
    pub(super) pods: u32,
    /// GPUs of each.
    pub(super) gpus: u32,
    /// How long it runs.
    pub(super) seconds: u32,
}

/// A team, its work, and how it comes.
struct Team {
    name: &'static str,
    work: &'static str,
    /// The first job of a round.
    first: Duration,
    /// The time between two jobs.
    gap: Duration,
    /// So many of the first jobs come at once.
    burst: u32,
}

/// Who shares the cluster. Their names are those of their namespaces and tenants.
pub(super) const TEAMS: [&str; 3] = ["vision", "nlp", "audio"];

const BEHAVIOUR: [Team; 3] = [
    Team {
        name: TEAMS[0],
        work: "train",
        first: Duration::ZERO,
        gap: Duration::from_secs(4),
        burst: 12,
    },
    Team {
        name: TEAMS[1],
        work: "tune",
        first: Duration::from_secs(8),
        gap: Duration::from_secs(5),
        burst: 1,
    },
    Team {
        name: TEAMS[2],
        work: "eval",
        first: Duration::from_secs(14),
        gap: Duration::from_secs(6),
        burst: 1,
    },
];

/// How long jobs come, before the queue drains.
const ROUND: Duration = Duration::from_secs(45);

/// Pods and GPUs of each, as jobs have them.
const SHAPES: [(u32, u32); 6] = [(1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (1, 8)];

/// The jobs that are still to come.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Since the round began.
    clock: Duration,
    /// Jobs of each team in this round, and in all.
    rounds: [u32; 3],
    totals: [u32; 3],
    /// Four nodes have so many jobs; more have as many more.
    scale: u32,
    state: u64,
}

impl Arrivals {
    /// The jobs of this seed, for as many nodes.
    pub(super) fn new(seed: u64, nodes: u32) -> Self {
        Self {
            clock: Duration::ZERO,
            rounds: [0; 3],
            totals: [0; 3],
            scale: nodes.div_ceil(4),
            state: seed.wrapping_mul(2).wrapping_add(1),
        }
    }

    /// The jobs that come in the next `span`, while so many wait. When a round's jobs have all been
    /// served, the next begins.
    pub(super) fn due(&mut self, span: Duration, waiting: usize) -> Vec<Submission> {
        self.clock += span;
        if self.clock > ROUND {
            if waiting == 0 {
                (self.clock, self.rounds) = (Duration::ZERO, [0; 3]);
            }
            return Vec::new();
        }
        let mut due = Vec::new();
        for (index, team) in BEHAVIOUR.iter().enumerate() {
            while self.rounds[index] < team.due(self.clock) * self.scale {
                self.rounds[index] += 1;
                self.totals[index] += 1;
                due.push(self.draw(team, self.totals[index]));
            }
        }
        due
    }

    fn draw(&mut self, team: &Team, number: u32) -> Submission {
        let shapes = u32::try_from(SHAPES.len()).unwrap_or(1);
        let (pods, gpus) = SHAPES[self.below(shapes) as usize];
        Submission {
            team: team.name,
            name: format!("{}-{number}", team.work),
            pods,
            gpus,
            seconds: 6 + self.below(14),
        }
    }

    /// A number below `bound`, by xorshift. It makes a show and is no measure of anything.
    fn below(&mut self, bound: u32) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let high = u32::try_from(self.state >> 33).unwrap_or_default();
        high % bound
    }
}

impl Team {
    /// How many jobs have come at this time of a round.
    fn due(&self, clock: Duration) -> u32 {
        match clock.checked_sub(self.first) {
            None => 0,
            Some(since) => {
                let gaps = since.as_secs() / self.gap.as_secs();
                self.burst + u32::try_from(gaps).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(seed: u64, seconds: u64, waiting: usize) -> Vec<Submission> {
        let mut arrivals = Arrivals::new(seed, 4);
        let tick = Duration::from_millis(500);
        let ticks = 0..seconds * 2;
        ticks.flat_map(|_| arrivals.due(tick, waiting)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_jobs() {
        let of = |seed| jobs(seed, 40, 5);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let first: Vec<_> = jobs(7, 4, 5).into_iter().map(|job| job.name).collect();
        assert_eq!(first.len(), 13);
        assert_eq!(
            (first[0].as_str(), first[12].as_str()),
            ("train-1", "train-13")
        );
        assert!(
            TEAMS
                .iter()
                .all(|team| of(7).iter().any(|job| job.team == *team))
        );
    }

    #[test]
    fn a_round_ends_and_the_next_begins_when_nobody_waits() {
        let one = jobs(1, 45, 5).len();
        assert_eq!(jobs(1, 120, 5).len(), one);
        assert!(jobs(1, 120, 0).len() > one);
    }
}
