//! What would become of a job if it were submitted now.

use prorata_core::{Decision, Event, Job, JobId, Placement, Reason, Rule, Snapshot, Time, Verdict};

use super::present::Present;
use super::{Eta, History, Question, starts};

/// What would become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it would start at once; with victims, once these have left.
    pub starts: Option<Placement>,
    /// Who would have to leave for it, and by which rule.
    pub victims: Vec<(JobId, Rule)>,
    /// Why it would wait; `None` if it starts at once.
    pub reason: Option<Reason>,
    /// When it would start; `None` where that cannot be foretold, because it never would.
    pub eta: Option<Eta>,
}

/// What would become of `job` if it were submitted at `now`. Nothing is changed by asking.
#[must_use]
pub fn what_if(
    snapshot: &Snapshot,
    now: Time,
    job: Job,
    history: &History,
    question: &Question,
) -> Answer {
    let now = now.max(snapshot.decided());
    let id = job.id.clone();
    // What can be decided without it is decided before it comes.
    let mut present = Present::of(snapshot, now);
    let before = present.decided.clone();
    present.core.observe(now, Event::JobSubmitted(job.clone()));
    let mut decisions = Vec::new();
    loop {
        let decided = present.core.cycle(now).decisions;
        let goes_on = decided.iter().any(|d| matches!(d, Decision::Evict { .. }));
        decisions.extend(decided);
        if !goes_on {
            break;
        }
    }
    let with = present.core.snapshot();
    let reason = match with.verdict(&id) {
        Some(Verdict::Waiting(reason)) => Some(reason),
        _ => None,
    };
    let victims = decisions.iter().filter_map(|decision| match decision {
        Decision::Evict {
            victim,
            preemptor,
            rule,
        } if *preemptor == id => Some((victim.clone(), *rule)),
        _ => None,
    });
    let victims = victims.collect();
    let starts_at = with.placement(&id).cloned();
    let is_final = reason.as_ref().is_some_and(Reason::is_final);
    let eta = (!is_final).then(|| {
        present.add(job);
        present.decided = before.into_iter().chain(decisions).collect();
        let asked = [id.clone()].into();
        starts(&present, &asked, history, question)
            .remove(&id)
            .unwrap_or_default()
    });
    Answer {
        starts: starts_at,
        victims,
        reason,
        eta,
    }
}
