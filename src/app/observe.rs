//! What metrics and dumps read from the other rooms.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::{Certificate, Sources};
use crate::control::assembly::Assembly;
use crate::fault::Faulty;
use crate::hbone::{Closed, Observer, Shed};
use crate::id::Peer;
use crate::mesh::Published;
use crate::proxy::Proxy;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{Direction, DocumentCounts};
use crate::tls::{HandshakeFault, Identity};
use crate::upstream::Why;

/// Counts what happens on the HBONE side.
pub(super) struct Counting {
    telemetry: Telemetry,
}

impl Counting {
    pub(super) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }
}

impl Observer for Counting {
    fn shed(&self, addr: SocketAddr, why: Shed) {
        self.telemetry.metrics().handshake_failed(why.as_str());
        tracing::warn!(%addr, limit = why.as_str(), "connection closed at accept: at a limit");
    }

    fn handshake_failed(&self, addr: SocketAddr, fault: &HandshakeFault) {
        self.telemetry.metrics().handshake_failed(fault.reason());
        tracing::info!(%addr, reason = fault.reason(), %fault, "nobody was proven");
    }

    fn connection_opened(&self, _peer: &Peer) {
        self.telemetry.metrics().connections(Direction::Inbound, 1);
    }

    fn connection_closed(&self, peer: &Peer, why: Closed) {
        self.telemetry.metrics().connections(Direction::Inbound, -1);
        tracing::debug!(peer = %peer.id(), why = why.as_str(), "connection ended");
    }

    fn refused(&self, peer: &Peer, status: u16) {
        if let Ok(status) = http::StatusCode::from_u16(status) {
            self.telemetry.metrics().connect_refused(status);
        }
        tracing::debug!(peer = %peer.id(), status, "CONNECT refused");
    }

    fn panicked(&self, peer: &Peer) {
        tracing::error!(peer = %peer.id(), "a handler panicked; its stream was reset");
    }
}

/// Reads the gauges of the other rooms when metrics are asked for.
#[derive(Debug, Clone)]
pub(super) struct Refresh {
    pub(super) telemetry: Telemetry,
    pub(super) proxy: Proxy,
    pub(super) identity: Identity,
    pub(super) assembly: Assembly,
    pub(super) published: Arc<Published>,
}

impl Refresh {
    /// Brings the gauges up to date.
    pub(super) fn gauges(&self) {
        let metrics = self.telemetry.metrics();
        metrics.sessions(self.proxy.sessions());
        metrics.a2a_owned(self.proxy.owned());
        metrics.a2a_linked(self.proxy.linked());
        metrics.labelled(self.proxy.labelled(), self.proxy.knows_labels());
        metrics.quotas(self.proxy.quotas());
        metrics.decode_budget_used(self.proxy.bytes_held());
        metrics.certificate_expires(self.identity.svid().not_after());
        let snapshot = self.published.current();
        let counts = snapshot.counts();
        metrics.documents(DocumentCounts { accepted: counts.loaded, refused: counts.refused, skipped: counts.skipped });
        for (why, endpoints) in snapshot.held() {
            metrics.held_endpoints(why.as_str(), endpoints);
        }
        let seen = self.proxy.upstreams().seen();
        for why in Why::ALL {
            let out = seen.iter().filter(|one| one.out.is_some_and(|(reason, _)| reason == why)).count();
            metrics.ejected(why.as_str(), (out, self.proxy.upstreams().ejections(why)));
        }
        metrics.targets_closed(snapshot.targets().filter(|target| target.closed().is_some()).count());
    }

    /// What the admin pages show.
    pub(super) fn sources(&self) -> Sources {
        let (identity, assembly, proxy) = (self.identity.clone(), self.assembly.clone(), self.proxy.clone());
        Sources {
            published: Arc::clone(&self.published),
            certificates: Arc::new(move || {
                let svid = identity.svid();
                let name = "own".to_owned();
                vec![Certificate { name, identity: svid.id().uri().to_owned(), not_after: svid.not_after() }]
            }),
            problems: Arc::new(move || assembly.problems()),
            endpoints: Arc::new(move || proxy.upstreams().seen()),
        }
    }
}
