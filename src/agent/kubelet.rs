//! What the kubelet has given to whom: asked by its PodResources API, over a socket of the node.
//!
//! What it has said last stands while it is away: containers outlive a restart of the kubelet.

pub mod device;
pub mod messages;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::holders::{self, Uids};
use device::{Device, device};
use messages::{Allocatable, Listed, Nothing};

/// It is asked at every so manieth look.
const EVERY: u64 = 10;
/// How long a first look waits for the answer. What comes later is taken in by a later look.
const WAIT: Duration = Duration::from_secs(1);
/// A kubelet that is started anew is away for a moment; so many questions may fail before that is told.
const FAILURES: u32 = 3;
/// The longest answer, as the kubelet's own client has it.
const ANSWER_MAX: usize = 16 << 20;
/// Grants that are taken in. No node has as many pods with GPUs.
const GRANTS_MAX: usize = 8192;

/// What the kubelet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// What containers hold, by pod.
    pub grants: Vec<Grant>,
    /// The slots of each GPU or instance, by UUID: 1 where it is not shared. Empty where the kubelet
    /// does not say.
    pub slots: BTreeMap<String, u32>,
}

/// A device that a container holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID, where the node shows it.
    pub uid: Option<String>,
    /// The container.
    pub container: String,
    /// What it holds.
    pub device: Device,
}

/// Why the kubelet has not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or not to us.
    #[error("{} cannot be reached: {why}", socket.display())]
    NotReached {
        /// Where it should listen.
        socket: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It said something else.
    #[error("it answered: {0}")]
    Refused(String),
}

impl Error {
    /// One word for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotReached { .. } => "NotReached",
            Self::Late(_) => "Late",
            Self::Refused(_) => "Refused",
        }
    }
}

/// What is known of the kubelet's word.
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// It has not been heard yet.
    Unheard,
    /// It answers, or has just now.
    Given(&'a Given),
    /// It does not answer; this is what it said last.
    Away(&'a Error, Option<&'a Given>),
}

impl<'a> Word<'a> {
    /// What it said last.
    #[must_use]
    pub const fn given(self) -> Option<&'a Given> {
        match self {
            Self::Given(given) => Some(given),
            Self::Away(_, given) => given,
            Self::Unheard => None,
        }
    }
}

type Answer = Result<Given, Error>;

/// Asks the kubelet now and then.
#[derive(Debug)]
pub struct Kubelet {
    socket: PathBuf,
    /// Where the node shows UIDs of pods.
    containers: PathBuf,
    deadline: Duration,
    looks: u64,
    /// A question whose answer has not come.
    asked: Option<oneshot::Receiver<Answer>>,
    given: Option<Given>,
    error: Option<Error>,
    failures: u32,
}

impl Kubelet {
    /// One that has not been asked. It listens at the socket; an answer is waited for until the
    /// deadline.
    #[must_use]
    pub fn new(socket: PathBuf, containers: PathBuf, deadline: Duration) -> Self {
        Self {
            socket,
            containers,
            deadline,
            looks: 0,
            asked: None,
            given: None,
            error: None,
            failures: 0,
        }
    }

    /// Asks it when that is due, and takes in what has come. Waits for the first answer alone.
    pub async fn look(&mut self) -> Word<'_> {
        self.take_in(Duration::ZERO).await;
        if self.asked.is_none() && self.looks.is_multiple_of(EVERY) {
            let (tell, told) = oneshot::channel();
            let asking = ask(self.socket.clone(), self.containers.clone(), self.deadline);
            tokio::spawn(async move {
                // Who asked may be gone.
                let _ = tell.send(asking.await);
            });
            self.asked = Some(told);
            if self.given.is_none() {
                self.take_in(WAIT).await;
            }
        }
        self.looks += 1;
        self.word()
    }

    fn word(&self) -> Word<'_> {
        match (&self.error, &self.given) {
            (Some(error), given) if self.failures >= FAILURES || given.is_none() => {
                Word::Away(error, given.as_ref())
            }
            (_, Some(given)) => Word::Given(given),
            _ => Word::Unheard,
        }
    }

    async fn take_in(&mut self, wait: Duration) {
        let Some(asked) = &mut self.asked else {
            return;
        };
        let Ok(answer) = timeout(wait, asked).await else {
            return;
        };
        self.asked = None;
        match answer {
            Ok(Ok(given)) => (self.given, self.error, self.failures) = (Some(given), None, 0),
            Ok(Err(error)) => self.failed(error),
            Err(_) => self.failed(Error::Refused("who asked it has ended".to_owned())),
        }
    }

    fn failed(&mut self, error: Error) {
        self.error = Some(error);
        self.failures = self.failures.saturating_add(1);
    }
}

