//! Which of several controllers decides: the holder of one Lease.
//!
//! Nobody goes by another's clock. Whoever leads stops by itself when it could not renew the Lease
//! for a while; the others take it over once they have not seen it change for longer than that.
//! This only avoids double work: that nothing is given twice follows from what every write is
//! based on.

mod fence;
mod tenure;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::api::labels;
use crate::config::LeaderElection;
use crate::effects::fault;
use crate::metrics::Metrics;

pub use fence::{Fence, fenced};
pub use tenure::{Reign, Tenure};

/// One that would lead.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    times: LeaderElection,
    reign: Reign,
    metrics: Metrics,
    /// The Lease as it was last seen, and since when it is like that.
    seen: Option<(LeaseSpec, Instant)>,
    /// When another process was last seen to renew it.
    renewed: Option<Instant>,
}

/// Whoever was not seen to renew the Lease for so many of the pauses between two looks at it may be
/// gone: nobody relies on its having decided.
const LOOKS_MAX: u32 = 3;

impl Candidate {
    /// One that has not tried yet; what it gains is told to the tenure that belongs to `reign`.
    #[must_use]
    pub fn new(client: Client, times: &LeaderElection, reign: Reign, metrics: Metrics) -> Self {
        Self {
            leases: Api::namespaced(client, &times.namespace),
            identity: identity(),
            times: times.clone(),
            reign,
            metrics,
            seen: None,
            renewed: None,
        }
    }

    /// Tries to lead, and to go on leading, for ever.
    pub async fn run(&mut self) {
        loop {
            let began = Instant::now();
            let within = self.times.renew_deadline / 2;
            match timeout(within, self.attempt()).await {
                Ok(Ok(ours)) => self.note(ours, began),
                Ok(Err(error)) => warn!(%error, "the Lease cannot be had"),
                Err(_) => warn!("no answer about the Lease within {within:?}"),
            }
            self.metrics.leads(self.reign.is_held());
            sleep(self.times.retry_period).await;
        }
    }

    /// The API server has said whose the Lease is, which was asked at a time.
    fn note(&self, ours: bool, began: Instant) {
        if !ours {
            let within = self.times.retry_period * LOOKS_MAX;
            self.reign.cede(self.renewed.map(|at| at + within));
            return;
        }
        if !self.reign.is_held() {
            info!(
                identity = self.identity,
                "this controller decides from now on"
            );
        }
        self.reign.extend(began + self.times.renew_deadline);
    }

    /// Gives the Lease back, so that another need not wait. To be called when nothing is written
    /// any more.
    pub async fn resign(&mut self) {
        let held = self.reign.is_held();
        self.reign.end();
        if !held {
            return;
        }
        let resigned = timeout(self.times.renew_deadline / 2, async {
            let mut lease = self.leases.get(labels::CONTROLLER).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.identity) {
                spec.holder_identity = Some(String::new());
                self.put(&lease).await?;
            }
            Ok::<_, kube::Error>(())
        });
        match resigned.await {
            Ok(Ok(())) => info!("the Lease is given back"),
            outcome => debug!(?outcome, "the Lease will run out"),
        }
    }

    /// Whether the Lease is ours now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(labels::CONTROLLER).await? else {
            let lease = self.first();
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return won(created).inspect(|won| taken(*won));
        };
        let spec = lease.spec.take().unwrap_or_default();
        let ours = spec.holder_identity.as_ref() == Some(&self.identity);
        if !ours && !self.is_free(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.claim(spec, ours));
        won(self.put(&lease).await).inspect(|won| taken(*won && !ours))
    }

    /// Whether nobody holds it, or whoever does has not renewed it for as long as it had said.
    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_ref().is_none_or(String::is_empty) {
            return true;
        }
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default());
                since.elapsed() >= Duration::from_secs(seconds.unwrap_or_default())
            }
            seen => {
                let now = Instant::now();
                // What is seen first may have been left by one that has ended.
                self.renewed = seen.is_some().then_some(now).or(self.renewed);
                self.seen = Some((spec.clone(), now));
                false
            }
        }
    }

    fn claim(&self, old: LeaseSpec, ours: bool) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let transitions = old.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.lease_duration.as_secs()).ok(),
            acquire_time: if ours { old.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(transitions + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }

    fn first(&self) -> Lease {
        Lease {
            metadata: labels::metadata(labels::CONTROLLER),
            spec: Some(LeaseSpec {
                lease_transitions: Some(0),
                ..self.claim(LeaseSpec::default(), false)
            }),
        }
    }

    /// Replaces what was read: it fails if anybody has written since.
    async fn put(&self, lease: &Lease) -> kube::Result<Lease> {
        let params = PostParams::default();
        self.leases
            .replace(labels::CONTROLLER, &params, lease)
            .await
    }
}

/// To take the Lease is a write like any other; to renew it is none that anything follows from.
fn taken(is_new: bool) {
    if is_new {
        fault::after_write();
    }
}

/// Another was faster, or it was ours to write.
fn won(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// The pod's name, for people, and what tells this process from an earlier one in it.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "prorata".to_owned());
    let unique = RandomState::new().build_hasher().finish();
    format!("{host}_{unique:016x}")
}

#[cfg(test)]
mod tests;
