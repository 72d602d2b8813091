//! `what-if`: what would become of a Job if it were created now. The very same core decides, on
//! what its caller may read; nothing is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Moment;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use prorata_core::{Event, Job, Placement, Policy, Reason, Scheduler, Snapshot, Time, Verdict};
use prorata_simulator::forecast::{Answer, History, Question, what_if};
use serde::Serialize;

use super::cluster::{Cluster, ClusterArgs, Scope};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs};
use super::words;
use crate::api::{QueuedJob, Tenant, labels};
use crate::clock::Clock;
use crate::config::{API_VERSION, Configuration, KIND, gpu_resource};
use crate::controller;
use crate::driver::Settings;
use crate::manifest::{Document, Problems};
use crate::observed::Observed;
use crate::status::Standing;
use crate::translate::{self, JobView, PodView, RecordView};
use crate::watch::{self, Kind, Object};

/// What stands for the UID that the Job would get.
const UID: &str = "what-if";

/// Options of `what-if`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs the right to list nodes, namespaces, tenants, priorityclasses, queuedjobs, jobs and pods. When
it would start is foretold from the run times of the Jobs that have ended and are still there.

Examples:
  prorata what-if train.yaml
  prorata what-if train.yaml -n vision -o json
  prorata what-if train.yaml --config prorata.yaml")]
pub struct Args {
    /// The Job's manifest (YAML or JSON)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The Configuration of the controller [default: what it does where nothing is configured]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The resource that pods name to get a GPU [default: the Configuration's]
    #[arg(long, value_name = "NAME", value_parser = gpu_resource)]
    gpu_resource: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// The answer as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    job: String,
    /// Whether it would start at once, after those below have left.
    starts_now: bool,
    /// How many of its pods would have their place on each node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    nodes: BTreeMap<String, u32>,
    /// Who would have to leave for it.
    evicts: Vec<Victim>,
    /// Why it would wait: a stable code, and for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// When it would start.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p90: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Victim {
    job: String,
    rule: &'static str,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let job = manifest(args)?;
    let settings = chosen(args)?;
    let gpu = &settings.gpu_resource;
    let cluster = Cluster::connect(&args.cluster).await?;
    let (lists, history) = listed(&cluster, job, gpu).await?;
    let mut observed = Observed::new(gpu, settings.classes.clone(), settings.patience);
    let facts = observed.begin(lists).facts;
    let (asked, facts) = apart(facts);
    let asked = asked.ok_or_else(|| {
        Failure::input(
            "the queue would have nothing to do with it",
            "ask for GPUs in its pod template, and name a namespace of a tenant by -n",
        )
    })?;
    let now = Clock::default().now();
    let answer = what_if(
        &snapshot(settings.policy, facts, now),
        now,
        asked.clone(),
        &history,
        &Question::default(),
    );
    let told = told(&asked, &answer, observed.obstacle(UID).as_deref());
    match args.output.output {
        Format::Json | Format::Yaml => output::serialised(args.output.output, &told),
        Format::Name => output::print(&format!("job.batch/{}\n", asked.id.name())),
        Format::Table | Format::Wide => output::print(&told.render(Timestamp::now())),
    }
}

/// The Job of the file, as the queue would see it when it is created.
fn manifest(args: &Args) -> Result<BatchJob, Failure> {
    let file = args.file.display();
    let help = "name a file with the manifest of one batch/v1 Job";
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::input(format!("{file}: {error}"), help))?;
    let mut job: BatchJob = serde_saphyr::from_str(&text)
        .map_err(|error| Failure::input(format!("{file}: {error}"), help))?;
    job.metadata.uid = Some(UID.to_owned());
    job.metadata.creation_timestamp = Some(Moment(Timestamp::now()));
    if job.metadata.name.is_none() {
        job.metadata.name = Some(job.metadata.generate_name.clone().unwrap_or_default() + "new");
    }
    // The admission policy does the same, and a Job without it would count as started already.
    if let Some(spec) = &mut job.spec {
        spec.suspend = Some(true);
    }
    Ok(job)
}

/// How the controller decides. Files that its Configuration names need not be here.
fn chosen(args: &Args) -> Result<Settings, Failure> {
    let least = format!("apiVersion: {API_VERSION}\nkind: {KIND}\nextender: {{plainHttp: true}}\n");
    let documents = match &args.config {
        Some(file) => Document::load(file),
        None => Document::parse("the default", &least),
    };
    let help = "name the Configuration of the controller, and see `prorata validate`";
    let wrong = |problems: Problems| Failure::input(problems.to_string(), help);
    let documents = documents.map_err(wrong)?;
    let [document] = documents.as_slice() else {
        return Err(Failure::input("not one document", help));
    };
    let config = Configuration::read(document).map_err(wrong)?;
    let mut settings = controller::settings(&config);
    settings.gpu_resource = args.gpu_resource.clone().unwrap_or(settings.gpu_resource);
    Ok(settings)
}

