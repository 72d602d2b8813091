//! Names of the resources by which nodes offer GPUs and pods ask for them: whole cards, slots of a
//! card that is split, instances of one that is partitioned.

/// What the resources of MIG instances begin with. Unlike whole cards they are NVIDIA's alone.
pub const INSTANCES: &str = "nvidia.com/mig-";

/// The profiles that NVIDIA's cards have: kube-scheduler wants to be told each resource by name.
/// Any other is planned for as well, but of such a pod that is not the queue's it asks nobody.
pub const PROFILES: [&str; 38] = [
    "1g.5gb", "1g.6gb", "1g.10gb", "1g.12gb", "1g.18gb", "1g.20gb", "1g.23gb", "1g.24gb",
    "1g.35gb", "1g.45gb", "1g.47gb", "2g.10gb", "2g.12gb", "2g.20gb", "2g.24gb", "2g.35gb",
    "2g.45gb", "2g.47gb", "3g.20gb", "3g.40gb", "3g.47gb", "3g.48gb", "3g.71gb", "3g.90gb",
    "3g.95gb", "4g.20gb", "4g.24gb", "4g.40gb", "4g.47gb", "4g.48gb", "4g.71gb", "4g.90gb",
    "7g.40gb", "7g.80gb", "7g.94gb", "7g.96gb", "7g.141gb", "7g.180gb",
];

/// The resource of a slot of a card, where `gpu` is that of a whole one.
#[must_use]
pub fn slots(gpu: &str) -> String {
    format!("{gpu}.shared")
}

/// The resource of instances of this profile.
#[must_use]
pub fn instances(profile: &str) -> String {
    format!("{INSTANCES}{profile}")
}

/// The profile whose instances this resource is; `None` where it is another resource.
#[must_use]
pub fn profile(resource: &str) -> Option<&str> {
    resource.strip_prefix(INSTANCES)
}

/// Whether pods get GPUs by this resource, where `gpu` is that of whole cards.
#[must_use]
pub fn is_gpu(resource: &str, gpu: &str) -> bool {
    let is_slot = || resource.strip_prefix(gpu) == Some(".shared");
    resource == gpu || is_slot() || profile(resource).is_some()
}
