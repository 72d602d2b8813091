//! The log of decisions: what the core was told and what it decided, so that
//! `prorata-sim replay` can make the very same decisions again.
//!
//! A thread of its own writes, because a slow disk must not hold up the queue. Where it cannot keep
//! up, or the disk refuses, the log ends, and says so on standard error: one with a gap would
//! be worth nothing. Each file begins with all that was known then, so that it can be played alone;
//! only a reservation, and who had just been evicted, is not in there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use prorata_core::{Decision, Event, Policy, Scheduler, Time};
use prorata_simulator::replay;
use tracing::error;

use crate::config::DecisionLog;

/// Lines that wait to be written.
const LINES_MAX: usize = 16_384;

/// Where the driver tells what it does; nothing is written where no log is wanted.
#[derive(Debug, Default)]
pub struct Decisions {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    policy: Policy,
    /// Bytes of the file so far, and after how many the next begins.
    size: u64,
    size_max: u64,
}

impl Decisions {
    /// Begins a log where `config` wants it. What stood there before is kept as an older file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin(config: Option<&DecisionLog>, policy: &Policy) -> io::Result<Self> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let files = Files::new(&config.path, config.files)?;
        let (sender, lines) = sync_channel(LINES_MAX);
        let writer = thread::Builder::new()
            .name("decisions".to_owned())
            .spawn(move || write(files, &lines))?;
        let mut decisions = Self {
            lines: Some(sender),
            writer: Some(writer),
            policy: policy.clone(),
            size: 0,
            size_max: config.max_size,
        };
        decisions.open();
        Ok(decisions)
    }

    /// The core is told facts.
    pub fn told(&mut self, at: Time, facts: &[Event]) {
        if self.lines.is_some() && !facts.is_empty() {
            self.enter(replay::facts(at, facts));
        }
    }

    /// The core has decided. When the file is full, the next begins with what is true now.
    pub fn decided(&mut self, at: Time, decisions: &[Decision], scheduler: &Scheduler) {
        if self.lines.is_none() {
            return;
        }
        self.enter(replay::cycle(at, decisions));
        if self.size > self.size_max {
            self.open();
            self.told(at, &scheduler.snapshot().facts());
        }
    }

    /// The first line of a file: whoever writes begins a new one with it.
    fn open(&mut self) {
        self.size = 0;
        self.enter(replay::header(&self.policy));
    }

    fn enter(&mut self, line: serde_json::Result<String>) {
        let Some(lines) = &self.lines else {
            return;
        };
        let sent = line.map_err(|error| error.to_string()).and_then(|line| {
            self.size += line.len() as u64 + 1;
            let sent = lines.try_send(line);
            sent.map_err(|_| "it cannot be written as fast as decisions are made".to_owned())
        });
        if let Err(error) = sent {
            error!(%error, "the log of decisions ends here");
            self.lines = None;
        }
    }
}

impl Drop for Decisions {
    /// What was told is on disk when it is gone.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Where the lines go.
struct Files {
    path: PathBuf,
    /// Older ones that are kept.
    older: u32,
    file: Option<BufWriter<File>>,
}

impl Files {
    /// Makes sure that a file can be made there.
    fn new(path: &Path, files: u32) -> io::Result<Self> {
        let mut files = Self {
            path: path.to_owned(),
            older: files.saturating_sub(1),
            file: None,
        };
        files.next()?;
        Ok(files)
    }

    /// Begins a new file, and makes the others one older. The oldest is gone.
    fn next(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        let has_lines = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let ages = if has_lines(&self.path) { self.older } else { 0 };
        for age in (0..ages).rev() {
            let newer = self.aged(age);
            if newer.exists() {
                fs::rename(newer, self.aged(age + 1))?;
            }
        }
        self.file = Some(BufWriter::new(File::create(&self.path)?));
        Ok(())
    }

    /// `decisions.jsonl`, `decisions.jsonl.1`, …
    fn aged(&self, age: u32) -> PathBuf {
        match age {
            0 => self.path.clone(),
            age => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{age}"));
                name.into()
            }
        }
    }

    fn enter(&mut self, line: &str, is_first: bool) -> io::Result<()> {
        if is_first {
            self.next()?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Writes until nobody sends any more. What waits is on disk before it sleeps.
fn write(mut files: Files, lines: &Receiver<String>) {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => Ok(line),
            Err(TryRecvError::Empty) => {
                if let Err(error) = files.flush() {
                    return ended(&error);
                }
                lines.recv()
            }
            Err(TryRecvError::Disconnected) => Err(std::sync::mpsc::RecvError),
        };
        let Ok(line) = line else {
            break;
        };
        if let Err(error) = files.enter(&line, replay::is_header(&line)) {
            return ended(&error);
        }
    }
    if let Err(error) = files.flush() {
        ended(&error);
    }
}

fn ended(error: &io::Error) {
    error!(%error, "the log of decisions ends here");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    use prorata_core::{Job, JobId, Node, Resources, Tenant};

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1000)
    }

    /// Plays jobs through a core, and logs it.
    fn play(decisions: &mut Decisions, rounds: u64) {
        fn tell(core: &mut Scheduler, decisions: &mut Decisions, now: Time, fact: Event) {
            decisions.told(now, std::slice::from_ref(&fact));
            core.observe(now, fact);
        }
        let mut core = Scheduler::new(Policy::default());
        let node = Node {
            allocatable: Resources::gpus(8),
            ..Node::new("a")
        };
        tell(&mut core, decisions, at(0), Event::NodeSeen(node));
        let red = Event::TenantChanged(Tenant::new("red"));
        tell(&mut core, decisions, at(0), red);
        for round in 0..rounds {
            let id = JobId::new("red", &format!("j{round}"), "");
            let job = Job::new(id, "red".into(), 1, Resources::gpus(1 + round % 3));
            let now = at(round);
            tell(&mut core, decisions, now, Event::JobSubmitted(job));
            if round >= 5 {
                let id = JobId::new("red", &format!("j{}", round - 5), "");
                tell(&mut core, decisions, now, Event::JobWithdrawn(id));
            }
            let decided = core.cycle(now).decisions;
            decisions.decided(now, &decided, &core);
        }
    }

    fn replayed(path: &Path) -> replay::Replayed {
        replay::replay(BufReader::new(File::open(path).unwrap())).unwrap()
    }

    fn log(path: PathBuf, max_size: u64) -> DecisionLog {
        DecisionLog {
            path,
            max_size,
            files: 3,
        }
    }

    #[test]
    fn what_was_decided_is_decided_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let config = log(path.clone(), 1 << 20);
        let mut decisions = Decisions::begin(Some(&config), &Policy::default()).unwrap();
        play(&mut decisions, 40);
        drop(decisions);
        assert_eq!(replayed(&path).cycles, 40);
    }

    #[test]
    fn each_file_is_bounded_and_can_be_played_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let config = log(path.clone(), 8_000);
        let mut decisions = Decisions::begin(Some(&config), &Policy::default()).unwrap();
        play(&mut decisions, 200);
        drop(decisions);
        assert!(replayed(&path).facts > 0);
        for age in 1..3 {
            let file = folder.path().join(format!("log.{age}"));
            assert!(replayed(&file).decisions > 0);
            assert!(fs::metadata(&file).unwrap().len() < 12_000);
        }
        assert!(!folder.path().join("log.3").exists());
    }

    #[test]
    fn without_a_place_for_it_nothing_begins() {
        let config = log("/no/such/folder/log".into(), 1);
        assert!(Decisions::begin(Some(&config), &Policy::default()).is_err());
        assert!(Decisions::begin(None, &Policy::default()).is_ok());
    }
}
