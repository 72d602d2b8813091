//! `tenant size`: what a team should be guaranteed, and the arithmetic.

use prorata_core::Resource;
use prorata_ledger::fleet;
use prorata_ledger::levels::Levels;
use prorata_ledger::money;
use prorata_simulator::quantity;

use crate::cli::cost::UsageArgs;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::tenancy::size::{self, OFTEN_PERCENT, Team, Work};

/// Options of `tenant size`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The base goes by the number of people; what was used replaces it, and a budget caps it. The factors
for kinds of work are a judgement. Without --used-gpu it is a starting point: look again after a month.

Examples:
  prorata tenant size --people 12 --work training
  prorata tenant size --people 12 --used-gpu 9.5 --budget 14600 --gpu-hour 2.50
  prorata tenant size --people 12 --history vision --ledger sqlite:///var/lib/prorata/ledger.db")]
pub struct Args {
    /// How many people are in the team
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    people: u32,
    /// What they mostly run
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    work: Work,
    /// GPUs in use that the team had no more than for 95 % of the time
    #[arg(long, value_name = "GPUS", value_parser = gpus)]
    used_gpu: Option<u64>,
    /// Look that up: what this tenant held in the last 30 days, or in the period that is named
    #[arg(long, value_name = "TENANT", conflicts_with = "used_gpu")]
    history: Option<String>,
    /// What the team's GPUs may cost in a month
    #[arg(long, value_name = "MONEY", value_parser = money::parse, requires = "gpu_hour")]
    budget: Option<u64>,
    /// What a GPU costs in an hour, in the same currency
    #[arg(long, value_name = "MONEY", value_parser = price, requires = "budget")]
    gpu_hour: Option<u64>,
    #[command(flatten)]
    usage: UsageArgs,
}

/// Prints the steps, and the field that they come to.
pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let used_gpu = match &args.history {
        Some(tenant) => Some(history(args, tenant).await?),
        None => args.used_gpu,
    };
    let team = Team {
        people: args.people,
        work: args.work,
        used_gpu,
        budget: args.budget.zip(args.gpu_hour),
    };
    let steps = size::size(&team);
    let width = steps.iter().map(|step| step.share.to_string().len()).max();
    let width = width.unwrap_or_default();
    let line = |step: &size::Step| format!("{:width$}   {}\n", step.share.to_string(), step.why);
    let mut text: String = steps.iter().map(line).collect();
    if let Some(size::Share { cpu, memory, gpu }) = steps.last().map(|step| step.share) {
        text += &format!("guaranteed: {{gpu: {gpu}, cpu: {cpu}, memory: {memory}G}}\n");
    }
    output::print(&text)
}

/// What a tenant had no more than for 95 % of the time, in thousandths of a GPU.
async fn history(args: &Args, tenant: &str) -> Result<u64, Failure> {
    let extract = args.usage.recent().await?;
    let period = fleet::known(&extract);
    let holds = extract
        .holds
        .iter()
        .filter(|hold| hold.payer.tenant == tenant);
    let levels = Levels::of(holds, period);
    if levels.total() == 0 {
        return Err(Failure::input(
            format!("{tenant} held nothing in {period}"),
            "name another period by --month, or size it without --history",
        ));
    }
    Ok(levels.at_most(OFTEN_PERCENT))
}

fn gpus(text: &str) -> Result<u64, String> {
    quantity::parse(Resource::Gpu, text).map_err(|error| error.to_string())
}

fn price(text: &str) -> Result<u64, String> {
    match money::parse(text)? {
        0 => Err("what a GPU costs is above 0".to_owned()),
        price => Ok(price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_above_nothing() {
        assert_eq!(price("2.50"), Ok(2_500_000));
        assert!(price("0.0").is_err());
    }
}
