//! What `prorata install` prints, compared with the files beside this one. `BLESS=1` writes them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use prorata_controlplane::{ControlPlane, Options, User};

#[test]
fn prints_what_is_recorded() {
    compare("install.yaml", &["install"]);
}

#[test]
fn prints_the_bare_scheduler_config() {
    let url = [
        "install",
        "scheduler-config",
        "--extender-url",
        "https://127.0.0.1:8443",
    ];
    let rest = [
        "--tls-dir",
        "certs",
        "--kubeconfig",
        "scheduler.conf",
        "--no-leader-election",
    ];
    let rates = ["--qps", "5000", "--burst", "10000", "--max-backoff", "2"];
    compare("scheduler-config.yaml", &[&url[..], &rest, &rates].concat());
}

#[test]
fn refuses_what_kube_scheduler_would_refuse_or_trust_blindly() {
    for wrong in [
        ["--extender-url", "http://extender"],
        ["--extender-url", "https:// x"],
        ["--extender-url", "https://"],
        ["--extender-url", "https://:8443"],
        ["--extender-url", "https://x:99999"],
        ["--extender-url", "https://x?y"],
        ["--max-backoff", "0"],
        ["--gpu-resource", "x' || 'y"],
    ] {
        let output = prorata(&[&["install"], &wrong[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong[1]));
    }
}

#[test]
fn an_option_may_stand_before_its_part_or_behind() {
    let option = ["--gpu-resource", "amd.com/gpu"];
    let before = prorata(&["install", option[0], option[1], "scheduler-config"]);
    let behind = prorata(&["install", "scheduler-config", option[0], option[1]]);
    let printed = String::from_utf8(before.stdout).unwrap();
    assert!(printed.contains("name: amd.com/gpu"), "{printed}");
    assert_eq!(printed.as_bytes(), behind.stdout);
}

/// kube-scheduler refuses what it does not know, and reads the certificates as it starts.
#[tokio::test]
async fn kube_scheduler_starts_with_what_is_printed() {
    let only_api_server = Options {
        controllers: Vec::new(),
        ..Options::default()
    };
    let Some(mut plane) = ControlPlane::start_or_skip(only_api_server).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let scheduler = plane.authority().issue_client("kube-scheduler").unwrap();
    let authority = plane.authority().certificate();
    for (from, to) in [
        (authority, "ca.crt"),
        (&scheduler.certificate, "tls.crt"),
        (&scheduler.key, "tls.key"),
    ] {
        fs::copy(from, directory.path().join(to)).unwrap();
    }
    let tls = directory.path().to_str().unwrap();
    let kubeconfig = plane.kubeconfig(User::Scheduler).to_str().unwrap();
    let part = ["install", "scheduler-config", "--no-leader-election"];
    let files = ["--tls-dir", tls, "--kubeconfig", kubeconfig];
    let printed = prorata(&[&part[..], &files].concat());
    let config = directory.path().join("config.yaml");
    fs::write(&config, printed.stdout).unwrap();
    plane.start_scheduler(&config).await.unwrap();
}

fn compare(file: &str, arguments: &[&str]) {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/install")
        .join(file);
    let output = prorata(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &printed).unwrap();
    }
    let recorded = fs::read_to_string(&golden).unwrap_or_default();
    let differs = recorded
        .lines()
        .zip(printed.lines())
        .position(|(old, new)| old != new);
    assert!(
        recorded == printed,
        "{} differs from line {}; `BLESS=1 cargo test --test install` records it",
        golden.display(),
        differs.unwrap_or_else(|| recorded.lines().count()) + 1
    );
}

fn prorata(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_prorata"))
        .args(arguments)
        .output()
        .unwrap()
}
