//! Stage 3: a CONNECT becomes HTTP or bytes, by what its target's port is.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::a2a::is_of_replicas;
use super::answer::ProxyFault;
use super::http::Calls;
use super::{Shared, tcp};
use crate::config::limits;
use crate::hbone::{self, Refusal, Tunnel};
use crate::intake::{self, Sniffed, Spoken};
use crate::mesh::{PortProtocol, Target};

/// Serves one tunnel to its end.
///
/// HTTP ports are answered 200 at once, so that every later refusal can be read by the caller inside the tunnel; TCP
/// ports are answered after the decision and the dial.
pub(super) async fn serve(shared: &Arc<Shared>, tunnel: Tunnel) {
    // To anybody else it is a place that does not exist.
    if is_of_replicas(&tunnel.authority) && shared.replicas.is_us(tunnel.peer.id()) {
        let leaving = tunnel.leaving.clone();
        let Ok(stream) = tunnel.accept() else { return };
        let link = Box::pin(shared.replicas.serve(stream));
        return leaving.run_until_cancelled_owned(link).await.unwrap_or_default();
    }
    let Some(target) = shared.published.current().find(&tunnel.authority) else {
        tracing::debug!(peer = %tunnel.peer.id(), authority = ?tunnel.authority, "no such target here");
        return tunnel.refuse(Refusal::NotFound);
    };
    match target.protocol {
        // Each on the heap: a tunnel that lasts keeps the memory of its own protocol, not of the largest.
        PortProtocol::Tcp => Box::pin(tcp::serve_tunnel(shared, tunnel, target)).await,
        PortProtocol::Mcp | PortProtocol::A2a | PortProtocol::Http | PortProtocol::Undeclared => {
            let peer = Arc::clone(&tunnel.peer);
            let leaving = tunnel.leaving.clone();
            let Ok(stream) = tunnel.accept() else { return };
            let calls = Calls::new(shared, peer, &target, leaving.clone());
            Box::pin(serve_stream(shared, calls, (stream, leaving), &target)).await;
        }
    }
}

/// Serves the bytes of an accepted tunnel. Only an undeclared port may fall back to TCP, under TCP rules; a declared one
/// is read only to tell HTTP/1.1 from HTTP/2. HTTP ends between two requests once the tunnel's connection is leaving, so
/// that no call is under way when that is cut off.
pub(super) async fn serve_stream(
    shared: &Arc<Shared>,
    calls: Calls,
    (stream, leaving): (hbone::Stream, CancellationToken),
    target: &Arc<Target>,
) {
    let undeclared = target.protocol == PortProtocol::Undeclared;
    let wait = if undeclared { limits::SNIFF_TIMEOUT } else { limits::HTTP_IDLE_TIMEOUT };
    let sniffed = tokio::select! {
        biased;
        sniffed = intake::sniff_within(stream, wait) => sniffed,
        () = drained(shared) => return,
    };
    let Ok(Sniffed { spoken, io }) = sniffed else { return };
    match spoken {
        Spoken::Http1 => end(target, intake::serve_http1(io, calls, leaving).await),
        Spoken::H2 => end(target, Box::pin(intake::serve_h2c(io, calls, leaving)).await),
        Spoken::Tls | Spoken::Other | Spoken::Silent if undeclared => {
            Box::pin(tcp::serve_accepted(shared, calls.peer(), Arc::clone(target), io)).await;
        }
        Spoken::Tls => {
            shared.telemetry.metrics().fault(&ProxyFault::TlsInTunnel);
            tracing::warn!(
                peer = %calls.peer().id(), target = %target.key,
                "TLS inside the tunnel to a port of protocol {}: let the client speak plain HTTP (the mesh encrypts), or declare the port tls",
                target.protocol.as_str(),
            );
        }
        Spoken::Silent => {}
        Spoken::Other => {
            shared.telemetry.metrics().fault(&ProxyFault::NotHttp);
            tracing::debug!(peer = %calls.peer().id(), target = %target.key, "not HTTP on an HTTP port");
        }
    }
}

/// Ends a while after draining began: a tunnel in which nothing was said yet must not hold the end up, and one that was
/// opened just now must get to say its request.
async fn drained(shared: &Shared) {
    shared.drain.cancelled().await;
    tokio::time::sleep(limits::DRAIN_SILENCE).await;
}

fn end(target: &Target, served: Result<(), intake::IntakeFault>) {
    if let Err(fault) = served {
        tracing::debug!(target = %target.key, %fault, "connection inside the tunnel ended");
    }
}
