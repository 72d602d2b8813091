//! An extender in this process, and clients that speak TLS and HTTP to it by hand.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use prorata::config;
use prorata::extender::{self, FilterPolicy};
use prorata::plan::Plan;
use prorata::view::{View, Views};
use prorata_controlplane::{Authority, Credentials};
use prorata_core::{Event, Job, JobId, Node, Policy, Resources, Scheduler, Tenant, TenantId, Time};
use rpds::RedBlackTreeMapSync;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, Stream, StreamOwned,
};
use serde_json::Value;
use tempfile::TempDir;

const GPU: &str = "nvidia.com/gpu";
const PATIENCE: Duration = Duration::from_secs(10);
/// Nodes, where a test does not say how many.
const NODES: usize = 3;

/// Why a connection came to nothing: what the server said of it, if anything.
pub(crate) type Refused = Option<AlertDescription>;

/// An extender that answers until the test process ends.
pub(crate) struct Server {
    address: SocketAddr,
    authority: Authority,
    issued: Credentials,
    own: Credentials,
    directory: TempDir,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// Someone who asks.
pub(crate) struct Client<'a> {
    server: &'a Server,
    certificate: Option<Credentials>,
    trusted: Option<TempDir>,
    protocols: Vec<Vec<u8>>,
}

impl Server {
    /// Starts one. Once `is_ready`, it knows three nodes of four GPUs, and the gang `red/train` of
    /// two, admitted to one GPU on each of the first two; `red/waiting` waits.
    pub(crate) fn start(is_ready: bool) -> Self {
        if is_ready {
            Self::start_with(NODES)
        } else {
            Self::run(None, false)
        }
    }

    /// The same with so many nodes.
    pub(crate) fn start_with(nodes: usize) -> Self {
        Self::run(Some(view(nodes)), false)
    }

    /// One that answers anybody.
    pub(crate) fn start_plain() -> Self {
        Self::run(Some(view(NODES)), true)
    }

    fn run(view: Option<View>, plain_http: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path()).unwrap();
        let own = authority.issue_server("extender", &["127.0.0.1"]).unwrap();
        let issued = authority.issue_client("kube-scheduler").unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let clients = directory.path().join("clients.crt");
        std::fs::copy(authority.certificate(), &clients).unwrap();
        let tls = config::Tls {
            cert_file: own.certificate.clone(),
            key_file: own.key.clone(),
            client_ca_file: clients,
        };
        let config = config::Extender {
            address,
            tls: (!plain_http).then_some(tls),
            plain_http,
            probe: None,
        };
        let views = Views::default();
        if let Some(view) = view {
            views.publish(view);
        }
        let policy = FilterPolicy {
            gpu_resource: GPU.to_owned(),
        };
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime
                .block_on(extender::serve(&config, policy, views))
                .unwrap();
        });
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "it does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        Self {
            address,
            authority,
            issued,
            own,
            directory,
        }
    }

    /// Asks as kube-scheduler does.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Answer, Refused> {
        self.client().post(path, body)
    }

    /// The body of a good answer, as it came.
    pub(crate) fn exactly(&self, path: &str, body: &str) -> String {
        let answer = self.post(path, body).unwrap();
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (200, "application/json"),
            "{}",
            answer.body
        );
        answer.body
    }

    /// The same, read.
    pub(crate) fn value(&self, path: &str, body: &str) -> Value {
        serde_json::from_str(&self.exactly(path, body)).unwrap()
    }

    /// Asks without TLS, and reads to the end of the connection.
    pub(crate) fn post_plain(&self, path: &str, body: &str) -> Answer {
        let mut socket = self.socket();
        socket.write_all(head(path, body).as_bytes()).unwrap();
        socket.write_all(body.as_bytes()).unwrap();
        Answer::read(&mut socket)
    }

    /// A connection without TLS.
    pub(crate) fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        // As every client of Go.
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The files that it reads: certificate, key, and authorities of those who may ask.
    pub(crate) fn files(&self) -> [PathBuf; 3] {
        let clients = self.directory.path().join("clients.crt");
        [self.own.certificate.clone(), self.own.key.clone(), clients]
    }

    /// Replaces its certificate by another one of the same authority.
    pub(crate) fn renew(&self) {
        self.authority
            .issue_server("extender", &["127.0.0.1"])
            .unwrap();
    }

    /// An authority in a directory of its own.
    pub(crate) fn another_authority(&self) -> Authority {
        let other = self.directory.path().join("other");
        std::fs::create_dir(&other).unwrap();
        Authority::create(&other).unwrap()
    }

    /// kube-scheduler.
    pub(crate) fn client(&self) -> Client<'_> {
        let protocols = vec![b"http/1.1".to_vec()];
        Client {
            server: self,
            certificate: Some(self.issued.clone()),
            trusted: None,
            protocols,
        }
    }
}

