//! What a tenant could do about its cost, each with the evidence that it is so.

use std::collections::BTreeMap;

use crate::bill::{Bill, GPU_HOUR, Kind};
use crate::levels::Levels;
use crate::money;
use crate::period::DAY;
use crate::record::{Extract, Hold};
use crate::totals::{Sum, gpu_hours, percent};

/// Below this GPUs count as held without use, in thousandths of their time.
pub const IDLE_BELOW_MILLI: u128 = 100;
/// Below this a slot of a GPU in four would do, if its memory does.
pub const SLOT_BELOW_MILLI: u128 = 250;
/// What is smaller is not worth a word.
const WORTH_SAYING: u128 = GPU_HOUR;
/// A guarantee is judged by no less than a week.
const GUARANTEE_AFTER_MS: u64 = 7 * DAY;

/// Something that a tenant could do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What, in a sentence.
    pub what: String,
    /// The numbers that say so.
    pub evidence: String,
    /// What it is about cost, in millionths of the currency; 0 where it is about no money.
    pub micros: i128,
}

/// Advice for a tenant, what is about most money first. `guaranteed_milli` is its guarantee, in
/// thousandths of a GPU, where that is known.
#[must_use]
pub fn advice(
    extract: &Extract,
    bill: &Bill,
    tenant: &str,
    guaranteed_milli: Option<u64>,
) -> Vec<Advice> {
    let mut advice: Vec<Advice> = jobs(extract, bill, tenant)
        .iter()
        .filter_map(|job| of_job(job, &bill.currency))
        .collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.micros));
    advice.extend(guaranteed_milli.and_then(|milli| of_guarantee(extract, bill, tenant, milli)));
    advice
}

/// A job and what it held.
struct Job<'a> {
    hold: &'a Hold,
    sum: Sum,
    /// Whether it only ever held one whole GPU at a time.
    is_one_card: bool,
}

fn jobs<'a>(extract: &'a Extract, bill: &Bill, tenant: &str) -> Vec<Job<'a>> {
    let mut jobs: BTreeMap<(&str, &str, &str), Job<'a>> = BTreeMap::new();
    let mut starts: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for line in bill.lines.iter().filter(|line| line.payer.tenant == tenant) {
        let Kind::Held(index) = line.kind else {
            continue;
        };
        let Some(hold) = extract.holds.get(index) else {
            continue;
        };
        let start = starts.entry((&hold.id.job_uid, hold.id.epoch)).or_default();
        *start += hold.gpu_milli;
        let job = jobs
            .entry((&hold.payer.namespace, &hold.kind, &hold.job))
            .or_insert(Job {
                hold,
                sum: Sum::default(),
                is_one_card: true,
            });
        job.sum.add(extract, line);
        job.is_one_card &= hold.mode == "exclusive" && *start == 1000;
    }
    jobs.into_values().collect()
}

fn of_job(job: &Job<'_>, currency: &str) -> Option<Advice> {
    let busy = job
        .sum
        .busy_milli()
        .filter(|_| job.sum.measured >= WORTH_SAYING)?;
    let name = format!("{}/{}", job.hold.payer.namespace, job.hold.job);
    let what = if busy < IDLE_BELOW_MILLI {
        format!(
            "{name} held GPUs and hardly used them: see what it waits for, or end it when it is done"
        )
    } else if busy < SLOT_BELOW_MILLI && job.is_one_card {
        format!(
            "{name} held a whole GPU: a slot of one shared by four would do, if a quarter of its memory does"
        )
    } else {
        return None;
    };
    let evidence = format!(
        "{} busy, measured over {} of the {} GPU-hours it held, which cost {} {currency}",
        percent(busy),
        percent(job.sum.measured * 1000 / job.sum.held.max(1)),
        gpu_hours(job.sum.held),
        money::rounded(job.sum.held_micros),
    );
    Some(Advice {
        what,
        evidence,
        micros: job.sum.held_micros,
    })
}

