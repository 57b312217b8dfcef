use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::DialFault;
use super::dns::{Answers, Dns};
use super::external::External;
use crate::mesh::{At, Endpoint, Via};

/// A byte stream both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Any byte stream both ways.
pub type BoxedIo = Box<dyn Duplex>;

/// Addresses of one name that are tried, one after the other.
const TRIES: usize = 3;

/// Makes connections by whatever way an endpoint is reached.
pub(super) struct Dialer {
    dns: Dns,
    external: External,
}

impl Dialer {
    pub(super) fn new(dns: Dns) -> Self {
        Self { dns, external: External::default() }
    }

    /// A connection to the application; no timeout of its own beyond those of its parts.
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<BoxedIo, DialFault> {
        match &endpoint.via {
            Via::Plain => Ok(Box::new(self.tcp(&endpoint.at).await?)),
            Via::Tls { server_name, roots } => {
                let client = self.external.client(server_name, roots).await?;
                let tcp = self.tcp(&endpoint.at).await?;
                Ok(Box::new(External::handshake(&client, tcp).await?))
            }
            Via::Hbone { .. } => Err(DialFault::Tunnel("not built yet")),
        }
    }

    async fn tcp(&self, at: &At) -> Result<TcpStream, DialFault> {
        let (addresses, port) = match at {
            At::Addr(addr) => (vec![addr.ip()], addr.port()),
            At::Dns { host, port } => (self.dns.lookup(host, Answers::OutsideMesh).await?, *port),
        };
        first_that_connects(&addresses, port).await
    }
}

async fn first_that_connects(addresses: &[IpAddr], port: u16) -> Result<TcpStream, DialFault> {
    let mut last = DialFault::Tcp(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses.iter().take(TRIES) {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => {
                // Small writes are whole messages here; only latency is lost where the option is refused.
                let _only_latency = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = DialFault::Tcp(error.kind()),
        }
    }
    Err(last)
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}
