//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Result};

/// The port of every program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
}

impl Ports {
    /// Ports that were free a moment ago. All are held until the last is known, so that no two
    /// are the same; another process may still take one before it is used.
    pub(crate) fn free() -> Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = [bind(), bind(), bind(), bind(), bind()];
        let mut ports = [0; 5];
        for (port, listener) in ports.iter_mut().zip(listeners) {
            *port = listener
                .and_then(|l| l.local_addr())
                .when("find a free port")?
                .port();
        }
        let [etcd, etcd_peer, api_server, controller_manager, scheduler] = ports;
        Ok(Self {
            etcd,
            etcd_peer,
            api_server,
            controller_manager,
            scheduler,
        })
    }
}
