//! MPS on a machine that is made up: its control program is a script that notes what it is told.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use prorata::agent::mps::{Control, Error, Mps};
use tempfile::TempDir;

/// One server, 900, with two clients, 41 and 42. It says of 42 that it cannot, and hangs when it is
/// asked to.
const PROGRAM: &str = r#"#!/bin/sh
read command
echo "$CUDA_MPS_PIPE_DIRECTORY $command" >> "$(dirname "$0")/told"
case "$command" in
  get_server_list) echo 900 ;;
  "get_client_list 900") printf '41\n42\n43\n' ;;
  "terminate_client 900 41") ;;
  "terminate_client 900 42") echo "Client 42 is not terminated" ;;
  "terminate_client 900 43") exec sleep 600 ;;
  *) echo "what?"; exit 1 ;;
esac
"#;

struct Fake {
    dir: TempDir,
}

impl Fake {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (text, program) = (
            dir.path().join("text"),
            dir.path().join("nvidia-cuda-mps-control"),
        );
        fs::write(&text, PROGRAM).unwrap();
        // A program that this process has open for writing cannot be run.
        let mut install = Command::new("install");
        let made = install.arg("-m755").arg(text).arg(program).status();
        assert!(made.unwrap().success());
        fs::create_dir_all(dir.path().join("mps/nvidia.com/gpu.shared/pipe")).unwrap();
        Self { dir }
    }

    fn mps(&self) -> Mps {
        Mps {
            program: self.dir.path().join("nvidia-cuda-mps-control"),
            root: self.dir.path().join("mps"),
        }
    }

    fn pipe(&self) -> PathBuf {
        self.dir.path().join("mps/nvidia.com/gpu.shared/pipe")
    }

    /// What the program was told, in order; each time by this server's directory.
    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.dir.path().join("told")).unwrap_or_default();
        let pipe = format!("{} ", self.pipe().display());
        let lines = told.lines().map(|line| line.strip_prefix(&pipe).unwrap());
        lines.map(str::to_owned).collect()
    }

    async fn terminate(&self, pids: &[u32]) -> Result<usize, Error> {
        let deadline = std::time::Duration::from_millis(500);
        let control = Control::new(&self.mps(), deadline);
        control.terminate(&pids.iter().copied().collect()).await
    }
}

#[tokio::test]
async fn a_client_is_terminated_at_its_server_and_no_other_is() {
    let fake = Fake::new();
    assert_eq!(fake.terminate(&[41]).await.unwrap(), 1);
    let told = [
        "get_server_list",
        "get_client_list 900",
        "terminate_client 900 41",
    ];
    assert_eq!(fake.told(), told);
}

#[tokio::test]
async fn one_that_cannot_be_is_told() {
    let refused = Fake::new().terminate(&[42]).await.unwrap_err().to_string();
    assert!(refused.contains("terminate_client 900 42"), "{refused}");
    assert!(refused.contains("is not terminated"), "{refused}");
    let unknown = Fake::new().terminate(&[41, 77]).await.unwrap_err();
    assert!(matches!(unknown, Error::Unknown(pids) if pids == [77].into()));
    let late = Fake::new().terminate(&[43]).await.unwrap_err();
    assert!(matches!(late, Error::Late { .. }), "{late}");
}

#[tokio::test]
async fn without_a_server_or_the_program_it_says_what_is_missing() {
    let fake = Fake::new();
    fs::remove_dir(fake.pipe()).unwrap();
    let none = fake.terminate(&[41]).await.unwrap_err();
    assert!(none.to_string().contains("--mps"), "{none}");
    let fake = Fake::new();
    fs::remove_file(fake.mps().program).unwrap();
    let none = fake.terminate(&[41]).await.unwrap_err();
    assert!(matches!(none, Error::Program { .. }), "{none}");
}