fn of_guarantee(
    extract: &Extract,
    bill: &Bill,
    tenant: &str,
    guaranteed_milli: u64,
) -> Option<Advice> {
    let holds = extract
        .holds
        .iter()
        .filter(|hold| hold.payer.tenant == tenant);
    let most = Levels::of(holds, bill.period).most();
    let is_judged = bill.period.length_ms() >= GUARANTEE_AFTER_MS;
    (is_judged && most.div_ceil(1000) * 1000 < guaranteed_milli).then(|| Advice {
        what: format!(
            "{} of the {} GPUs that are guaranteed were never used: the guarantee could be {}",
            gpus(guaranteed_milli - most.div_ceil(1000) * 1000),
            gpus(guaranteed_milli),
            gpus(most.div_ceil(1000) * 1000)
        ),
        evidence: format!(
            "at most {} GPUs were held at a time in {}",
            gpus(most),
            bill.period
        ),
        micros: 0,
    })
}

/// GPUs of thousandths: `4`, `0.25`.
#[must_use]
pub fn gpus(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::bill;
    use crate::examples::{HOUR, hold, prices, stock};

    fn told(change: impl Fn(&mut Hold), guaranteed: Option<u64>) -> Vec<Advice> {
        let mut held = hold("red", "n1", 1000, 0, Some(10 * HOUR));
        change(&mut held);
        let book = Extract {
            until_ms: 8 * DAY,
            kept_until_ms: 8 * DAY,
            holds: vec![held, hold("blue", "n1", 4000, 0, Some(DAY))],
            stock: vec![stock("n1", 8000, 0, None)],
            ..Extract::default()
        };
        let bill = bill(&book, &prices("prices: [{model: a, hourly: 2}]")).unwrap();
        advice(&book, &bill, "red", guaranteed)
    }

    #[test]
    fn gpus_that_are_held_and_not_used_are_told_with_their_numbers() {
        let advice = told(|hold| hold.busy_milli = Some(30), None);
        assert_eq!(advice.len(), 1);
        assert!(
            advice[0]
                .what
                .starts_with("ml-red/train held GPUs and hardly used them")
        );
        assert_eq!(
            advice[0].evidence,
            "3.0 % busy, measured over 100.0 % of the 10.0 GPU-hours it held, which cost 20.00 EUR"
        );
        assert_eq!(advice[0].micros, 20_000_000);
    }

    #[test]
    fn the_evidence_says_of_how_much_it_is_and_counts_from_a_gpu_hour_on() {
        let measured = |hours: u64| {
            move |hold: &mut Hold| {
                (hold.busy_milli, hold.measured) = (Some(30), Some(hours * 1000 * HOUR));
            }
        };
        let half = told(measured(5), None);
        let expected = "3.0 % busy, measured over 50.0 % of the 10.0 GPU-hours it held";
        assert!(half[0].evidence.starts_with(expected), "{half:?}");
        let brief = |hold: &mut Hold| (hold.busy_milli, hold.measured) = (Some(30), Some(1));
        assert_eq!(told(brief, None), []);
    }

    #[test]
    fn a_slot_would_do_for_one_card_that_is_a_little_busy() {
        let slot = told(|hold| hold.busy_milli = Some(200), None);
        assert!(
            slot[0]
                .what
                .contains("a slot of one shared by four would do"),
            "{slot:?}"
        );
        assert_eq!(told(|hold| hold.busy_milli = Some(250), None), []);
        let two = |hold: &mut Hold| (hold.busy_milli, hold.gpu_milli) = (Some(200), 2000);
        assert_eq!(told(two, None), []);
    }

    #[test]
    fn nothing_is_said_where_nobody_measured_or_it_is_hardly_anything() {
        assert_eq!(told(|_| (), None), []);
        let brief = |hold: &mut Hold| {
            hold.busy_milli = Some(0);
            hold.end = hold.end.map(|end| crate::record::End {
                at_ms: HOUR / 2,
                ..end
            });
        };
        assert_eq!(told(brief, None), []);
    }

    #[test]
    fn a_guarantee_that_is_never_used_is_told() {
        let advice = told(|_| (), Some(4000));
        assert_eq!(
            advice[0].what,
            "3 of the 4 GPUs that are guaranteed were never used: the guarantee could be 1"
        );
        assert_eq!(
            advice[0].evidence,
            "at most 1 GPUs were held at a time in 1970-01-01 to 1970-01-09"
        );
        assert_eq!(told(|_| (), Some(1000)), []);
    }
}