type Lists = BTreeMap<Kind, Vec<Object>>;

/// All that the controller watches, with the new Job among the others, and how long Jobs ran.
async fn listed(
    cluster: &Cluster,
    mut job: BatchJob,
    gpu: &str,
) -> Result<(Lists, History), Failure> {
    if job.metadata.namespace.is_none() {
        job.metadata.namespace = Some(cluster.namespace().to_owned());
    }
    let nodes: Vec<Node> = cluster.list_all().await?;
    let namespaces: Vec<Namespace> = cluster.list_all().await?;
    let classes: Vec<PriorityClass> = cluster.list_all().await?;
    let tenants: Vec<Tenant> = cluster.list_all().await?;
    let everywhere = || ListParams::default();
    let records: Vec<QueuedJob> = cluster.list(&Scope::All, everywhere()).await?;
    let mut jobs: Vec<BatchJob> = cluster.list(&Scope::All, everywhere()).await?;
    let held = watch::fields(Kind::Pod).unwrap_or_default();
    let pods: Vec<Pod> = cluster.list(&Scope::All, everywhere().fields(held)).await?;
    let history = history(&jobs, &namespaces, gpu);
    jobs.push(job);
    let node = |node: &Node| {
        let is_ready = translate::is_ready(node);
        Some(Object::Node(translate::node(node, gpu), is_ready))
    };
    let record = |record: &QueuedJob| Some(Object::QueuedJob(Box::new(RecordView::new(record))));
    let view = |job: &BatchJob| Some(Object::Job(Box::new(JobView::new(job, gpu))));
    let pod = |pod: &Pod| Some(Object::Pod(PodView::new(pod, gpu)));
    let lists = [
        (Kind::Node, views(&nodes, node)),
        (Kind::Namespace, views(&namespaces, watch::namespace)),
        (Kind::PriorityClass, views(&classes, watch::priority)),
        (Kind::Tenant, views(&tenants, watch::tenant)),
        (Kind::QueuedJob, views(&records, record)),
        (Kind::Job, views(&jobs, view)),
        (Kind::Pod, views(&pods, pod)),
    ];
    Ok((lists.into(), history))
}

fn views<K>(all: &[K], view: impl Fn(&K) -> Option<Object>) -> Vec<Object> {
    all.iter().filter_map(view).collect()
}

/// How long the Jobs ran that have ended, and which arrived, in the order of their creation.
fn history(jobs: &[BatchJob], namespaces: &[Namespace], gpu: &str) -> History {
    let tenants: BTreeMap<String, &str> = namespaces
        .iter()
        .filter_map(|space| {
            Some((
                space.name_any(),
                space.labels().get(labels::TENANT)?.as_str(),
            ))
        })
        .collect();
    let known = |job: &BatchJob| {
        let view = JobView::new(job, gpu);
        let tenant = tenants
            .get(view.id.namespace())
            .filter(|_| view.is_queued)?;
        let status = job.status.as_ref();
        let since = status.and_then(|status| status.start_time.as_ref());
        let until = status.and_then(|status| status.completion_time.as_ref());
        let ran = since
            .zip(until)
            .map(|(since, until)| words::between(since.0, until.0));
        Some((view.job((*tenant).into(), 0), ran))
    };
    let mut known: Vec<(Job, _)> = jobs.iter().filter_map(known).collect();
    known.sort_by_key(|(job, _)| (job.submitted, job.id.clone()));
    let mut history = History::default();
    for (job, ran) in &known {
        history.arrived(job);
        if let Some(ran) = ran {
            history.ended(job, *ran);
        }
    }
    history
}

/// The Job in question apart from what is so without it.
fn apart(facts: Vec<Event>) -> (Option<Job>, Vec<Event>) {
    let mut asked = None;
    let mut others = Vec::new();
    for fact in facts {
        match fact {
            Event::JobSubmitted(job) if job.id.uid() == UID => asked = Some(job),
            fact => others.push(fact),
        }
    }
    (asked, others)
}

fn snapshot(policy: Policy, facts: Vec<Event>, now: Time) -> Snapshot {
    let mut core = Scheduler::new(policy);
    facts.into_iter().for_each(|fact| core.observe(now, fact));
    core.snapshot()
}

