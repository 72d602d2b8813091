use std::convert::Infallible;

use axum::body::Body;
use axum::http::{Request, Response};
use tower::service_fn;

use super::*;
use crate::api::State;

/// A record of the job at version 5, as the API server holds it.
fn stored(version: u64) -> Value {
    json!({
        "apiVersion": "prorata.dev/v1alpha1",
        "kind": "QueuedJob",
        "metadata": {"name": "job-train-1a2b", "namespace": "red", "resourceVersion": version.to_string()},
        "spec": {
            "job": {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "1a2b-3c"},
            "tenant": "red", "priority": 0, "gang": 1, "gpus": "1",
        },
        "status": {"state": "Waiting", "reason": "CapacityFull", "message": "", "conditions": []},
    })
}

/// Writes another state into the record, before an API server that answers with this version.
async fn outcome_of_a_change(answered: u64) -> Outcome {
    let service = service_fn(move |_: Request<kube::client::Body>| async move {
        let body = Body::from(stored(answered).to_string());
        Ok::<_, Infallible>(Response::new(body))
    });
    let writer = Writer::new(Client::new(service, "default"), "nvidia.com/gpu");
    let record: QueuedJob = serde_json::from_value(stored(5)).unwrap();
    let record = RecordView::new(&record);
    let (spec, mut status) = (record.spec.clone(), record.status.clone());
    status.state = Some(State::Held);
    let write = RecordWrite::Change(Box::new(record), Box::new(spec), Box::new(status));
    let effect = Effect {
        job: JobId::new("red", "train", "1a2b-3c"),
        form: Form::Job,
        record: write,
        fence: None,
        patch: None,
        pods: None,
        condition: None,
        notice: None,
        about: None,
        leaving: Vec::new(),
        starts: false,
    };
    writer.perform(effect).await
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_not_made_again_at_once() {
    assert_eq!(outcome_of_a_change(6).await.failure, None);
    assert_eq!(outcome_of_a_change(5).await.failure, Some(Failure::Vain));
}

#[test]
fn any_name_of_a_gang_makes_a_valid_name_of_its_record() {
    for (gang, name) in [("ranks.", "gang-ranks--1a2b"), (".A_b", "gang--A-b-1a2b")] {
        let job = JobId::new("red", gang, "1a2b-3c");
        assert_eq!(record_name(&job, Form::Gang), name.to_lowercase());
    }
}

/// Files that may write to the API server, besides those of commands that people give.
const WRITERS: [&str; 10] = [
    // Jobs, records, pods, nodes, Events; what tenants hold.
    "effects.rs",
    "effects/clients.rs",
    "effects/events.rs",
    "effects/eviction.rs",
    "effects/nodes.rs",
    "effects/pods.rs",
    // Duties of their own: an agent's node, budgets, what Tenants want, what policies look up.
    "agent/publish.rs",
    "budgets.rs",
    "tenancy/keeper/outcome.rs",
    "tenancy/told.rs",
];

/// Who leads is written by a rule of its own; the others ask what is stored nowhere.
const ASKERS: [&str; 4] = ["leader.rs", "controller.rs", "identity.rs", "pages/gate.rs"];

/// Whoever writes names one of these: kube's parameters of a write, or its recorder of Events.
const MEANS: [&str; 5] = [
    "PatchParams",
    "PostParams",
    "DeleteParams",
    "EvictParams",
    "kube::runtime::events",
];

#[test]
fn nobody_else_writes() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = std::collections::BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let is_code = name.ends_with(".rs") && !name.contains("tests");
            let is_people_s = name.starts_with("cli/");
            if is_code && !is_people_s {
                let text = std::fs::read_to_string(&path).unwrap();
                let writes = MEANS.iter().any(|means| text.contains(means));
                found.extend(writes.then(|| name.to_owned()));
            }
        }
    }
    let known: std::collections::BTreeSet<String> = WRITERS
        .iter()
        .chain(&ASKERS)
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(found, known);
}
