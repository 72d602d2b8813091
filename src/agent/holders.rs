//! Whose a process is: its container by its control group, and the container's name by what the
//! kubelet writes down beside the logs. No right in the cluster is needed for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::cgroup::{self, Container};
use super::reading::{Card, Reading};

/// How long a look waits for the host's files. What comes later is taken in by a later look.
const WAIT: Duration = Duration::from_secs(1);

/// Where the host shows what is needed; other places for a test.
#[derive(Clone, Debug)]
pub struct Places {
    /// The host's `/proc`.
    pub proc: PathBuf,
    /// Names of running containers, as `POD_NAMESPACE_CONTAINER-ID.log`.
    pub containers: PathBuf,
    /// PCI devices, as `DOMAIN:BUS:DEVICE.FUNCTION`.
    pub pci: PathBuf,
}

/// A container of a pod that uses GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The pod's UID.
    pub pod_uid: String,
    /// The pod's namespace; absent where the kubelet has not written it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// UIDs of pods, by namespace and name, as far as the node shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uids(BTreeMap<(String, String), BTreeSet<String>>);

impl Uids {
    /// The UID of a pod; `None` also where two pods of this name have left their files.
    #[must_use]
    pub fn of(&self, namespace: &str, name: &str) -> Option<String> {
        let all = self.0.get(&(namespace.to_owned(), name.to_owned()))?;
        all.first().filter(|_| all.len() == 1).cloned()
    }
}

/// The UIDs of the pods whose containers are named in this directory; none where that takes too long.
pub async fn uids(containers: PathBuf) -> Uids {
    let (tell, told) = oneshot::channel();
    let work = move || {
        // Who asked may be gone.
        let _ = tell.send(uids_in(&containers));
    };
    // Where no thread can be had, the channel closes at once.
    let _ = std::thread::Builder::new()
        .name("uids".to_owned())
        .spawn(work);
    let told = timeout(WAIT, told).await.ok().and_then(Result::ok);
    told.unwrap_or_default()
}

/// Each name is a link to `NAMESPACE_POD_UID/CONTAINER/N.log`.
fn uids_in(containers: &Path) -> Uids {
    let mut uids = Uids::default();
    for file in fs::read_dir(containers).into_iter().flatten().flatten() {
        let target = fs::read_link(file.path()).unwrap_or_default();
        let of_pod = target.iter().rev().nth(2).and_then(|part| part.to_str());
        let mut parts = of_pod.unwrap_or_default().splitn(3, '_');
        if let (Some(namespace), Some(name), Some(uid)) = (parts.next(), parts.next(), parts.next())
        {
            let pod = (namespace.to_owned(), name.to_owned());
            uids.0.entry(pod).or_default().insert(uid.to_owned());
        }
    }
    uids
}

/// What is found out about each process; what is no pod's is known too.
type Found = BTreeMap<u32, Option<Holder>>;

/// Whose processes are, as far as has been found out.
#[derive(Debug)]
pub struct Holders {
    places: Places,
    known: Found,
    /// A thread that reads, because the host's files may keep who reads them waiting.
    reads: Option<oneshot::Receiver<Found>>,
}

impl Holders {
    /// Looks in these places.
    #[must_use]
    pub fn new(places: Places) -> Self {
        Self {
            places,
            known: Found::new(),
            reads: None,
        }
    }

    /// Finds out about the processes of a reading, and forgets those that are not in it: their numbers
    /// may come again for others.
    pub async fn find(&mut self, reading: &Reading) -> &Found {
        let pids: Vec<u32> = pids(reading).collect();
        self.known.retain(|pid, _| pids.contains(pid));
        self.take_in(Duration::ZERO, &pids).await;
        let is_new = |pid: &&u32| self.known.get(pid).is_none_or(is_nameless);
        let fresh: Vec<u32> = pids.iter().filter(is_new).copied().collect();
        if self.reads.is_none() && !fresh.is_empty() {
            self.reads = Some(read(self.places.clone(), fresh));
            self.take_in(WAIT, &pids).await;
        }
        &self.known
    }

    /// Takes in what has been read, and waits no longer than this for it.
    async fn take_in(&mut self, wait: Duration, pids: &[u32]) {
        let Some(reads) = &mut self.reads else {
            return;
        };
        let Ok(found) = timeout(wait, reads).await else {
            return;
        };
        self.reads = None;
        // Where no thread could be had there is nothing.
        let found = found.unwrap_or_default().into_iter();
        self.known
            .extend(found.filter(|(pid, _)| pids.contains(pid)));
    }
}

/// Reads on a thread of its own, which nobody waits for at the end.
fn read(places: Places, fresh: Vec<u32>) -> oneshot::Receiver<Found> {
    let (tell, told) = oneshot::channel();
    let work = move || {
        // Who asked may be gone.
        let _ = tell.send(found(&places, &fresh));
    };
    // Where no thread can be had, the channel closes at once.
    let _ = std::thread::Builder::new()
        .name("holders".to_owned())
        .spawn(work);
    told
}

fn found(places: &Places, fresh: &[u32]) -> Found {
    let names = names(places);
    let one = |&pid: &u32| {
        let file = places.proc.join(pid.to_string()).join("cgroup");
        // A process that has ended meanwhile is asked about again if it is told again.
        let groups = fs::read_to_string(file).ok()?;
        let container = cgroup::container(&groups);
        Some((pid, container.map(|container| holder(&container, &names))))
    };
    fresh.iter().filter_map(one).collect()
}

/// Names by the runtime's id.
fn names(places: &Places) -> BTreeMap<String, [String; 3]> {
    let files = fs::read_dir(&places.containers).into_iter().flatten();
    let names = files.filter_map(|file| name(file.ok()?.file_name().to_str()?));
    names.collect()
}

fn pids(reading: &Reading) -> impl Iterator<Item = u32> + '_ {
    reading
        .cards
        .iter()
        .flat_map(|card| match card {
            Card::Seen(seen) => seen.processes.as_deref().unwrap_or_default(),
            Card::Silent { .. } => &[],
        })
        .map(|process| process.pid)
}

/// The kubelet writes the name down a moment after the container has started.
fn is_nameless(holder: &Option<Holder>) -> bool {
    holder.as_ref().is_some_and(|holder| holder.pod.is_none())
}

/// `POD_NAMESPACE_CONTAINER-ID.log`: none of the names has an underscore.
fn name(file: &str) -> Option<(String, [String; 3])> {
    let (names, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
    let mut names = names.splitn(3, '_').map(str::to_owned);
    let names = [names.next()?, names.next()?, names.next()?];
    Some((id.to_owned(), names))
}

fn holder(of: &Container, names: &BTreeMap<String, [String; 3]>) -> Holder {
    let mut holder = Holder {
        pod_uid: of.pod_uid.clone(),
        ..Holder::default()
    };
    if let Some([pod, namespace, container]) = of.id.as_ref().and_then(|id| names.get(id)) {
        holder.namespace = Some(namespace.clone());
        holder.pod = Some(pod.clone());
        holder.container = Some(container.clone());
    }
    holder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_from_the_end() {
        let id = "0123456789abcdef";
        let (read, names) = name(&format!("train-7-x2x4q_vision_main-{id}.log")).unwrap();
        assert_eq!(read, id);
        assert_eq!(names, ["train-7-x2x4q", "vision", "main"]);
        assert_eq!(name("lost+found"), None);
        assert_eq!(name("a_b-c.log"), None);
    }
}
