//! What is written while the extender does not answer: why a job does not start, once, and its start
//! when it answers again.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::accounts::bound;
use super::*;
use crate::api::State;
use crate::effects::{Effect, Outcome, RecordWrite};
use crate::status::EXTENDER_DOWN;
use crate::translate::{JobView, RecordView, TenantView};

const ADMITTED: &str = "prorata.dev/Admitted";

/// A driver, and the objects that it is told of, as an API server would keep them.
struct World {
    driver: Driver,
    answers: watch::Sender<bool>,
    job: Value,
    record: Option<Value>,
    version: u32,
    /// Reasons of the Events that were written.
    told: Vec<String>,
}

impl World {
    /// A node of four GPUs, and a Job of two pods with one each, which waits.
    fn start(answers: bool) -> Self {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let writer = Writer::new(Client::try_from(config).unwrap(), GPU);
        let settings = Settings {
            gpu_resource: GPU.to_owned(),
            ..Settings::default()
        };
        let (answers, probed) = watch::channel(answers);
        let driver = Driver::new(settings, writer, Views::default()).probing(probed);
        let mut world = Self {
            driver: driver.repeatable(Clock::default()),
            answers,
            job: job(),
            record: None,
            version: 1,
            told: Vec::new(),
        };
        let own = [
            node(),
            Object::Namespace("red".to_owned(), Some("red".into())),
            tenant(),
            world.view(),
        ];
        for kind in Kind::ALL {
            let of_kind = own.iter().filter(|object| object.kind() == kind);
            let listed = Change::Listed(kind, of_kind.cloned().collect());
            world.driver.take_up([listed].into_iter());
        }
        world
    }

    /// Something happens, and is written about.
    fn hear(&mut self, change: Change) {
        self.driver.take_up([change].into_iter());
        self.settle();
    }

    fn probe(&mut self, answers: bool) {
        self.answers.send_replace(answers);
        self.driver.look_at_plans();
    }

    /// Writes until nothing is left to be written, and returns how often.
    fn settle(&mut self) -> usize {
        for writes in 0..20 {
            self.driver.explain();
            let snapshot = self.driver.scheduler.snapshot();
            let Some((_, effect)) = self.driver.next_effect(&snapshot) else {
                return writes;
            };
            self.perform(effect);
        }
        panic!("it is written without end: {} {:?}", self.job, self.record);
    }

    fn perform(&mut self, effect: Effect) {
        self.version += 1;
        let wrote = !matches!(effect.record, RecordWrite::Keep);
        if let RecordWrite::Create(spec, status) | RecordWrite::Change(_, spec, status) =
            effect.record
        {
            self.record = Some(json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
                "metadata": {"name": "job-train-j", "namespace": "red"},
                "spec": *spec, "status": *status,
            }));
        }
        for change in effect
            .patch
            .iter()
            .flat_map(|patch| patch.as_array().unwrap())
        {
            match (change["op"].as_str(), change["path"].as_str().unwrap()) {
                (_, "/spec/suspend") => self.job["spec"]["suspend"] = change["value"].clone(),
                (Some("add"), path) if path.ends_with("epoch") => {
                    let epoch = change["value"].clone();
                    self.job["metadata"]["annotations"]["internal.prorata.dev/epoch"] = epoch;
                }
                _ => {}
            }
        }
        let shown = effect.condition.is_some() || effect.patch.is_some();
        if let Some(condition) = effect.condition {
            self.job["status"]["conditions"] = json!([condition]);
        }
        self.told.extend(effect.notice.map(|notice| notice.reason));
        let version = json!(self.version.to_string());
        self.job["metadata"]["resourceVersion"] = version.clone();
        let record = self.record.as_mut().filter(|_| wrote).map(|record| {
            record["metadata"]["resourceVersion"] = version;
            RecordView::new(&from(record.clone()))
        });
        let outcome = Outcome {
            job: effect.job,
            record,
            view: shown.then(|| JobView::new(&from(self.job.clone()), GPU)),
            pods: Vec::new(),
            evicts: false,
            failure: None,
        };
        self.driver.conclude(outcome);
    }

    fn view(&self) -> Object {
        Object::Job(Box::new(JobView::new(&from(self.job.clone()), GPU)))
    }

    fn is_suspended(&self) -> bool {
        self.job["spec"]["suspend"] == json!(true)
    }

    /// Status and reason of our condition on the Job.
    fn condition(&self) -> Option<(&str, &str)> {
        let shown = &self.job["status"]["conditions"][0];
        (shown["type"] == ADMITTED).then(|| {
            (
                shown["status"].as_str().unwrap(),
                shown["reason"].as_str().unwrap(),
            )
        })
    }

    /// State and reason of the record, and since when its places are its own.
    fn record(&self) -> (State, String, Option<prorata_core::Time>) {
        let record = RecordView::new(&from(self.record.clone().unwrap()));
        let (since, status) = (record.admitted(), record.status);
        (status.state.unwrap(), status.reason, since)
    }
}

