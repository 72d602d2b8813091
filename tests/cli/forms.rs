//! Each form of output of all commands that have them and ask a cluster alone (others want a ledger, or a
//! driver), and the name by which kubectl finds us.

use std::os::unix::fs::symlink;

use k8s_openapi::api::batch::v1::Job;
use prorata_controlplane::User;
use serde_json::{Value, json};

use super::world::{World, gang};
use crate::cluster::requests::json as manifest;

/// How a command prints names: what each begins with, or `None` where it has none to print.
type Names = Option<&'static str>;

/// Where `runs` and `waits` are in red.
pub(crate) async fn every_form_is_what_it_says(world: &World) {
    let file = world.file("asked.json", &typed(&gang("asked", 1, 1)).to_string());
    let draft = world.file("draft.json", &typed(&gang("draft", 1, 1)).to_string());
    let what_if = format!("what-if {} -n red", file.display());
    let submit = format!("submit {} -n red --dry-run", draft.display());
    let all: [(&str, i32, Names); 8] = [
        ("list -A", 0, Some("job.batch/")),
        ("explain waits -n red", 0, Some("job.batch/waits")),
        ("share", 0, Some("tenant.prorata.dev/")),
        (&what_if, 0, Some("job.batch/asked")),
        (&submit, 0, Some("job.batch/draft")),
        ("gpus", 0, None),
        ("noise", 0, None),
        ("doctor", 1, Some("")),
    ];
    for (line, code, names) in all {
        every_form_of(world, line, code, names).await;
    }
}

async fn every_form_of(world: &World, line: &str, code: i32, names: Names) {
    let mut printed = Vec::new();
    for form in ["table", "wide", "json", "yaml", "name"] {
        let ran = world.admin(&format!("{line} -o {form}")).await;
        // What is wrong with this cluster differs; that it is said does not.
        let as_expected = ran.code == code || (line == "doctor" && ran.code == 0);
        assert!(as_expected, "{line} -o {form}: {ran:?}");
        printed.push(ran.out);
    }
    let [table, wide, as_json, as_yaml, name] = printed.try_into().unwrap();
    let from_json: Value = serde_json::from_str(&as_json).unwrap_or_else(|e| panic!("{line}: {e}"));
    let from_yaml: Value =
        serde_saphyr::from_str(&as_yaml).unwrap_or_else(|e| panic!("{line}: {e}"));
    assert_eq!(shape(&from_json), shape(&from_yaml), "{line}");
    let width = |text: &str| {
        text.lines()
            .next()
            .map_or(0, |line| line.split_whitespace().count())
    };
    assert!(width(&wide) >= width(&table), "{line}: {wide}");
    assert!(
        serde_json::from_str::<Value>(&table).is_err() || table.is_empty(),
        "{line}: {table}"
    );
    let is_one_word = |line: &str| line.split_whitespace().count() == 1;
    assert!(name.lines().all(is_one_word), "{line}: {name}");
    if let Some(start) = names {
        assert!(
            !name.is_empty() && name.lines().all(|l| l.starts_with(start)),
            "{line}: {name}"
        );
    }
}

/// The names of all fields, which do not change from one moment to the next.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), shape(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        _ => Value::Null,
    }
}

fn typed(job: &Job) -> Value {
    let mut job = manifest(job);
    (job["apiVersion"], job["kind"]) = (json!("batch/v1"), json!("Job"));
    job
}

/// kubectl runs what is called `kubectl-prorata` in a directory of `$PATH`, with all that follows.
pub(crate) async fn kubectl_finds_us_by_a_link(world: &World) {
    let directory = world.cluster.plane.directory().join("bin");
    std::fs::create_dir(&directory).unwrap();
    symlink(
        env!("CARGO_BIN_EXE_prorata"),
        directory.join("kubectl-prorata"),
    )
    .unwrap();
    let kubeconfig = world.kubeconfig(User::Alice);
    let mut kubectl = world.cluster.kubectl_alone();
    kubectl.args(["prorata", "list", "-A", "-o", "name"]);
    kubectl
        .env("KUBECONFIG", kubeconfig)
        .env("PATH", &directory);
    let output = tokio::task::spawn_blocking(move || kubectl.output().unwrap())
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed, world.alice("list -A -o name").await.good());
    assert!(listed.contains("job.batch/waits\n"), "{listed}");
}