fn told(job: &Job, answer: &Answer, obstacle: Option<&str>) -> Told {
    let standing = answer.reason.clone().map(|reason: Reason| {
        let verdict = Verdict::Waiting(reason);
        Standing::of(&verdict, obstacle)
    });
    let mut nodes = BTreeMap::new();
    for slot in answer.starts.iter().flat_map(Placement::slots) {
        *nodes.entry(slot.node.to_string()).or_default() += 1;
    }
    let victim = |(job, rule): &(prorata_core::JobId, prorata_core::Rule)| Victim {
        job: job.to_string(),
        rule: rule.name(),
    };
    let eta = answer.eta.unwrap_or_default();
    Told {
        job: job.id.to_string(),
        starts_now: answer.starts.is_some(),
        nodes,
        evicts: answer.victims.iter().map(victim).collect(),
        reason: standing.as_ref().map(|standing| standing.reason.clone()),
        message: standing.map(|standing| standing.message),
        p50: eta.p50.and_then(stamp),
        p90: eta.p90.and_then(stamp),
    }
}

fn stamp(at: Time) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(at.as_millis() / 1000).ok()?).ok()
}

impl Told {
    fn render(&self, now: Timestamp) -> String {
        let mut text = format!("{}\n", self.job);
        let mut line = |title: &str, value: &str| text.push_str(&format!("  {title:<8}{value}\n"));
        line("Starts", &self.starts(now));
        for (node, pods) in &self.nodes {
            let pods = words::count(*pods, "pod");
            line("On", &format!("{node}: {pods}"));
        }
        for Victim { job, rule } in &self.evicts {
            line("Evicts", &format!("{job} (by {rule})"));
        }
        if let (Some(reason), Some(message)) = (&self.reason, &self.message) {
            line("Waits", &format!("{reason}: {message}"));
        }
        text
    }

    fn starts(&self, now: Timestamp) -> String {
        let within = |at| words::span(words::between(now, at));
        match (self.p50, self.p90) {
            _ if self.starts_now && self.evicts.is_empty() => "at once".to_owned(),
            _ if self.starts_now => "once those below have left".to_owned(),
            (None, _) => "nobody can say when".to_owned(),
            (Some(p50), None) => format!("as likely as not within {}", within(p50)),
            (Some(p50), Some(p90)) => format!(
                "as likely as not within {}, nine times out of ten within {}",
                within(p50),
                within(p90)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::{JobId, Resources, Rule};
    use prorata_simulator::forecast::Eta;
    use serde_json::json;

    fn job() -> Job {
        let id = JobId::new("red", "train", UID);
        Job::new(id, "red".into(), 1, Resources::gpus(4))
    }

    #[test]
    fn says_when_and_why_not_now() {
        let answer = Answer {
            starts: None,
            victims: Vec::new(),
            reason: Some(Reason::CapacityFull { gang: 1, best: 0 }),
            eta: Some(Eta {
                p50: Some(Time::from_millis(3_600_000)),
                p90: Some(Time::from_millis(9_000_000)),
            }),
        };
        let told = told(&job(), &answer, None);
        assert_eq!(
            told.render(Timestamp::UNIX_EPOCH),
            "red/train\n  Starts  as likely as not within 1h, nine times out of ten within 2h30m\n  \
             Waits   CapacityFull: too little is free for its pod to start\n"
        );
        let value = serde_json::to_value(&told).unwrap();
        assert_eq!(value["startsNow"], json!(false));
        assert_eq!(value["p50"], json!("1970-01-01T01:00:00Z"));
    }

    #[test]
    fn says_whom_it_would_evict() {
        let answer = Answer {
            starts: Some(
                [prorata_core::Slot::whole("a".into(), Default::default())]
                    .into_iter()
                    .collect(),
            ),
            victims: vec![(JobId::new("red", "dev", "d"), Rule::Priority)],
            reason: None,
            eta: Some(Eta::default()),
        };
        let text = told(&job(), &answer, None).render(Timestamp::UNIX_EPOCH);
        assert_eq!(
            text,
            "red/train\n  Starts  once those below have left\n  On      a: 1 pod\n  Evicts  red/dev (by priority)\n"
        );
    }

    #[test]
    fn the_job_in_question_is_no_part_of_what_is_so() {
        let facts = vec![Event::JobSubmitted(job()), Event::NodeGone("a".into())];
        let (asked, others) = apart(facts);
        assert_eq!((asked, others.len()), (Some(job()), 1));
    }
}
