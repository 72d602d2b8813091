//! `prorata controller`: watches, loop, extender and probes, until it is told to stop.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prorata_core::{Order, Policy, Preemption};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{self, mpsc};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::accounting::Accounting;
use crate::accounting::busy::Sampler;
use crate::accounting::recorder::Recorder;
use crate::api::labels::CONTROLLER_USER;
use crate::budgets::Treasurer;
use crate::config::{self, Configuration};
use crate::cost::source::Source;
use crate::decisions::Decisions;
use crate::driver::{Driver, End, Settings};
use crate::effects::Writer;
use crate::extender::{self, FilterPolicy};
use crate::gpus::{self, Follower, repartition::Repartitioner};
use crate::leader::{self, Candidate, Reign, Tenure};
use crate::observed::{Classes, Patience};
use crate::tenancy::{self, Keeper};
use crate::view::Views;
use crate::{health, pages, probe, telemetry, watch};

/// Changes that may wait for the loop; beyond them the watches wait.
const INBOX_MAX: usize = 16_384;
/// How long to wait for the first answer about the Lease.
const FIRST_ATTEMPT_WITHIN: Duration = Duration::from_secs(1);

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
    /// The dashboard.
    #[error("the dashboard")]
    Dashboard(#[from] pages::Error),
    /// The probes.
    #[error("health.address")]
    Health(#[source] std::io::Error),
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
    let cluster = cluster(kubeconfig).await?;
    let client = Client::try_from(cluster.clone())?;
    check_identity(&client).await?;
    let views = Views::default();
    let (mut candidate, tenure) = candidate(&config, &client, &views);
    let writes = leader::fenced(cluster, tenure.clone())?;
    let policy = FilterPolicy {
        gpu_resource: config.gpu_resource.clone(),
    };
    info!(extender = %config.extender.address, health = %config.health.address, "starting");
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let (reports, answers) = sync::watch::channel(true);
    let keeping = keep(&config, &client, &writes, tenure.clone());
    let budgeting = budget(&config, &client, &writes, tenure.clone(), &views);
    let ended = tokio::select! {
        () = keeping => Err(Error::Watches),
        () = budgeting => Ok(()),
        () = drive(&config, &client, &writes, (tenure, answers), &views) => Err(Error::Watches),
        () = stand(candidate.as_mut()) => Ok(()),
        () = probe(&config, &reports, &views) => Ok(()),
        ended = dashboard(&config, &client, &views) => ended.map_err(Error::from),
        ended = extender::serve(&config.extender, policy, views.clone()) => ended.map_err(Error::from),
        ended = health::serve(config.health.address, views.clone()) => ended.map_err(Error::Health),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Whatever was being written has been given up by now.
    if let Some(candidate) = &mut candidate {
        candidate.resign().await;
    }
    ended
}

/// Who tries to lead, and what comes of it; nobody where there is only one controller.
fn candidate(
    config: &Configuration,
    client: &Client,
    views: &Views,
) -> (Option<Candidate>, Tenure) {
    let metrics = views.metrics().clone();
    if !config.leader_election.enabled {
        metrics.leads(true);
        return (None, Tenure::default());
    }
    let (reign, tenure) = Reign::begin();
    let times = &config.leader_election;
    let candidate = Candidate::new(client.clone(), times, reign, metrics);
    (Some(candidate), tenure)
}

async fn stand(candidate: Option<&mut Candidate>) {
    match candidate {
        Some(candidate) => candidate.run().await,
        None => std::future::pending().await,
    }
}

/// Asks the extender as kube-scheduler does, where the configuration says how.
async fn probe(config: &Configuration, reports: &sync::watch::Sender<bool>, views: &Views) {
    match &config.extender.probe {
        Some(probe) => probe::run(probe, reports, views.metrics()).await,
        None => std::future::pending().await,
    }
}

/// Shows the queue to people, where the configuration says so.
async fn dashboard(
    config: &Configuration,
    client: &Client,
    views: &Views,
) -> Result<(), pages::Error> {
    match &config.dashboard {
        Some(dashboard) => pages::serve(dashboard, config, client, views).await,
        None => std::future::pending().await,
    }
}

/// Watches and decides, or follows whoever decides, until a watch ends. When that changes all
/// begins anew, as after a restart.
async fn drive(
    config: &Configuration,
    client: &Client,
    writes: &Client,
    (mut tenure, answers): (Tenure, sync::watch::Receiver<bool>),
    views: &Views,
) {
    // Mostly the Lease can be had at once: then nothing is listed twice.
    if !tenure.is_held() {
        let _ = tokio::time::timeout(FIRST_ATTEMPT_WITHIN, tenure.change()).await;
    }
    loop {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let mut watches = watch::start(client, &config.gpu_resource, views, &sender);
        let (heard, news) = gpus::hear(client);
        let writer = Writer::new(writes.clone(), &config.gpu_resource).hearing(heard.clone());
        let hears = (client.clone(), heard);
        let agents = Follower::new(hears.clone(), writer.clone(), views.clone(), sender.clone());
        let agents = agents.acting(config.noise.clone(), tenure.clone());
        watches.spawn(agents.run(news));
        let repartitioner = Repartitioner::new(
            hears,
            writer.clone(),
            views.clone(),
            tenure.clone(),
            sender,
            config,
        );
        watches.spawn(repartitioner.run());
        let driver = Driver::new(settings(config), writer, views.clone());
        let driver = driver.under(tenure.clone()).probing(answers.clone());
        let driver = driver.logging(log(config, &tenure));
        // It ends with the driver whose accounts it writes.
        let mut recorders = JoinSet::new();
        let driver = record(driver, config, client, &tenure, views, &mut recorders);
        tokio::select! {
            end = driver.run(inbox) => match end {
                End::Unheard => return,
                End::Succeeded if tenure.is_held() => info!("what others decided is read"),
                End::Succeeded => warn!("another controller may decide from now on"),
            },
            _ = watches.join_next() => return,
        }
    }
}

/// Keeps what Tenants with environments want, whenever this process leads.
async fn keep(config: &Configuration, client: &Client, writes: &Client, mut tenure: Tenure) {
    let settings = tenancy::Settings {
        template: config.tenancy.namespace_template.clone(),
        gpu_resource: config.gpu_resource.clone(),
    };
    loop {
        while !tenure.is_held() {
            tenure.change().await;
        }
        let keeper = Keeper::new(client.clone(), writes.clone(), settings.clone());
        let mut telling = tenure.clone();
        let policies = tenancy::tell_policies(client, writes, &mut telling);
        tokio::join!(keeper.run(tenure.clone()), policies);
    }
}

/// Looks at the budgets of Tenants, where there are prices.
async fn budget(
    config: &Configuration,
    client: &Client,
    writes: &Client,
    tenure: Tenure,
    views: &Views,
) {
    let both = config.budgets.clone().zip(Source::of(config));
    let Some((budgets, source)) = both else {
        return std::future::pending().await;
    };
    let clients = (client.clone(), writes.clone());
    let metrics = views.metrics().clone();
    Treasurer::new(budgets, source, clients, metrics)
        .run(tenure)
        .await;
}

/// The same driver, whose accounts are written down where there is a ledger, by whoever decides.
fn record(
    driver: Driver,
    config: &Configuration,
    client: &Client,
    tenure: &Tenure,
    views: &Views,
    recorders: &mut JoinSet<()>,
) -> Driver {
    let wanted = config.ledger.as_ref().filter(|_| tenure.is_held());
    let Some(ledger) = wanted.cloned() else {
        return driver;
    };
    let (accounting, listener) = Accounting::begin(&config.gpu_resource);
    let (samples, heard) = mpsc::channel(1);
    let accounts = listener.accounts.clone();
    let asks = (ledger.busy_every, ledger.agent_token_file.clone());
    let sampler = Sampler::new(client.clone(), asks, views.clone(), accounts, samples);
    recorders.spawn(sampler.run());
    let recorder = Recorder::new(ledger, (listener, heard), tenure.clone(), views.clone());
    recorders.spawn(recorder.run());
    driver.accounting(accounting)
}

/// The log of decisions, where it is wanted and there are any to come. The queue goes on without it.
fn log(config: &Configuration, tenure: &Tenure) -> Decisions {
    let wanted = config.decision_log.as_ref().filter(|_| tenure.is_held());
    Decisions::begin(wanted, &policy(config)).unwrap_or_else(|error| {
        error!(%error, "decisionLog.path: the log of decisions cannot be written");
        Decisions::default()
    })
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
        patience: Patience {
            node: config.node_lost_after,
            victim: config.preemption.victim_timeout,
            binding: config.binding_timeout,
            together: config.preemption.mps_clients == config::MpsClients::Together,
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
        preemption: Preemption {
            enabled: config.preemption.enabled,
            min_runtime: config.preemption.min_runtime,
            loss_budget: config.preemption.loss_budget,
            fair_share: config.preemption.fair_share,
        },
        reserve_after: Some(config.reserve_after),
        pairs: config.interference.pairs.clone().into(),
        ..Policy::default()
    }
}

async fn cluster(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    Ok(match kubeconfig {
        Some(file) => {
            let file = Kubeconfig::read_from(file)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    })
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
