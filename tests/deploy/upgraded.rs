//! A version before this one: the same chart, but for an optional field of a definition and a policy
//! that it lacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use prorata::api::{Admission, QueuedJob, QueuedJobStatus};
use serde_json::Value;

use super::{objects, root};

/// The policy that it does not have yet.
const NEW_POLICY: &str = "prorata-volumes";

/// Writes such a chart, and says where.
pub(crate) fn older(home: &Path) -> PathBuf {
    let chart = home.join("older");
    copy(&root().join("deploy/helm/prorata"), &chart);
    let definitions = chart.join("files/crds.yaml");
    let mut all = objects(&fs::read_to_string(&definitions).unwrap());
    for definition in &mut all {
        if definition["spec"]["names"]["kind"] == "QueuedJob" {
            let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
            let fields = definition.pointer_mut(status).unwrap();
            assert!(fields.as_object_mut().unwrap().remove("forecast").is_some());
        }
    }
    fs::write(&definitions, documents(&all)).unwrap();
    let policies = chart.join("files/policies.yaml");
    let text = fs::read_to_string(&policies).unwrap();
    let parts: Vec<&str> = text.split("---\n").collect();
    let is_new = |part: &&&str| part.contains(&format!("name: {NEW_POLICY}\n"));
    assert_eq!(
        parts.iter().filter(is_new).count(),
        2,
        "the policy and its binding"
    );
    let kept: Vec<&str> = parts.iter().filter(|part| !is_new(part)).copied().collect();
    fs::write(&policies, kept.join("---\n")).unwrap();
    chart
}

fn documents(all: &[Value]) -> String {
    let each = all.iter().map(|object| format!("---\n{object}\n"));
    each.collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// What stays of a record, its UID and its admission, and what it shows.
pub(crate) type Face = ((String, Option<Admission>), QueuedJobStatus);

/// Those of the Jobs `runs`, `next` and `waits`.
pub(crate) async fn faces(api: &Api<QueuedJob>) -> [Face; 3] {
    let all = api.list(&ListParams::default()).await.unwrap().items;
    ["runs", "next", "waits"].map(|job| {
        let found = all.iter().find(|face| face.spec.job.name == job);
        let face = found.expect("a record").clone();
        let uid = face.uid().unwrap();
        ((uid, face.spec.admission), face.status.unwrap())
    })
}

/// Waits for what another controller does, which has to be sure first that nobody else decides.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within two minutes: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