impl Client<'_> {
    pub(crate) fn without_certificate(self) -> Self {
        Self {
            certificate: None,
            ..self
        }
    }

    pub(crate) fn of_another_authority(self) -> Self {
        let other = self.server.another_authority();
        self.showing(other.issue_client("kube-scheduler").unwrap())
    }

    pub(crate) fn showing(self, credentials: Credentials) -> Self {
        Self {
            certificate: Some(credentials),
            ..self
        }
    }

    pub(crate) fn with_the_servers_certificate(self) -> Self {
        Self {
            certificate: Some(self.server.own.clone()),
            ..self
        }
    }

    /// One who takes another authority's word alone.
    pub(crate) fn trusting_another_authority(self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Authority::create(directory.path()).unwrap();
        Self {
            trusted: Some(directory),
            ..self
        }
    }

    pub(crate) fn offering(self, protocols: &[&str]) -> Self {
        Self {
            protocols: protocols.iter().map(|p| p.as_bytes().to_vec()).collect(),
            ..self
        }
    }

    /// Posts JSON on a connection of its own.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Answer, Refused> {
        self.send(&head(path, body), body)
    }

    /// The certificate that the server shows.
    pub(crate) fn shown(&self) -> Vec<u8> {
        let (mut connection, mut socket) = self.connect();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        connection.peer_certificates().unwrap()[0].to_vec()
    }

    /// A connection that stays, to ask again and again.
    pub(crate) fn stay(&self) -> Conversation {
        let (connection, socket) = self.connect();
        Conversation(StreamOwned::new(connection, socket))
    }

    /// Sends a request and reads the answer to the end of the connection.
    pub(crate) fn send(&self, head: &str, body: &str) -> Result<Answer, Refused> {
        let (mut connection, mut socket) = self.connect();
        let mut stream = Stream::new(&mut connection, &mut socket);
        let sent = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()));
        // A server that refuses early does not read all, and has answered before.
        let received = receive(&mut connection, &mut socket);
        match received {
            Ok(bytes) if !bytes.is_empty() => Ok(Answer::parse(&String::from_utf8(bytes).unwrap())),
            received => Err(sent.and(received.map(drop)).err().and_then(alert)),
        }
    }

    /// Which protocol the handshake chooses.
    pub(crate) fn negotiate(&self) -> Result<Option<String>, Refused> {
        let (mut connection, mut socket) = self.connect();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(alert)?;
        }
        let chosen = connection
            .alpn_protocol()
            .map(|p| String::from_utf8(p.to_vec()).unwrap());
        Ok(chosen)
    }

    /// What the server says to one whom it does not let in. In TLS 1.3 it says so once the client
    /// takes the handshake for done.
    pub(crate) fn refusal(&self) -> Refused {
        let (mut connection, mut socket) = self.connect();
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.read_exact(&mut [0]).err().and_then(alert)
    }

    fn connect(&self) -> (ClientConnection, TcpStream) {
        let socket = self.server.socket();
        let name = "127.0.0.1".try_into().unwrap();
        (
            ClientConnection::new(Arc::new(self.tls()), name).unwrap(),
            socket,
        )
    }

    fn tls(&self) -> ClientConfig {
        let authority = match &self.trusted {
            Some(directory) => directory.path().join("ca.crt"),
            None => self.server.authority.certificate().to_owned(),
        };
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some(credentials) => {
                let chain = vec![CertificateDer::from_pem_file(&credentials.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&credentials.key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config
    }
}

/// A connection that stays.
pub(crate) struct Conversation(StreamOwned<ClientConnection, TcpStream>);

impl Conversation {
    /// Asks, and reads the status.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<u16> {
        let head = head(path, body).replace("Connection: close\r\n", "");
        self.0.write_all(head.as_bytes())?;
        self.0.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        let mut lengths = head
            .lines()
            .filter_map(|line| line.strip_prefix("content-length: "));
        let length: usize = lengths.next().unwrap().parse().unwrap();
        self.0.read_exact(&mut vec![0; length])?;
        Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
    }
}

pub(crate) fn head(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: extender\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {length}\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
}

impl Answer {
    /// What comes until the end of a connection without TLS.
    pub(crate) fn read(socket: &mut TcpStream) -> Self {
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            Some(
                line.to_ascii_lowercase()
                    .strip_prefix("content-type: ")?
                    .to_owned(),
            )
        };
        let content_type = head.lines().find_map(header).unwrap_or_default();
        Self {
            status,
            content_type,
            body: body.to_owned(),
        }
    }
}

