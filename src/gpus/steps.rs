//! The steps by which a node comes to divide its GPUs in another way: cordon, drain, switch, await,
//! verify, uncordon. Pure: what is seen goes in, the next thing to do comes out.
//!
//! Each step is on record before anything of it is done, and to do a step twice changes nothing.
//! Nothing is switched while a pod has a GPU of the node: the kubelet would give the same card out a
//! second time, by other ids. Until the switch a change can be given up; after it the node stays
//! cordoned until the GPUs are as they should be, or somebody wants something else. What nobody but
//! the jobs that wait wanted, and does not come in time, is taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::gpunode::{Cause, Repartition, Step};
use crate::api::labels::{MIG_CONFIG, PLUGIN_CONFIG};
use crate::effects::Notice;

/// Why a change has failed that was taken back.
pub const NOT_SWITCHED: &str = "NotSwitched";

/// kube-scheduler may still be binding what it decided before the cordon.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How long a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until all pods with GPUs have left it.
    pub drain: Duration,
    /// Until it offers its GPUs in the other way, and its agent sees that.
    pub switch: Duration,
}

/// What is seen of a node. The names of partitions are those of the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How its administrator wants it to divide its GPUs.
    pub wanted: Option<String>,
    /// How it does, by what its kubelet offers; `None` while that is nothing.
    pub offered: Option<String>,
    /// How it does, by what its agent sees; `None` while that says nothing.
    pub told: Option<String>,
    /// Whether it takes no new pods.
    pub is_cordoned: bool,
    /// Whether the queue still gives places there.
    pub takes_work: bool,
    /// Pods on its GPUs, and jobs with places there.
    pub left: usize,
    /// Its labels by which the plugin and the MIG manager are configured.
    pub configured: BTreeMap<String, String>,
    /// What is on record.
    pub record: Option<Repartition>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, for now.
    Wait,
    /// This is put on record.
    Record(Option<Repartition>),
    /// The node takes no new pods, or takes them again.
    Cordon(bool),
    /// Jobs on it that may be evicted leave.
    Drain,
    /// These labels are set on the node.
    Label(BTreeMap<String, String>),
}

/// Whether there is anything to be looked at.
#[must_use]
pub fn concerns(wanted: Option<&str>, offered: Option<&str>, record: Option<&Repartition>) -> bool {
    match record {
        Some(record) if record.is_open() => true,
        Some(record) if record.step == Step::Failed && record.cause == Cause::Spec => {
            wanted != Some(record.to.as_str())
        }
        _ => wanted.zip(offered).is_some_and(|(w, o)| w != o),
    }
}

/// What is to be done next with a node.
#[must_use]
pub fn next(seen: &Seen, limits: Limits, now: Timestamp) -> Action {
    let Some(record) = &seen.record else {
        return begin(seen, now);
    };
    if !record.is_open() {
        return resume(seen, record, now);
    }
    if let Some(action) = redirect(seen, record, now) {
        return action;
    }
    let lasts = lasted(record, now);
    let to = |step| Action::Record(Some(stepped(record, step, now)));
    match record.step {
        Step::Cordon if seen.is_cordoned => to(Step::Drain),
        Step::Cordon => Action::Cordon(true),
        // Whoever let pods in again may have let some come.
        Step::Drain | Step::Switch if !seen.is_cordoned => to(Step::Cordon),
        Step::Drain => drain(seen, record, limits, now),
        Step::Switch => switch(seen, record, now),
        Step::Await | Step::Verify if !seen.is_cordoned => Action::Cordon(true),
        Step::Await if seen.offered.as_deref() == Some(record.target()) => to(Step::Verify),
        Step::Verify if seen.offered.as_deref() != Some(record.target()) => to(Step::Await),
        Step::Verify if seen.told.as_deref() == Some(record.target()) => {
            Action::Record(Some(switched(record, limits, now)))
        }
        Step::Await | Step::Verify if lasts > limits.switch => late(seen, record, now),
        Step::Await | Step::Verify => Action::Wait,
        Step::Uncordon if seen.is_cordoned && !record.was_cordoned => Action::Cordon(false),
        Step::Uncordon => to(Step::Done),
        Step::Return if seen.is_cordoned && !record.was_cordoned => Action::Cordon(false),
        Step::Return => Action::Record(given_up(record, now)),
        Step::Done | Step::Failed => Action::Wait,
    }
}

/// A change for the jobs that wait.
#[must_use]
pub fn on_demand(from: String, to: String, is_cordoned: bool, now: Timestamp) -> Repartition {
    Repartition {
        from,
        to,
        cause: Cause::Demand,
        step: Step::Cordon,
        since: Time(now),
        was_cordoned: is_cordoned,
        taken_back: false,
        reason: None,
        message: None,
    }
}

fn begin(seen: &Seen, now: Timestamp) -> Action {
    let Some((wanted, offered)) = seen.wanted.clone().zip(seen.offered.clone()) else {
        return Action::Wait;
    };
    if wanted == offered {
        return Action::Wait;
    }
    let record = Repartition {
        cause: Cause::Spec,
        ..on_demand(offered, wanted, seen.is_cordoned, now)
    };
    Action::Record(Some(record))
}

