//! Where draws come from: a generator for each thing that is drawn, so that none disturbs another.

use std::time::Duration;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

/// The generator of what these names name, under this seed.
pub(super) fn generator(seed: u64, names: &[&str]) -> Pcg64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    for name in names {
        digest.update(name.as_bytes());
        digest.update([0]);
    }
    Pcg64::from_seed(digest.finalize().into())
}

/// `factor` times this, in whole milliseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ten years have fewer milliseconds than a float has digits, and casts saturate"
)]
pub(super) fn scaled(span: Duration, factor: f64) -> Duration {
    Duration::from_millis((span.as_millis() as f64 * factor).round() as u64)
}
