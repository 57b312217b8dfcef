//! Connections to the pod: HBONE by whoever has a certificate of the mesh, and plaintext by anybody. Both are held
//! against the same policies; what passes is dialled at the application, on the pod's own address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use agent_waypoint::config::limits::DIAL_TIMEOUT;
use agent_waypoint::hbone::{Refusal, Tunnel};
use agent_waypoint::net;
use agent_waypoint::wire::authority::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::authz::{self, Connection, Refused};
use crate::capture;
use crate::events::{self, Event, Verdict, Way};
use crate::route;
use crate::serve::Shared;

/// One CONNECT. As ztunnel: the application is dialled first, then the answer given.
pub(crate) async fn tunnel(tunnel: Tunnel, shared: Arc<Shared>) {
    let source = capture::plain(tunnel.peer.addr());
    let peer = Arc::clone(&tunnel.peer);
    let say = |verdict, destination: String, why: String| {
        let principal = Some(peer.id().principal());
        events::print(&Event { way: Way::InboundHbone, verdict, source, principal, destination, why });
    };
    let to = match &tunnel.authority {
        Authority::Addr(to) => *to,
        // A Service's name and port: the port of this pod that is behind it.
        Authority::Host { host, port } => match shared.behind(host, *port) {
            Some(to) => to,
            None => {
                say(Verdict::Refused, format!("{host}:{port}"), "not a Service of this pod".to_owned());
                return tunnel.refuse(Refusal::Unavailable);
            }
        },
    };
    let own = shared.me(|me| route::is_own(me, to.ip()));
    if !own {
        say(Verdict::Refused, to.to_string(), "not an address of this pod".to_owned());
        return tunnel.refuse(Refusal::BadAuthority);
    }
    if shared.ports.are_ours(to.port()) {
        say(Verdict::Refused, to.to_string(), "a port of the node proxy".to_owned());
        return tunnel.refuse(Refusal::Unavailable);
    }
    let connection = Connection { identity: Some(peer.id().clone()), source: source.ip(), destination: to };
    if let Err(Refused(policy)) = shared.check(&connection) {
        say(Verdict::Refused, to.to_string(), policy);
        return tunnel.refuse(Refusal::Forbidden);
    }
    match net::dial_tcp(to, DIAL_TIMEOUT).await {
        Ok(application) => {
            let Ok(stream) = tunnel.accept() else { return };
            say(Verdict::Carried, to.to_string(), "to the application".to_owned());
            if let Err(Refused(policy)) = carry(stream, application, &connection, &shared).await {
                say(Verdict::Revoked, to.to_string(), policy);
            }
        }
        Err(fault) => {
            say(Verdict::Failed, to.to_string(), fault.to_string());
            tunnel.refuse(Refusal::Unavailable);
        }
    }
}

/// Takes redirected plaintext for ever.
pub(crate) async fn serve_plaintext(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((tcp, source)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { Box::pin(plaintext(tcp, capture::plain(source), &shared)).await });
    }
}

async fn plaintext(tcp: TcpStream, source: SocketAddr, shared: &Shared) {
    let say = |verdict, destination: String, why: String| {
        events::print(&Event { way: Way::InboundPlaintext, verdict, source, principal: None, destination, why });
    };
    let Ok(to) = capture::original_destination(&tcp) else { return capture::reset(&tcp) };
    if shared.ports.are_ours(to.port()) {
        say(Verdict::Refused, to.to_string(), "a port of the node proxy".to_owned());
        return capture::reset(&tcp);
    }
    let connection = Connection { identity: None, source: source.ip(), destination: to };
    if let Err(Refused(policy)) = shared.check(&connection) {
        say(Verdict::Refused, to.to_string(), policy);
        return capture::reset(&tcp);
    }
    match net::dial_tcp(application(to), DIAL_TIMEOUT).await {
        Ok(application) => {
            say(Verdict::Carried, to.to_string(), "to the application".to_owned());
            if let Err(Refused(policy)) = carry(tcp, application, &connection, shared).await {
                say(Verdict::Revoked, to.to_string(), policy);
            }
        }
        Err(fault) => {
            say(Verdict::Failed, to.to_string(), fault.to_string());
            capture::reset(&tcp);
        }
    }
}

/// Where the application is: the address asked for, but a link-local one, which means nothing without its link.
fn application(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), to.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => to,
    }
}

/// Copies until the end, or until the policies no longer let it be.
async fn carry<A, B>(near: A, far: B, connection: &Connection, shared: &Shared) -> Result<(), Refused>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let never = CancellationToken::new();
    tokio::select! {
        _ended = net::copy::both_ways(near, far, &never) => Ok(()),
        refused = revoked(connection, shared) => Err(refused),
    }
}

/// Resolves when a world has come in which the connection would be refused.
async fn revoked(connection: &Connection, shared: &Shared) -> Refused {
    let mut worlds = shared.world.clone();
    loop {
        if worlds.changed().await.is_err() {
            return std::future::pending().await;
        }
        let world = worlds.borrow_and_update().clone();
        let Some(me) = world.workload(&shared.uid) else { return Refused("workload is gone".to_owned()) };
        if let Err(refused) = authz::check(&world, me, connection) {
            return refused;
        }
    }
}
