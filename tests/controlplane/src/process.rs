//! One program that runs, and ends with its owner.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::Stat;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context, Error, Result};

/// A running program. Dropping it ends the program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Ends the program when the owner is gone, where the program cannot do so itself.
    guard: Option<Child>,
    log: PathBuf,
}

/// How long a program may take to end by itself. What it has to tidy up is thrown away anyway.
const GRACE: Duration = Duration::from_secs(2);

/// How many lines of a log an error shows.
const LOG_LINES: usize = 30;

impl Process {
    /// Starts a program; what it prints goes to `NAME.log` in the directory.
    ///
    /// It does not outlive this process. `ends_with_input` says that it sees to that itself, by
    /// ending with its standard input; otherwise a guard does, even when this process is killed.
    ///
    /// # Errors
    ///
    /// When it cannot be started or its log cannot be written.
    pub fn start(
        name: &str,
        mut command: Command,
        directory: &Path,
        ends_with_input: bool,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log);
        let output = output.when(format_args!("open {}", log.display()))?;
        let errors = output.try_clone().when("share a log file")?;
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let child = command.spawn().when(format_args!("start {name}"))?;
        let mut process = Self {
            name: name.to_owned(),
            child,
            guard: None,
            log,
        };
        if !ends_with_input {
            process.guard = Some(guard(process.pid()).when("start a guard")?);
        }
        Ok(process)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.when(format_args!("kill {}", self.name)).map(|_| ())
    }

    /// An error with the end of the log, when the program has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Died`], or when it cannot be waited for.
    pub fn check(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .when(format_args!("wait for {}", self.name))?
        {
            Some(status) => Err(self.died(status)),
            None => Ok(()),
        }
    }

    /// The last lines of what the program printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// The processor time that all threads of the program took, in user and kernel mode.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.stat()?;
        let milliseconds = (stat.utime + stat.stime) * 1000 / procfs::ticks_per_second();
        Ok(Duration::from_millis(milliseconds))
    }

    /// The memory of the program that is in RAM.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resident_bytes(&self) -> Result<u64> {
        Ok(self.stat()?.rss * procfs::page_size())
    }

    fn stat(&self) -> Result<Stat> {
        let pid = i32::try_from(self.pid()).map_err(|_| Error::NotRunning(self.name.clone()))?;
        Ok(procfs::process::Process::new(pid)?.stat()?)
    }

    fn died(&self, status: ExitStatus) -> Error {
        Error::Died {
            program: self.name.clone(),
            status,
            log: self.log_tail(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard goes first: once the program is reaped its id may belong to another.
        if let Some(guard) = &mut self.guard {
            let _ = guard.kill();
            let _ = guard.wait();
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell that waits for the end of its input, which comes when the owner is gone, and then
/// kills the program.
fn guard(pid: u32) -> io::Result<Child> {
    let script = "read -r _; kill -9 \"$1\"";
    Command::new("sh")
        .args(["-c", script, "guard", &pid.to_string()])
        .stdin(Stdio::piped())
        .spawn()
}
