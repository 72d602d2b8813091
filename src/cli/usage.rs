//! `usage`: how long a tenant's jobs held GPUs, and how busy those were. Without prices.

use prorata_ledger::bill::{self, Line};
use prorata_ledger::record::Extract;
use prorata_ledger::totals::{By, Sum, exact_gpu_hours, gpu_hours, percent, totals};
use serde::Serialize;

use super::cluster::{Cluster, ClusterArgs};
use super::cost::{UsageArgs, by, title};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, Paint};
use super::table::{Cell, Table};

/// Options of `usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of the tenant of the namespace unless one is named, or all are asked for. Without a period it is this month so far.
COMPUTING is how busy the GPUs were, where that was measured. PREEMPTED is what starts held that had to
leave for another job.

Examples:
  prorata usage
  prorata usage --tenant vision --by user --month 2026-11
  prorata usage --all-tenants --by tenant")]
pub struct Args {
    /// This tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Of all, and of what belongs to none
    #[arg(short = 'A', long, conflicts_with = "tenant")]
    all_tenants: bool,
    /// By what it is added up
    #[arg(long, value_parser = by(), default_value = "job", value_name = "WHAT")]
    by: By,
    #[command(flatten)]
    usage: UsageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let extract = args.usage.read().await?;
    let tenant = match &args.tenant {
        _ if args.all_tenants => None,
        Some(tenant) => Some(tenant.clone()),
        None => Some(own(args, &extract).await?),
    };
    let lines = bill::unpriced(&extract);
    let is_theirs = |line: &&Line| tenant.is_none() || line.tenant() == tenant.as_deref();
    let mut rows = totals(&extract, lines.iter().filter(is_theirs), args.by);
    rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.held));
    show(args, tenant.as_deref(), &rows)
}

/// The tenant of the namespace that is spoken of.
async fn own(args: &Args, extract: &Extract) -> Result<String, Failure> {
    let cluster = Cluster::connect(&args.cluster).await;
    let cluster = cluster.map_err(|failure| {
        failure.help("name a cluster by --kubeconfig, a tenant by --tenant, or ask for all with -A")
    })?;
    tenant_of(extract, cluster.namespace())
}

/// The tenant that last held something in a namespace.
fn tenant_of(extract: &Extract, namespace: &str) -> Result<String, Failure> {
    let mut holds = extract
        .holds
        .iter()
        .rev()
        .filter(|hold| hold.payer.namespace == namespace);
    match holds.next() {
        Some(hold) if hold.payer.tenant.is_empty() => Ok(bill::UNALLOCATED.to_owned()),
        Some(hold) => Ok(hold.payer.tenant.clone()),
        None => Err(Failure::input(
            format!("nothing was held in namespace {namespace}"),
            "name a tenant by --tenant, another namespace by -n, or another period by --month",
        )),
    }
}

/// For programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    gpu_hours: String,
    preempted_gpu_hours: String,
    busy_thousandths: Option<u128>,
}

impl<'a> Row<'a> {
    fn of(name: &'a str, sum: &Sum) -> Self {
        Self {
            name,
            gpu_hours: exact_gpu_hours(sum.held),
            preempted_gpu_hours: exact_gpu_hours(sum.preempted),
            busy_thousandths: sum.busy_milli(),
        }
    }
}

fn show(args: &Args, tenant: Option<&str>, rows: &[(String, Sum)]) -> Result<(), Failure> {
    match args.output.output {
        Format::Json | Format::Yaml => {
            let rows: Vec<Row<'_>> = rows.iter().map(|(name, sum)| Row::of(name, sum)).collect();
            let told = serde_json::json!({"tenant": tenant, "rows": rows});
            output::serialised(args.output.output, &told)
        }
        Format::Name => output::print(
            &rows
                .iter()
                .map(|(name, _)| format!("{name}\n"))
                .collect::<String>(),
        ),
        Format::Table | Format::Wide => {
            if rows.is_empty() {
                let who = tenant.unwrap_or("nobody");
                eprintln!("{who} held nothing in this period");
            }
            let text = table(title(args.by), rows).render(!args.output.no_headers, Paint::detect());
            output::print(&text)
        }
    }
}

fn table(title: &'static str, rows: &[(String, Sum)]) -> Table {
    let mut table = Table::new(&[title, "GPU-HOURS", "COMPUTING", "PREEMPTED"]);
    let hours = |time: u128| {
        Cell::from(if time > 0 {
            gpu_hours(time)
        } else {
            String::new()
        })
    };
    for (name, sum) in rows {
        let busy = sum.busy_milli().map(percent).unwrap_or_default();
        table.push(vec![
            name.as_str().into(),
            hours(sum.held),
            busy.into(),
            hours(sum.preempted),
        ]);
    }
    if rows.len() > 1 {
        let held = rows.iter().map(|(_, sum)| sum.held).sum();
        let preempted = rows.iter().map(|(_, sum)| sum.preempted).sum();
        table.push(vec!["all".into(), hours(held), "".into(), hours(preempted)]);
    }
    table
}
