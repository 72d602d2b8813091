//! `prorata controller`: watches, loop, extender and probes, until it is told to stop.

use std::path::Path;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prorata_core::{Order, Policy, Preemption};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

use crate::api::labels::CONTROLLER_USER;
use crate::config::{self, Configuration};
use crate::decisions::Decisions;
use crate::driver::{Driver, Settings};
use crate::effects::Writer;
use crate::extender::{self, FilterPolicy};
use crate::observed::Classes;
use crate::view::Views;
use crate::{health, telemetry, watch};

/// Changes that may wait for the loop; beyond them the watches wait.
const INBOX_MAX: usize = 16_384;

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig file.
    #[error("the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a service account.
    #[error("no way to the API server")]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The client.
    #[error("the client of the API server")]
    Client(#[from] kube::Error),
    /// Somebody else's credentials: the admission policies would turn back every start.
    #[error(
        "this runs as `{0}`, but the admission policies let only {CONTROLLER_USER} start Jobs: \
         give a --kubeconfig of that service account, or run in a pod that has it"
    )]
    Identity(String),
    /// The extender.
    #[error("the extender")]
    Extender(#[from] extender::Error),
    /// The probes.
    #[error("health.address")]
    Health(#[source] std::io::Error),
    /// The log of decisions.
    #[error("decisionLog.path")]
    Log(#[source] std::io::Error),
    /// Signals.
    #[error("signals")]
    Signals(#[source] std::io::Error),
    /// A watch ended by itself; without it the rest would go by what was true once.
    #[error("a watch ended")]
    Watches,
}

/// Runs the controller until SIGTERM or SIGINT. Whatever it has not written by then, the next one
/// writes: the admissions are in the QueuedJobs.
///
/// # Errors
/// When a part of it cannot start, or ends by itself.
pub async fn run(config: Configuration, kubeconfig: Option<&Path>) -> Result<(), Error> {
    telemetry::init(&config.logging);
    let client = client(kubeconfig).await?;
    check_identity(&client).await?;
    let views = Views::default();
    let (sender, inbox) = mpsc::channel(INBOX_MAX);
    let mut watches = watch::start(&client, &config.gpu_resource, &views, &sender);
    drop(sender);
    let writer = Writer::new(client, &config.gpu_resource);
    let settings = settings(&config);
    let log = Decisions::begin(config.decision_log.as_ref(), &settings.policy);
    let driver = Driver::new(settings, writer, views.clone()).logging(log.map_err(Error::Log)?);
    let policy = FilterPolicy {
        gpu_resource: config.gpu_resource.clone(),
    };
    info!(extender = %config.extender.address, health = %config.health.address, "starting");
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    tokio::select! {
        () = driver.run(inbox) => Err(Error::Watches),
        _ = watches.join_next() => Err(Error::Watches),
        ended = extender::serve(&config.extender, policy, views.clone()) => Ok(ended?),
        ended = health::serve(config.health.address, views) => ended.map_err(Error::Health),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// What an administrator chooses, as the loop sees it.
#[must_use]
pub fn settings(config: &Configuration) -> Settings {
    Settings {
        policy: policy(config),
        gpu_resource: config.gpu_resource.clone(),
        classes: Classes {
            cluster_wide: config.cluster_wide_classes.clone(),
            protected: config.protected_classes.clone(),
        },
    }
}

/// What an administrator chooses, as the core sees it.
#[must_use]
pub fn policy(config: &Configuration) -> Policy {
    Policy {
        order: match config.order {
            config::Order::Drf => Order::Drf,
            config::Order::Fifo => Order::Fifo,
        },
        // Nothing here carries evictions out.
        preemption: Preemption {
            enabled: false,
            ..Preemption::default()
        },
        reserve_after: Some(config.reserve_after),
        ..Policy::default()
    }
}

async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let config = match kubeconfig {
        Some(file) => {
            let file = Kubeconfig::read_from(file)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    Ok(Client::try_from(config)?)
}

async fn check_identity(client: &Client) -> Result<(), Error> {
    let review: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = review
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = answer.status.and_then(|status| status.user_info?.username);
    match user.unwrap_or_default() {
        user if user == CONTROLLER_USER => Ok(()),
        user => Err(Error::Identity(user)),
    }
}
