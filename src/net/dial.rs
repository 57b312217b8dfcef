use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tune;

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// No answer in time.
    #[error("no answer from {0} in time")]
    Timeout(SocketAddr),
    /// Refused, unreachable and the like.
    #[error("cannot connect to {0}: {1}")]
    Io(SocketAddr, io::Error),
}

impl ConnectFault {
    /// Whether nobody takes connections there: the other end says so itself.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// The fault's word in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "connect_timeout",
            Self::Io(..) => "connect_failed",
        }
    }
}

/// Connects within `limit`.
pub async fn dial_tcp(addr: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectFault> {
    match timeout(limit, TcpStream::connect(addr)).await {
        Ok(Ok(stream)) => {
            tune(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(ConnectFault::Io(addr, error)),
        Err(_) => Err(ConnectFault::Timeout(addr)),
    }
}
