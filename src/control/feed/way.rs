use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use crate::control::delta::Way;
use crate::id::WorkloadId;
use crate::tls::{self, Expect, HandshakeFault, Identity};

/// TCP, TLS and HTTP/2 together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings, so that a silent loss is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the feed is, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedAddress(String);

impl FromStr for FeedAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST:PORT, as in {}", super::DEFAULT_ADDRESS);
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_no_number| wrong())?;
        if host.is_empty() || port == 0 || host.contains('/') {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FeedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the feed cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum FeedFault {
    /// No connection.
    #[error("{0}: {1}")]
    Connect(String, #[source] std::io::Error),
    /// Somebody else answered, or nobody in TLS.
    #[error("{address}: {fault}; the controller is expected to be {expected}")]
    Handshake {
        /// Where.
        address: String,
        /// What was wrong.
        #[source]
        fault: HandshakeFault,
        /// Who should have answered.
        expected: Box<WorkloadId>,
    },
    /// No HTTP/2 inside TLS.
    #[error("{0}: {1}")]
    Http(String, #[source] tonic::transport::Error),
    /// No answer in time.
    #[error("{0}: no connection in time")]
    Timeout(String),
}

/// Opens connections to the controller, as ourselves.
#[derive(Debug, Clone)]
pub struct FeedWay {
    address: FeedAddress,
    expected: WorkloadId,
    identity: Identity,
}

impl FeedWay {
    /// `expected` is who the controller is.
    pub fn new(address: FeedAddress, expected: WorkloadId, identity: Identity) -> Self {
        Self { address, expected, identity }
    }

    async fn connect(&self) -> Result<Channel, FeedFault> {
        let address = &self.address.0;
        let tcp = TcpStream::connect(address).await.map_err(|error| FeedFault::Connect(address.clone(), error))?;
        crate::net::tune(&tcp);
        let expect = Expect::Exact(Arc::from([self.expected.clone()]));
        let connected = tls::connect(&self.identity, tcp, expect).await.map_err(|fault| FeedFault::Handshake {
            address: address.clone(),
            fault,
            expected: Box::new(self.expected.clone()),
        })?;
        // One connection for one channel: a lost one is opened anew by whoever runs the stream.
        let stream = Mutex::new(Some(connected.stream));
        let once = tower::service_fn(move |_uri: http::Uri| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take().map(TokioIo::new);
            async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
        });
        // The scheme is for tonic's own books: TLS is there already.
        Endpoint::from_static("http://feed")
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector(once)
            .await
            .map_err(|error| FeedFault::Http(address.clone(), error))
    }
}

impl Way for FeedWay {
    type Fault = FeedFault;

    async fn open(&self) -> Result<(Channel, MetadataMap), FeedFault> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(channel) => Ok((channel?, MetadataMap::new())),
            Err(_late) => Err(FeedFault::Timeout(self.address.0.clone())),
        }
    }
}
