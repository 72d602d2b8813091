//! `doctor`: looks an installation over, and says of everything what it saw and what to do about it.
//!
//! What can be seen from the API server is all that it goes by. What its caller may not read is
//! called unknown, never in order.

mod cluster_wide;
mod contents;
mod finding;
mod installed;
mod pools;
mod running;

use super::cluster::{Cluster, ClusterArgs};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, Paint};
use super::table::{Cell, Table};
use crate::api::labels;
use crate::config::gpu_resource;
use finding::{Finding, Verdict};

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Verdicts: ok, warn (look at it when you can), fail (something does not work), unknown (you may not
read it). It exits with 1 when anything fails.

Examples:
  prorata doctor
  prorata doctor -o json | jq '.[] | select(.verdict != \"ok\")'")]
pub struct Args {
    /// The resource that pods name to get a GPU
    #[arg(long, value_name = "NAME", default_value = labels::GPU_RESOURCE, value_parser = gpu_resource)]
    gpu_resource: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    // Without an answer to this one there is nothing to look at.
    let mut findings = cluster_wide::look(&cluster).await?;
    findings.extend(installed::look(&cluster, &args.gpu_resource).await?);
    findings.extend(running::look(&cluster).await);
    findings.extend(contents::look(&cluster, &args.gpu_resource).await);
    show(&findings, args.output)?;
    let failed = findings.iter().filter(|f| f.verdict == Verdict::Fail);
    match failed.count() {
        0 => Ok(()),
        1 => Err(Failure::new("one check failed")),
        many => Err(Failure::new(format!("{many} checks failed"))),
    }
}

fn show(findings: &[Finding], output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &findings),
        Format::Name => {
            let line = |f: &Finding| format!("{}\n", f.check);
            output::print(&findings.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            let paint = Paint::detect();
            output::print(&table(findings).render(!output.no_headers, paint))
        }
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["VERDICT", "CHECK", "SEEN"]);
    for finding in findings {
        table.push(vec![
            Cell::new(finding.verdict.word(), finding.verdict.tone()),
            finding.check.into(),
            finding.seen.as_str().into(),
        ]);
        if let Some(remedy) = &finding.remedy {
            let remedy = format!("help: {remedy}");
            table.push(vec![Cell::blank(), Cell::blank(), remedy.into()]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_its_remedy_below_it() {
        let findings = [
            Finding::ok("api-server", "v1.37.1"),
            Finding::fail("crds", "tenants is missing", "apply it"),
        ];
        assert_eq!(
            table(&findings).render(true, Paint(false)),
            "\
VERDICT   CHECK        SEEN
ok        api-server   v1.37.1
fail      crds         tenants is missing
                       help: apply it
"
        );
    }
}
