//! `tenant review`: whose guarantee no longer fits what they use.

use std::collections::BTreeMap;

use prorata_ledger::account::Team;
use prorata_ledger::fleet;
use prorata_ledger::levels::Levels;
use prorata_ledger::period::{DAY, Period};
use prorata_ledger::record::Extract;
use prorata_ledger::totals::gpu_hours;
use serde::Serialize;

use crate::api::Tenant;
use crate::cli::cluster::{Cluster, ClusterArgs};
use crate::cli::cost::{TeamsArgs, UsageArgs};
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format, OutputArgs, Paint, Tone};
use crate::cli::table::{Cell, Table};
use crate::cli::words::gpus;
use crate::cost::teams::teams;
use crate::tenancy::size::{Fit, OFTEN_PERCENT, fit};

/// What is judged by less says little.
const JUDGED_BY_MS: u64 = 7 * DAY;

/// Options of `tenant review`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
USED is what a tenant had no more than for 95 % of the time. A guarantee fits from that up to a fifth
more, in whole GPUs, which is what FITTING says. BORROWED are GPU-hours above the guarantee. Without a
period it is the last 30 days; guarantees are those of the cluster, or of --tenants.

Examples:
  prorata tenant review --ledger sqlite:///var/lib/prorata/ledger.db
  prorata tenant review --tenants tenants.yaml --month 2026-11 --all")]
pub struct Args {
    /// List those whose guarantee fits too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    teams: TeamsArgs,
    #[command(flatten)]
    usage: UsageArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let teams = match args.teams.is_named() {
        true => args.teams.read()?,
        false => of_cluster(&args.cluster).await?,
    };
    let extract = args.usage.recent().await?;
    let period = fleet::known(&extract);
    if period.length_ms() < JUDGED_BY_MS {
        eprintln!("note: {period} is less than a week, which says little");
    }
    let mut rows = review(&extract, &teams, period);
    rows.retain(|row| args.all || row.fit != Fit::Fits);
    show(&rows, args.output)
}

async fn of_cluster(args: &ClusterArgs) -> Result<BTreeMap<String, Team>, Failure> {
    let tenants = Cluster::connect(args).await?.list_all::<Tenant>().await?;
    Ok(teams(&tenants))
}

/// A tenant, what it is guaranteed and what it uses. GPUs are in thousandths.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    tenant: String,
    guaranteed_milli_gpus: u64,
    used_milli_gpus: u64,
    most_milli_gpus: u64,
    borrowed_gpu_hours: String,
    fitting_gpus: u64,
    #[serde(serialize_with = "name")]
    fit: Fit,
}

/// Every team, by name.
fn review(extract: &Extract, teams: &BTreeMap<String, Team>, period: Period) -> Vec<Row> {
    let row = |(tenant, team): (&String, &Team)| {
        let holds = extract
            .holds
            .iter()
            .filter(|hold| hold.payer.tenant == *tenant);
        let levels = Levels::of(holds, period);
        let (guaranteed, used) = (
            team.guaranteed_milli.unwrap_or_default(),
            levels.at_most(OFTEN_PERCENT),
        );
        let (fit, fitting_gpus) = fit(guaranteed, used);
        Row {
            tenant: tenant.clone(),
            guaranteed_milli_gpus: guaranteed,
            used_milli_gpus: used,
            most_milli_gpus: levels.most(),
            borrowed_gpu_hours: gpu_hours(levels.above(guaranteed)),
            fitting_gpus,
            fit,
        }
    };
    teams.iter().map(row).collect()
}

fn name<S: serde::Serializer>(fit: &Fit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match fit {
        Fit::Fits => "fits",
        Fit::More => "more than used",
        Fit::Less => "less than used",
    })
}

fn show(rows: &[Row], output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &rows),
        Format::Name => {
            let line = |row: &Row| format!("tenant.prorata.dev/{}\n", row.tenant);
            output::print(&rows.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            if rows.is_empty() {
                eprintln!("every guarantee fits what its tenant uses");
                return Ok(());
            }
            output::print(&table(rows).render(!output.no_headers, Paint::detect()))
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "TENANT",
        "GUARANTEED",
        "USED",
        "MOST",
        "BORROWED",
        "FITTING",
        "VERDICT",
    ]);
    for row in rows {
        let (verdict, tone) = match row.fit {
            Fit::Fits => ("fits", Tone::Good),
            Fit::More => ("guaranteed more than it uses", Tone::Wait),
            Fit::Less => ("uses more than it is guaranteed", Tone::Bad),
        };
        table.push(vec![
            row.tenant.as_str().into(),
            gpus(row.guaranteed_milli_gpus).into(),
            gpus(row.used_milli_gpus).into(),
            gpus(row.most_milli_gpus).into(),
            row.borrowed_gpu_hours.as_str().into(),
            row.fitting_gpus.to_string().into(),
            Cell::new(verdict, tone),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn guarantees_are_held_against_what_was_used() {
        let hold = |tenant: &str, gpu_milli: u64, until_ms: u64| {
            json!({
                "jobUid": tenant, "epoch": 1, "node": "n", "model": "a", "tenant": tenant, "environment": "", "namespace": "",
                "user": "", "costCenter": "", "department": "", "kind": "Job", "job": "j", "priorityClass": "", "pool": "",
                "mode": "exclusive", "gpuMilli": gpu_milli, "fromMs": 0, "busyMilli": null,
                "end": {"atMs": until_ms, "why": "finished", "estimated": false},
            })
        };
        let extract: Extract = serde_json::from_value(json!({
            "fromMs": 0, "untilMs": 10 * DAY, "keptUntilMs": 10 * DAY, "stock": [], "gaps": [], "names": {},
            "holds": [hold("vision", 3000, 10 * DAY), hold("vision", 4000, DAY), hold("audio", 1000, DAY / 4)],
        }))
        .unwrap();
        let team = |milli| Team {
            budget: None,
            guaranteed_milli: Some(milli),
        };
        let teams = [
            ("audio".to_owned(), team(2000)),
            ("vision".to_owned(), team(4000)),
        ]
        .into();
        let rows = review(&extract, &teams, fleet::known(&extract));
        // Audio held a GPU for 2.5 % of the time; vision 7 for a tenth of it, and 3 otherwise.
        let told = |row: &Row| {
            (
                row.used_milli_gpus,
                row.most_milli_gpus,
                row.fitting_gpus,
                row.fit,
            )
        };
        assert_eq!(told(&rows[0]), (0, 1000, 0, Fit::More));
        assert_eq!(told(&rows[1]), (7000, 7000, 9, Fit::Less));
        assert_eq!(rows[1].borrowed_gpu_hours, "72.0");
    }
}
