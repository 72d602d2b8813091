//! Which pods are on which GPU: those that the kubelet has given it to, and those whose processes use
//! it. Pure.

use std::collections::BTreeMap;

use super::holders::Holder;
use super::kubelet::{Given, Grant};
use super::reading::{Process, Seen};
use crate::api::gpunode::{Gpu, GpuPod, Mig, PODS_MAX};

/// Whose each process is; what is no pod's is known too.
pub type Found = BTreeMap<u32, Option<Holder>>;

/// The pods on a GPU, by namespace and name: as many as are named, and how many more there are.
#[must_use]
pub fn pods(
    gpu: &Gpu,
    seen: Option<&Seen>,
    found: &Found,
    given: Option<&Given>,
) -> (Vec<GpuPod>, Option<u32>) {
    let mut pods: BTreeMap<(String, String), GpuPod> = BTreeMap::new();
    let grants = given.iter().flat_map(|given| &given.grants);
    for grant in grants.filter(|grant| gpu.has(&grant.device.uuid)) {
        add_grant(&mut pods, grant);
    }
    let processes = seen.iter().flat_map(|seen| seen.processes.iter().flatten());
    for holder in processes.filter_map(|process| holder(found, process)) {
        add_holder(&mut pods, holder);
    }
    let more = u32::try_from(pods.len().saturating_sub(PODS_MAX)).unwrap_or(u32::MAX);
    let named = pods.into_values().take(PODS_MAX).collect();
    (named, Some(more).filter(|more| *more > 0))
}

/// How a GPU is given out; `None` where nobody says.
#[must_use]
pub fn mode(gpu: &Gpu, seen: Option<&Seen>, given: Option<&Given>) -> Option<String> {
    if let Some(mig) = gpu.mig.as_ref().filter(|mig| mig.enabled) {
        return Some(mig_mode(mig));
    }
    let by_mps = gpu.compute_mode.as_deref() == Some("ExclusiveProcess");
    match slots(gpu, given) {
        Some(1) => Some("exclusive".to_owned()),
        Some(slots) if by_mps => Some(format!("mps-{slots}")),
        Some(slots) => Some(format!("timeslice-{slots}")),
        // Where the kubelet says nothing of slots, clients of MPS show that there is one.
        None => {
            let processes = seen.iter().flat_map(|seen| seen.processes.iter().flatten());
            let mut clients = processes.filter(|process| process.mps);
            (by_mps && clients.next().is_some()).then(|| "mps".to_owned())
        }
    }
}

/// The slots of a GPU, where the kubelet says.
#[must_use]
pub fn slots(gpu: &Gpu, given: Option<&Given>) -> Option<u32> {
    let uuid = gpu.uuid.as_ref()?;
    given?.slots.get(uuid).copied()
}

/// What all GPUs are, or `mixed`; `None` where it is not known of each.
#[must_use]
pub fn mode_of_all(gpus: &[Gpu]) -> Option<String> {
    let first = gpus.first()?.mode.clone()?;
    let is_known = gpus.iter().all(|gpu| gpu.mode.is_some());
    let is_same = gpus.iter().all(|gpu| gpu.mode.as_ref() == Some(&first));
    match (is_known, is_same) {
        (true, true) => Some(first),
        (true, false) => Some("mixed".to_owned()),
        (false, _) => None,
    }
}

/// The pod's container whose process it is, if it is one's.
pub(super) fn holder<'a>(found: &'a Found, process: &Process) -> Option<&'a Holder> {
    found.get(&process.pid).and_then(Option::as_ref)
}

/// By the profile that all its instances have, where they do.
fn mig_mode(mig: &Mig) -> String {
    let mut profiles = mig.instances.iter().map(|instance| &instance.profile);
    match profiles.next() {
        Some(Some(first)) if profiles.all(|other| other.as_ref() == Some(first)) => {
            format!("mig-{first}")
        }
        _ => "mig".to_owned(),
    }
}

fn add_grant(pods: &mut BTreeMap<(String, String), GpuPod>, grant: &Grant) {
    let key = (grant.namespace.clone(), grant.pod.clone());
    let pod = pods.entry(key).or_insert_with(|| GpuPod {
        namespace: grant.namespace.clone(),
        name: grant.pod.clone(),
        uid: grant.uid.clone(),
        ..GpuPod::default()
    });
    pod.slots += 1;
    let uuid = &grant.device.uuid;
    if uuid.starts_with("MIG-") && !pod.instances.contains(uuid) && pod.instances.len() < 16 {
        pod.instances.push(uuid.clone());
    }
}

