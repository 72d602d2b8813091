//! `tenant plan`: what a file would create, change and remove.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use k8s_openapi::jiff::Timestamp;

use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Paint, Tone};
use crate::manifest::Problems;
use crate::tenancy::{Comparison, Difference, Kind, Plan, Settings, Store, Wanted};
use crate::{tenants, translate};

use super::file::{self, Described};
use super::{SettingsArgs, kept};

/// Exit code of `--check` where something differs.
const DIFFERS: u8 = 1;
/// Changes over time that are shown, with what is due now.
const CHANGES_MAX: usize = 4;
/// Characters of a value that are shown.
const VALUE_MAX: usize = 100;

/// Options of `tenant plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is an object: + would be created, ~ changed, - removed, ! is in the way and left alone.

Examples:
  prorata tenant plan vision.yaml
  prorata tenant plan vision.yaml --check                # exit code 1 if anything differs
  prorata tenant plan vision.yaml --offline              # all objects, without a cluster
  prorata tenant plan vision.yaml --offline --manifests  # the same as YAML")]
pub struct Args {
    /// A file with Tenants
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ask no cluster: print all that the Tenants want
    #[arg(long)]
    offline: bool,
    /// Print the objects that would be written as YAML, and nothing else
    #[arg(long)]
    manifests: bool,
    /// Exit with 1 if anything differs
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<ExitCode, Failure> {
    let described = file::read(&args.file)?;
    let settings = args.settings.settings();
    let cluster = match args.offline {
        true => None,
        false => Some(Cluster::connect(&args.cluster).await?),
    };
    let (paint, mut text, mut differs) = (Paint::detect(), String::new(), false);
    for tenant in &described {
        let outlook = Outlook::of(cluster.as_ref(), tenant, &settings).await?;
        differs |= !outlook.comparison.is_empty() || outlook.is_new || !outlook.own.is_empty();
        match args.manifests {
            true => text.push_str(&outlook.manifests()?),
            false => text.push_str(&outlook.text(paint)),
        }
    }
    output::print(&text)?;
    Ok(match args.check && differs {
        true => ExitCode::from(DIFFERS),
        false => ExitCode::SUCCESS,
    })
}

/// What would become of a Tenant.
struct Outlook {
    name: String,
    /// There is no Tenant of this name yet.
    is_new: bool,
    /// What the Tenant itself would be changed in.
    own: Vec<Difference>,
    plan: Plan,
    comparison: Comparison,
    /// Objects that are wanted and in the way: somebody else's of the same name.
    foreign: Vec<Wanted>,
    /// What is due to it now and next, where that changes over time.
    due: Vec<String>,
}

impl Outlook {
    async fn of(
        cluster: Option<&Cluster>,
        described: &Described,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let name = described.name();
        let (found, store) = match cluster {
            Some(cluster) => (
                kept::tenant(cluster, &name).await?,
                kept::of(cluster, &name).await?,
            ),
            None => (None, Store::default()),
        };
        let uid = found
            .as_ref()
            .and_then(|found| found.metadata.uid.as_deref());
        let plan = Plan::new(
            (&name, uid),
            &described.tenant.spec,
            &store.left(&name),
            settings,
        );
        let plan = plan.map_err(|wrong| problems(described, wrong))?;
        let mut comparison = Comparison::new(&name, &plan, &store);
        let mut foreign = std::mem::take(&mut comparison.foreign);
        if let Some(cluster) = cluster {
            for wanted in comparison
                .missing
                .iter()
                .filter(|wanted| !wanted.kind.is_namespaced())
            {
                if kept::is_foreign(cluster, &name, (wanted.kind, &wanted.name)).await? {
                    foreign.push(wanted.clone());
                }
            }
        }
        comparison
            .missing
            .retain(|wanted| !foreign.contains(wanted));
        let own = found.as_ref().map_or_else(Vec::new, |found| {
            let found = serde_json::to_value(found).unwrap_or_default();
            crate::tenancy::differences(&described.manifest, &found)
        });
        Ok(Self {
            is_new: found.is_none(),
            own,
            plan,
            comparison,
            foreign,
            due: due(&name, &described.tenant.spec),
            name,
        })
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let mut line = |sign: &str, tone, title: &str| {
            let _ = writeln!(text, "{}", paint.paint(&format!("{sign} {title}"), tone));
        };
        let title = format!("Tenant {}", self.name);
        match (self.is_new, self.own.is_empty()) {
            (true, _) => line("+", Tone::Good, &title),
            (false, false) => line("~", Tone::Wait, &title),
            (false, true) => {}
        }
        self.own
            .iter()
            .for_each(|difference| line("   ", Tone::Plain, &change(difference)));
        for wanted in &self.foreign {
            let note = match wanted.kind {
                Kind::Namespace => {
                    "is there and is not Prorata's: `prorata tenant adopt` hands it over"
                }
                _ => "is there and is not Prorata's: rename it, or the environment",
            };
            line("!", Tone::Bad, &format!("{} {note}", wanted.title()));
        }
        for wanted in &self.comparison.missing {
            line("+", Tone::Good, &wanted.title());
        }
        for (wanted, differences) in &self.comparison.changed {
            line("~", Tone::Wait, &wanted.title());
            let told = differences
                .iter()
                .filter(|difference| !difference.path.contains("annotations"));
            told.for_each(|difference| line("   ", Tone::Plain, &change(difference)));
        }
        for (kind, namespace, name) in &self.comparison.unwanted {
            let namespace = namespace.as_deref().unwrap_or_default();
            line("-", Tone::Bad, &format!("{kind:?} {namespace}/{name}"));
        }
        let _ = writeln!(text, "{}", paint.paint(&self.summary(), Tone::Dim));
        text
    }

