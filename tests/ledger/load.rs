//! What is submitted while a ledger is kept: drawn by chance, and the same each time.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::cluster::{from, pod, requests};
use crate::outage::world::World;

/// A namespace of no tenant.
pub(super) const NOBODYS: &str = "nobodys";
/// A pod there.
pub(super) const STRANGER: &str = "stranger";

/// Numbers that look like chance, and are the same each time.
pub(super) struct Dice(u64);

impl Dice {
    /// Those that follow from a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below `sides`.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A Job of one to three pods of so many GPUs at most that run for a while by themselves.
pub(super) fn job(name: &str, gpus: u64, dice: &mut Dice) -> Job {
    let pods = 1 + dice.roll(3);
    let tenths = 5 + dice.roll(50);
    let limits = json!({ "nvidia.com/gpu": (1 + dice.roll(gpus)).to_string() });
    let container = json!({ "name": "main", "image": "none", "resources": { "limits": limits } });
    let seconds = format!("{}.{}", tenths / 10, tenths % 10);
    from(json!({
        "metadata": { "name": name },
        "spec": { "parallelism": pods, "completions": pods, "template": {
            "metadata": { "annotations": { "prorata.dev/test-run-seconds": seconds } },
            "spec": { "restartPolicy": "Never", "containers": [container] },
        } },
    }))
}

/// A pod of no tenant, which lets nobody else have its GPU until it ends.
pub(super) async fn stranger(world: &World) {
    let mut manifest = requests::json(&pod(STRANGER, 1));
    manifest["metadata"]["annotations"] = json!({ "prorata.dev/test-run-seconds": "1.5" });
    let pods: Api<Pod> = Api::namespaced(world.cluster.alice.clone(), NOBODYS);
    requests::create(&pods, &from(manifest)).await;
}
