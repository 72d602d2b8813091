//! Which container a process runs in, by the name of its control group. Pure.
//!
//! The kubelet makes one group for each pod and names it by the pod's UID; the container runtime makes
//! one below it for each container. The systemd driver and the cgroupfs driver write the same in two
//! ways, and version 1 has a line for each controller where version 2 has one.

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// The UID of its pod: of a static pod, the hash by which the kubelet knows it.
    pub pod_uid: String,
    /// The runtime's id; absent where the group is the pod's own.
    pub id: Option<String>,
}

/// The container of `/proc/PID/cgroup`; `None` for what is no pod's.
#[must_use]
pub fn container(groups: &str) -> Option<Container> {
    groups.lines().find_map(|line| {
        // ID:CONTROLLERS:PATH, and a path may have colons of its own.
        let path = line.splitn(3, ':').nth(2)?;
        of_path(path)
    })
}

fn of_path(path: &str) -> Option<Container> {
    // containerd that takes a systemd name for a cgroupfs path writes `SLICE:cri-containerd:ID`.
    let mut parts = path.split(['/', ':']);
    let pod_uid = parts.by_ref().find_map(pod_uid)?;
    let id = parts.find_map(container_id);
    Some(Container { pod_uid, id })
}

/// `pod1234-…` by cgroupfs, `kubepods-burstable-pod1234_….slice` by systemd.
fn pod_uid(part: &str) -> Option<String> {
    let name = match part.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods-")?.rsplit('-').next()?,
        None => part,
    };
    let uid = name.strip_prefix("pod")?.replace('_', "-");
    let is_hash = uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_uuid(&uid) || is_hash).then_some(uid)
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let digits = text.bytes().filter(|byte| *byte != b'-');
    lengths.eq([8, 4, 4, 4, 12]) && digits.clone().all(|byte| byte.is_ascii_hexdigit())
}

/// The bare id, or `cri-containerd-ID.scope`, `crio-ID.scope`, `docker-ID.scope`.
fn container_id(part: &str) -> Option<String> {
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    let id = scope.rsplit('-').next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    // CRI-O's monitor is beside the container, not in it.
    (is_id && !scope.starts_with("crio-conmon-")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
    const ID: &str = "9ac2c8d2b6f3b5d1c1ab9ae4b2e1f5a09ac2c8d2b6f3b5d1c1ab9ae4b2e1f5a0";

    fn read(groups: &str) -> Option<(String, Option<String>)> {
        let groups = groups
            .replace("UID", UID)
            .replace("U_D", &UID.replace('-', "_"))
            .replace("CID", ID);
        container(&groups).map(|container| (container.pod_uid, container.id))
    }

    #[test]
    fn each_driver_runtime_and_version() {
        let all = [
            // Version 2, systemd: containerd, CRI-O, Docker by its shim.
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/cri-containerd-CID.scope\n",
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice/crio-CID.scope\n",
            "0::/kubepods.slice/kubepods-podU_D.slice/docker-CID.scope\n",
            // CRI-O with a group of its own below, and a process that has made another.
            "0::/kubepods.slice/kubepods-podU_D.slice/crio-CID.scope/container\n",
            "0::/kubepods.slice/kubepods-podU_D.slice/cri-containerd-CID.scope/init.scope\n",
            // Version 2, cgroupfs.
            "0::/kubepods/burstable/podUID/CID\n",
            "0::/kubepods/podUID/crio-CID\n",
            // Seen from another place in the tree, as in a nested node.
            "0::/../../kubelet.slice/kubelet-kubepods.slice/kubepods-podU_D.slice/cri-containerd-CID.scope\n",
            "0::/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:CID\n",
            // Version 1: a line for each controller.
            "12:cpuset:/kubepods/besteffort/podUID/CID\n11:memory:/kubepods/besteffort/podUID/CID\n1:name=systemd:/kubepods/besteffort/podUID/CID\n",
            "12:pids:/\n3:cpu,cpuacct:/kubepods.slice/kubepods-podU_D.slice/crio-CID.scope\n",
        ];
        for groups in all {
            assert_eq!(
                read(groups),
                Some((UID.to_owned(), Some(ID.to_owned()))),
                "{groups}"
            );
        }
    }

    #[test]
    fn a_static_pod_and_a_pods_own_group() {
        let hash = "0::/kubepods/burstable/podd0e2ca4b7bd6f1bb4e1b1d5d6f0a9c11/CID\n";
        let found = read(hash).unwrap();
        assert_eq!(found.0, "d0e2ca4b7bd6f1bb4e1b1d5d6f0a9c11");
        assert_eq!(read("0::/kubepods/podUID\n"), Some((UID.to_owned(), None)));
        let monitor = "0::/kubepods.slice/kubepods-podU_D.slice/crio-conmon-CID.scope\n";
        assert_eq!(read(monitor), Some((UID.to_owned(), None)));
    }

    #[test]
    fn what_is_no_pods_is_nobodys() {
        for groups in [
            "",
            "0::/\n",
            "0::/user.slice/user-1000.slice/session-2.scope\n",
            "0::/system.slice/docker-CID.scope\n",
            "0::/kubepods.slice\n",
            "0::/kubepods/podless/CID\n",
            "0::/system.slice/pod-of-whales.service\n",
            "nonsense\n",
        ] {
            assert_eq!(read(groups), None, "{groups}");
        }
    }
}
