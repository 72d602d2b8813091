//! `submit`: creates what a file describes, if the API server would take all of it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, DynamicObject, PostParams};

use super::cluster::{Cluster, ClusterArgs};
use super::failure::Failure;
use super::object::{self, Target};
use super::output::{self, Format, OutputArgs};
use super::wait::{self, Milestone};
use crate::api::labels;
use crate::duration;
use crate::manifest::Document;

/// Options of `submit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The API server checks everything first, the admission policies included; only if it would take all of
it, anything is created.

Examples:
  prorata submit train.yaml
  prorata submit train.yaml --wait=finished --timeout 12h
  prorata submit train.yaml --dry-run -o yaml      what would be stored
  kubectl kustomize lab | prorata submit -")]
pub struct Args {
    /// A file of YAML or JSON with one or more objects; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check it alone, and create nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until every job is there [default without a value: admitted]
    #[arg(long, value_enum, value_name = "MILESTONE", num_args = 0..=1, require_equals = true, default_missing_value = "admitted", conflicts_with = "dry_run")]
    wait: Option<Milestone>,
    /// How long to wait at most, as 90s or 12h [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, requires = "wait")]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// An object that is still to be created, and how.
struct Draft {
    place: String,
    api: Api<DynamicObject>,
    object: DynamicObject,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let documents = read(&args.file)?;
    let cluster = Cluster::connect(&args.cluster).await?;
    let mut drafts = Vec::new();
    for document in &documents {
        drafts.push(draft(&cluster, args.cluster.namespace.as_deref(), document).await?);
    }
    let mut checked = Vec::new();
    for draft in &drafts {
        checked.push(draft.create(true).await?);
    }
    if args.dry_run {
        return show(&checked, args.output, " (dry run)");
    }
    let mut created = Vec::new();
    for draft in &drafts {
        match draft.create(false).await {
            Ok(object) => created.push(object),
            Err(failure) => {
                show(&created, args.output, "")?;
                return Err(failure);
            }
        }
    }
    show(&created, args.output, "")?;
    match args.wait {
        Some(milestone) => wait_for_all(args, &cluster, &created, milestone).await,
        None => Ok(()),
    }
}

/// Every document of the file; there is at least one.
fn read(file: &Path) -> Result<Vec<Document>, Failure> {
    let documents = if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
        Document::parse("standard input", &text)
    } else {
        Document::load(file)
    };
    let documents = documents.map_err(Failure::problems)?;
    if documents.is_empty() {
        let what = format!("{} is empty", file.display());
        return Err(Failure::input(what, "write a Job"));
    }
    Ok(documents)
}

async fn draft(
    cluster: &Cluster,
    namespace: Option<&str>,
    document: &Document,
) -> Result<Draft, Failure> {
    let needed = |field: &str, remedy: &str| match document.text(field) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::problems(
            document.problem(field, "is missing", remedy).into(),
        )),
    };
    let version = needed("apiVersion", "write `apiVersion: batch/v1`")?;
    let kind = needed("kind", "write `kind: Job`")?;
    if document.text("metadata.generateName").is_none() {
        needed("metadata.name", "write `metadata: {name: NAME}`")?;
    }
    let own = document.text("metadata.namespace");
    if let (Some(own), Some(named)) = (own, namespace)
        && own != named
    {
        let what = format!("is not the namespace `{named}` that -n names");
        let problem = document.problem("metadata.namespace", what, "remove one of the two");
        return Err(Failure::problems(problem.into()));
    }
    let namespace = own.unwrap_or_else(|| cluster.namespace());
    let object = serde_json::from_value(document.to_json())
        .map_err(|error| Failure::input(format!("{kind}: {error}"), "correct the file"))?;
    Ok(Draft {
        place: document.place(),
        api: object::api(cluster.client(), namespace, &version, &kind).await?,
        object,
    })
}

impl Draft {
    /// Has the API server create it, or say whether it would.
    async fn create(&self, dry_run: bool) -> Result<DynamicObject, Failure> {
        let params = PostParams {
            dry_run,
            field_manager: None,
        };
        let created = self.api.create(&params, &self.object).await;
        created.map_err(|error| self.refused(error))
    }

    fn refused(&self, error: kube::Error) -> Failure {
        let kind = self.object.types.as_ref().map(|types| types.kind.clone());
        let name = self.object.metadata.name.clone();
        let name = name.or(self.object.metadata.generate_name.clone());
        let attempt = format!(
            "create {} {}",
            kind.unwrap_or_default(),
            name.unwrap_or_default()
        );
        let exists = matches!(&error, kube::Error::Api(status) if status.code == 409);
        let wrong = matches!(&error, kube::Error::Api(status)
            if matches!(status.code, 400 | 422) || status.message.contains("denied request"));
        let failure = Failure::api(&attempt, error);
        if exists {
            return failure.help("cancel the old one, or write generateName instead of name");
        }
        if wrong {
            let what = format!("{}: {}", self.place, failure.what());
            return Failure::input(what, "correct the file; nothing has been created");
        }
        failure
    }
}

fn show(objects: &[DynamicObject], output: OutputArgs, note: &str) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &objects),
        Format::Name => {
            let line = |o: &DynamicObject| format!("{}\n", object::resource_name(o));
            output::print(&objects.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let line = |o: &DynamicObject| {
                let namespace = o.namespace().unwrap_or_default();
                format!(
                    "{} of namespace {namespace} {}{note}\n",
                    object::resource_name(o),
                    fate(o)
                )
            };
            output::print(&objects.iter().map(line).collect::<String>())
        }
    }
}

/// What becomes of an object that has just been created.
fn fate(object: &DynamicObject) -> &'static str {
    let annotations = object.annotations();
    if annotations
        .get(labels::HELD)
        .is_some_and(|held| held == "true")
    {
        "is on hold"
    } else if annotations.contains_key(labels::CREATED_BY) {
        "is queued"
    } else {
        "is created, and passes the queue: it asks for no GPUs, or its namespace has no tenant"
    }
}

/// How far they have come is part of the output for people; others read the objects there, alone.
async fn wait_for_all(
    args: &Args,
    cluster: &Cluster,
    created: &[DynamicObject],
    milestone: Milestone,
) -> Result<(), Failure> {
    let deadline = args
        .timeout
        .map(|timeout| tokio::time::Instant::now() + timeout);
    for object in created {
        let kind = object.types.as_ref().map(|types| types.kind.as_str());
        if kind == Some("Job") || object.annotations().contains_key(labels::CREATED_BY) {
            let target = Target::created(cluster, object).await?;
            let reached = wait::until(&target, milestone, deadline).await?;
            let line = format!("{} {reached}\n", target.full_name());
            if let Some(failure) = reached.failure(&target.full_name(), milestone) {
                return Err(failure);
            }
            match args.output.output {
                Format::Table | Format::Wide => output::print(&line)?,
                Format::Json | Format::Yaml | Format::Name => eprint!("{line}"),
            }
        }
    }
    Ok(())
}
