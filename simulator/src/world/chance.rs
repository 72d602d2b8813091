//! What is drawn while the world runs. Each draw has a generator of its own, so that it depends
//! on nothing but the seed and on whose draw it is.

use std::time::Duration;

use prorata_core::JobId;
use rand::SeedableRng;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

use crate::interference::ONE;

const HOUR_MS: f64 = 3_600_000.0;

/// How many times as long a start takes, in millionths: normal around one, and never below a
/// tenth.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the table has no number that a float does not hold, and casts saturate"
)]
pub(super) fn jitter(seed: u64, job: &JobId, start: u32, deviation: u64) -> u64 {
    if deviation == 0 {
        return ONE;
    }
    let z: f64 = StandardNormal.sample(&mut generator(seed, job, start, "jitter"));
    let factor = ONE as f64 + z * deviation as f64;
    (factor.round() as u64).max(ONE / 10)
}

/// When a start of a job on so many cards brings down what is there, at this rate per million
/// card-hours; `None` when the rate is zero.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the table has no number that a float does not hold, and casts saturate"
)]
pub(super) fn fault(
    seed: u64,
    job: &JobId,
    start: u32,
    (cards, rate): (usize, u64),
) -> Option<Duration> {
    let each_hour = rate as f64 * cards as f64 / ONE as f64;
    if each_hour <= 0.0 {
        return None;
    }
    let hours: f64 = Exp1.sample(&mut generator(seed, job, start, "fault"));
    let ms = hours / each_hour * HOUR_MS;
    Some(Duration::from_millis(ms.round() as u64))
}

fn generator(seed: u64, job: &JobId, start: u32, kind: &str) -> Pcg64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    digest.update(start.to_le_bytes());
    for part in [job.namespace(), job.name(), kind] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    Pcg64::from_seed(digest.finalize().into())
}