/// Asks once, by a connection of its own: the kubelet may have been another since.
async fn ask(socket: PathBuf, containers: PathBuf, deadline: Duration) -> Answer {
    let (listed, allocatable) = timeout(deadline, questions(&socket))
        .await
        .unwrap_or(Err(Error::Late(deadline)))?;
    let uids = holders::uids(containers).await;
    Ok(given(listed, allocatable, &uids))
}

async fn questions(socket: &Path) -> Result<(Listed, Option<Allocatable>), Error> {
    let not_reached = |error: tonic::transport::Error| Error::NotReached {
        socket: socket.to_owned(),
        why: root_of(&error),
    };
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display()));
    let channel = endpoint.map_err(not_reached)?.connect().await;
    let client = Grpc::new(channel.map_err(not_reached)?);
    let mut client = client.max_decoding_message_size(ANSWER_MAX);
    let listed = call(&mut client, "/v1.PodResourcesLister/List").await;
    let listed = listed.map_err(|status| refused(&status))?;
    let path = "/v1.PodResourcesLister/GetAllocatableResources";
    let allocatable = match call(&mut client, path).await {
        Ok(allocatable) => Some(allocatable),
        // Kubelets before 1.23, and those that are told not to say it.
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::Unknown) => None,
        Err(status) => return Err(refused(&status)),
    };
    Ok((listed, allocatable))
}

async fn call<A>(client: &mut Grpc<Channel>, path: &'static str) -> Result<A, Status>
where
    A: Message + Default + 'static,
{
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(root_of(&error)))?;
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::default();
    let answer = client.unary(Request::new(Nothing {}), path, codec).await?;
    Ok(answer.into_inner())
}

fn refused(status: &Status) -> Error {
    Error::Refused(format!("{}: {}", status.code(), status.message()))
}

/// What lies at the bottom of an error.
fn root_of(error: &tonic::transport::Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

fn given(listed: Listed, allocatable: Option<Allocatable>, uids: &Uids) -> Given {
    let mut grants = Vec::new();
    for pod in listed.pods {
        let uid = uids.of(&pod.namespace, &pod.name);
        for container in pod.containers {
            let ids = container.devices.iter().flat_map(|devices| &devices.ids);
            grants.extend(ids.filter_map(|id| {
                Some(Grant {
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    uid: uid.clone(),
                    container: container.name.clone(),
                    device: device(id)?,
                })
            }));
        }
    }
    grants.sort();
    grants.dedup();
    grants.truncate(GRANTS_MAX);
    let mut slots: BTreeMap<String, u32> = BTreeMap::new();
    let devices = allocatable.into_iter().flat_map(|all| all.devices);
    for id in devices.flat_map(|devices| devices.ids) {
        if let Some(device) = device(&id) {
            *slots.entry(device.uuid).or_default() += 1;
        }
    }
    Given { grants, slots }
}

#[cfg(test)]
mod tests {
    use super::messages::{Container, Devices, Pod};
    use super::*;

    fn devices(ids: &[&str]) -> Devices {
        Devices {
            resource: "nvidia.com/gpu".to_owned(),
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    #[test]
    fn devices_of_containers_and_slots_of_cards() {
        let container = |name: &str, ids: &[&str]| Container {
            name: name.to_owned(),
            devices: vec![devices(ids)],
        };
        let pod = Pod {
            name: "train".to_owned(),
            namespace: "red".to_owned(),
            containers: vec![
                container("main", &["GPU-a::1"]),
                container("log", &["eth0"]),
            ],
        };
        let listed = Listed { pods: vec![pod] };
        let all = vec![devices(&["GPU-a::0", "GPU-a::1"]), devices(&["MIG-b", "x"])];
        let given = given(listed, Some(Allocatable { devices: all }), &Uids::default());
        assert_eq!(given.grants.len(), 1);
        let grant = &given.grants[0];
        assert_eq!(
            (grant.pod.as_str(), grant.container.as_str()),
            ("train", "main")
        );
        assert_eq!(grant.device.slot, Some(1));
        let slots = [("GPU-a".to_owned(), 2), ("MIG-b".to_owned(), 1)];
        assert_eq!(given.slots, slots.into());
    }
}
