//! NVIDIA's control program: it is told one command on its standard input, and answers by lines.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Mps;

/// Levels of directories below the root in which servers have theirs: `nvidia.com/gpu.shared/pipe`.
const DEPTH: u32 = 3;
/// How often it is looked whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 1 << 16;

/// Why clients are not terminated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no server to ask.
    #[error("no directory `pipe` below {}: name the host's directory of MPS by --mps", .0.display())]
    NoServer(PathBuf),
    /// The program cannot be run.
    #[error("{}: {why}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// It does not end.
    #[error("{} has not answered `{command}` within {deadline:?}", program.display())]
    Late {
        /// Which.
        program: PathBuf,
        /// What it was told.
        command: String,
        /// How long it had.
        deadline: Duration,
    },
    /// It says no.
    #[error("`{command}`: {answer}")]
    Refused {
        /// What it was told.
        command: String,
        /// In its words.
        answer: String,
    },
    /// Some of them are not clients of any server.
    #[error("processes {0:?} use a GPU by way of MPS, and no server knows them")]
    Unknown(BTreeSet<u32>),
}

/// Whoever controls the servers of a node.
#[derive(Clone, Debug)]
pub struct Control {
    program: PathBuf,
    root: PathBuf,
    deadline: Duration,
}

impl Control {
    /// One that has not been told anything. Each answer may take so long.
    #[must_use]
    pub fn new(mps: &Mps, deadline: Duration) -> Self {
        Self {
            program: mps.program.clone(),
            root: mps.root.clone(),
            deadline,
        }
    }

    /// Terminates those of the processes that are clients, and tells how many these were.
    ///
    /// # Errors
    /// When there is no server, a process is no client of one, or the program does not do it.
    pub async fn terminate(&self, pids: &BTreeSet<u32>) -> Result<usize, Error> {
        let mut pipes = Vec::new();
        find(&self.root, DEPTH, &mut pipes);
        if pipes.is_empty() {
            return Err(Error::NoServer(self.root.clone()));
        }
        let mut left = pids.clone();
        let mut count = 0;
        for pipe in &pipes {
            for server in numbers(&self.say(pipe, "get_server_list").await?) {
                let clients = self.say(pipe, &format!("get_client_list {server}")).await?;
                for client in numbers(&clients).filter(|client| pids.contains(client)) {
                    let command = format!("terminate_client {server} {client}");
                    let answer = self.say(pipe, &command).await?;
                    if !answer.trim().is_empty() && numbers(&answer).next().is_none() {
                        let answer = answer.trim().to_owned();
                        return Err(Error::Refused { command, answer });
                    }
                    left.remove(&client);
                    count += 1;
                }
            }
        }
        match left.is_empty() {
            true => Ok(count),
            false => Err(Error::Unknown(left)),
        }
    }

    /// Runs the program on a thread of its own: it may hang.
    async fn say(&self, pipe: &Path, command: &str) -> Result<String, Error> {
        let (tell, told) = oneshot::channel();
        let (run, deadline) = (self.command(pipe), self.deadline);
        let said = command.to_owned();
        let work = move || {
            // Who asked may be gone.
            let _ = tell.send(answer(run, &said, deadline));
        };
        let wrong = |error: io::Error| Error::Program {
            program: self.program.clone(),
            why: error.to_string(),
        };
        let named = thread::Builder::new().name("mps".to_owned());
        named.spawn(work).map_err(wrong)?;
        let answer = told
            .await
            .unwrap_or_else(|_| Err(io::Error::other("it has ended")));
        match answer.map_err(wrong)? {
            Some((status, answer)) if status.success() => Ok(answer),
            Some((status, answer)) => Err(Error::Refused {
                command: command.to_owned(),
                answer: format!("{} ({status})", answer.trim()),
            }),
            None => Err(Error::Late {
                program: self.program.clone(),
                command: command.to_owned(),
                deadline,
            }),
        }
    }

    fn command(&self, pipe: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.env("CUDA_MPS_PIPE_DIRECTORY", pipe);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        command
    }
}

/// How it ended and what it said; `None` where it did not in time.
fn answer(
    mut run: Command,
    said: &str,
    deadline: Duration,
) -> io::Result<Option<(ExitStatus, String)>> {
    let mut child = run.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{said}")?;
    }
    let Some(status) = ended(&mut child, deadline)? else {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    };
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_MAX).read_to_string(&mut answer)?;
    }
    Ok(Some((status, answer)))
}

fn ended(child: &mut Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + deadline;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() >= until => return Ok(None),
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Directories of this name, down to some level.
fn find(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    dirs.retain(|path| path.is_dir());
    dirs.sort();
    for path in dirs {
        if path.file_name().is_some_and(|name| name == "pipe") {
            found.push(path);
        } else if depth > 1 {
            find(&path, depth - 1, found);
        }
    }
}

/// Lines that are a number each.
fn numbers(answer: &str) -> impl Iterator<Item = u32> + '_ {
    answer.lines().filter_map(|line| line.trim().parse().ok())
}