/// After a change that is over.
fn resume(seen: &Seen, record: &Repartition, now: Timestamp) -> Action {
    let has_failed = record.step == Step::Failed && record.cause == Cause::Spec;
    if !has_failed {
        return begin(seen, now);
    }
    // What has failed is not tried again before somebody wants it anew.
    match &seen.wanted {
        None => Action::Record(None),
        Some(wanted) if *wanted == record.to => Action::Wait,
        Some(_) => match begin(seen, now) {
            Action::Wait => Action::Record(None),
            action => action,
        },
    }
}

/// What follows when something else is wanted than is on record.
fn redirect(seen: &Seen, record: &Repartition, now: Timestamp) -> Option<Action> {
    let is_wanted = match (&seen.wanted, record.cause) {
        (Some(wanted), _) => wanted == record.target(),
        (None, Cause::Spec) => false,
        (None, Cause::Demand) => true,
    };
    if is_wanted {
        return None;
    }
    let is_switched = matches!(record.step, Step::Await | Step::Verify)
        || (record.step == Step::Switch && is_labelled(seen, record));
    let other = seen.wanted.clone().filter(|wanted| *wanted != record.from);
    let step = match (record.step, &seen.wanted) {
        // What has begun so far is finished first.
        (Step::Uncordon | Step::Return, _) => return None,
        (_, None) if is_switched => return None,
        (_, Some(_)) if is_switched => Step::Switch,
        (step, Some(_)) if other.is_some() => step,
        _ => Step::Return,
    };
    let mut record = stepped(record, step, now);
    if let Some(wanted) = seen.wanted.clone().filter(|_| step != Step::Return) {
        (record.to, record.cause, record.taken_back) = (wanted, Cause::Spec, false);
    }
    Some(Action::Record(Some(record)))
}

fn drain(seen: &Seen, record: &Repartition, limits: Limits, now: Timestamp) -> Action {
    let lasts = lasted(record, now);
    if seen.left == 0 {
        let is_settled = !seen.takes_work && lasts >= SETTLED_AFTER;
        return match is_settled {
            true => Action::Record(Some(stepped(record, Step::Switch, now))),
            false => Action::Wait,
        };
    }
    if lasts <= limits.drain {
        // Until the queue knows of the cordon it gives places there, and would again.
        return match seen.takes_work {
            true => Action::Wait,
            false => Action::Drain,
        };
    }
    if record.taken_back {
        // Its labels say otherwise already: were it opened, it could be switched under its pods.
        let message = format!(
            "{} pods or jobs have come to its GPUs, which are to be {} again, and it stays cordoned until they have left: \
             `prorata drain NODE` has jobs leave, `kubectl get pods -A --field-selector spec.nodeName=NODE` shows the others",
            seen.left, record.from,
        );
        return stall(record, "NotEmpty", message);
    }
    let message = format!(
        "after {} {} pods or jobs are still on its GPUs, and nothing has been changed: `prorata drain NODE` has jobs \
         leave that are not evicted otherwise, `kubectl get pods -A --field-selector spec.nodeName=NODE` shows the \
         others; then take spec.partition out and set it again",
        humantime::format_duration(limits.drain),
        seen.left,
    );
    let record = Repartition {
        reason: Some("NotEmpty".to_owned()),
        message: Some(message),
        ..stepped(record, Step::Return, now)
    };
    Action::Record(Some(record))
}

fn switch(seen: &Seen, record: &Repartition, now: Timestamp) -> Action {
    if is_labelled(seen, record) {
        return Action::Record(Some(stepped(record, Step::Await, now)));
    }
    if seen.left > 0 {
        return Action::Record(Some(stepped(record, Step::Drain, now)));
    }
    Action::Label(labels(seen, record.target()))
}

fn is_labelled(seen: &Seen, record: &Repartition) -> bool {
    let wanted = labels(seen, record.target());
    let is_set = |(key, value): (&String, &String)| seen.configured.get(key) == Some(value);
    wanted.iter().all(is_set)
}

/// The labels that have the plugin divide GPUs like this, and NVIDIA's MIG manager make the instances.
fn labels(seen: &Seen, to: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([(PLUGIN_CONFIG.to_owned(), to.to_owned())]);
    let mig = match to.strip_prefix("mig-") {
        Some(profile) => Some(format!("all-{profile}")),
        None => seen
            .configured
            .contains_key(MIG_CONFIG)
            .then(|| "all-disabled".to_owned()),
    };
    labels.extend(mig.map(|config| (MIG_CONFIG.to_owned(), config)));
    labels
}

