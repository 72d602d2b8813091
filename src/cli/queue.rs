//! The queue as its QueuedJobs show it, in its own order.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use prorata_core::Resource;
use prorata_core::reason::Outlook;
use prorata_simulator::quantity;
use serde::Serialize;

use super::cluster::{Cluster, Scope};
use super::failure::Failure;
use super::{remedy, words};
use crate::api::{Admission, Amount, Forecast, QueuedJob, State, labels};
use crate::translate::ADMITTED;

/// A job in the queue.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Its namespace.
    pub(crate) namespace: String,
    /// The name of the user's object.
    pub(crate) name: String,
    /// Its kind, such as `Job`.
    pub(crate) kind: String,
    /// The version of its API, such as `batch/v1`.
    pub(crate) api_version: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Who it is charged to.
    pub(crate) tenant: String,
    /// The value of its PriorityClass.
    pub(crate) priority: i32,
    /// How many pods start together or not at all.
    pub(crate) pods: u32,
    /// GPUs of all its pods together.
    pub(crate) gpus: String,
    /// The parts of GPUs that its pods have, as in `1/4 L40S`; absent where they have whole ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<String>,
    /// Where it stands.
    pub(crate) state: State,
    /// Whether it never starts unless somebody changes something.
    pub(crate) blocked: bool,
    /// A stable code for why it stands there.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
    /// Its place among the waiting jobs of its tenant, from 1; absent where not all of them can be
    /// read, and while it does not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u32>,
    /// Since when the queue knows it.
    pub(crate) submitted: Timestamp,
    /// Since when its places are decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admitted: Option<Timestamp>,
    /// When it starts, where that has been foretold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forecast: Option<Forecast>,
    /// How many of its pods have their place on each node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) nodes: BTreeMap<String, u32>,
    /// The resource by which its pods name GPUs.
    #[serde(skip)]
    pub(crate) gpu_resource: String,
    /// The number of its admission.
    #[serde(skip)]
    epoch: i64,
}

impl Entry {
    /// What a QueuedJob says.
    pub(crate) fn new(record: &QueuedJob) -> Self {
        let (spec, status) = (&record.spec, record.status.clone().unwrap_or_default());
        let mut nodes = BTreeMap::new();
        for place in spec.admission.iter().flat_map(|a| &a.placement) {
            *nodes.entry(place.node.clone()).or_default() += 1;
        }
        let admitted = status
            .conditions
            .iter()
            .find(|c| c.type_ == ADMITTED && c.status == "True");
        let created = record.metadata.creation_timestamp.as_ref();
        let state = status.state.unwrap_or(State::Waiting);
        Self {
            namespace: record.namespace().unwrap_or_default(),
            name: spec.job.name.clone(),
            kind: spec.job.kind.clone(),
            api_version: spec.job.api_version.clone(),
            uid: spec.job.uid.clone(),
            tenant: spec.tenant.clone(),
            priority: spec.priority,
            pods: spec.gang,
            gpus: spec.gpus.clone(),
            parts: parts(spec.admission.as_ref()),
            state,
            blocked: state == State::Waiting && remedy::outlook(&status.reason) == Outlook::Never,
            reason: status.reason,
            message: status.message,
            position: None,
            submitted: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            admitted: admitted.map(|condition| condition.last_transition_time.0),
            forecast: status.forecast,
            nodes,
            gpu_resource: gpu_resource(&spec.requests),
            epoch: spec.admission.as_ref().map_or(0, |a| a.epoch),
        }
    }

    /// Its GPUs as people read them: `8`, or `1/4 L40S`.
    pub(crate) fn shown_gpus(&self) -> &str {
        self.parts.as_deref().unwrap_or(&self.gpus)
    }

    /// Its GPUs in thousandths.
    pub(crate) fn milli_gpus(&self) -> u64 {
        quantity::parse(Resource::Gpu, &self.gpus).unwrap_or_default()
    }

    /// How long it has waited, or had waited when it was admitted.
    pub(crate) fn waited(&self, now: Timestamp) -> Duration {
        words::between(self.submitted, self.admitted.unwrap_or(now))
    }

    /// How long from now until it starts, as likely sooner as later: `~5m`; empty where nobody says.
    pub(crate) fn starts(&self, now: Timestamp) -> String {
        let median = self.forecast.as_ref().and_then(|told| told.p50.as_deref());
        median.map_or_else(String::new, |at| until(at, now))
    }

