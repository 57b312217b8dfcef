use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::DialFault;
use super::dns::{Answers, Dns, DnsFault};
use super::exchange::UpstreamHttp;
use super::external::External;
use crate::config::limits::{CONNECTION_MAX_AGE, DIAL_TIMEOUT};
use crate::hbone;
use crate::id::WorkloadId;
use crate::mesh::{At, Endpoint, Tls, Via};
use crate::net::{BoxedIo, dial_tcp};
use crate::tls::ExternalTls;

/// Addresses of one name that are tried, one after the other.
const TRIES: usize = 3;

/// A byte stream to an endpoint.
pub enum Line {
    /// A tunnel.
    Tunnel(hbone::Stream),
    /// TCP, or TLS that we originate.
    Other(BoxedIo),
}

impl Line {
    /// The stream, whatever it is.
    pub fn boxed(self) -> BoxedIo {
        match self {
            Self::Tunnel(stream) => Box::new(stream),
            Self::Other(io) => io,
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Tunnel(_)) { "Tunnel" } else { "Other" })
    }
}

/// A connection, and from when on no new request should go out on it.
pub(super) struct Dialled {
    pub(super) line: Line,
    pub(super) retire_at: Instant,
}

/// Makes connections by whatever way an endpoint is reached.
pub(super) struct Dialer {
    tunnels: hbone::Pool,
    dns: Dns,
    external: External,
}

impl Dialer {
    pub(super) fn new(tunnels: hbone::Pool, dns: Dns) -> Self {
        Self { tunnels, dns, external: External::default() }
    }

    /// A connection to the application. The caller bounds the whole; each part has the same bound.
    pub(super) async fn connect(&self, endpoint: &Endpoint, version: UpstreamHttp) -> Result<Dialled, DialFault> {
        let retire_at = Instant::now() + CONNECTION_MAX_AGE;
        match &endpoint.via {
            Via::Plain => Ok(Dialled { line: Line::Other(Box::new(self.tcp(&endpoint.at).await?)), retire_at }),
            Via::Tls(tls) => {
                let client = self.client(tls, version).await?;
                let tcp = self.tcp(&endpoint.at).await?;
                let tls = client.connect(tcp).await.map_err(DialFault::Tls)?;
                Ok(Dialled { line: Line::Other(Box::new(tls)), retire_at })
            }
            Via::Hbone { expect } => {
                let (stream, retire_at) = self.tunnel(endpoint, expect, retire_at).await?;
                Ok(Dialled { line: Line::Tunnel(stream), retire_at })
            }
            Via::HboneTls { expect, tls } => {
                let client = self.client(tls, version).await?;
                let (stream, retire_at) = self.tunnel(endpoint, expect, retire_at).await?;
                let tls = client.connect(stream).await.map_err(DialFault::Tls)?;
                Ok(Dialled { line: Line::Other(Box::new(tls)), retire_at })
            }
        }
    }

    async fn client(&self, tls: &Tls, version: UpstreamHttp) -> Result<ExternalTls, DialFault> {
        let Tls { server_name, alt_names, roots } = tls;
        let client = self.external.client((server_name, alt_names), roots).await?;
        Ok(if version == UpstreamHttp::Http2 { client.http2() } else { client })
    }

    /// A tunnel to the application, and until when it is good for new requests.
    async fn tunnel(
        &self,
        endpoint: &Endpoint,
        expect: &Arc<[WorkloadId]>,
        retire_at: Instant,
    ) -> Result<(hbone::Stream, Instant), DialFault> {
        let (addresses, port) = self.addresses(&endpoint.at, Answers::Mesh).await?;
        let address = *addresses.first().ok_or(DnsFault::NoAddress)?;
        let tunnel = SocketAddr::new(address, endpoint.tunnel_port);
        let application = SocketAddr::new(address, port).to_string();
        let stream = self.tunnels.connect(tunnel, expect, &application).await?;
        let retire_at = stream.retire_at().map_or(retire_at, |at| at.min(retire_at));
        Ok((stream, retire_at))
    }

    async fn tcp(&self, at: &At) -> Result<TcpStream, DialFault> {
        let (addresses, port) = self.addresses(at, Answers::OutsideMesh).await?;
        let mut last = DialFault::Dns(DnsFault::NoAddress);
        for address in addresses.into_iter().take(TRIES) {
            match dial_tcp(SocketAddr::new(address, port), DIAL_TIMEOUT).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault.into(),
            }
        }
        Err(last)
    }

    async fn addresses(&self, at: &At, answers: Answers) -> Result<(Vec<IpAddr>, u16), DialFault> {
        match at {
            At::Addr(addr) => Ok((vec![addr.ip()], addr.port())),
            At::Dns { host, port } => Ok((self.dns.lookup(host, answers).await?, *port)),
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}
