//! The demo: it shows the queue at work, in plain lines and on a terminal, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use prorata_controlplane::{Binaries, Error};

use super::terminal::Terminal;

/// How long it may take until something is admitted, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long the interrupted command may take to end.
const END_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn the_demo_runs_and_leaves_nothing_behind() {
    let Some(binaries) = binaries() else {
        return;
    };
    let mut demo = Command::new(env!("CARGO_BIN_EXE_prorata"))
        .args(["demo", "--nodes", "2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let seen = read_until(&mut demo, |line| line.contains(" admitted on node-"));
    let shares = seen
        .iter()
        .find(|line| line.contains("GPUs held/due: audio 0/"));
    assert!(shares.is_some(), "{seen:#?}");
    let kubeconfig = seen
        .iter()
        .find_map(|line| line.trim().strip_prefix("export KUBECONFIG="));
    let kubeconfig = PathBuf::from(kubeconfig.unwrap());
    let directory = kubeconfig.parent().unwrap();
    assert!(kubeconfig.exists() && !processes(directory).is_empty());
    kubectl_shows_the_queue(&binaries, &kubeconfig);

    let interrupt = Command::new("kill")
        .arg("-INT")
        .arg(demo.id().to_string())
        .status();
    assert!(interrupt.unwrap().success());
    assert_eq!(ended(&mut demo).code(), Some(130));
    assert_nothing_is_left(directory);
}

/// Two frames of it differ in the shares and in the queue; keys do what the foot says.
pub(crate) fn a_terminal_shows_shares_and_queue_live() {
    if binaries().is_none() {
        return;
    }
    // What is said of the terminal when the demo is over shows that it is as it was.
    let shell = "\"$PRORATA\" demo --nodes 2; code=$?; stty --all; exit $code";
    let mut terminal = Terminal::run(shell, (30, 120));
    let first = terminal.until(PATIENCE, "both parts", |shown| {
        let parts = ["TEAM         HELD", "audio", "TEAM      JOB", "q quit"];
        parts.iter().all(|part| shown.contains(part))
    });
    terminal.until_taken(END_WITHIN, true);
    let later = terminal.until(PATIENCE, "something new of both", |shown| {
        let [shares, queue] = ["Shares", "Queue"].map(|part| lines_of(shown, part));
        let is_new = shares != lines_of(&first, "Shares") && queue != lines_of(&first, "Queue");
        // A screen may be read while it is drawn.
        is_new
            && ["Admitted", "node-000"]
                .iter()
                .all(|part| queue.contains(part))
            // Once in the title.
            && shares.matches('█').count() > 1
            && shown.contains(" of 16 GPUs in use")
    });
    let kubeconfig = later
        .lines()
        .find_map(|line| line.trim().strip_prefix("export KUBECONFIG="));
    let directory = Path::new(kubeconfig.unwrap()).parent().unwrap().to_owned();
    assert!(directory.exists() && !processes(&directory).is_empty());

    terminal.press("p");
    terminal.until(END_WITHIN, "the pause", |shown| {
        shown.contains("arrivals are paused")
    });
    terminal.press("q");
    let (status, left) = terminal.end(END_WITHIN);
    assert_eq!(status.code(), Some(0), "{left}");
    terminal.until_taken(END_WITHIN, false);
    assert!(left.contains("demo: starting etcd"), "{left}");
    assert!(
        left.contains(" icanon") && left.contains(" echo "),
        "{left}"
    );
    assert_nothing_is_left(&directory);
}

/// The part of the screen that begins with this title.
fn lines_of(shown: &str, title: &str) -> String {
    let lines = shown.lines().skip_while(|line| !line.contains(title));
    lines.take_while(|line| !line.starts_with('└')).collect()
}

/// The real control plane, unless this machine has none.
fn binaries() -> Option<Binaries> {
    match Binaries::find_or_build() {
        Err(error @ Error::Missing) if std::env::var_os("CI").is_none() => {
            eprintln!("\nSKIPPED, NOT TESTED: {error}\n");
            None
        }
        found => Some(found.unwrap()),
    }
}

/// How a command ends that has been told to.
fn ended(demo: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + END_WITHIN;
    loop {
        if let Some(status) = demo.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            demo.kill().unwrap();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// No file of a demo that has ended, and no process.
fn assert_nothing_is_left(directory: &Path) {
    let deadline = Instant::now() + END_WITHIN;
    assert!(
        !directory.exists(),
        "{} is still there",
        directory.display()
    );
    while !processes(directory).is_empty() {
        assert!(
            Instant::now() < deadline,
            "{:?} still run",
            processes(directory)
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a newcomer is told to type.
fn kubectl_shows_the_queue(binaries: &Binaries, kubeconfig: &Path) {
    let mut kubectl = binaries.kubectl();
    let output = kubectl
        .args(["get", "queuedjobs", "-A"])
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{err}");
    let titles: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert!(titles.starts_with(&["NAMESPACE", "NAME"]), "{out}");
    assert!(
        out.lines().skip(1).any(|line| line.contains("Admitted")),
        "{out}"
    );
}

/// The lines up to one that is as it should be.
fn read_until(demo: &mut Child, is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let (sender, inbox) = mpsc::channel();
    // Goes on reading, so that the demo can go on printing.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => seen.push(line),
            Err(_) => {
                demo.kill().unwrap();
                panic!("nothing is admitted:\n{seen:#?}");
            }
        }
        if seen.last().is_some_and(|line| is_it(line)) {
            return seen;
        }
    }
}

/// The processes that were started with this directory in their command line.
fn processes(directory: &Path) -> Vec<String> {
    let directory = directory.display().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&directory)).collect()
}