/// The GPUs are as they should be: the node is opened, also where that is as they were before.
fn switched(record: &Repartition, limits: Limits, now: Timestamp) -> Repartition {
    if !record.taken_back {
        return stepped(record, Step::Uncordon, now);
    }
    let message = format!(
        "the node did not come to be {} within {}, and is {} again: see whether the ConfigMap of the device plugin has a \
         configuration of that name, and what the plugin's pod and the agent's pod there log; no node is proposed for \
         that mode for a while",
        record.to,
        humantime::format_duration(limits.switch),
        record.from,
    );
    Repartition {
        reason: Some(NOT_SWITCHED.to_owned()),
        message: Some(message),
        ..stepped(record, Step::Return, now)
    }
}

/// What does not come in time is taken back where only the jobs that wait wanted it, or said.
fn late(seen: &Seen, record: &Repartition, now: Timestamp) -> Action {
    let (reason, what) = match record.step {
        Step::Await => ("NotOffered", not_offered(seen, record)),
        _ => ("NotSeen", not_seen(seen, record)),
    };
    if record.cause == Cause::Demand && !record.taken_back {
        return Action::Record(Some(Repartition {
            taken_back: true,
            reason: Some(reason.to_owned()),
            message: Some(format!("{what}; it is to be {} again", record.from)),
            ..stepped(record, Step::Switch, now)
        }));
    }
    let or_back = match record.taken_back {
        true => String::new(),
        false => format!("; or set spec.partition back to {}", record.from),
    };
    let remedy = remedy(record);
    let message = format!("{what}, and stays cordoned: {remedy}{or_back}");
    stall(record, reason, message)
}

fn not_offered(seen: &Seen, record: &Repartition) -> String {
    let offered = seen.offered.as_deref().unwrap_or("no GPUs");
    format!(
        "the node still offers {offered} and not {}",
        record.target()
    )
}

fn not_seen(seen: &Seen, record: &Repartition) -> String {
    let told = match &seen.told {
        Some(told) => format!("says {told}"),
        None => "says nothing".to_owned(),
    };
    format!(
        "the node offers {}, but the agent there {told}",
        record.target()
    )
}

fn remedy(record: &Repartition) -> String {
    match record.step {
        Step::Await => format!(
            "see whether the ConfigMap of the device plugin has a configuration `{}` and what the plugin's pod there logs",
            record.target()
        ),
        _ => "see what the agent's pod logs".to_owned(),
    }
}

/// It goes on by itself if what is waited for comes after all.
fn stall(record: &Repartition, reason: &str, message: String) -> Action {
    if record.reason.as_deref() == Some(reason) {
        return Action::Wait;
    }
    Action::Record(Some(Repartition {
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..record.clone()
    }))
}

/// What remains of a change that was given up: nothing, where nobody wants it any more.
fn given_up(record: &Repartition, now: Timestamp) -> Option<Repartition> {
    record.reason.as_ref()?;
    Some(Repartition {
        step: Step::Failed,
        since: Time(now),
        ..record.clone()
    })
}

fn stepped(record: &Repartition, step: Step, now: Timestamp) -> Repartition {
    let since = if step == record.step {
        record.since.clone()
    } else {
        Time(now)
    };
    Repartition {
        step,
        since,
        reason: None,
        message: None,
        ..record.clone()
    }
}

/// How long the step has lasted; no time by a clock that runs behind.
fn lasted(record: &Repartition, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(record.since.0)).unwrap_or_default()
}

/// What is told of the node when this is put on record after that.
#[must_use]
pub fn notice(before: Option<&Repartition>, after: Option<&Repartition>) -> Option<Notice> {
    let told = |reason: &str, message: String| {
        Some(Notice {
            reason: reason.to_owned(),
            message,
        })
    };
    let is_open = before.is_some_and(Repartition::is_open);
    let Some(after) = after else {
        let gone = before.filter(|_| is_open)?;
        let message = format!(
            "its GPUs stay {}: nobody wants {} any more",
            gone.from, gone.to
        );
        return told("RepartitionCancelled", message);
    };
    let Repartition { from, to, .. } = after;
    let is_other = |before: &Repartition| {
        (before.step, &before.reason, &before.to) != (after.step, &after.reason, to)
    };
    before.is_none_or(is_other).then_some(())?;
    match (after.step, &after.reason, &after.message) {
        (Step::Cordon, ..) if !is_open => {
            let who = match after.cause {
                Cause::Spec => "as its GpuNode's spec.partition says",
                Cause::Demand => "because jobs wait that could use them then",
            };
            let message = format!(
                "its GPUs are divided anew, {to} instead of {from}, {who}: it takes no new pods, and jobs leave it"
            );
            told("RepartitionBegan", message)
        }
        (Step::Done, ..) => {
            let cordoned = match after.was_cordoned {
                true => "; it stays cordoned, as it was before",
                false => "",
            };
            told(
                "Repartitioned",
                format!("its GPUs are {to} now, and were {from}{cordoned}"),
            )
        }
        (Step::Return, Some(_), _) => None,
        (Step::Failed, Some(_), Some(why)) => told(
            "RepartitionFailed",
            format!("its GPUs stay {from} and do not become {to}: {why}"),
        ),
        (_, Some(_), Some(why)) => told("RepartitionStalled", why.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
