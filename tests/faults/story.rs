//! What happened, for whoever looks into a seed.

use std::collections::BTreeMap;

use super::store::{Author, Kind, bool_at, uid};
use super::users;
use super::world::{BEGIN_MS, World};

impl World {
    /// What happened last, in short.
    pub(crate) fn tell(&self) {
        for change in self.store.log.iter().filter(|c| c.key.kind != Kind::Lease) {
            let object = change.after.as_deref().cloned().unwrap_or_default();
            let (spec, status) = (&object["spec"], &object["status"]);
            let short = match change.key.kind {
                Kind::Job => format!(
                    "suspend {} parallelism {} epoch {} held {} active {} {}",
                    spec["suspend"],
                    spec["parallelism"],
                    object["metadata"]["annotations"]["internal.prorata.dev/epoch"],
                    users::is_held(&object),
                    status["active"],
                    status["conditions"],
                ),
                Kind::Pod => format!(
                    "{} on {} {} {}",
                    status["phase"],
                    spec["nodeName"],
                    object["metadata"]["deletionTimestamp"],
                    spec["schedulingGates"],
                ),
                Kind::QueuedJob => format!(
                    "{} admission {} eviction {} promise {} {} {}",
                    spec["job"]["uid"],
                    spec["admission"],
                    spec["eviction"],
                    spec["promise"],
                    status["state"],
                    status["reason"],
                ),
                _ => status.to_string(),
            };
            eprintln!(
                "{:>5} {:?} {:?} {} {} {} {short}",
                change.version,
                change.by,
                change.key.kind,
                change.key.namespace,
                change.key.name,
                uid(&object).split('-').next().unwrap_or_default(),
            );
        }
    }

    /// What happened, in numbers: changes by kind, and among them starts and evictions of Jobs.
    pub(crate) fn tally(&self) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        let mut count = |what: String| *tally.entry(what).or_default() += 1;
        count(format!("processes {}", self.started));
        count(format!(
            "virtual seconds {}",
            (self.store.now_ms - BEGIN_MS) / 1000
        ));
        for change in &self.store.log {
            let who = match change.by {
                Author::Controller(_) => "ours",
                Author::Kubernetes => "theirs",
                Author::User => "people's",
            };
            count(format!("{:?} {who}", change.key.kind));
            let (Some(before), Some(after)) = (&change.before, &change.after) else {
                continue;
            };
            if change.key.kind == Kind::Job && change.by != Author::User {
                match (
                    bool_at(before, "/spec/suspend"),
                    bool_at(after, "/spec/suspend"),
                ) {
                    (true, false) => count("starts".to_owned()),
                    (false, true) => count("stops".to_owned()),
                    _ => {}
                }
            }
            if change.key.kind == Kind::QueuedJob
                && before["spec"]["eviction"].is_null()
                && !after["spec"]["eviction"].is_null()
            {
                count("evictions".to_owned());
            }
        }
        tally
    }
}
