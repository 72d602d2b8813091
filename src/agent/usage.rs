//! How busy pods kept what they were given of GPUs, added up since the agent began, for whoever asks
//! now and then: the difference of two answers is exact however long nobody asked. Pure.
//!
//! A pod that was given a whole card is as busy as the card. One of several is as busy as its processes
//! keep its part of the card, at most fully. What the driver does not tell is not measured: it never
//! tells it of instances, nor of a card's clients of MPS apart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::noise::Sample;
use crate::api::GpuNodeStatus;
use crate::api::gpunode::{Gpu, GpuPod};

/// How long a pod is told of that is not there any more: whoever asks every few minutes still learns
/// how it ended.
const KEPT: Duration = Duration::from_secs(1200);

/// What a pod was given of GPUs, and how busy it kept that, since the agent began. Both are
/// thousandths of a GPU times milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID; absent where the node does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How much was measured.
    pub measured: u64,
    /// How busy: all of that would be fully busy.
    pub busy: u64,
}

/// Adds up.
#[derive(Debug)]
pub struct Meter {
    /// What was seen longer ago is no measure of the time since.
    patience: Duration,
    last: Option<Duration>,
    /// By namespace and name, with when it was last there.
    pods: BTreeMap<(String, String), (Usage, Duration)>,
}

impl Meter {
    /// One that has seen nothing. A look counts for the time since the last one, unless that is longer
    /// ago than this.
    #[must_use]
    pub const fn new(patience: Duration) -> Self {
        Self {
            patience,
            last: None,
            pods: BTreeMap::new(),
        }
    }

    /// Takes in what a look shows of the cards, and of the pods on them; `at` only ever grows.
    pub fn see(&mut self, at: Duration, status: &GpuNodeStatus, samples: &BTreeMap<u32, Sample>) {
        let span = self.last.replace(at).map(|last| at.saturating_sub(last));
        let span = span.filter(|span| *span <= self.patience);
        for gpu in &status.gpus {
            for pod in gpu.pods.iter().filter(|pod| pod.slots > 0) {
                let usage = self.pod(pod, at);
                let sample = samples.get(&gpu.index);
                let part = sample.and_then(|sample| part(gpu, pod, sample));
                if let Some(((milli, percent), span)) = part.zip(span) {
                    let time = milli * u64::try_from(span.as_millis()).unwrap_or_default();
                    usage.measured += time;
                    usage.busy += time * u64::from(percent) / 100;
                }
            }
        }
        self.pods
            .retain(|_, (_, seen)| at.saturating_sub(*seen) <= KEPT);
    }

    /// What is known of every pod, by namespace and name.
    #[must_use]
    pub fn usages(&self) -> Vec<Usage> {
        let all = self.pods.values();
        all.map(|(usage, _)| usage.clone()).collect()
    }

    /// What is known of a pod. Another of the same name begins anew.
    fn pod(&mut self, pod: &GpuPod, at: Duration) -> &mut Usage {
        let key = (pod.namespace.clone(), pod.name.clone());
        let (usage, seen) = self.pods.entry(key).or_default();
        let is_other = usage.uid.is_some() && pod.uid.is_some() && usage.uid != pod.uid;
        if is_other || usage.pod.is_empty() {
            *usage = Usage {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                ..Usage::default()
            };
        }
        usage.uid = usage.uid.take().or_else(|| pod.uid.clone());
        *seen = at;
        usage
    }
}

/// How much of a card a pod was given, in thousandths, and how busy it keeps that, in percent; `None`
/// where nobody can tell.
fn part(gpu: &Gpu, pod: &GpuPod, sample: &Sample) -> Option<(u64, u32)> {
    let is_divided = gpu.mig.as_ref().is_some_and(|mig| mig.enabled);
    let slots = sample.slots.filter(|slots| *slots > 0 && !is_divided)?;
    let given = pod.slots.min(slots);
    let milli = 1000 * u64::from(given) / u64::from(slots);
    if given == slots || sample.compute == Some(0) {
        return Some((milli, sample.compute?.min(100)));
    }
    let mut users = sample.users.iter();
    let own = users.find(|user| (&user.namespace, &user.name) == (&pod.namespace, &pod.name));
    let percent = match own {
        Some(user) => user.compute? * slots / given,
        // It has no process there; of whom the others are is known.
        None if !sample.strangers => 0,
        None => return None,
    };
    Some((milli, percent.min(100)))
}

#[cfg(test)]
mod tests {
    use super::super::noise::User;
    use super::*;
    use crate::api::gpunode::Mig;

