//! What stands between two programs and may fail: connections are passed on, cut, refused, slowed
//! down or left hanging. It understands nothing of what it passes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each goes to the next target.
    Pass,
    /// Each is closed at once.
    Refuse,
    /// Every answer comes two seconds late.
    Slow,
    /// Nothing ever comes.
    Hang,
}

/// It runs until the test ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    mode: Arc<Mutex<Mode>>,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    cuts: Arc<watch::Sender<u64>>,
}

impl Proxy {
    pub(crate) async fn start(address: SocketAddr, targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let proxy = Self {
            mode: Arc::new(Mutex::new(Mode::Pass)),
            targets: Arc::new(Mutex::new(targets)),
            cuts: Arc::new(watch::channel(0).0),
        };
        let (turn, shared) = (AtomicUsize::new(0), proxy.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let target = {
                    let targets = shared.targets.lock().unwrap();
                    targets[turn.fetch_add(1, Ordering::Relaxed) % targets.len()]
                };
                tokio::spawn(shared.clone().serve(client, target));
            }
        });
        proxy
    }

    /// From now on, and connections that stand are cut.
    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.cut();
    }

    /// New connections go to these in turn, as with a balancer that finds them ready.
    pub(crate) fn target(&self, targets: Vec<SocketAddr>) {
        *self.targets.lock().unwrap() = targets;
    }

    /// Cuts every connection; how many there were.
    pub(crate) fn cut(&self) -> usize {
        let open = self.cuts.receiver_count();
        self.cuts.send_modify(|cuts| *cuts += 1);
        open
    }

    async fn serve(self, client: TcpStream, target: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        let mode = *self.mode.lock().unwrap();
        let passed = async {
            match mode {
                Mode::Refuse => {}
                Mode::Hang => std::future::pending().await,
                Mode::Pass => pass(client, target, Duration::ZERO).await,
                Mode::Slow => pass(client, target, Duration::from_secs(2)).await,
            }
        };
        tokio::select! {
            () = passed => {}
            _ = cuts.changed() => {}
        }
    }
}

async fn pass(client: TcpStream, target: SocketAddr, delay: Duration) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = copy(from_client, to_server, Duration::ZERO) => {}
        () = copy(from_server, to_client, delay) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(delay).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
