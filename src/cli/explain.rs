//! `explain`: where one job stands, with the numbers that decided, and what would help.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ListParams};
use prorata_dashboard::Field;
use serde::Serialize;

use super::cluster::{Cluster, ClusterArgs, Scope, if_allowed, plural};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, Paint};
use super::queue::{self, Entry, Seen};
use super::shares::{Holding, tree};
use super::{list, object, remedy, share, words};
use crate::api::{Forecast, State, Tenant, labels};

/// How many of those ahead are named; the rest is counted.
const AHEAD_SHOWN: usize = 8;

/// How many of its last events are shown.
const EVENTS_SHOWN: usize = 6;

/// The title of what would help.
const HELPS: &str = "Helps";

/// Options of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  prorata explain train-7
  prorata explain train-7 -n vision -o json")]
pub struct Args {
    /// The job, as NAME or job/NAME
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Everything that is known about where a job stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    #[serde(flatten)]
    entry: Entry,
    /// How many jobs of its tenant wait in line, itself included.
    in_line: usize,
    /// Jobs of its tenant that come before it.
    ahead: Vec<Ahead>,
    /// What its tenant holds, where that may be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_holds: Option<Holding>,
    /// What would help, best first.
    remedies: Vec<String>,
    /// What happened to it last, oldest first.
    events: Vec<Happened>,
}

/// A job that comes before.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ahead {
    job: String,
    gpus: String,
    priority: i32,
    wait_seconds: u64,
}

/// An Event of Kubernetes.
#[derive(Debug, Serialize)]
pub(crate) struct Happened {
    at: Timestamp,
    reason: String,
    message: String,
}

pub(crate) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let job = object::name(&args.job);
    let seen = share::entries(&cluster).await?;
    let entries = &seen.entries;
    let entry = match queue::find(entries, cluster.namespace(), job) {
        Some(entry) => entry.clone(),
        None => return Err(not_queued(&cluster, entries, job).await),
    };
    let tenant_holds = tenant(&cluster, &entry, &seen).await?;
    let events = if_allowed("its events", events(&cluster, &entry).await)?;
    let events = events.unwrap_or_default();
    let explanation = explanation(entry, entries, tenant_holds, events, Timestamp::now());
    match args.output.output {
        Format::Json | Format::Yaml => output::serialised(args.output.output, &explanation),
        Format::Name => output::print(&format!("{}\n", list::resource_name(&explanation.entry))),
        Format::Table | Format::Wide => {
            let text = explanation.render(Timestamp::now(), Paint::detect());
            output::print(&text)
        }
    }
}

/// Why a job is not in the queue.
async fn not_queued(cluster: &Cluster, entries: &[Entry], job: &str) -> Failure {
    let namespace = cluster.namespace();
    match cluster.here::<Job>().get_opt(job).await {
        Err(error) => {
            let attempt = format!("get {} {namespace}/{job}", plural::<Job>());
            Failure::api(&attempt, error)
        }
        Ok(Some(_)) => outside(cluster, job).await,
        Ok(None) => object::unknown(namespace, job, entries),
    }
}

/// Why a Job that exists is not queued.
async fn outside(cluster: &Cluster, job: &str) -> Failure {
    let namespace = cluster.namespace();
    let api: Api<Namespace> = Api::all(cluster.client().clone());
    let labels = api.get(namespace).await.ok().map(|n| n.metadata.labels);
    let tenant = labels.map(|labels| labels.is_some_and(|l| l.contains_key(labels::TENANT)));
    let what = format!("Job {job} of namespace {namespace} is not in the queue");
    match tenant {
        Some(false) => {
            Failure::new(format!("{what}: its namespace belongs to no tenant")).help(format!(
                "an administrator labels it: `kubectl label namespace {namespace} {}=TENANT`",
                labels::TENANT
            ))
        }
        _ => Failure::new(what).help(
            "only Jobs that ask for GPUs are queued; if it does, ask again in a moment, and see \
             `prorata doctor`",
        ),
    }
}