    fn summary(&self) -> String {
        let Comparison {
            missing,
            changed,
            unwanted,
            unchanged,
            ..
        } = &self.comparison;
        let mut summary = format!(
            "{}: {} to create, {} to change, {} to remove, {unchanged} as wanted",
            self.name,
            missing.len(),
            changed.len(),
            unwanted.len()
        );
        for part in &self.plan.parts {
            let owned = part.owned();
            let owns = match (part.is_left, owned.is_empty()) {
                (true, _) => "is of no environment any more, and is kept".to_owned(),
                (false, true) => "owns nothing, and borrows".to_owned(),
                (false, false) => format!("owns {owned}"),
            };
            let _ = write!(summary, "\n  {} ({}) {owns}", part.namespace, part.child);
        }
        for line in &self.due {
            let _ = write!(summary, "\n  {line}");
        }
        summary
    }

    fn manifests(&self) -> Result<String, Failure> {
        let changed = self.comparison.changed.iter().map(|(wanted, _)| wanted);
        let mut text = String::new();
        for wanted in self.comparison.missing.iter().chain(changed) {
            let yaml = crate::install::to_yaml(&wanted.body);
            let yaml = yaml.map_err(|error| Failure::new(error.to_string()))?;
            let _ = write!(text, "---\n{yaml}");
        }
        Ok(text)
    }
}

/// What is due now and at the next changes.
fn due(name: &str, spec: &crate::api::TenantSpec) -> Vec<String> {
    let base = translate::tenant(name, spec).ok();
    let terms = base.and_then(|base| translate::terms(base, spec).ok());
    let terms = terms.filter(|terms| !terms.is_fixed());
    terms.map_or_else(Vec::new, |terms| {
        tenants::outlook(&terms, Timestamp::now(), CHANGES_MAX)
    })
}

fn problems(described: &Described, wrong: Vec<crate::tenancy::Wrong>) -> Failure {
    let document = &described.document;
    let problem =
        |wrong: crate::tenancy::Wrong| document.problem(&wrong.field, wrong.what, wrong.remedy);
    Failure::problems(Problems(wrong.into_iter().map(problem).collect()))
}

fn change(difference: &Difference) -> String {
    let short = |value: &serde_json::Value| {
        let text = value.to_string();
        match text.char_indices().nth(VALUE_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    let found = difference
        .found
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), short);
    format!(
        "{}: {found} → {}",
        difference.path,
        short(&difference.wanted)
    )
}
