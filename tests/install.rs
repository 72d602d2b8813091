//! What `prorata install` prints, compared with the files beside this one and with those of the
//! chart and the kustomize base. `BLESS=1` writes them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use prorata::config::Configuration;
use prorata::install;
use prorata::install::scheduler::SchedulerConfig;
use prorata_controlplane::{ControlPlane, Options, User};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// What the chart itself says, so that nobody says it in `controller.configuration`.
const OF_THE_CHART: [&str; 7] = [
    "apiVersion",
    "kind",
    "gpuResource",
    "extender",
    "health",
    "dashboard",
    "ledger",
];

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
fn chart_and_kustomize_base_hold_these_very_bytes() {
    for part in install::parts(&SchedulerConfig::default()).unwrap() {
        // A chart does not own the namespace that it is installed into, and each way of running
        // kube-scheduler has a configuration of its own.
        let places: &[&str] = match part.file {
            "namespace.yaml" => &["deploy/kustomize/base"],
            "scheduler-config.yaml" => &[],
            _ => &["deploy/kustomize/base", "deploy/helm/prorata/files"],
        };
        for place in places {
            compare_text(&format!("{place}/{}", part.file), &part.text);
        }
    }
    let definitions = String::from_utf8(prorata(&["crds"]).stdout).unwrap();
    compare_text("deploy/kustomize/base/crds.yaml", &definitions);
    let agent = install::agent::render().unwrap();
    compare_text("deploy/kustomize/agent/permissions.yaml", &agent);
    compare_text("deploy/helm/prorata/files/agent-permissions.yaml", &agent);
    let dashboard = install::dashboard::render().unwrap();
    compare_text(
        "deploy/helm/prorata/files/dashboard-permissions.yaml",
        &dashboard,
    );
    let second = SchedulerConfig {
        second: Some("prorata-scheduler".to_owned()),
        ..SchedulerConfig::default()
    };
    compare_text(
        "deploy/helm/prorata/files/second-scheduler.yaml",
        &second.render().unwrap(),
    );
}

/// The chart replaces the name of the resource in the policies; nothing else may be called so.
#[test]
fn another_resource_changes_nothing_but_its_name() {
    let other = SchedulerConfig {
        gpu_resource: "amd.com/gpu".to_owned(),
        ..SchedulerConfig::default()
    };
    let usual = install::render(&SchedulerConfig::default()).unwrap();
    assert_eq!(
        install::render(&other).unwrap(),
        usual.replace("nvidia.com/gpu", "amd.com/gpu")
    );
}

#[test]
fn the_chart_takes_what_the_controller_reads() {
    let file = "deploy/helm/prorata/values.schema.json";
    let recorded = fs::read_to_string(root().join(file)).unwrap();
    // It is the last of the definitions.
    let key = "\n    \"configuration\": ";
    let (before, _) = recorded.split_once(key).unwrap();
    let schema = serde_json::to_string_pretty(&configuration_schema()).unwrap();
    let schema = schema.replace('\n', "\n    ");
    compare_text(file, &format!("{before}{key}{schema}\n  }}\n}}\n"));
}

/// The schema of a Configuration without what the chart itself says; nothing else is allowed.
fn configuration_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings
        .into_generator()
        .into_root_schema_for::<Configuration>();
    let mut schema = schema.to_value();
    let fields = schema.as_object_mut().unwrap();
    for key in ["$schema", "title", "required"] {
        fields.remove(key);
    }
    let properties = fields["properties"].as_object_mut().unwrap();
    for key in OF_THE_CHART {
        assert!(
            properties.remove(key).is_some(),
            "{key} is no field any more"
        );
    }
    close(&mut schema);
    schema
}

/// Unknown fields are mistakes, and defaults are the controller's.
fn close(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        if fields.contains_key("properties") {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
        fields.remove("default");
        if let Some(constants) = constants(fields.get("oneOf")) {
            fields.remove("oneOf");
            fields.insert("enum".to_owned(), constants);
        }
        fields.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

/// One of several texts: helm then says which, and not what is wrong with each.
fn constants(one_of: Option<&Value>) -> Option<Value> {
    let constant = |schema: &Value| schema.get("const").cloned();
    one_of?.as_array()?.iter().map(constant).collect()
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
    let output = prorata(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    compare_text(&format!("tests/install/{file}"), &printed);
}

fn compare_text(file: &str, wanted: &str) {
    let golden = root().join(file);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, wanted).unwrap();
    }
    let recorded = fs::read_to_string(&golden).unwrap_or_default();
    let differs = recorded
        .lines()
        .zip(wanted.lines())
        .position(|(old, new)| old != new);
    assert!(
        recorded == wanted,
        "{} differs from line {}; `BLESS=1 cargo test --test install` records it",
        golden.display(),
        differs.unwrap_or_else(|| recorded.lines().count()) + 1
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn prorata(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_prorata"))
        .args(arguments)
        .output()
        .unwrap()
}
