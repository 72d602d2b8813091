//! What a team should be guaranteed: by its size, its work, what it used and what it may cost. Pure,
//! and every step is told with its numbers.

use std::fmt;

/// What is known of a team.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    /// How many people.
    pub people: u32,
    /// What they mostly run.
    pub work: Work,
    /// GPUs in use that it had no more than for 95 % of the time, in thousandths, if that was
    /// measured.
    pub used_gpu: Option<u64>,
    /// What it may cost in a month and what a GPU costs in an hour, in millionths of one currency.
    pub budget: Option<(u64, u64)>,
}

/// What a team mostly runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// A bit of everything.
    #[default]
    Mixed,
    /// Long jobs on many GPUs.
    Training,
    /// Services that answer.
    Inference,
    /// Notebooks, where GPUs wait for people.
    Notebooks,
}

/// Cores, gigabytes of memory and GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Cores.
    pub cpu: u64,
    /// Memory, in GB (10⁹ bytes).
    pub memory: u64,
    /// GPUs.
    pub gpu: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, memory, gpu } = self;
        write!(f, "{cpu} CPU, {memory} GB, {gpu} GPU")
    }
}

/// One step of the arithmetic, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, with its numbers.
    pub why: String,
    /// What it comes to.
    pub share: Share,
}

/// What is used for less than the rest of the time is not planned for.
pub const OFTEN_PERCENT: u64 = 95;

/// Whether a guarantee fits what its tenant uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Fits,
    /// It is more than that and a fifth: others could be guaranteed the rest.
    More,
    /// It is less: what is above it may be taken back.
    Less,
}

/// How a guarantee fits what its tenant had no more than for 95 % of the time, in thousandths of a GPU,
/// and how many GPUs would: a fifth more than that, rounded up.
#[must_use]
pub fn fit(guaranteed: u64, often: u64) -> (Fit, u64) {
    let gpu = with_a_fifth(often);
    let fit = match guaranteed {
        less if less < often => Fit::Less,
        more if more > gpu * 1000 => Fit::More,
        _ => Fit::Fits,
    };
    (fit, gpu)
}

/// A fifth more, in whole GPUs, rounded up.
const fn with_a_fifth(milli: u64) -> u64 {
    (milli + milli / 5).div_ceil(1000)
}

/// Hours in a month: 365 × 24 ÷ 12.
const HOURS: u128 = 730;

/// The base by the number of people: up to so many, this.
const BASES: [(u32, &str, Share); 3] = [
    (
        10,
        "up to 10",
        Share {
            cpu: 50,
            memory: 100,
            gpu: 2,
        },
    ),
    (
        30,
        "11 to 30",
        Share {
            cpu: 100,
            memory: 200,
            gpu: 4,
        },
    ),
    (
        u32::MAX,
        "more than 30",
        Share {
            cpu: 200,
            memory: 400,
            gpu: 8,
        },
    ),
];

impl Work {
    /// What to multiply CPU, memory and GPUs by, in halves. A judgement, not a measurement.
    const fn halves(self) -> [u64; 3] {
        match self {
            Self::Mixed => [2, 2, 2],
            Self::Training => [2, 2, 3],
            Self::Inference => [3, 2, 2],
            Self::Notebooks => [2, 3, 1],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed work",
            Self::Training => "training",
            Self::Inference => "inference",
            Self::Notebooks => "notebooks",
        }
    }
}

/// The steps, of which the last has the answer.
#[must_use]
pub fn size(team: &Team) -> Vec<Step> {
    let people = team.people;
    let (_, range, base) = BASES
        .into_iter()
        .find(|(most, ..)| people <= *most)
        .unwrap_or(BASES[2]);
    let mut steps = vec![Step {
        why: format!("{people} people ({range})"),
        share: base,
    }];
    by_work(team.work, base, &mut steps);
    by_use(team.used_gpu, &mut steps);
    by_budget(team.budget, &mut steps);
    steps
}

fn last(steps: &[Step]) -> Share {
    steps.last().map(|step| step.share).unwrap_or_default()
}

fn by_work(work: Work, base: Share, steps: &mut Vec<Step>) {
    let halves = work.halves();
    if halves == [2, 2, 2] {
        return;
    }
    let [cpu, memory, gpu] = halves;
    let times = |amount: u64, halves: u64| (amount * halves).div_ceil(2);
    let factor = |halves: u64| format!("{}.{}", halves / 2, halves % 2 * 5);
    steps.push(Step {
        why: format!(
            "{}: × {} CPU, × {} memory, × {} GPU",
            work.name(),
            factor(cpu),
            factor(memory),
            factor(gpu)
        ),
        share: Share {
            cpu: times(base.cpu, cpu),
            memory: times(base.memory, memory),
            gpu: times(base.gpu, gpu),
        },
    });
}

