//! A pseudo-terminal of util-linux' `script`, and what a terminal would show of what is written to it.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A shell on a terminal, for as long as this lives.
pub(crate) struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    written: Receiver<Vec<u8>>,
    emulator: vt100::Parser,
}

impl Terminal {
    /// Runs a command of the shell, which finds our binary in `$PRORATA`, on so many rows and columns.
    pub(crate) fn run(command: &str, (rows, columns): (u16, u16)) -> Self {
        let command = format!("stty rows {rows} cols {columns}; {command}");
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("PRORATA", env!("CARGO_BIN_EXE_prorata"))
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script`, of util-linux, makes the terminal");
        let keyboard = script.stdin.take().unwrap();
        let mut output = script.stdout.take().unwrap();
        let (sender, written) = channel();
        // Goes on reading, so that whoever writes can go on writing.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let _ = sender.send(buffer[..count].to_vec());
            }
        });
        let [rows, columns] = [rows, columns].map(|count| NonZeroU16::new(count).unwrap());
        Self {
            script,
            keyboard,
            written,
            emulator: vt100::Parser::new(rows, columns, 0),
        }
    }

    /// Waits until the screen is as it should be, and gives its text.
    pub(crate) fn until(
        &mut self,
        patience: Duration,
        what: &str,
        is_so: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let shown = self.text();
            if is_so(&shown) {
                return shown;
            }
            let ended = self.read_until(deadline);
            assert!(ended.is_none(), "{what} is not shown: {ended:?}\n{shown}");
        }
    }

    /// Types this.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until the command has ended, and gives its exit status and the last text.
    pub(crate) fn end(&mut self, patience: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + patience;
        let ended = loop {
            if let Some(ended) = self.read_until(deadline) {
                break ended;
            }
        };
        let shown = self.text();
        assert_eq!(
            ended,
            RecvTimeoutError::Disconnected,
            "it goes on:\n{shown}"
        );
        (self.script.wait().unwrap(), shown)
    }

    /// Waits until a program has the screen to itself, or has given it back: the alternate one, without a
    /// cursor.
    pub(crate) fn until_taken(&mut self, patience: Duration, is_taken: bool) {
        let deadline = Instant::now() + patience;
        loop {
            let screen = self.emulator.screen();
            let now = [screen.alternate_screen(), screen.hide_cursor()];
            if now == [is_taken; 2] {
                return;
            }
            let ended = self.read_until(deadline);
            assert!(ended.is_none(), "{ended:?}: {now:?}\n{}", self.text());
        }
    }

    /// Takes in what is written next, or says why nothing is.
    fn read_until(&mut self, deadline: Instant) -> Option<RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.written.recv_timeout(left) {
            Ok(bytes) => {
                self.emulator.process(&bytes);
                None
            }
            Err(ended) => Some(ended),
        }
    }

    fn text(&self) -> String {
        self.emulator.screen().contents()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whatever is on a terminal that goes is told to end.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
