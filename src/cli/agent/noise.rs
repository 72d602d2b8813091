//! From when on `agent` holds that pods disturb each other.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::agent::noise::Thresholds;
use crate::duration;

/// Options of `agent`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Noisy neighbours")]
pub(super) struct NoiseArgs {
    /// Over how long what pods use is averaged
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = duration::parse)]
    noise_window: Duration,
    /// How long it has to be quiet until that is told
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = duration::parse)]
    noise_calm: Duration,
    /// Percent of the time in which kernels run, from which on pods fight for it
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = percent)]
    noise_compute: u32,
    /// The same of the time in which memory is read or written
    #[arg(long, value_name = "PERCENT", default_value = "60", value_parser = percent)]
    noise_bandwidth: u32,
    /// The same of the memory
    #[arg(long, value_name = "PERCENT", default_value = "95", value_parser = percent)]
    noise_memory: u32,
    /// The same of the time in which the limit of power holds the clocks back
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = percent)]
    noise_power: u32,
    /// By how many percent of its part a pod may use more before that is held against it
    #[arg(long, value_name = "PERCENT", default_value = "25", value_parser = excess)]
    noise_excess: u32,
}

fn percent(text: &str) -> Result<u32, String> {
    number(text, 1..=100)
}

fn excess(text: &str) -> Result<u32, String> {
    number(text, 0..=1000)
}

fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let read = text.parse().ok().filter(|number| range.contains(number));
    read.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("`{text}` is not a percentage, expected a number from {least} to {most}")
    })
}

impl NoiseArgs {
    pub(super) const fn thresholds(&self) -> Thresholds {
        Thresholds {
            window: self.noise_window,
            calm: self.noise_calm,
            compute: self.noise_compute,
            bandwidth: self.noise_bandwidth,
            memory: self.noise_memory,
            power: self.noise_power,
            excess: self.noise_excess,
        }
    }
}