/// What was used says more than a team's size: a fifth above it, and CPU and memory in proportion.
fn by_use(used: Option<u64>, steps: &mut Vec<Step>) {
    let Some(used) = used else {
        return;
    };
    let before = last(steps);
    let gpu = with_a_fifth(used);
    steps.push(Step {
        why: format!(
            "used at most {}.{:03} GPU for 95 % of the time: a fifth more, rounded up, and CPU and memory in proportion",
            used / 1000,
            used % 1000
        ),
        share: scaled(before, gpu),
    });
}

/// So many GPUs as may run all month for the money.
fn by_budget(budget: Option<(u64, u64)>, steps: &mut Vec<Step>) {
    let Some((monthly, hourly)) = budget.filter(|(_, hourly)| *hourly > 0) else {
        return;
    };
    let before = last(steps);
    let affordable = u128::from(monthly) / (u128::from(hourly) * HOURS);
    let affordable = u64::try_from(affordable).unwrap_or(u64::MAX);
    let sum = format!(
        "{} a month ÷ ({} an hour × {HOURS} h) = {affordable} GPU",
        money(monthly),
        money(hourly)
    );
    steps.push(match affordable < before.gpu {
        true => Step {
            why: format!("{sum}: no more, and CPU and memory in proportion"),
            share: scaled(before, affordable),
        },
        false => Step {
            why: format!("{sum}: enough"),
            share: before,
        },
    });
}

/// As many GPUs as said, and the rest in proportion, rounded up; it keeps at least an eighth of the
/// rest, because people without GPUs work too.
fn scaled(before: Share, gpu: u64) -> Share {
    let in_proportion = |amount: u64| {
        let scaled = (u128::from(amount) * u128::from(gpu)).div_ceil(u128::from(before.gpu.max(1)));
        u64::try_from(scaled)
            .unwrap_or(u64::MAX)
            .max(amount.div_ceil(8))
    };
    Share {
        cpu: in_proportion(before.cpu),
        memory: in_proportion(before.memory),
        gpu,
    }
}

fn money(micros: u64) -> String {
    format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(team: &Team) -> (u64, u64, u64) {
        let Share { cpu, memory, gpu } = last(&size(team));
        (cpu, memory, gpu)
    }

    #[test]
    fn the_base_goes_by_the_number_of_people() {
        let of = |people| {
            share(&Team {
                people,
                ..Team::default()
            })
        };
        assert_eq!([of(1), of(10)], [(50, 100, 2); 2]);
        assert_eq!([of(11), of(30)], [(100, 200, 4); 2]);
        assert_eq!(of(31), (200, 400, 8));
    }

    #[test]
    fn work_use_and_budget_adjust_it_in_that_order() {
        let mut team = Team {
            people: 12,
            work: Work::Training,
            ..Team::default()
        };
        assert_eq!(share(&team), (100, 200, 6));
        team.used_gpu = Some(9_500);
        assert_eq!(share(&team), (200, 400, 12));
        // 8 GPUs at 2.50 an hour are 14,600 a month.
        team.budget = Some((14_600_000_000, 2_500_000));
        assert_eq!(share(&team), (134, 267, 8));
        team.budget = Some((14_599_999_999, 2_500_000));
        assert_eq!(share(&team).2, 7);
        team.budget = Some((100_000_000_000, 2_500_000));
        let steps = size(&team);
        assert!(steps[3].why.ends_with("= 54 GPU: enough"), "{steps:?}");
        assert_eq!(share(&team), (200, 400, 12));
    }

    #[test]
    fn a_guarantee_fits_up_to_a_fifth_above_what_is_used() {
        assert_eq!(fit(4000, 4001), (Fit::Less, 5));
        assert_eq!(fit(5000, 4001), (Fit::Fits, 5));
        assert_eq!(fit(5001, 4001), (Fit::More, 5));
        assert_eq!((fit(0, 0), fit(1000, 0)), ((Fit::Fits, 0), (Fit::More, 0)));
    }

    #[test]
    fn no_gpus_leave_something_to_work_with() {
        let team = Team {
            people: 5,
            used_gpu: Some(0),
            ..Team::default()
        };
        assert_eq!(share(&team), (7, 13, 0));
    }
}
