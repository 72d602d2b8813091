//! The `submit` line.

use std::collections::BTreeSet;
use std::sync::Arc;

use prorata_core::device::WHOLE;
use prorata_core::needs::Toleration;
use prorata_core::{Hold, Job, JobId, Needs, Order, Resource, Resources, Time};

use super::policy::Rules;
use super::settings::{Settings, job_id, number};
use super::wrong::Wrong;
use crate::quantity;
use crate::world::Work;

const KEYS: [&str; 20] = [
    "gang",
    "gpu",
    "share",
    "cpu",
    "memory",
    "gpu-memory",
    "priority",
    "for",
    "max",
    "expected",
    "checkpoint",
    "model",
    "profile",
    "select:",
    "tolerate:",
    "other:",
    "preemptible",
    "hold",
    "present",
    "work",
];

/// The job that a line submits. `named` are the resources that some node names: the others are
/// not limited, so nothing of them is asked.
pub(super) fn submit(
    subject: &str,
    settings: &Settings<'_>,
    rules: &Rules,
    named: &BTreeSet<Resource>,
    now: Time,
) -> Result<Work, Wrong> {
    settings.only(&KEYS)?;
    let id = job_id(subject)?;
    let task = task(settings, named)?;
    let (priority, class) = rules.priority(settings)?;
    let is_of = |classes: &BTreeSet<String>| class.is_some_and(|class| classes.contains(class));
    let runtime = settings.duration("for")?;
    let by_runtime = matches!(rules.policy.order, Order::Srtf | Order::Srsf);
    let expected = settings.duration("expected")?;
    let tenant = id.namespace().into();
    let job = Job {
        priority,
        cluster_wide: is_of(&rules.cluster_wide),
        protected: is_of(&rules.protected),
        submitted: now,
        needs: Arc::new(needs(settings)?),
        hold: hold(settings, &id)?,
        max_duration: settings.duration("max")?,
        expected: expected.or(runtime.filter(|_| by_runtime)),
        preemptible: settings.flag("preemptible", true)?,
        ..Job::new(id, tenant, settings.number("gang", 1)?, task)
    };
    Ok(Work {
        checkpoint: settings.duration("checkpoint")?,
        ..Work::new(job, runtime)
    })
}

fn task(settings: &Settings<'_>, named: &BTreeSet<Resource>) -> Result<Resources, Wrong> {
    let mut asked = settings.resources()?;
    if let Some(text) = settings.get("share") {
        if settings.get("gpu").is_some() {
            let what = "stands beside gpu=";
            return Err(Wrong::new("share", what, "keep one of the two"));
        }
        let share = quantity::parse(Resource::Gpu, text);
        let share = share.map_err(|e| Wrong::quantity("share", &e))?;
        if !(1..u64::from(WHOLE)).contains(&share) {
            let what = format!("`{text}` is no share of one GPU");
            return Err(Wrong::new("share", what, "for example: share=250m"));
        }
        asked = asked.with(Resource::Gpu, share);
    }
    let limited = asked.iter().filter(|(r, _)| named.contains(r));
    let task = limited.fold(Resources::ZERO, |task, (r, amount)| task.with(r, amount));
    if task.is_zero() && !asked.is_zero() {
        let what = "asks only for what no node names, so it would never wait";
        return Err(Wrong::new(
            "submit",
            what,
            "name the resource in a node line",
        ));
    }
    Ok(task)
}

fn needs(settings: &Settings<'_>) -> Result<Needs, Wrong> {
    let selector = settings.with_prefix("select:");
    let toleration = |(key, value): (&str, &str)| Toleration {
        key: Some(key.into()),
        value: (!value.is_empty()).then(|| value.into()),
        effect: None,
    };
    Ok(Needs {
        selector: selector.map(|(k, v)| (k.into(), v.into())).collect(),
        tolerations: settings.with_prefix("tolerate:").map(toleration).collect(),
        models: settings
            .names("model")?
            .into_iter()
            .map(Into::into)
            .collect(),
        profile: settings.get("profile").map(Into::into),
        work: settings.get("work").map(Into::into),
        others: settings.others()?,
        ..Needs::default()
    })
}

/// `hold=user`, `hold=dependency` or `present=3`; `resume` lifts each.
fn hold(settings: &Settings<'_>, job: &JobId) -> Result<Option<Hold>, Wrong> {
    let hold = match settings.get("hold") {
        None => None,
        Some("user") => Some(Hold::User),
        Some("dependency") => Some(Hold::Dependency),
        Some(word) => return Err(Wrong::word("hold", word, &["user", "dependency"])),
    };
    match settings.get("present") {
        None => Ok(hold),
        Some(_) if hold.is_some() => {
            let what = format!("{job} is held otherwise");
            Err(Wrong::new("present", what, "keep hold= or present="))
        }
        Some(text) => Ok(Some(Hold::Incomplete(number("present", "present=", text)?))),
    }
}