fn from<R: serde::de::DeserializeOwned>(manifest: Value) -> R {
    serde_json::from_value(manifest).unwrap()
}

fn node() -> Object {
    let node: k8s_openapi::api::core::v1::Node = from(json!({
        "metadata": {"name": "a"},
        "status": {
            "allocatable": {GPU: "4", "cpu": "8", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }));
    Object::Node(crate::translate::node(&node, GPU), true)
}

fn tenant() -> Object {
    let tenant: crate::api::Tenant = from(json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "red", "resourceVersion": "1"}, "spec": {},
    }));
    Object::Tenant(Box::new(TenantView::new(&tenant)))
}

fn job() -> Value {
    json!({
        "metadata": {
            "namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1",
            "annotations": {"internal.prorata.dev/created-by": "alice"},
        },
        "spec": {"parallelism": 2, "completions": 2, "suspend": true, "template": {"spec": {
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        }}},
    })
}

#[tokio::test]
async fn what_has_its_places_says_why_it_does_not_start_and_starts_later() {
    let mut world = World::start(false);
    assert!(world.settle() > 0);
    assert!(world.is_suspended());
    assert_eq!(world.condition(), Some(("False", EXTENDER_DOWN)));
    let (state, reason, since) = world.record();
    assert_eq!((state, reason.as_str()), (State::Waiting, EXTENDER_DOWN));
    assert!(since.is_some(), "its places are its own");
    let record = RecordView::new(&from(world.record.clone().unwrap()));
    assert!(record.spec.admission.is_some());
    assert_eq!(world.told, [EXTENDER_DOWN]);

    world.probe(false);
    assert_eq!(world.settle(), 0, "it is said once");

    world.probe(true);
    world.settle();
    assert!(!world.is_suspended());
    assert_eq!(world.condition(), Some(("True", "Admitted")));
    assert_eq!(
        world.record(),
        (State::Admitted, "Admitted".to_owned(), since)
    );
    assert_eq!(world.told, [EXTENDER_DOWN, "Admitted"]);

    world.probe(false);
    assert_eq!(world.settle(), 0, "what has been started is not held back");
}

#[tokio::test]
async fn what_starts_at_once_is_told_nothing() {
    let mut world = World::start(true);
    world.settle();
    assert!(!world.is_suspended());
    assert_eq!(world.condition(), None);
    assert_eq!(world.told, [""; 0]);
}

/// That its places are free by then is nothing that it has not been told.
#[tokio::test]
async fn that_it_has_to_leave_is_told_once() {
    let mut world = World::start(true);
    world.settle();
    let pod = |name| bound(name, "red", Some("j"), "2026-01-01T00:00:00Z");
    for name in ["p", "q"] {
        world.hear(Change::Applied(pod(name)));
    }
    let (snapshot, now) = (world.driver.scheduler.snapshot(), Timestamp::now());
    let news = world.driver.observed.drain(&"a".into(), &snapshot, now);
    world.driver.learn(news);
    world.settle();
    assert!(world.is_suspended());
    assert_eq!(world.told, ["Evicted"]);
    let quiet = json!({"active": 0, "conditions": [{"type": "Suspended", "status": "True"}]});
    world.job["status"] = quiet;
    world.version += 1;
    world.job["metadata"]["resourceVersion"] = json!(world.version.to_string());
    world.hear(Change::Applied(world.view()));
    for name in ["p", "q"] {
        world.hear(Change::Deleted(pod(name)));
    }
    let left = world.told.iter().filter(|reason| *reason == "Evicted");
    assert_eq!(left.count(), 1, "{:?}", world.told);
}

/// Of an admission that nobody has heard of, nothing is to be undone.
#[tokio::test]
async fn who_has_to_leave_before_anything_was_written_is_told_nothing() {
    let mut world = World::start(true);
    let leaves = |world: &mut World| {
        let id = JobId::new("red", "train", "j");
        let decision = Decision::Evict {
            victim: id.clone(),
            preemptor: id,
            rule: prorata_core::Rule::Priority,
        };
        let snapshot = world.driver.scheduler.snapshot();
        world.driver.take_down(&snapshot, decision);
        world.driver.observed.leaver("j").is_some()
    };
    assert!(!leaves(&mut world));
    world.settle();
    assert!(leaves(&mut world));
}
