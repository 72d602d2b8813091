//! The chart and the kustomize base as text: linted, compared, and wrong values refused.

use prorata::config::Configuration;
use prorata::manifest::Document;
use serde_json::Value;

use super::{Chart, compare, object, objects, read};

#[test]
fn the_chart_is_in_order() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let output = chart.helm(&["lint", "--strict"], &[]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
}

#[test]
fn kustomize_is_the_chart_with_its_default_values() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let controller = ["templates/controller.yaml", "templates/network.yaml"];
    compare(
        "deploy/kustomize/base/controller.yaml",
        &only(&chart, &controller, &[]),
    );
    compare(
        "deploy/kustomize/second-scheduler/scheduler.yaml",
        &only(
            &chart,
            &["templates/scheduler.yaml"],
            &["--set=scheduler.enabled=true"],
        ),
    );
    compare(
        "deploy/kustomize/agent/agent.yaml",
        &only(
            &chart,
            &["templates/agent.yaml"],
            &["--set=agent.enabled=true"],
        ),
    );
    compare(
        "deploy/kustomize/cert-manager/certificates.yaml",
        &only(
            &chart,
            &["templates/certificates.yaml"],
            &["--set=certificates.source=certManager"],
        ),
    );
}

/// The objects of a few templates, each below a separator and without a note on its template.
fn only(chart: &Chart, templates: &[&str], values: &[&str]) -> String {
    let shown = templates
        .iter()
        .map(|template| format!("--show-only={template}"));
    let shown: Vec<String> = shown.collect();
    let mut arguments: Vec<&str> = shown.iter().map(String::as_str).collect();
    arguments.extend(values);
    let rendered = chart.render(&arguments);
    let lines = rendered
        .lines()
        .filter(|line| !line.starts_with("# Source: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// What somebody may set, and what helm says to it.
const WRONG_VALUES: [(&str, &str); 16] = [
    (
        "gpuResource=gpu",
        "at '/gpuResource': 'gpu' does not match pattern",
    ),
    ("gpuResource=a.b/c'||'", "at '/gpuResource'"),
    (
        "controller.replicas=two",
        "at '/controller/replicas': got string, want integer",
    ),
    (
        "controller.replicas=0",
        "at '/controller/replicas': minimum",
    ),
    (
        "controller.replica=3",
        "at '/controller': additional properties 'replica' not allowed",
    ),
    (
        "controler.replicas=3",
        "additional properties 'controler' not allowed",
    ),
    (
        "certificates.source=vault",
        "value must be one of 'secret', 'certManager'",
    ),
    (
        "controller.configuration.order=lifo",
        "value must be one of 'drf', 'fifo'",
    ),
    (
        "controller.configuration.levle=debug",
        "additional properties 'levle' not allowed",
    ),
    (
        "controller.configuration.gpuResource=a.b/c",
        "'gpuResource' not allowed",
    ),
    (
        "image.digest=latest",
        "at '/image/digest': 'latest' does not match pattern",
    ),
    (
        "networkPolicy.apiServerPorts={70000}",
        "at '/networkPolicy/apiServerPorts/0': maximum",
    ),
    (
        "networkPolicy.schedulerCIDRs={10.0.0.1}",
        "at '/networkPolicy/schedulerCIDRs/0'",
    ),
    ("agent.enable=true", "at '/agent': additional properties"),
    ("service.clusterIP=prorata", "at '/service/clusterIP'"),
    ("scheduler.name=default-scheduler", "at '/scheduler/name'"),
];

#[test]
fn wrong_values_are_refused_with_their_place() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    for (value, place) in WRONG_VALUES {
        let output = chart.helm(&["template", "prorata"], &["--set", value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is accepted");
        assert!(
            message.contains(place),
            "{value}: wanted `{place}` in {message}"
        );
    }
    let elsewhere = chart.helm(&["template", "prorata"], &["--namespace=gpus"]);
    let message = String::from_utf8_lossy(&elsewhere.stderr);
    assert!(
        message.contains("install into the namespace prorata-system, not gpus"),
        "{message}"
    );
}

#[test]
fn another_resource_reaches_policies_controller_and_scheduler() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let rendered = chart.render(&["--set=gpuResource=amd.com/gpu,scheduler.enabled=true"]);
    assert!(!rendered.contains("nvidia.com/gpu"));
    let objects = objects(&rendered);
    let config = &object(&objects, "ConfigMap", "prorata-scheduler")["data"]["config.yaml"];
    assert!(config.as_str().unwrap().contains("name: amd.com/gpu"));
    assert_eq!(configuration(&objects).gpu_resource, "amd.com/gpu");
}

#[test]
fn the_controller_reads_what_the_chart_configures() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let values = "--set=controller.configuration.reserveAfter=30m,controller.configuration.logging.format=json";
    let config = configuration(&objects(&chart.render(&[values])));
    assert_eq!(config.reserve_after.as_secs(), 1800);
    assert_eq!(config.extender.address.port(), 8443);
    assert_eq!(config.health.address.port(), 8080);
    let fixed = configuration(&objects(&read("deploy/kustomize/base/controller.yaml")));
    assert_eq!(fixed.reserve_after.as_secs(), 900);
}

#[test]
fn without_a_probe_there_is_no_trace_of_it() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let rendered = chart.render(&["--set=controller.probe=false"]);
    assert_eq!(configuration(&objects(&rendered)).extender.probe, None);
    assert!(!rendered.contains("prorata-scheduler-tls"), "{rendered}");
    assert!(!rendered.contains("port: 53"), "{rendered}");
}

#[test]
fn a_ledger_is_in_a_file_of_its_own_or_in_a_database_that_a_secret_names() {
    let Some(chart) = Chart::find_or_skip() else {
        return;
    };
    let one = objects(&chart.render(&["--set=ledger.claim=books,controller.replicas=1"]));
    let ledger = configuration(&one).ledger.unwrap();
    assert_eq!(
        ledger.url.as_deref(),
        Some("sqlite:///var/lib/prorata/ledger.db")
    );
    let deployment = &object(&one, "Deployment", "prorata-controller")["spec"];
    assert_eq!(deployment["strategy"]["type"], "Recreate");
    let volumes = deployment["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains(r#""claimName":"books""#), "{volumes}");

    let rendered = chart.render(&[
        "--set=ledger.secret=books,ledger.prices=dear,ledger.databaseCIDRs={10.0.0.7/32}",
    ]);
    let both = objects(&rendered);
    let prices = configuration(&both).budgets.unwrap().prices;
    assert_eq!(prices.to_str(), Some("/etc/prorata/prices/prices.yaml"));
    let ledger = configuration(&both).ledger.unwrap();
    assert_eq!(
        ledger.url_file.unwrap().to_str(),
        Some("/etc/prorata/ledger/url")
    );
    let policy = object(&both, "NetworkPolicy", "prorata-controller")["spec"]["egress"].to_string();
    assert!(
        policy.contains("10.0.0.7/32") && policy.contains("5432"),
        "{policy}"
    );

    let two = chart.helm(
        &["template", "prorata"],
        &["--namespace=prorata-system", "--set=ledger.claim=books"],
    );
    let message = String::from_utf8_lossy(&two.stderr);
    assert!(message.contains("for one controller alone"), "{message}");
}

/// What the controller makes of its ConfigMap.
fn configuration(objects: &[Value]) -> Configuration {
    let text = &object(objects, "ConfigMap", "prorata-controller")["data"]["prorata.yaml"];
    let documents = Document::parse("prorata.yaml", text.as_str().unwrap()).unwrap();
    Configuration::read(&documents[0]).unwrap()
}

/// The agent sees the host's processes, and is held to the strictest standard in all else.
#[test]
fn the_agent_is_restricted_but_for_what_it_has_to_see() {
    use clap::Parser;
    let objects = objects(&read("deploy/kustomize/agent/agent.yaml"));
    let pod = &object(&objects, "DaemonSet", "prorata-agent")["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    for key in ["hostNetwork", "hostIPC"] {
        assert!(pod[key].is_null(), "{key}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert!(security["privileged"].is_null());
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(
        security["capabilities"],
        serde_json::json!({"drop": ["ALL"]})
    );
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["readOnly"] == true));
    let args = container["args"].as_array().unwrap();
    let args = args.iter().map(|argument| argument.as_str().unwrap());
    // The node's name comes from the pod.
    let args = ["prorata"].into_iter().chain(args).chain(["--node=a"]);
    prorata::args::Cli::try_parse_from(args).unwrap();
}

/// A command line that the binary does not know would be found out by a crash loop.
#[test]
fn the_binary_knows_the_command_line_of_the_deployment() {
    use clap::Parser;
    let objects = objects(&read("deploy/kustomize/base/controller.yaml"));
    let deployment = object(&objects, "Deployment", "prorata-controller");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap();
    let args = args.iter().map(|argument| argument.as_str().unwrap());
    let cli = prorata::args::Cli::try_parse_from(std::iter::once("prorata").chain(args)).unwrap();
    let prorata::args::Role::Controller(args) = cli.role else {
        panic!("another role")
    };
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted = |path: &str| mounts.iter().any(|mount| mount["mountPath"] == path);
    assert!(mounted(args.config.parent().unwrap().to_str().unwrap()));
    let config = configuration(&objects);
    let tls = config.extender.tls.unwrap();
    let probe = config.extender.probe.unwrap();
    let ours = [tls.cert_file, tls.key_file, tls.client_ca_file];
    let as_scheduler = [probe.cert_file, probe.key_file, probe.ca_file].map(Option::unwrap);
    for file in ours.into_iter().chain(as_scheduler) {
        assert!(
            mounted(file.parent().unwrap().to_str().unwrap()),
            "{}",
            file.display()
        );
    }
}
