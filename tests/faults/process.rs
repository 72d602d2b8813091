//! A process of ours, with a clock and a runtime of its own: it can be ended at any moment, or stand
//! still while time goes on. All that is in it is what runs in a cluster, but for the client's
//! connection.

use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use prorata::api::extender_v1::Args;
use prorata::clock::Clock;
use prorata::config::LeaderElection;
use prorata::driver::{Driver, End, Settings};
use prorata::effects::Writer;
use prorata::extender::{FilterPolicy, Told, answer};
use prorata::leader::{Candidate, Fence, Reign, Tenure};
use prorata::metrics::Metrics;
use prorata::observed::{Classes, Patience};
use prorata::view::Views;
use prorata::watch;
use prorata_core::{Policy, Preemption, Time};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::wire::{Outbox, service};

pub(crate) const GPU: &str = "nvidia.com/gpu";

pub(crate) struct Process {
    pub(crate) number: usize,
    runtime: Runtime,
    main: Option<JoinHandle<()>>,
    /// When its clock began, there and here.
    began: Instant,
    began_ms: u64,
    /// It stands still.
    pub(crate) is_frozen: bool,
    views: Views,
    told: Told,
    /// Whether the extender answers, as probes of it have shown.
    probes: latest::Sender<bool>,
}

/// What processes differ in from seed to seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// It leads only while it holds the Lease.
    pub(crate) elects: bool,
    pub(crate) min_runtime: Duration,
}

impl Process {
    /// Starts one.
    pub(crate) fn start(number: usize, now_ms: u64, outbox: &Outbox, style: Style) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let guard = runtime.enter();
        let clock = Clock::set(Time::from_millis(now_ms));
        let (views, began) = (Views::default(), Instant::now());
        let (probes, probed) = latest::channel(true);
        let ways = (outbox.clone(), views.clone(), probed);
        let main = runtime.spawn(run(number, ways, clock, style));
        drop(guard);
        Self {
            number,
            runtime,
            main: Some(main),
            began,
            began_ms: now_ms,
            is_frozen: false,
            views,
            told: Told::default(),
            probes,
        }
    }

    /// A probe has shown whether the extender answers.
    pub(crate) fn probed(&self, answers: bool) {
        self.probes.send_replace(answers);
    }

    /// Lets it run until then. What it had to do while it stood still is late by as much.
    pub(crate) fn run_to(&mut self, now_ms: u64) {
        let until = self.began + Duration::from_millis(now_ms - self.began_ms);
        self.runtime.block_on(async { sleep_until(until).await });
        if self.main.as_ref().is_some_and(JoinHandle::is_finished) {
            let ended = self.runtime.block_on(self.main.take().unwrap());
            match ended {
                Ok(()) => panic!("process {} has ended by itself", self.number),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    /// It goes on, and sees that time has gone on without it.
    pub(crate) fn thaw(&mut self, now_ms: u64) {
        self.is_frozen = false;
        let until = self.began + Duration::from_millis(now_ms - self.began_ms);
        self.runtime.block_on(async {
            let missed = until.saturating_duration_since(Instant::now());
            tokio::time::advance(missed).await;
        });
    }

    /// The nodes that it lets a pod pass to, or its refusal to answer.
    pub(crate) fn filter(&self, args: &Args) -> Result<Vec<String>, String> {
        let _guard = self.runtime.enter();
        let policy = FilterPolicy {
            gpu_resource: GPU.to_owned(),
        };
        let latest = self.views.latest();
        let view = latest.as_ref().as_ref().filter(|_| self.views.is_ready());
        let answer = answer(view, &self.told, &policy, args);
        match &*answer.error {
            "" => Ok(answer.node_names.iter().map(ToString::to_string).collect()),
            error => Err(error.to_owned()),
        }
    }
}

/// What the command does, without its ports and signals.
async fn run(
    number: usize,
    (outbox, views, probed): (Outbox, Views, latest::Receiver<bool>),
    clock: Clock,
    style: Style,
) {
    let client = Client::new(service(number, outbox.clone()), "default");
    let (mut tenure, candidate) = match style.elects {
        false => (Tenure::default(), None),
        true => {
            let (reign, tenure) = Reign::begin();
            let times = LeaderElection::default();
            let candidate = Candidate::new(client.clone(), &times, reign, Metrics::default());
            (tenure, Some(candidate))
        }
    };
    if let Some(mut candidate) = candidate {
        tokio::spawn(async move { candidate.run().await });
        let _ = timeout(Duration::from_secs(1), tenure.change()).await;
    }
    let writes = ClientBuilder::new(service(number, outbox), "default");
    let writes = writes.with_layer(&Fence(tenure.clone())).build();
    loop {
        let (sender, inbox) = mpsc::channel(16_384);
        let mut watches = watch::start(&client, GPU, &views, &sender);
        drop(sender);
        let writer = Writer::new(writes.clone(), GPU);
        let driver = Driver::new(settings(style.min_runtime), writer, views.clone());
        let driver = driver.under(tenure.clone()).probing(probed.clone());
        let driver = driver.repeatable(clock);
        tokio::select! {
            end = driver.run(inbox) => if end == End::Unheard { return },
            _ = watches.join_next() => return,
        }
    }
}

/// Little patience, so that much happens.
fn settings(min_runtime: Duration) -> Settings {
    Settings {
        policy: Policy {
            preemption: Preemption {
                enabled: true,
                min_runtime,
                ..Preemption::default()
            },
            reserve_after: Some(Duration::from_secs(60)),
            ..Policy::default()
        },
        gpu_resource: GPU.to_owned(),
        classes: Classes::default(),
        patience: Patience {
            node: Duration::from_secs(10),
            victim: Duration::from_secs(30),
            binding: Duration::from_secs(20),
            ..Patience::default()
        },
    }
}