    const SECOND: Duration = Duration::from_secs(1);

    fn pod(name: &str, uid: &str, slots: u32) -> GpuPod {
        GpuPod {
            namespace: "red".to_owned(),
            name: name.to_owned(),
            uid: Some(uid.to_owned()),
            slots,
            ..GpuPod::default()
        }
    }

    fn status(pods: &[GpuPod]) -> GpuNodeStatus {
        GpuNodeStatus {
            gpus: vec![Gpu {
                pods: pods.to_vec(),
                ..Gpu::default()
            }],
            ..GpuNodeStatus::default()
        }
    }

    fn user(name: &str, compute: Option<u32>) -> User {
        User {
            namespace: "red".to_owned(),
            name: name.to_owned(),
            compute,
            ..User::default()
        }
    }

    fn sample(slots: u32, compute: u32, users: Vec<User>) -> Sample {
        Sample {
            compute: Some(compute),
            slots: Some(slots),
            users,
            ..Sample::default()
        }
    }

    /// What is measured of each pod in a second, and how busy it is then.
    fn second(pods: &[GpuPod], sample: Sample) -> Vec<(String, u64, u64)> {
        let (mut meter, status) = (Meter::new(SECOND), status(pods));
        meter.see(SECOND, &status, &[(0, sample.clone())].into());
        meter.see(2 * SECOND, &status, &[(0, sample)].into());
        let told = meter.usages().into_iter();
        told.map(|usage| (usage.pod, usage.measured, usage.busy))
            .collect()
    }

    #[test]
    fn whoever_has_a_whole_card_is_as_busy_as_the_card() {
        let own = [pod("a", "u", 1)];
        let busy = second(&own, sample(1, 40, vec![user("a", None)]));
        assert_eq!(busy, [("a".to_owned(), 1_000_000, 400_000)]);
        let idle = second(&own, sample(1, 0, Vec::new()));
        assert_eq!(idle, [("a".to_owned(), 1_000_000, 0)]);
    }

    #[test]
    fn whoever_shares_one_is_as_busy_as_it_keeps_its_part() {
        let pods = ["a", "b", "c"].map(|name| pod(name, name, 1));
        let users = vec![user("a", Some(10)), user("b", Some(60))];
        let told = second(&pods, sample(4, 70, users));
        let expected = [
            ("a".to_owned(), 250_000, 100_000),
            ("b".to_owned(), 250_000, 250_000),
            ("c".to_owned(), 250_000, 0),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_nobody_can_tell_is_not_measured() {
        let pods = [pod("a", "u", 1), pod("b", "v", 1)];
        let none = |told: &[(String, u64, u64)]| told.iter().all(|(_, measured, _)| *measured == 0);
        // Clients of MPS: what they compute is their server's.
        let mps = sample(4, 70, vec![user("a", None), user("b", None)]);
        assert!(none(&second(&pods, mps)));
        let stranger = Sample {
            strangers: true,
            ..sample(4, 70, Vec::new())
        };
        assert!(none(&second(&pods, stranger)));
        let unsaid = Sample {
            slots: None,
            ..sample(1, 70, Vec::new())
        };
        assert!(none(&second(&pods, unsaid)));
        let divided = Gpu {
            mig: Some(Mig {
                enabled: true,
                ..Mig::default()
            }),
            ..Gpu::default()
        };
        assert_eq!(part(&divided, &pods[0], &sample(1, 0, Vec::new())), None);
    }

    #[test]
    fn time_without_a_look_is_not_measured_and_another_of_the_name_begins_anew() {
        let mut meter = Meter::new(SECOND);
        let full: BTreeMap<u32, Sample> = [(0, sample(1, 100, Vec::new()))].into();
        let first = status(&[pod("a", "u", 1)]);
        meter.see(SECOND, &first, &full);
        meter.see(2 * SECOND, &first, &full);
        meter.see(60 * SECOND, &first, &full);
        assert_eq!(meter.usages()[0].measured, 1_000_000, "a minute is missing");
        meter.see(61 * SECOND, &status(&[pod("a", "v", 1)]), &full);
        let told = meter.usages();
        let told = (told[0].uid.as_deref(), told[0].measured, told.len());
        assert_eq!(told, (Some("v"), 1_000_000, 1));
        meter.see(62 * SECOND, &status(&[]), &full);
        assert_eq!(meter.usages().len(), 1, "its end may still be asked for");
        meter.see(61 * SECOND + KEPT + SECOND, &status(&[]), &full);
        assert_eq!(meter.usages(), []);
    }
}
