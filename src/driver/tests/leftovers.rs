//! A PyTorchJob that is over while one of its workers runs on and the other has not come.

use serde_json::{Value, json};

use super::accounts::{node, tenant};
use super::*;
use crate::api::State;
use crate::effects::{PodsWrite, RecordWrite};
use crate::kinds::Composite;
use crate::leader::Reign;
use crate::translate::{JobView, RecordView};
use prorata_core::Time;

fn from<R: serde::de::DeserializeOwned>(manifest: Value) -> R {
    serde_json::from_value(manifest).unwrap()
}

/// By its admission it has two of the four GPUs of the node `a`.
fn net(version: u32, conditions: Value) -> Object {
    let kind = Composite::of_owner("kubeflow.org/v1", "PyTorchJob").unwrap();
    let object = json!({
        "metadata": {
            "namespace": "red", "name": "net", "uid": "net", "resourceVersion": version.to_string(),
            "annotations": {"internal.prorata.dev/epoch": "1"},
        },
        "spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 2, "template": {"spec": asks()}}}},
        "status": {"conditions": conditions},
    });
    Object::Job(Box::new(JobView::of_composite(kind, &from(object), GPU)))
}

fn record() -> Object {
    let job =
        json!({"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "net", "uid": "net"});
    let places = [0, 1].map(|gpu| json!({"node": "a", "devices": [gpu]}));
    let record = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
        "metadata": {"namespace": "red", "name": "net", "resourceVersion": "1"},
        "spec": {
            "job": job, "tenant": "red", "priority": 0, "gang": 2, "gpus": "1", "requests": {GPU: "1"},
            "admission": {"epoch": 1, "placement": places},
        },
        "status": {"state": "Admitted", "reason": "Admitted", "message": ""},
    });
    Object::QueuedJob(Box::new(RecordView::new(&from(record))))
}

fn asks() -> Value {
    json!({"containers": [{"name": "c", "resources": {"limits": {GPU: 1}}}]})
}

fn worker(name: &str, node: Option<&str>) -> Object {
    let owner = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "net", "uid": "net", "controller": true,
    });
    let mut spec = asks();
    spec["nodeName"] = node.into();
    let pod = json!({
        "metadata": {"namespace": "red", "name": name, "uid": name, "ownerReferences": [owner]}, "spec": spec,
    });
    Object::Pod(PodView::new(
        &from::<k8s_openapi::api::core::v1::Pod>(pod),
        GPU,
    ))
}

/// A driver that leads or follows, as soon as all of it is over.
fn over(leads: bool) -> Driver {
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    let writer = Writer::new(Client::try_from(config).unwrap(), GPU);
    let settings = Settings {
        gpu_resource: GPU.to_owned(),
        ..Settings::default()
    };
    let clock = Clock::set(Time::from_millis(0));
    let mut driver = Driver::new(settings, writer, Views::default()).repeatable(clock);
    if !leads {
        driver = driver.under(Reign::begin().1);
    }
    let own = [
        node(4),
        tenant("red", json!({}), json!({})),
        Object::Namespace("red".to_owned(), Some("red".into())),
        net(1, json!([])),
        record(),
        worker("runs", Some("a")),
        worker("comes", None),
    ];
    for kind in Kind::ALL {
        let of_kind = own.iter().filter(|object| object.kind() == kind);
        let listed = Change::Listed(kind, of_kind.cloned().collect());
        driver.take_up([listed].into_iter());
    }
    let done = net(2, json!([{"type": "Succeeded", "status": "True"}]));
    driver.take_up([Change::Applied(done)].into_iter());
    assert_eq!(free(&driver), Resources::gpus(2));
    driver
}

fn free(driver: &Driver) -> Resources {
    driver.scheduler.snapshot().free(&"a".into())
}

/// As long as it takes: when the clock is looked at first, and then when they have had their time.
async fn wait(driver: &mut Driver) {
    for _ in 0..2 {
        let at = driver.observed.next_deadline().unwrap();
        let wait = at.since(driver.clock.now());
        assert!(
            driver
                .wakeup()
                .is_some_and(|due| due <= Instant::now() + wait)
        );
        tokio::time::advance(wait).await;
        driver.retry();
    }
    assert_eq!(driver.observed.next_deadline(), None);
}

/// Whatever waits must not have to find room beside places that nobody comes to.
#[tokio::test(start_paused = true)]
async fn places_that_nobody_comes_to_are_free_for_whoever_decides_and_whoever_does_not() {
    for leads in [true, false] {
        let mut driver = over(leads);
        wait(&mut driver).await;
        assert_eq!(free(&driver), Resources::gpus(3), "leads: {leads}");
    }
}

/// If agents never end its clients of MPS, that is the last that is written of it.
#[tokio::test(start_paused = true)]
async fn that_it_is_over_is_on_record_before_what_runs_on_is_ended() {
    let mut driver = over(true);
    wait(&mut driver).await;
    let snapshot = driver.scheduler.snapshot();
    let (_, effect) = driver.next_effect(&snapshot).unwrap();
    assert!(effect.stops() && matches!(effect.pods, Some(PodsWrite::End(_))));
    let RecordWrite::Change(_, _, status) = effect.record else {
        panic!("{:?}", effect.record)
    };
    assert_eq!(status.state, Some(State::Finished));
}
