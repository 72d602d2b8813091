//! The browser's process, and the pipes on which it hears and speaks: JSON, each message ended by a
//! zero byte.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Error, PATIENCE};

/// What keeps it from doing anything of its own.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A running browser.
pub(crate) struct Pipe {
    child: Child,
    said: Receiver<Value>,
    tell: File,
    asked: u64,
    events: Vec<Value>,
    _directory: TempDir,
}

impl Pipe {
    /// Starts a browser with a profile of its own.
    pub(crate) fn open(flags: &[&str]) -> Result<Self, Error> {
        let directory = tempfile::tempdir().map_err(broken)?;
        let (hears, says) = (
            directory.path().join("hears"),
            directory.path().join("says"),
        );
        let made = Command::new("mkfifo").args([&hears, &says]).status();
        if !made.map_err(broken)?.success() {
            return Err(Error::Broken("mkfifo failed".to_owned()));
        }
        let mut child = spawn(&directory, &hears, &says, flags)?;
        // Its shell opens them in this order; each opening waits for the other side. An absent
        // browser leaves the shell first, so that both are there before they are needed.
        let tell = OpenOptions::new().read(true).write(true).open(&hears);
        let tell = tell.map_err(broken)?;
        let heard = OpenOptions::new().read(true).write(true).open(&says);
        let heard = heard.map_err(broken)?;
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(heard).split(0) {
                let Ok(message) = message else { return };
                let Ok(message) = serde_json::from_slice(&message) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Error::Broken(format!("it ended at once: {status}")));
        }
        Ok(Self {
            child,
            said,
            tell,
            asked: 0,
            events: Vec::new(),
            _directory: directory,
        })
    }

    /// Has something done, and waits for what comes of it.
    pub(crate) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, Error> {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let sent = self.tell.write_all(format!("{message}\0").as_bytes());
        sent.map_err(broken)?;
        loop {
            let mut answer = self.next(method)?;
            if answer["id"] == self.asked {
                return match answer.get("error") {
                    Some(error) => Err(Error::Broken(format!("{method}: {error}"))),
                    None => Ok(answer["result"].take()),
                };
            }
            self.events.push(answer);
        }
    }

    /// Waits for an event, unless it has been told of since the last [`Self::forget`].
    pub(crate) fn wait(&mut self, event: &str) -> Result<(), Error> {
        while !self.events.iter().any(|told| told["method"] == event) {
            let told = self.next(event)?;
            self.events.push(told);
        }
        Ok(())
    }

    /// Forgets what was told.
    pub(crate) fn forget(&mut self) {
        self.events.clear();
    }

    /// What was told since.
    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    fn next(&self, what: &str) -> Result<Value, Error> {
        let said = self.said.recv_timeout(PATIENCE);
        said.map_err(|_| Error::Broken(format!("no answer to {what} within {PATIENCE:?}")))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let close = json!({"id": self.asked + 1, "method": "Browser.close"});
        let _ = self.tell.write_all(format!("{close}\0").as_bytes());
        // It ends its own children when it is told to; a kill would leave them.
        let _ = self.child.wait();
    }
}

/// The browser hears on descriptor 3 and speaks on 4, which only a shell sets without `unsafe`.
fn spawn(directory: &TempDir, hears: &Path, says: &Path, flags: &[&str]) -> Result<Child, Error> {
    let found = Command::new("chromium")
        .arg("--version")
        .stderr(Stdio::null())
        .output();
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Missing),
        Err(error) => return Err(broken(error)),
        Ok(_) => {}
    }
    let profile = format!(
        "--user-data-dir={}",
        directory.path().join("profile").display()
    );
    Command::new("sh")
        .args(["-c", "exec chromium \"$@\" 3<\"$HEARS\" 4>\"$SAYS\"", "sh"])
        .args(FLAGS)
        .args(flags)
        .arg(profile)
        .env("HEARS", hears)
        .env("SAYS", says)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(broken)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn broken(error: std::io::Error) -> Error {
    Error::Broken(error.to_string())
}