    /// Where it stands, in one word.
    pub(crate) fn standing(&self) -> &'static str {
        match self.state {
            State::Waiting if self.blocked => "Blocked",
            State::Waiting => "Waiting",
            State::Admitted => "Admitted",
            State::Finished => "Finished",
            State::Held => "Held",
        }
    }

    /// Tells one start of a job from the next.
    pub(crate) fn key_of_admission(&self) -> (String, i64) {
        (self.uid.clone(), self.epoch)
    }

    /// Whether it is in the line: it starts when it is its turn.
    pub(crate) fn is_in_line(&self) -> bool {
        self.state == State::Waiting && !self.blocked && self.admitted.is_none()
    }

    /// Jobs that hold places come first, in the order in which they got them; then those that wait,
    /// as their tenants' queues have them.
    fn key(&self) -> impl Ord + use<> {
        let rank = match self.state {
            State::Admitted => 0,
            State::Waiting => 1 + u8::from(self.blocked),
            State::Held => 3,
            State::Finished => 4,
        };
        let tenant = (self.state != State::Admitted).then(|| self.tenant.clone());
        (rank, self.epoch, tenant, self.line_key())
    }

    fn line_key(&self) -> impl Ord + use<> {
        let name = (self.namespace.clone(), self.name.clone());
        (Reverse(self.priority), self.submitted, name)
    }
}

/// `1/4 L40S`, or `2 x 1/4 L40S, 1/8`: what pods have that have parts of cards.
fn parts(admission: Option<&Admission>) -> Option<String> {
    let mut counts: BTreeMap<(Reverse<u32>, &str), u32> = BTreeMap::new();
    for place in admission.into_iter().flat_map(|a| &a.placement) {
        let model = place.model.as_deref().unwrap_or_default();
        let model = model.strip_prefix("NVIDIA-").unwrap_or(model);
        *counts.entry((Reverse(place.milli?), model)).or_default() += 1;
    }
    let told = counts.into_iter().map(|((Reverse(milli), model), count)| {
        let times = if count > 1 {
            format!("{count} x ")
        } else {
            String::new()
        };
        let part = words::part(milli);
        format!("{times}{part} {model}").trim_end().to_owned()
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What the pods of a record ask for that is no CPU or memory: their name of GPUs.
fn gpu_resource(requests: &BTreeMap<String, Amount>) -> String {
    let plain = [
        Resource::Cpu.name(),
        Resource::Memory.name(),
        labels::GPU_MEMORY,
    ];
    let mut others = requests.keys().filter(|key| !plain.contains(&key.as_str()));
    let gpus = others.next().map(String::as_str);
    gpus.unwrap_or(labels::GPU_RESOURCE).to_owned()
}

/// How long until a moment (RFC 3339); the moment as it is written where that cannot be read.
pub(crate) fn until(moment: &str, now: Timestamp) -> String {
    let span = |at| format!("~{}", words::span(words::between(now, at)));
    moment.parse().map_or_else(|_| moment.to_owned(), span)
}

/// As much of the queue as its reader may see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The jobs, in the queue's order.
    pub(crate) entries: Vec<Entry>,
    /// Whether there are no others.
    pub(crate) is_all: bool,
}

/// Reads the queue.
pub(crate) async fn read(cluster: &Cluster, scope: &Scope) -> Result<Vec<Entry>, Failure> {
    let records: Vec<QueuedJob> = cluster.list(scope, ListParams::default()).await?;
    let entries = records.iter().map(Entry::new).collect();
    Ok(ordered(entries, *scope == Scope::All))
}

/// The entries in the queue's order. `complete` says that they are all that there are.
pub(crate) fn ordered(mut entries: Vec<Entry>, complete: bool) -> Vec<Entry> {
    entries.sort_by_cached_key(Entry::key);
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    for entry in entries.iter_mut().filter(|e| complete && e.is_in_line()) {
        let position = lines.entry(entry.tenant.clone()).or_default();
        *position += 1;
        entry.position = Some(*position);
    }
    entries
}

/// The job of this name: the one that is not over, else the newest.
pub(crate) fn find<'a>(entries: &'a [Entry], namespace: &str, job: &str) -> Option<&'a Entry> {
    let here = entries
        .iter()
        .filter(|entry| entry.namespace == namespace && entry.name == job);
    newest(here)
}

/// Of jobs of one name the one that is not over, else the newest.
pub(crate) fn newest<'a>(jobs: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
    jobs.max_by_key(|entry| (entry.state != State::Finished, entry.submitted))
}

