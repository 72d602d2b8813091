//! The least that a queue can do which holds Jobs by `suspend`: it lets each go as soon as it is there.
//!
//! It keeps no record, plans nothing, and says nothing: what is lost against stock is what suspended
//! Jobs cost the control plane by themselves.

use std::collections::HashSet;
use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

/// It ends when dropped.
pub(crate) struct Releaser {
    task: JoinHandle<()>,
}

impl Releaser {
    pub(crate) fn start(client: &Client) -> Self {
        let client = client.clone();
        let task = tokio::spawn(async move {
            let jobs: Api<Job> = Api::all(client.clone());
            let events = watcher(jobs, watcher::Config::default()).default_backoff();
            let mut events = pin!(events.applied_objects());
            let (mut seen, mut releases) = (HashSet::new(), JoinSet::new());
            while let Some(job) = events.next().await {
                let job = job.unwrap();
                // Kubernetes writes that it is suspended, too.
                if seen.insert(job.uid()) {
                    releases.spawn(release(client.clone(), job));
                }
                while let Some(done) = releases.try_join_next() {
                    done.unwrap();
                }
            }
        });
        Self { task }
    }
}

async fn release(client: Client, job: Job) {
    let jobs: Api<Job> = Api::namespaced(client, &job.namespace().unwrap());
    let release = Patch::Merge(json!({ "spec": { "suspend": false } }));
    jobs.patch(&job.name_any(), &PatchParams::default(), &release)
        .await
        .unwrap();
}

impl Drop for Releaser {
    fn drop(&mut self) {
        self.task.abort();
    }
}
