//! A kubelet that is made up: it answers by the PodResources API on a real socket.

use std::convert::Infallible;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use futures::stream;
use http::{Request, Response};
use prorata::agent::kubelet::messages::{Allocatable, Container, Devices, Listed, Nothing, Pod};
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// How it behaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Pod, as `NAMESPACE/NAME`, and the devices of its only container.
    pub(crate) pods: Vec<(String, Vec<String>)>,
    /// All devices of the node.
    pub(crate) devices: Vec<String>,
    pub(crate) manner: Manner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Answers,
    /// It takes questions, and says nothing.
    Hangs,
    /// It is older than the second question.
    IsOld,
    /// Its answer is longer than anybody takes.
    TalksTooMuch,
}

impl Said {
    /// A node with these devices, and nobody on it.
    pub(crate) fn new(devices: &[&str]) -> Self {
        Self {
            devices: owned(devices),
            ..Self::default()
        }
    }

    /// The same with one more pod, `NAMESPACE/NAME`, that has these.
    pub(crate) fn with(mut self, pod: &str, devices: &[&str]) -> Self {
        self.pods.push((pod.to_owned(), owned(devices)));
        self
    }

    /// Slots of a card.
    pub(crate) fn slots(card: &str, count: u32) -> Vec<String> {
        (0..count).map(|slot| format!("{card}::{slot}")).collect()
    }

    fn listed(&self) -> Listed {
        let pod = |(pod, ids): &(String, Vec<String>)| {
            let (namespace, name) = pod.split_once('/').unwrap();
            Pod {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                containers: vec![Container {
                    name: "main".to_owned(),
                    devices: vec![devices(ids.clone())],
                }],
            }
        };
        let mut pods: Vec<Pod> = self.pods.iter().map(pod).collect();
        if self.manner == Manner::TalksTooMuch {
            pods[0].name = "x".repeat(17 << 20);
        }
        Listed { pods }
    }
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn devices(ids: Vec<String>) -> Devices {
    Devices {
        resource: "nvidia.com/gpu".to_owned(),
        ids,
    }
}

/// A kubelet; it ends, and its socket goes, with this.
pub(crate) struct FakeKubelet {
    said: Arc<Mutex<Said>>,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeKubelet {
    pub(crate) fn start(socket: &Path, said: Said) -> Self {
        let said = Arc::new(Mutex::new(said));
        let (stop, stopped) = oneshot::channel();
        let listener = UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&said);
        let thread = thread::spawn(move || serve(listener, &shared, stopped));
        Self {
            said,
            socket: socket.to_owned(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// It says something else from now on.
    pub(crate) fn say(&self, said: Said) {
        *self.said.lock().unwrap() = said;
    }
}

impl Drop for FakeKubelet {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.socket);
    }
}

fn serve(listener: UnixListener, said: &Arc<Mutex<Said>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let said = Arc::clone(said);
    runtime.block_on(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let incoming = stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let service = service_fn(move |request: Request<Body>| {
            let said = said.lock().unwrap().clone();
            async move { Ok::<_, Infallible>(answer(said, request).await) }
        });
        let serving = Server::builder().serve_with_incoming(service, Box::pin(incoming));
        tokio::select! {
            served = serving => served.unwrap(),
            _ = stopped => {}
        }
    });
}

async fn answer(said: Said, request: Request<Body>) -> Response<Body> {
    if said.manner == Manner::Hangs {
        std::future::pending::<()>().await;
    }
    match request.uri().path() {
        "/v1.PodResourcesLister/List" => {
            let codec = ProstCodec::<Listed, Nothing>::default();
            let listed = said.listed();
            let list = service_fn(move |_: tonic::Request<Nothing>| {
                let listed = listed.clone();
                async move { Ok::<_, Status>(tonic::Response::new(listed)) }
            });
            Grpc::new(codec).unary(list, request).await
        }
        _ => {
            let codec = ProstCodec::<Allocatable, Nothing>::default();
            let all = service_fn(move |_: tonic::Request<Nothing>| {
                let devices = vec![devices(said.devices.clone())];
                let answer = match said.manner {
                    Manner::IsOld => Err(Status::new(Code::Unimplemented, "unknown method")),
                    _ => Ok(tonic::Response::new(Allocatable { devices })),
                };
                async move { answer }
            });
            Grpc::new(codec).unary(all, request).await
        }
    }
}