/// What comes until the end of the connection, however it ends.
fn receive(connection: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Ok(0) | Err(_) = connection.read_tls(socket) {
            return Ok(bytes);
        }
        connection.process_new_packets().map_err(io::Error::other)?;
        // All that is there: an error says that more may come.
        let _ = connection.reader().read_to_end(&mut bytes);
    }
}

/// What the server said about why it ends the connection.
fn alert(error: io::Error) -> Refused {
    let inner = error.into_inner()?;
    match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The name of a node, counted from 1.
pub(crate) fn node_name(n: usize) -> String {
    format!("node-{n:04}")
}

pub(crate) fn view(nodes: usize) -> View {
    let mut core = Scheduler::new(Policy::default());
    for n in 1..=nodes {
        let node = Node {
            allocatable: Resources::gpus(4),
            ..Node::new(node_name(n).as_str())
        };
        core.observe(Time::ZERO, Event::NodeSeen(node));
    }
    let red = Tenant::new("red");
    core.observe(Time::ZERO, Event::TenantChanged(red));
    // More than there is room for.
    let gang = u32::try_from(nodes).unwrap() + 5;
    let waiting = job("waiting", "waiting-uid", gang, 4);
    core.observe(Time::ZERO, Event::JobSubmitted(waiting));
    let train = job("train", super::bodies::TRAIN, 2, 1);
    core.observe(Time::ZERO, Event::JobSubmitted(train.clone()));
    // One place on each of two nodes, where a cycle would have put both on one.
    let slot = |node: &str| prorata_core::Slot::whole(node.into(), [0].into_iter().collect());
    let placement: prorata_core::Placement =
        ["node-0001", "node-0002"].map(slot).into_iter().collect();
    let admitted = Event::JobAdmitted(train.id.clone(), placement.clone(), Time::ZERO);
    core.observe(Time::ZERO, admitted);
    assert_eq!(core.cycle(Time::ZERO).decisions, []);
    let plan = Plan::new(&train, 1, placement, true);
    let mut plans = RedBlackTreeMapSync::new_sync();
    plans.insert_mut(super::bodies::TRAIN.to_owned(), plan);
    let mut namespaces = RedBlackTreeMapSync::new_sync();
    namespaces.insert_mut("red".to_owned(), TenantId::from("red"));
    View {
        bypassing: Default::default(),
        groups: Default::default(),
        owners: Default::default(),
        departed: Default::default(),
        is_undecided: false,
        snapshot: core.snapshot(),
        plans,
        namespaces,
    }
}

fn job(name: &str, uid: &str, gang: u32, gpus: u64) -> Job {
    let id = JobId::new("red", name, uid);
    Job::new(id, "red".into(), gang, Resources::gpus(gpus))
}
