//! `prorata tenant`, as an administrator meets it.

use std::fs;
use std::process::{Command, Output};

use kube::ResourceExt;
use prorata::tenancy::Kind;
use prorata_controlplane::User;
use serde_json::{Value, json};

use crate::cluster::requests::eventually;
use crate::tenancy::world::{World, tenant};

pub(crate) async fn plan_apply_adopt_export_and_delete(world: &World) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("speech.yaml");
    let one = json!({ "environments": [{ "name": "prod", "percent": 100, "namespace": "speech-legacy" }] });
    fs::write(&file, tenant("speech", 2, &one).to_string()).unwrap();
    let file = file.to_str().unwrap();
    world.cluster.namespace("speech-legacy", None).await;

    let planned = text(&prorata(world, &["plan", file]));
    for line in [
        "+ Tenant speech\n",
        "! Namespace speech-legacy is there and is not Prorata's: `prorata tenant adopt` hands it over\n",
        "+ Tenant speech-prod\n",
        "+ RoleBinding speech-legacy/prorata-users\n",
        "  speech-legacy (speech-prod) owns 2 gpu\n",
    ] {
        assert!(planned.contains(line), "no `{line}` in\n{planned}");
    }
    assert!(!planned.contains('\u{1b}'), "no colours but on a terminal");
    assert_eq!(
        prorata(world, &["plan", file, "--check"]).status.code(),
        Some(1)
    );

    let refused = prorata(world, &["apply", file]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("Namespace speech-legacy"), "{told}");
    let adopted = prorata(world, &["adopt", "speech", "prod", "-o", "json"]);
    assert_eq!(outcomes(&adopted), ["Namespace speech-legacy Adopted"]);
    world.until_provisioned("speech").await;
    let applied = text(&prorata(world, &["apply", file]));
    assert_eq!(
        applied,
        "tenant.prorata.dev/speech applied: in speech-legacy\n"
    );

    let same = prorata(world, &["plan", file, "--check"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert!(
        text(&same).starts_with("speech: 0 to create, 0 to change, 0 to remove, 8 as wanted\n"),
        "{}",
        text(&same)
    );
    let exported = text(&prorata(world, &["export", "speech"]));
    let again = directory.path().join("again.yaml");
    fs::write(&again, exported).unwrap();
    assert_eq!(
        prorata(world, &["plan", again.to_str().unwrap(), "--check"])
            .status
            .code(),
        Some(0)
    );
    delete(world).await;
}

/// Without `--yes` nothing happens; with it data stay and people go.
async fn delete(world: &World) {
    let unsure = prorata(world, &["delete", "speech"]);
    assert_eq!(unsure.status.code(), Some(2));
    let told = String::from_utf8_lossy(&unsure.stdout);
    let lines: Vec<&str> = told.lines().collect();
    let kept = "namespace/speech-legacy is kept with all that is in it";
    assert_eq!(lines, [kept, "tenant.prorata.dev/speech is deleted"]);
    let deleted = prorata(world, &["delete", "speech", "--yes", "-o", "json"]);
    let (kept, gone) = ("Namespace speech-legacy Kept", "Tenant speech Deleted");
    assert_eq!(outcomes(&deleted), [kept, gone]);
    let bindings = world.objects(Kind::RoleBinding, Some("speech-legacy"));
    eventually("nobody gets in any more", || async {
        bindings
            .list(&Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    let namespace = world
        .objects(Kind::Namespace, None)
        .get("speech-legacy")
        .await
        .unwrap();
    assert!(namespace.metadata.deletion_timestamp.is_none());
    assert_eq!(namespace.labels()["prorata.dev/team"], "speech");
    let deleted = prorata(
        world,
        &["delete", "speech", "--yes", "--data", "-o", "json"],
    );
    assert_eq!(outcomes(&deleted), ["Namespace speech-legacy Deleted"]);
    let namespaces = world.objects(Kind::Namespace, None);
    eventually("its namespace goes", || async {
        namespaces.get_opt("speech-legacy").await.unwrap().is_none()
    })
    .await;
}

fn prorata(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prorata"));
    command.arg("tenant").args(arguments);
    command
        .arg("--kubeconfig")
        .arg(world.cluster.plane.kubeconfig(User::Admin));
    command.output().unwrap()
}

/// Which object, and what became of it, of each in a report for programs.
fn outcomes(output: &Output) -> Vec<String> {
    let report: Vec<Value> = serde_json::from_str(&text(output)).unwrap();
    let line = |done: &Value| {
        ["kind", "name", "outcome"]
            .map(|field| done[field].as_str().unwrap())
            .join(" ")
    };
    report.iter().map(line).collect()
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || !output.stdout.is_empty(),
        "{errors}"
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}
