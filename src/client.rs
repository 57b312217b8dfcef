//! The client's side of the mesh: plain TCP in; for each connection one CONNECT stream with one identity to a waypoint,
//! and bytes both ways with half-close.
//!
//! It plays the ztunnel in front of a client: it proves who calls and decides nothing.

mod remedy;
pub mod tools;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::limits::MAX_CONNECTIONS;
use crate::fault::Faulty as _;
use crate::hbone::Pool;
use crate::net;
use crate::tls::{Expect, Identity};

/// Pause after the kernel could not give us a connection, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whom to call, as whom, and through which waypoint.
#[derive(Debug, Clone)]
pub struct Caller {
    pool: Pool,
    waypoint: SocketAddr,
    expect: Expect,
    authority: Arc<str>,
}

impl Caller {
    /// A caller with `identity`. `expect` is whom the waypoint must prove to be; `authority` goes into the CONNECT.
    pub fn new(identity: Identity, waypoint: SocketAddr, expect: Expect, authority: impl Into<Arc<str>>) -> Self {
        Self { pool: Pool::new(identity), waypoint, expect, authority: authority.into() }
    }

    /// Takes connections until `stop`, then ends those that are open. A connection for which the waypoint opens no
    /// tunnel is closed, and the log says why and what would help.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let tcp = match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // At the limit the connection is closed: its client sees at once what is the matter.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (caller, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                caller.carry(tcp, &stop).await;
                drop(place);
            });
        }
        tasks.close();
        tasks.wait().await;
        self.pool.close().await;
    }

    async fn carry(&self, tcp: TcpStream, stop: &CancellationToken) {
        net::tune(&tcp);
        let plain = HeaderMap::new();
        let dial = self.pool.connect_with(self.waypoint, self.expect.clone(), &self.authority, &plain);
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            opened = Box::pin(dial) => opened,
        };
        match opened {
            Ok(tunnel) => {
                let copied = net::copy::both_ways(tcp, tunnel, stop).await;
                tracing::debug!(sent = copied.a_to_b, received = copied.b_to_a, end = ?copied.end, "connection ended");
            }
            Err(fault) => tracing::warn!(
                waypoint = %self.waypoint,
                authority = %self.authority,
                reason = fault.reason(),
                "{fault}; {}",
                remedy::of(&fault)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
