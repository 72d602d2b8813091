//! `prorata validate` and wrong configurations, as a user meets them: exit code, stream and text.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::{Command, Output};

#[test]
fn right_files_pass() {
    let output = validate(
        "tenants.yaml",
        "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: a}\nspec: {}\n",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn wrong_files_exit_with_2_and_name_the_place() {
    let output = validate(
        "t.yaml",
        "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: a}\nspec:\n  weight: -1\n",
    );
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("t.yaml:5:11: spec.weight: `-1` is not a weight\n  help: write"),
        "{text}"
    );
    assert!(output.stdout.is_empty());
    let port = "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: a}\n\
         spec: {network: {services: [{namespace: b, ports: [{port: 70000}]}]}}\n";
    let text = String::from_utf8(validate("t.yaml", port).stderr).unwrap();
    assert!(
        text.contains("ports[0].port: invalid value: integer `70000`\n  help: write a whole number from 0 to 65535"),
        "{text}"
    );
}

#[test]
fn prices_are_checked_too() {
    let head = "apiVersion: config.prorata.dev/v1alpha1\nkind: Prices\ncurrency: EUR\n";
    let right = validate(
        "p.yaml",
        &format!("{head}prices: [{{model: a, hourly: 1}}]\n"),
    );
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    let wrong = validate(
        "p.yaml",
        &format!("{head}prices: [{{model: a, hourly: x}}]\n"),
    );
    assert_eq!(wrong.status.code(), Some(2));
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        text.contains("p.yaml:4:29: prices[0].hourly: `x` is not"),
        "{text}"
    );
    let two = validate(
        "p.yaml",
        &format!("{head}prices: [{{model: a, hourly: 1}}]\n---\nkind: Tenant\n"),
    );
    assert_eq!(two.status.code(), Some(2));
}

#[test]
fn a_missing_file_is_wrong_input() {
    let output = prorata(&["validate", "nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: nowhere.yaml: "));
}

#[test]
fn the_controller_refuses_a_wrong_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    fs::write(
        &file,
        "apiVersion: config.prorata.dev/v1alpha1\nkind: Configuration\nextender: {}\n",
    )
    .unwrap();
    let output = prorata(&["controller", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(
            "c.yaml:3:11: extender: says nothing of certificates\n  help: add `tls:` below it"
        ),
        "{text}"
    );
}

fn validate(name: &str, text: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, text).unwrap();
    prorata(&["validate", file.to_str().unwrap()])
}

fn prorata(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prorata"))
        .args(arguments)
        .output()
        .unwrap()
}
