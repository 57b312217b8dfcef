//! Captured connections: where they were going before the namespace's rules redirected them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as StdListener};

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds until we accept them.
const BACKLOG: i32 = 256;

/// Listens on all addresses of both families. Call it inside a tokio runtime.
pub(crate) fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port).into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(StdListener::from(socket))
    };
    open().with_context(|| format!("cannot listen on port {port}"))
}

/// Where a redirected connection was going: the kernel's record of the translation (SO_ORIGINAL_DST).
pub(crate) fn original_destination(tcp: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(tcp);
    let found = match plain(tcp.peer_addr()?) {
        SocketAddr::V4(_) => socket.original_dst_v4()?,
        SocketAddr::V6(_) => socket.original_dst_v6()?,
    };
    found.as_socket().map(plain).ok_or_else(|| io::Error::other("no address"))
}

/// An IPv4 address that a socket of both families shows as `::ffff:a.b.c.d`, as what it is.
pub(crate) fn plain(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// Ends a connection with a reset, as ztunnel does when it refuses.
pub(crate) fn reset(tcp: &TcpStream) {
    // Where it fails the connection has gone already.
    let _gone = tcp.set_zero_linger();
}
