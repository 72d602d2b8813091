//! `list`: the queue.

use k8s_openapi::jiff::Timestamp;

use super::cluster::{Cluster, ClusterArgs, Scope};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, Paint, Tone};
use super::queue::{self, Entry};
use super::table::{Cell, Table};
use super::words;
use crate::api::State;

/// Options of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Waiting jobs stand in the order of their tenant's queue; POS is the place in it, and is shown where
the whole queue may be read (-A). STARTS is how long it takes from now until a job starts, as likely
less as more, where that has been foretold; `prorata explain` says more.

Examples:
  prorata list                              what runs and waits in this namespace
  prorata list -A --tenant vision           one tenant, in all its namespaces
  prorata list --state waiting -o name      names that kubectl takes
  prorata list -A -o json                   for programs")]
pub struct Args {
    /// In every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only jobs of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only jobs that stand so [default: all but finished]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE,…")]
    state: Vec<Wanted>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Where a job is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Wanted {
    /// In the queue, those included that never start as they are
    Waiting,
    /// Its places are decided
    Admitted,
    /// Its user holds it back
    Held,
    /// Over
    Finished,
}

impl From<State> for Wanted {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Admitted => Self::Admitted,
            State::Held => Self::Held,
            State::Finished => Self::Finished,
        }
    }
}

pub(crate) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let scope = match args.all_namespaces {
        true => Scope::All,
        false => Scope::Namespace(cluster.namespace().to_owned()),
    };
    let mut entries = queue::read(&cluster, &scope).await?;
    entries.retain(|entry| args.wants(entry));
    if entries.is_empty() && matches!(args.output.output, Format::Table | Format::Wide) {
        eprintln!("no such job {}", place(&scope));
        return Ok(());
    }
    show(&entries, args.all_namespaces, args.output)
}

impl Args {
    fn wants(&self, entry: &Entry) -> bool {
        let state = Wanted::from(entry.state);
        let tenant = self
            .tenant
            .as_ref()
            .is_none_or(|name| *name == entry.tenant);
        tenant
            && match self.state.is_empty() {
                true => state != Wanted::Finished,
                false => self.state.contains(&state),
            }
    }
}

fn place(scope: &Scope) -> String {
    match scope {
        Scope::All => "in the queue".to_owned(),
        Scope::Namespace(name) => format!("in the queue of namespace {name}; -A shows all"),
    }
}

fn show(entries: &[Entry], all: bool, output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &entries),
        Format::Name => {
            let line = |entry: &Entry| format!("{}\n", resource_name(entry));
            output::print(&entries.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let wide = output.output == Format::Wide;
            let table = table(entries, all, wide, Timestamp::now());
            output::print(&table.render(!output.no_headers, Paint::detect()))
        }
    }
}

/// As kubectl takes it.
pub(crate) fn resource_name(entry: &Entry) -> String {
    match entry.kind.as_str() {
        "Job" => format!("job.batch/{}", entry.name),
        kind => format!("{}/{}", kind.to_lowercase(), entry.name),
    }
}

fn table(entries: &[Entry], all: bool, wide: bool, now: Timestamp) -> Table {
    let mut titles = vec![
        "NAME", "TENANT", "GPUS", "PRIORITY", "STATE", "POS", "WAIT", "STARTS", "REASON",
    ];
    if all {
        titles.insert(0, "NAMESPACE");
    }
    if wide {
        titles.extend(["KIND", "PODS", "NODES", "MESSAGE"]);
    }
    let mut table = Table::new(&titles);
    for entry in entries {
        table.push(row(entry, all, wide, now));
    }
    table
}

fn row(entry: &Entry, all: bool, wide: bool, now: Timestamp) -> Vec<Cell> {
    let waits = matches!(entry.state, State::Waiting | State::Held);
    let position = entry.position.map(|position| position.to_string());
    let reason = if waits { entry.reason.as_str() } else { "" };
    let mut row: Vec<Cell> = vec![
        entry.name.as_str().into(),
        entry.tenant.as_str().into(),
        entry.shown_gpus().into(),
        entry.priority.to_string().into(),
        Cell::new(entry.standing(), tone(entry)),
        position.unwrap_or_default().into(),
        words::span(entry.waited(now)).into(),
        entry.starts(now).into(),
        reason.into(),
    ];
    if all {
        row.insert(0, entry.namespace.as_str().into());
    }
    if wide {
        let nodes: Vec<&str> = entry.nodes.keys().map(String::as_str).collect();
        row.extend([
            entry.kind.as_str().into(),
            entry.pods.to_string().into(),
            nodes.join(",").into(),
            entry.message.as_str().into(),
        ]);
    }
    row
}

/// The colour of where a job stands.
pub(crate) fn tone(entry: &Entry) -> Tone {
    match entry.state {
        State::Admitted => Tone::Good,
        State::Waiting if entry.blocked => Tone::Bad,
        State::Waiting => Tone::Wait,
        State::Held | State::Finished => Tone::Dim,
    }
}

#[cfg(test)]
mod tests {
    use super::queue::{ordered, tests::entry};
    use super::*;
    use serde_json::json;

    fn entries() -> Vec<Entry> {
        let admission = json!({"epoch": 1, "placement": [{"node": "a"}, {"node": "b"}]});
        let condition = json!({
            "type": "Admitted", "status": "True", "reason": "", "message": "",
            "lastTransitionTime": "1970-01-01T00:02:00Z",
        });
        let admitted = json!({
            "spec": {"admission": admission},
            "status": {"state": "Admitted", "reason": "Admitted", "message": "", "conditions": [condition]},
        });
        let forecast =
            json!({"position": 1, "p50": "1970-01-01T00:53:15Z", "detail": "", "asOf": ""});
        let waits = json!({"status": {"forecast": forecast}});
        ordered(
            vec![entry("wait", 60, waits), entry("sft", 0, admitted)],
            true,
        )
    }

    #[test]
    fn a_table_for_people() {
        let now = Timestamp::from_second(2_535).unwrap();
        let text = table(&entries(), false, false, now).render(true, Paint(false));
        assert_eq!(
            text,
            "\
NAME   TENANT   GPUS   PRIORITY   STATE      POS   WAIT   STARTS   REASON
sft    vision   8      0          Admitted   -     2m     -        -
wait   vision   8      0          Waiting    1     41m    ~11m     CapacityFull
"
        );
        let wide = table(&entries(), true, true, now).render(true, Paint(false));
        let first = wide.lines().nth(1).unwrap();
        assert!(
            first.starts_with("lab         sft ") && first.contains("   a,b   "),
            "{wide}"
        );
    }

    #[test]
    fn names_are_those_that_kubectl_takes() {
        assert_eq!(resource_name(&entries()[0]), "job.batch/sft");
    }
}