/// What the job's tenant holds.
async fn tenant(cluster: &Cluster, entry: &Entry, seen: &Seen) -> Result<Option<Holding>, Failure> {
    let tenants = cluster.list_all::<Tenant>().await;
    let Some(tenants) = if_allowed("what its tenant holds", tenants)? else {
        return Ok(None);
    };
    let tenants = tenants.iter().map(Holding::of).collect();
    let mut tree = tree(tenants, seen, None).into_iter();
    Ok(tree.find(|holding| holding.tenant == entry.tenant))
}

/// What happened to the job last.
pub(crate) async fn events(cluster: &Cluster, entry: &Entry) -> Result<Vec<Happened>, Failure> {
    let scope = Scope::Namespace(entry.namespace.clone());
    let about = ListParams::default().fields(&format!("involvedObject.uid={}", entry.uid));
    let events = cluster.list::<Event>(&scope, about).await?;
    Ok(last(events.into_iter()))
}

/// What the controller decided about the job last, as its Events say. Whoever sees the queue sees as
/// much in it: Events of others are left out.
pub(crate) async fn decisions(client: &Client, entry: &Entry) -> kube::Result<Vec<Happened>> {
    let api: Api<Event> = Api::namespaced(client.clone(), &entry.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.uid={}", entry.uid));
    let events = api.list(&about).await?.items.into_iter();
    let ours = |event: &Event| event.reporting_component.as_deref() == Some(labels::CONTROLLER);
    Ok(last(events.filter(ours)))
}

/// The last of them, oldest first.
fn last(events: impl Iterator<Item = Event>) -> Vec<Happened> {
    let mut happened: Vec<Happened> = events.filter_map(happened).collect();
    happened.sort_by_key(|event| event.at);
    let first = happened.len().saturating_sub(EVENTS_SHOWN);
    happened.split_off(first)
}

fn happened(event: Event) -> Option<Happened> {
    let series = event.series.and_then(|series| series.last_observed_time);
    let at = series
        .or(event.event_time)
        .map(|time| time.0)
        .or(event.last_timestamp.map(|time| time.0))?;
    Some(Happened {
        at,
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    })
}

/// What is known about where a job stands: `entries` are those that may be seen beside it.
pub(crate) fn explanation(
    entry: Entry,
    entries: &[Entry],
    tenant_holds: Option<Holding>,
    events: Vec<Happened>,
    now: Timestamp,
) -> Explanation {
    let line = entries
        .iter()
        .filter(|e| e.is_in_line() && e.tenant == entry.tenant);
    let before = match entry.is_in_line() {
        true => queue::ahead(entries, &entry),
        false => Vec::new(),
    };
    let ahead = before.iter().map(|other| Ahead {
        job: format!("{}/{}", other.namespace, other.name),
        gpus: other.gpus.clone(),
        priority: other.priority,
        wait_seconds: other.waited(now).as_secs(),
    });
    let waits = matches!(entry.state, State::Waiting | State::Held);
    let code = if waits { entry.reason.as_str() } else { "" };
    Explanation {
        in_line: line.count(),
        ahead: ahead.collect(),
        tenant_holds,
        remedies: remedy::steps(code, &entry.namespace, &entry.name, &entry.tenant),
        events,
        entry,
    }
}

impl Explanation {
    fn render(&self, now: Timestamp, paint: Paint) -> String {
        let mut lines = vec![self.headline(paint)];
        for Field { title, lines: told } in self.fields(now) {
            let bullet = if title == HELPS { "• " } else { "" };
            let told = told.iter().map(|line| format!("{bullet}{line}"));
            lines.extend(list_field(&title, told.collect()));
        }
        lines.join("\n") + "\n"
    }

    /// What is known, in the order in which it is read.
    pub(crate) fn fields(&self, now: Timestamp) -> Vec<Field> {
        let (entry, one) = (&self.entry, |line: String| vec![line]);
        let starts = entry.forecast.as_ref().map(|told| starts(told, now));
        let nodes = Some(self.nodes()).filter(|nodes| !nodes.is_empty());
        let why = Some(entry.message.clone()).filter(|why| !why.is_empty());
        let fields = [
            ("Asks", one(self.asks(now))),
            ("Why", why.into_iter().collect()),
            ("Starts", starts.into_iter().collect()),
            ("Tenant", self.tenant_holds.iter().map(holds).collect()),
            ("Nodes", nodes.into_iter().collect()),
            ("Ahead", self.ahead_lines()),
            (HELPS, self.remedies.clone()),
            ("Log", self.log(now)),
        ];
        let told = fields.into_iter().filter(|(_, lines)| !lines.is_empty());
        told.map(|(title, lines)| Field {
            title: title.to_owned(),
            lines,
        })
        .collect()
    }

    fn headline(&self, paint: Paint) -> String {
        let entry = &self.entry;
        let standing = entry.standing().to_uppercase();
        let standing = paint.paint(&standing, list::tone(entry));
        let place = self.place();
        format!("{}/{} is {standing}{place}", entry.namespace, entry.name)
    }

    /// Why it waits, and its place in the queue: ` (CapacityFull), position 1 of 2 in the queue of
    /// vision`; empty while there is nothing to say.
    pub(crate) fn place(&self) -> String {
        let (entry, mut text) = (&self.entry, String::new());
        if matches!(entry.state, State::Waiting | State::Held) {
            text += &format!(" ({})", entry.reason);
        }
        if let Some(position) = entry.position {
            text += &format!(
                ", position {position} of {} in the queue of {}",
                self.in_line, entry.tenant
            );
        }
        text
    }

    fn asks(&self, now: Timestamp) -> String {
        let entry = &self.entry;
        let waited = words::span(entry.waited(now));
        let waits = match entry.admitted {
            Some(_) => format!("waited {waited}"),
            None => format!("waiting {waited}"),
        };
        let pods = words::count(entry.pods, "pod");
        let gpus = match &entry.parts {
            Some(parts) => parts.clone(),
            None => format!("{} GPUs", entry.gpus),
        };
        format!(
            "{} in {pods}, tenant {}, priority {}, {waits}",
            gpus, entry.tenant, entry.priority
        )
    }

    fn nodes(&self) -> String {
        let node =
            |(name, pods): (&String, &u32)| format!("{name} ({})", words::count(*pods, "pod"));
        let nodes: Vec<String> = self.entry.nodes.iter().map(node).collect();
        nodes.join(", ")
    }

    fn ahead_lines(&self) -> Vec<String> {
        let line = |ahead: &Ahead| {
            let wait = words::span(std::time::Duration::from_secs(ahead.wait_seconds));
            format!(
                "{}: {} GPUs, priority {}, waiting {wait}",
                ahead.job, ahead.gpus, ahead.priority
            )
        };
        let mut lines: Vec<String> = self.ahead.iter().take(AHEAD_SHOWN).map(line).collect();
        if let Some(more @ 1..) = self.ahead.len().checked_sub(AHEAD_SHOWN) {
            lines.push(format!("and {more} more of tenant {}", self.entry.tenant));
        }
        lines
    }

    fn log(&self, now: Timestamp) -> Vec<String> {
        let line = |event: &Happened| {
            let ago = words::span(words::between(event.at, now));
            format!("{ago} ago: {}: {}", event.reason, event.message)
        };
        self.events.iter().map(line).collect()
    }
}

/// P50 to P90, and what they rest on.
fn starts(forecast: &Forecast, now: Timestamp) -> String {
    let from_now = |moment: &str| format!("{} ({moment})", queue::until(moment, now));
    let (p50, p90) = (forecast.p50.as_deref(), forecast.p90.as_deref());
    let when = match (p50.map(from_now), p90.map(from_now)) {
        (Some(p50), Some(p90)) => format!("P50 {p50} – P90 {p90}"),
        (Some(p50), None) => format!("P50 {p50} – P90 in more than 30 days"),
        (None, _) => "P50 in more than 30 days".to_owned(),
    };
    format!("{when}; {}", forecast.detail)
}

fn holds(holding: &Holding) -> String {
    let mut text = format!(
        "{} holds {} GPUs",
        holding.tenant,
        words::gpus(holding.held_milli_gpus)
    );
    if holding.guaranteed_milli_gpus > 0 {
        text += &format!(", owns {}", words::gpus(holding.guaranteed_milli_gpus));
    }
    if let Some(limit) = holding.limit_milli_gpus {
        text += &format!(", may hold {}", words::gpus(limit));
    }
    text + &format!(
        "; {} in line for {} GPUs",
        words::count(holding.waiting, "job"),
        words::gpus(holding.waiting_milli_gpus)
    )
}

fn field(title: &str, text: &str) -> String {
    format!("  {title:<8}{text}")
}

/// A title, and a line for each text.
fn list_field(title: &str, texts: Vec<String>) -> Vec<String> {
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    titles
        .zip(texts)
        .map(|(title, text)| field(title, &text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::queue::tests::entry;
    use super::*;
    use serde_json::json;

    fn explain(entries: Vec<Entry>, job: &str) -> String {
        let entries = queue::ordered(entries, true);
        let now = Timestamp::from_second(3_000).unwrap();
        let entry = queue::find(&entries, "lab", job).unwrap().clone();
        let holding = Holding {
            tenant: "vision".to_owned(),
            held_milli_gpus: 26_000,
            guaranteed_milli_gpus: 24_000,
            limit_milli_gpus: Some(96_000),
            waiting_milli_gpus: 16_000,
            waiting: 2,
            ..Holding::default()
        };
        let event = Happened {
            at: Timestamp::from_second(60).unwrap(),
            reason: "CapacityFull".to_owned(),
            message: "too little is free".to_owned(),
        };
        explanation(entry, &entries, Some(holding), vec![event], now).render(now, Paint(false))
    }

    #[test]
    fn a_job_that_waits() {
        let entries = vec![entry("first", 10, json!({})), entry("train", 60, json!({}))];
        assert_eq!(
            explain(entries, "train"),
            "\
lab/train is WAITING (CapacityFull), position 2 of 2 in the queue of vision
  Asks    8 GPUs in 2 pods, tenant vision, priority 0, waiting 49m
  Why     too little is free
  Tenant  vision holds 26 GPUs, owns 24, may hold 96; 2 jobs in line for 16 GPUs
  Ahead   lab/first: 8 GPUs, priority 0, waiting 49m
  Helps   • nothing is wrong: it starts when it is its turn (`prorata wait train -n lab`)
          • ask for fewer pods or fewer GPUs, if the job can do with them
          • say how long it runs at most, by the annotation `prorata.dev/max-duration: 90m` on the Job: it may then fill a gap before a reservation
  Log     49m ago: CapacityFull: too little is free
"
        );
    }

    #[test]
    fn when_a_job_starts() {
        let forecast = json!({
            "position": 1, "p50": "1970-01-01T00:55:00Z", "detail": "none comes before it",
            "asOf": "1970-01-01T00:50:00Z",
        });
        let waits = |forecast| entry("train", 60, json!({"status": {"forecast": forecast}}));
        let text = explain(vec![waits(forecast.clone())], "train");
        let starts = "\n  Starts  P50 ~5m (1970-01-01T00:55:00Z) – P90 in more than 30 days; none comes before it\n";
        assert!(text.contains(starts), "{text}");

        let mut both = forecast;
        both["p90"] = json!("1970-01-01T02:50:00Z");
        let text = explain(vec![waits(both)], "train");
        assert!(
            text.contains(" – P90 ~2h (1970-01-01T02:50:00Z); "),
            "{text}"
        );
    }

    #[test]
    fn a_job_that_runs() {
        let admitted = json!({
            "spec": {"admission": {"epoch": 1, "placement": [{"node": "a"}, {"node": "b"}]}},
            "status": {"state": "Admitted", "reason": "Admitted", "message": "its places are decided"},
        });
        let text = explain(vec![entry("sft", 10, admitted)], "sft");
        assert!(text.starts_with("lab/sft is ADMITTED\n"), "{text}");
        assert!(
            text.contains("  Nodes   a (1 pod), b (1 pod)\n") && !text.contains("Helps"),
            "{text}"
        );
    }

    #[test]
    fn a_name_may_carry_its_kind() {
        let names = ["a", "job/a", "job.batch/a"].map(object::name);
        assert_eq!(names, ["a"; 3]);
    }
}