fn add_holder(pods: &mut BTreeMap<(String, String), GpuPod>, holder: &Holder) {
    let uid = Some(&holder.pod_uid);
    if pods.values().any(|pod| pod.uid.as_ref() == uid) {
        return;
    }
    let Some((namespace, name)) = holder.namespace.clone().zip(holder.pod.clone()) else {
        return;
    };
    let key = (namespace.clone(), name.clone());
    let pod = pods.entry(key).or_insert_with(|| GpuPod {
        namespace,
        name,
        ..GpuPod::default()
    });
    pod.uid = uid.cloned();
}

#[cfg(test)]
mod tests {
    use super::super::kubelet::device::device;
    use super::*;

    fn gpu(compute_mode: &str) -> Gpu {
        Gpu {
            uuid: Some("GPU-a".to_owned()),
            compute_mode: Some(compute_mode.to_owned()),
            ..Gpu::default()
        }
    }

    fn grant(pod: &str, id: &str) -> Grant {
        Grant {
            namespace: "red".to_owned(),
            pod: pod.to_owned(),
            uid: None,
            container: "main".to_owned(),
            device: device(id).unwrap(),
        }
    }

    fn seen(pids: &[u32]) -> Seen {
        let process = |&pid: &u32| Process {
            pid,
            ..Process::default()
        };
        Seen {
            processes: Some(pids.iter().map(process).collect()),
            ..Seen::default()
        }
    }

    #[test]
    fn what_the_kubelet_gave_and_who_uses_it_are_one() {
        let given = Given {
            grants: vec![
                grant("a", "GPU-a::0"),
                grant("a", "GPU-a::2"),
                grant("b", "GPU-a::1"),
                grant("elsewhere", "GPU-b::0"),
            ],
            ..Given::default()
        };
        let holder = |pod: &str| Holder {
            pod_uid: format!("uid-{pod}"),
            namespace: Some("red".to_owned()),
            pod: Some(pod.to_owned()),
            container: None,
        };
        let found = [(1, Some(holder("a"))), (2, Some(holder("c"))), (3, None)].into();
        let (pods, more) = pods(
            &gpu("Default"),
            Some(&seen(&[1, 2, 3])),
            &found,
            Some(&given),
        );
        let shown = pods.iter().map(|pod| {
            let uid = pod.uid.as_deref();
            (pod.name.as_str(), uid, pod.slots)
        });
        let expected = [
            ("a", Some("uid-a"), 2),
            ("b", None, 1),
            ("c", Some("uid-c"), 0),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(more, None);
    }

    #[test]
    fn only_so_many_are_named() {
        let grants = (0..60).map(|n| grant(&format!("p{n:02}"), &format!("GPU-a::{n}")));
        let given = Given {
            grants: grants.collect(),
            ..Given::default()
        };
        let (pods, more) = pods(&gpu("Default"), None, &Found::new(), Some(&given));
        assert_eq!((pods.len(), more), (PODS_MAX, Some(12)));
    }

    #[test]
    fn each_mode_by_slots_and_compute_mode() {
        let given = |slots: u32| Given {
            slots: [("GPU-a".to_owned(), slots)].into(),
            ..Given::default()
        };
        let of = |compute_mode, slots| mode(&gpu(compute_mode), None, Some(&given(slots)));
        assert_eq!(of("Default", 1).unwrap(), "exclusive");
        assert_eq!(of("Default", 4).unwrap(), "timeslice-4");
        assert_eq!(of("ExclusiveProcess", 8).unwrap(), "mps-8");
        assert_eq!(mode(&gpu("Default"), None, None), None);
        assert_eq!(
            mode(&gpu("ExclusiveProcess"), Some(&seen(&[1])), None),
            None
        );
        let mut clients = seen(&[1]);
        clients.processes.as_mut().unwrap()[0].mps = true;
        let told = mode(&gpu("ExclusiveProcess"), Some(&clients), None);
        assert_eq!(told.unwrap(), "mps");
    }
}
