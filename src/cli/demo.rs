//! `demo`: a real control plane on this machine, made-up GPU nodes, three teams, and the queue filling
//! and draining before one's eyes.
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real ones, and so is our
//! controller; only nodes and their kubelets are played. Nothing outlives the command.

mod arrivals;
mod lines;
mod scene;
mod screen;
mod stage;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::failure::Failure;
use super::output;
use crate::duration;
use arrivals::Arrivals;
use lines::Lines;
use scene::Scene;
use screen::Screen;
use stage::Stage;

/// How often the cluster is looked at.
const TICK: Duration = Duration::from_millis(500);

/// What a shell expects of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// Options of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs Go 1.26 or newer the first time, to build etcd and Kubernetes (about 6 minutes, kept in
~/.cache/prorata), or a directory with ready programs in KUBEBUILDER_ASSETS. Keys: q ends it, p pauses
and resumes arrivals. Where standard output is no terminal it prints plain lines.

Examples:
  prorata demo
  prorata demo --nodes 16
  prorata demo --for 60s | tee demo.log")]
pub struct Args {
    /// How many nodes of 8 GPUs
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=200))]
    nodes: u32,
    /// End by itself after this time, as 60s or 10m [default: only at q or Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    span: Option<Duration>,
    /// Draw the jobs from this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print plain lines, even on a terminal
    #[arg(long)]
    plain: bool,
}

/// What its user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// To end it.
    Quit,
    /// To pause arrivals, or to resume them.
    Pause,
}

/// How the cluster is shown.
enum Display {
    Lines(Lines),
    Screen(Box<Screen>),
}

pub(super) async fn execute(args: &Args) -> Result<ExitCode, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals: {error}")));
    let (mut interrupt, mut terminate, mut hang_up) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
    );
    // What is left behind by an interrupted play is dropped with it: no process stays.
    tokio::select! {
        played = play(args) => played.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = hang_up.recv() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn play(args: &Args) -> Result<(), Failure> {
    let mut stage = Stage::set(args.nodes).await?;
    let mut arrivals = Arrivals::new(args.seed, args.nodes);
    let mut display = Display::open(args.plain)?;
    if let Display::Lines(_) = display {
        output::print(&stage.introduction())?;
    }
    let (clock, mut ticks, mut paused) = (Instant::now(), interval(TICK), false);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        stage.check()?;
        let mut scene = stage.look().await?;
        if !paused {
            for job in arrivals.due(TICK, scene.waiting()) {
                stage.submit(&job).await?;
            }
        }
        (scene.elapsed, scene.paused) = (clock.elapsed(), paused);
        display.show(&scene)?;
        match display.wish()? {
            Some(Wish::Quit) => return Ok(()),
            Some(Wish::Pause) => paused = !paused,
            None => {}
        }
        if args.span.is_some_and(|span| clock.elapsed() >= span) {
            return Ok(());
        }
    }
}

impl Display {
    fn open(plain: bool) -> Result<Self, Failure> {
        if plain || !io::stdout().is_terminal() {
            return Ok(Self::Lines(Lines::default()));
        }
        let screen = Screen::open().map_err(|error| terminal(&error))?;
        Ok(Self::Screen(Box::new(screen)))
    }

    fn show(&mut self, scene: &Scene) -> Result<(), Failure> {
        match self {
            Self::Lines(lines) => output::print(&lines.of(scene)),
            Self::Screen(screen) => screen.show(scene).map_err(|error| terminal(&error)),
        }
    }

    fn wish(&self) -> Result<Option<Wish>, Failure> {
        match self {
            Self::Lines(_) => Ok(None),
            Self::Screen(_) => Screen::wish().map_err(|error| terminal(&error)),
        }
    }
}

fn terminal(error: &io::Error) -> Failure {
    Failure::new(format!("the terminal: {error}")).help("add --plain")
}
