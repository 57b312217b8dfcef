//! Stage 3: a CONNECT becomes HTTP or bytes, by what its target's port is.

use std::sync::Arc;

use super::http::Calls;
use super::{Shared, tcp};
use crate::hbone::{self, Refusal, Tunnel};
use crate::intake::{self, Sniffed};
use crate::mesh::{PortProtocol, Target};

/// Serves one tunnel to its end.
///
/// HTTP ports are answered 200 at once, so that every later refusal can be read by the caller inside the tunnel; TCP
/// ports are answered after the decision and the dial.
pub(super) async fn serve(shared: &Arc<Shared>, tunnel: Tunnel) {
    let Some(target) = shared.published.current().find(&tunnel.authority) else {
        tracing::debug!(peer = %tunnel.peer.id(), authority = ?tunnel.authority, "no such target here");
        return tunnel.refuse(Refusal::NotFound);
    };
    match target.protocol {
        PortProtocol::Tcp => tcp::serve_tunnel(shared, tunnel, target).await,
        PortProtocol::Mcp | PortProtocol::A2a | PortProtocol::Http | PortProtocol::Undeclared => {
            let peer = Arc::clone(&tunnel.peer);
            let Ok(stream) = tunnel.accept() else { return };
            Box::pin(serve_stream(shared, Calls::new(shared, peer, &target), stream, &target)).await;
        }
    }
}

/// Serves the bytes of an accepted tunnel. Only an undeclared port may fall back to TCP, under TCP rules.
async fn serve_stream(shared: &Arc<Shared>, calls: Calls, stream: hbone::Stream, target: &Arc<Target>) {
    let undeclared = target.protocol == PortProtocol::Undeclared;
    let (sniffed, stream) = if undeclared { intake::sniff(stream).await } else { intake::sniff_http(stream).await };
    match sniffed {
        Sniffed::Http1 => end(target, intake::serve_http1(stream, calls, shared.drain.clone()).await),
        Sniffed::H2 => end(target, intake::serve_h2c(stream, calls, shared.drain.clone()).await),
        Sniffed::Tls | Sniffed::Other | Sniffed::Silent if undeclared => {
            tcp::serve_accepted(shared, calls.peer(), Arc::clone(target), stream).await;
        }
        Sniffed::Tls => {
            shared.telemetry.metrics().fault(crate::fault::Stage::Read, "tls_in_tunnel");
            tracing::warn!(
                peer = %calls.peer().id(), target = %target.key,
                "TLS inside the tunnel to a port that is declared {}: let the client speak plain HTTP (the mesh encrypts), or declare the port tls",
                target.protocol.as_str(),
            );
        }
        Sniffed::Other | Sniffed::Silent | Sniffed::Closed => {
            shared.telemetry.metrics().fault(crate::fault::Stage::Read, "not_http");
            tracing::debug!(peer = %calls.peer().id(), target = %target.key, "not HTTP on an HTTP port");
        }
    }
}

fn end(target: &Target, served: Result<(), intake::IntakeFault>) {
    if let Err(fault) = served {
        tracing::debug!(target = %target.key, %fault, "connection inside the tunnel ended");
    }
}