/// The jobs of the same tenant that come before this one.
pub(crate) fn ahead<'a>(entries: &'a [Entry], entry: &Entry) -> Vec<&'a Entry> {
    let key = entry.line_key();
    let same = entries
        .iter()
        .filter(|e| e.is_in_line() && e.tenant == entry.tenant && e.uid != entry.uid);
    same.filter(|e| e.line_key() < key).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A record as the controller writes one, submitted at this second.
    pub(crate) fn entry(name: &str, at: i64, change: Value) -> Entry {
        let mut record = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
            "metadata": {
                "name": format!("job-{name}-1"), "namespace": "lab",
                "creationTimestamp": Timestamp::from_second(at).unwrap(),
            },
            "spec": {
                "job": {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": name},
                "tenant": "vision", "priority": 0, "gang": 2, "gpus": "8", "requests": {"nvidia.com/gpu": "4"},
            },
            "status": {"state": "Waiting", "reason": "CapacityFull", "message": "too little is free"},
        });
        json_patch(&mut record, &change);
        Entry::new(&serde_json::from_value(record).unwrap())
    }

    /// Puts what `change` names into `value`.
    fn json_patch(value: &mut Value, change: &Value) {
        match change {
            Value::Object(fields) => fields
                .iter()
                .for_each(|(key, change)| json_patch(&mut value[key], change)),
            other => *value = other.clone(),
        }
    }

    #[test]
    fn the_name_of_gpus_is_the_one_that_the_record_has() {
        let name = |keys: &[&str]| {
            let amount = |key: &&str| ((*key).to_owned(), Amount("1".to_owned()));
            gpu_resource(&keys.iter().map(amount).collect())
        };
        assert_eq!(name(&["amd.com/gpu", "cpu", "memory"]), "amd.com/gpu");
        assert_eq!(name(&["cpu", "memory", "z.example/gpu"]), "z.example/gpu");
        assert_eq!(name(&["cpu"]), labels::GPU_RESOURCE);
    }

    #[test]
    fn parts_of_cards_are_told_as_fractions() {
        let place = |milli: Option<u32>, model: &str| json!({"node": "a", "devices": [0], "milli": milli, "model": model});
        let shown = |places: &[Value]| {
            let admission = json!({"epoch": 1, "placement": places});
            entry(
                "a",
                1,
                json!({"spec": {"admission": admission, "gpus": "0.5"}}),
            )
            .shown_gpus()
            .to_owned()
        };
        let quarter = || place(Some(250), "NVIDIA-L40S");
        assert_eq!(shown(&[quarter()]), "1/4 L40S");
        let three = [quarter(), place(Some(142), ""), quarter()];
        assert_eq!(shown(&three), "2 x 1/4 L40S, 1/7");
        assert_eq!(shown(&[place(None, "")]), "0.5");
    }

    #[test]
    fn a_part_of_the_queue_says_nothing_about_positions() {
        let part = ordered(vec![entry("a", 1, json!({}))], false);
        assert_eq!(part[0].position, None);
    }

    #[test]
    fn the_order_is_the_queues_own() {
        let admitted = |epoch: i64| {
            json!({
                "spec": {"admission": {"epoch": epoch, "placement": [{"node": "a"}, {"node": "a"}]}},
                "status": {"state": "Admitted", "reason": "Admitted"},
            })
        };
        let entries = vec![
            entry("late", 30, json!({})),
            entry("early", 10, json!({})),
            entry("urgent", 40, json!({"spec": {"priority": 5}})),
            entry("never", 1, json!({"status": {"reason": "ExceedsMaxQuota"}})),
            entry(
                "held",
                2,
                json!({"status": {"state": "Held", "reason": "Suspended"}}),
            ),
            entry("other", 20, json!({"spec": {"tenant": "audio"}})),
            entry("second", 3, admitted(9)),
            entry("first", 4, admitted(7)),
        ];
        let entries = ordered(entries, true);
        let told: Vec<_> = entries
            .iter()
            .map(|e| (e.name.as_str(), e.standing(), e.position))
            .collect();
        assert_eq!(
            told,
            [
                ("first", "Admitted", None),
                ("second", "Admitted", None),
                ("other", "Waiting", Some(1)),
                ("urgent", "Waiting", Some(1)),
                ("early", "Waiting", Some(2)),
                ("late", "Waiting", Some(3)),
                ("never", "Blocked", None),
                ("held", "Held", None),
            ]
        );
        assert_eq!(entries[0].nodes["a"], 2);
        let late = entries.iter().find(|e| e.name == "late").unwrap();
        let names: Vec<_> = ahead(&entries, late)
            .iter()
            .map(|e| e.name.as_str())
            .collect();
        assert_eq!(names, ["urgent", "early"]);
    }
}
