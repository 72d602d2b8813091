//! Pods that disturb each other, as the agents tell of them, and who is told what. Pure.
//!
//! Nobody is told the name of another tenant's pod: the users of a pod hear of their own, and an
//! Event of the node, which many may read, names none.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::GpuNode;
use crate::api::gpunode::{Contention, Noise};
use crate::effects::Notice;

/// What began longer ago was told by whoever decided then.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Pods that disturb each other on one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The node.
    pub node: String,
    /// The GPU's number there.
    pub gpu: u32,
    /// What the agent says.
    pub noise: Noise,
}

/// What tells one case from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The node.
    pub node: String,
    gpu: u32,
    contention: Contention,
    /// Namespace and name.
    offender: Option<(String, String)>,
}

/// What the agent of a node says of its GPUs.
#[must_use]
pub fn cases(node: &GpuNode) -> Vec<Case> {
    let gpus = node.status.iter().flat_map(|status| &status.gpus);
    let all = gpus.flat_map(|gpu| gpu.noise.iter().map(move |noise| (gpu.index, noise)));
    let case = |(gpu, noise): (u32, &Noise)| Case {
        node: node.name_any(),
        gpu,
        noise: noise.clone(),
    };
    all.map(case).collect()
}

impl Case {
    /// What tells it from others.
    #[must_use]
    pub fn key(&self) -> Key {
        let offender = self.noise.offender.as_ref();
        Key {
            node: self.node.clone(),
            gpu: self.gpu,
            contention: self.noise.contention,
            offender: offender.map(|one| (one.namespace.clone(), one.name.clone())),
        }
    }

    /// Whether it began so lately that nobody has told of it.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.noise.since.0).unsigned_abs() < FRESH
    }

    /// What is told of the node.
    #[must_use]
    pub fn to_administrators(&self) -> Notice {
        let Noise {
            measured,
            threshold,
            ..
        } = self.noise;
        notice(format!(
            "pods on GPU {} fight for {}: {measured}% is in use, and from {threshold}% on they disturb each other; \
             `prorata noise` says who",
            self.gpu,
            self.what(),
        ))
    }

    /// What the users of the pod are told that uses more than its part, if there is one.
    #[must_use]
    pub fn to_offender(&self) -> Option<Notice> {
        let one = self.noise.offender.as_ref()?;
        let of = match one.by_memory {
            true => "the memory of ",
            false => "",
        };
        Some(notice(format!(
            "this pod uses {}% of {of}GPU {} of node {}, and {}% is its part; others there lack {}: \
             ask for a larger share or for a whole GPU",
            one.uses,
            self.gpu,
            self.node,
            one.part,
            self.what(),
        )))
    }

    /// What the users of the other pods are told.
    #[must_use]
    pub fn to_disturbed(&self) -> Notice {
        notice(format!(
            "this pod may be slower than it was: the pods on GPU {} of node {} together want more {} than there is",
            self.gpu,
            self.node,
            self.what(),
        ))
    }

    const fn what(&self) -> &'static str {
        match self.noise.contention {
            Contention::Compute => "computing time",
            Contention::Bandwidth => "bandwidth of its memory",
            Contention::Memory => "memory",
            Contention::Power => "power",
        }
    }
}

fn notice(message: String) -> Notice {
    Notice {
        reason: "NoisyNeighbour".to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::GpuNodeSpec;
    use crate::api::gpunode::{Gpu, Offender, PodName};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn case() -> Case {
        let named = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let (namespace, name) = named("red", "train");
        let offender = Offender {
            namespace,
            name,
            uses: 80,
            part: 25,
            ..Offender::default()
        };
        let (namespace, name) = named("blue", "serve");
        let noise = Noise {
            contention: Contention::Compute,
            since: Time(Timestamp::UNIX_EPOCH),
            measured: 99,
            threshold: 95,
            offender: Some(offender),
            disturbed: vec![PodName { namespace, name }],
        };
        let mut node = GpuNode::new("gpu-7", GpuNodeSpec::default());
        node.status.get_or_insert_default().gpus = vec![
            Gpu::default(),
            Gpu {
                index: 1,
                noise: vec![noise],
                ..Gpu::default()
            },
        ];
        let mut cases = cases(&node);
        assert_eq!(cases.len(), 1);
        cases.remove(0)
    }

    #[test]
    fn nobody_hears_the_name_of_anothers_pod() {
        let case = case();
        let told = case.to_offender().unwrap().message;
        assert!(
            told.contains("uses 80% of GPU 1 of node gpu-7, and 25% is its part"),
            "{told}"
        );
        for notice in [
            case.to_offender().unwrap(),
            case.to_disturbed(),
            case.to_administrators(),
        ] {
            for name in ["blue", "serve", "red", "train"] {
                assert!(!notice.message.contains(name), "{}", notice.message);
            }
        }
    }

    #[test]
    fn another_offender_is_another_case_and_other_numbers_are_not() {
        let case = case();
        let mut other = case.clone();
        other.noise.measured = 97;
        assert_eq!(case.key(), other.key());
        other.noise.offender = None;
        assert_ne!(case.key(), other.key());
    }

    #[test]
    fn what_began_long_ago_was_told_then() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(case().is_fresh(at(599)));
        assert!(!case().is_fresh(at(600)));
    }
}
