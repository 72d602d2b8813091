//! Each form of output of all commands that have them and ask a cluster alone (others want a ledger, or a
//! driver), and the name by which kubectl finds us.

use std::collections::BTreeMap;
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
    // Those of the commands that change something leave this queue as it is.
    let all: [(&str, i32, Names); 12] = [
        ("list -A", 0, Some("job.batch/")),
        ("explain waits -n red", 0, Some("job.batch/waits")),
        ("share", 0, Some("tenant.prorata.dev/")),
        (&what_if, 0, Some("job.batch/asked")),
        (&submit, 0, Some("job.batch/draft")),
        ("wait runs -n red", 0, Some("job.batch/runs")),
        ("resume waits -n red", 0, Some("job.batch/waits")),
        (
            "reprioritise waits runs -n red --own",
            0,
            Some("job.batch/"),
        ),
        ("drain node-0001 --dry-run", 0, Some("job.batch/runs")),
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

/// Our objects in kubectl's own tables: a column whose path leads nowhere would be empty.
pub(crate) async fn kubectl_shows_our_objects(world: &World) {
    let records = [
        ("TENANT", "/spec/tenant"),
        ("GPUS", "/spec/gpus"),
        ("PRIORITY", "/spec/priority"),
        ("STATE", "/status/state"),
        ("REASON", "/status/reason"),
    ];
    let (shown, waits) = tabled(world, "queuedjobs -n red", "waits").await;
    assert_columns(&shown, &waits, &records);
    assert_eq!(shown["STATE"], "Waiting");
    assert!(
        shown.contains_key("STARTS") && !shown["AGE"].is_empty(),
        "{shown:?}"
    );

    let tenants = [
        ("WEIGHT", "/spec/weight"),
        ("GUARANTEED", "/spec/guaranteed/gpu"),
        ("USED", "/status/used/gpu"),
        ("SHARE", "/status/share"),
        ("RUNNING", "/status/running"),
        ("WAITING", "/status/waiting"),
    ];
    let (shown, red) = tabled(world, "tenants", "red").await;
    assert_columns(&shown, &red, &tenants);
    assert_eq!(shown["READY"], "True", "{shown:?}");
}

fn assert_columns(shown: &BTreeMap<String, String>, object: &Value, columns: &[(&str, &str)]) {
    for (column, path) in columns {
        let there = match object.pointer(path) {
            Some(Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
            None => panic!("no {path} in {object}"),
        };
        assert_eq!(shown[*column], there, "{column}: {shown:?}");
    }
}

/// The row of the object whose name has this in it, by column, and the object.
async fn tabled(world: &World, what: &str, name: &str) -> (BTreeMap<String, String>, Value) {
    let table = kubectl_get(world, what).await;
    let (header, rows) = table.split_once('\n').unwrap();
    let is_it = |row: &&str| {
        row.split_whitespace()
            .next()
            .is_some_and(|n| n.contains(name))
    };
    let row = rows.lines().find(is_it).unwrap();
    let mut starts: Vec<usize> = Vec::new();
    let bytes = header.as_bytes();
    starts.extend(
        (0..bytes.len()).filter(|at| bytes[*at] != b' ' && (*at == 0 || bytes[at - 1] == b' ')),
    );
    let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
    let cut = |text: &str, (from, to): (usize, usize)| {
        let to = to.min(text.len());
        text.get(from.min(to)..to).unwrap().trim().to_owned()
    };
    let spans = starts.iter().copied().zip(ends);
    let shown = spans.map(|span| (cut(header, span), cut(row, span)));
    let found = row.split_whitespace().next().unwrap();
    let (kind, rest) = what.split_once(' ').unwrap_or((what, ""));
    let object = kubectl_get(world, &format!("{kind} {found} {rest} -o json")).await;
    (shown.collect(), serde_json::from_str(&object).unwrap())
}

async fn kubectl_get(world: &World, what: &str) -> String {
    let mut kubectl = world.cluster.plane.kubectl(User::Admin);
    kubectl.arg("get").args(what.split_whitespace());
    let output = tokio::task::spawn_blocking(move || kubectl.output().unwrap());
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
