//! The guarded server: a real MCP server whose only way in is its own end of the mesh.
//!
//! Plays the ztunnel of the server's node: HBONE is taken from the waypoint's identity alone, and whoever connects to
//! the application's port in plaintext is reset.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tool_server::{Seen, ToolServer};

use super::documents::Place;
use crate::hbone::{Refusal, Server, Tunnel};
use crate::id::WorkloadId;
use crate::mesh::HBONE_PORT;
use crate::net;
use crate::tls::Identity;
use crate::wire::authority::Authority;

/// Where the application seems to listen.
const APP_PORT: u16 = 8080;
/// Last parts of the loopback addresses to try, before any free ports of 127.0.0.1.
const LAST_PARTS: std::ops::RangeInclusive<u8> = 11..=60;

/// The server, running.
#[derive(Debug)]
pub(super) struct Pod {
    place: Place,
    server: ToolServer,
}

impl Pod {
    /// Starts the server behind its guard, which lets only `waypoint` in.
    pub(super) async fn start(
        identity: Identity,
        waypoint: WorkloadId,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (app, hbone) = listeners()?;
        let place = Place { app: app.local_addr()?, hbone_port: hbone.local_addr()?.port() };
        let server = ToolServer::new(Seen::new(), stop.clone());
        tasks.spawn(resets(app, stop.clone()));
        let guard = Guard { waypoint, app: place.app, server: server.clone() };
        let handler = move |tunnel| guard.clone().admit(tunnel);
        let ends = Server::new(identity).drain_deadline(std::time::Duration::from_millis(500));
        tasks.spawn(ends.serve(hbone, handler, stop.clone()));
        Ok(Self { place, server })
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where its end of the mesh listens.
    pub(super) fn hbone(&self) -> SocketAddr {
        SocketAddr::new(self.place.app.ip(), self.place.hbone_port)
    }

    /// What reached the server.
    pub(super) fn seen(&self) -> &Seen {
        self.server.seen()
    }
}

/// The application's port and the mesh's on one address of its own; where that cannot be had (other systems than Linux
/// have only 127.0.0.1, or somebody has the port), free ports.
fn listeners() -> anyhow::Result<(TcpListener, TcpListener)> {
    for last in LAST_PARTS {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        let pair = (net::listen(SocketAddr::new(ip, APP_PORT)), net::listen(SocketAddr::new(ip, HBONE_PORT)));
        if let (Ok(app), Ok(hbone)) = pair {
            return Ok((app, hbone));
        }
    }
    let free = || net::listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).context("no free port on 127.0.0.1");
    Ok((free()?, free()?))
}

/// Resets every connection, as ztunnel does with plaintext that its policy refuses.
async fn resets(listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, _)) => {
                if let Err(error) = tcp.set_zero_linger() {
                    tracing::debug!(%error, "closed instead of reset");
                }
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// What the server's ztunnel enforces: DENY, `notPrincipals: [the waypoint]`.
#[derive(Clone)]
struct Guard {
    waypoint: WorkloadId,
    app: SocketAddr,
    server: ToolServer,
}

impl Guard {
    async fn admit(self, tunnel: Tunnel) {
        if *tunnel.peer.id() != self.waypoint {
            return tunnel.refuse(Refusal::Forbidden);
        }
        if tunnel.authority != Authority::Addr(self.app) {
            return tunnel.refuse(Refusal::NotFound);
        }
        match tunnel.accept() {
            Ok(stream) => self.server.serve_connection(stream).await,
            Err(gone) => tracing::debug!(%gone, "tunnel not opened"),
        }
    }
}
