//! `tenant size`: what a team should be guaranteed, and the arithmetic.

use prorata_core::Resource;
use prorata_simulator::quantity;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::tenancy::size::{self, Team, Work};

/// Options of `tenant size`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The base goes by the number of people; what was used replaces it, and a budget caps it. The factors
for kinds of work are a judgement. Without --used-gpu it is a starting point: look again after a month.

Examples:
  prorata tenant size --people 12 --work training
  prorata tenant size --people 12 --used-gpu 9.5 --budget 14600 --gpu-hour 2.50")]
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
    /// What the team's GPUs may cost in a month
    #[arg(long, value_name = "MONEY", value_parser = money, requires = "gpu_hour")]
    budget: Option<u64>,
    /// What a GPU costs in an hour, in the same currency
    #[arg(long, value_name = "MONEY", value_parser = price, requires = "budget")]
    gpu_hour: Option<u64>,
}

/// Prints the steps, and the field that they come to.
pub(super) fn execute(args: &Args) -> Result<(), Failure> {
    let team = Team {
        people: args.people,
        work: args.work,
        used_gpu: args.used_gpu,
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

fn gpus(text: &str) -> Result<u64, String> {
    quantity::parse(Resource::Gpu, text).map_err(|error| error.to_string())
}

/// Money in millionths.
fn money(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an amount of money, expected one such as 2500 or 2.50");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 6 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let micros = format!("{whole}{part:0<6}");
    micros.parse().map_err(|_| wrong())
}

fn price(text: &str) -> Result<u64, String> {
    match money(text)? {
        0 => Err("what a GPU costs is above 0".to_owned()),
        price => Ok(price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_to_the_millionth() {
        assert_eq!(money("2.50"), Ok(2_500_000));
        assert_eq!(money("14600"), Ok(14_600_000_000));
        assert_eq!(money("0.000001"), Ok(1));
        for wrong in ["", ".5", "-1", "1e3", "1.0000001", "€5"] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
        assert!(price("0.0").is_err());
    }
}
