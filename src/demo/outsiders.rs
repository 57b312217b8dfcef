//! Those who try to get in without an identity, with a foreign one, or past the waypoint.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::HeaderMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::hbone::{DialFault, Pool};
use crate::tls::{self, Expect, HandshakeFault, Identity};

const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"POST /mcp HTTP/1.1\r\nHost: notes\r\nContent-Length: 0\r\n\r\n";

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It got through: the demo has failed.
    In,
    /// TLS ended with this alert.
    Alert(AlertDescription),
    /// The CONNECT was answered with this status.
    Status(u16),
    /// The connection was reset.
    Reset,
    /// Something else that is no success, but not what was meant to be shown either.
    Otherwise(String),
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In => f.write_str("it got through"),
            Self::Alert(alert) => write!(f, "{alert:?}"),
            Self::Status(status) => write!(f, "CONNECT {status}"),
            Self::Reset => f.write_str("TCP reset"),
            Self::Otherwise(what) => f.write_str(what),
        }
    }
}

/// Opens TLS to the waypoint without a certificate.
pub(super) async fn without_certificate(waypoint: SocketAddr) -> anyhow::Result<Attempt> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("no TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(waypoint).await.context("the waypoint does not listen")?;
    let name = ServerName::IpAddress(waypoint.ip().into());
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    Ok(match timeout(PATIENCE, handshake).await {
        Ok(Ok(stream)) => greet(stream).await,
        Ok(Err(error)) => of_io(&error),
        Err(_) => Attempt::Otherwise("no answer in time".to_owned()),
    })
}

/// Opens TLS to the waypoint with the certificate of `identity`.
pub(super) async fn with_certificate(
    identity: &Identity,
    waypoint: SocketAddr,
    expect: Expect,
) -> anyhow::Result<Attempt> {
    let tcp = TcpStream::connect(waypoint).await.context("the waypoint does not listen")?;
    Ok(match Box::pin(tls::connect(identity, tcp, expect)).await {
        Ok(connected) => greet(connected.stream).await,
        Err(HandshakeFault::Alert(alert)) => Attempt::Alert(alert),
        Err(fault) => Attempt::Otherwise(fault.to_string()),
    })
}

/// Speaks HTTP/2 and waits for an answer: in TLS 1.3 a client is done before the server has looked at its certificate,
/// so that a refusal comes on reading. A server that let us in would send its SETTINGS.
async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Attempt {
    let mut first = [0; 1];
    let exchange = async {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.read(&mut first).await
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(0)) => Attempt::Otherwise("closed without an alert".to_owned()),
        Ok(Ok(_)) => Attempt::In,
        Ok(Err(error)) => of_io(&error),
        Err(_) => Attempt::Otherwise("no answer in time".to_owned()),
    }
}

/// Opens a tunnel to `authority` through whatever takes HBONE at `addr`, as `identity`.
pub(super) async fn tunnel(identity: Identity, addr: SocketAddr, expect: Expect, authority: &str) -> Attempt {
    let pool = Pool::new(identity);
    let opened = Box::pin(pool.connect_with(addr, expect, authority, &HeaderMap::new())).await;
    let attempt = match opened {
        Ok(_stream) => Attempt::In,
        Err(DialFault::Refused(status)) => Attempt::Status(status.as_u16()),
        Err(fault) => Attempt::Otherwise(fault.to_string()),
    };
    pool.close().await;
    attempt
}

/// Sends a plain HTTP request to the server's own port.
pub(super) async fn plaintext(app: SocketAddr) -> Attempt {
    let attempt = async {
        let mut tcp = TcpStream::connect(app).await?;
        tcp.write_all(REQUEST).await?;
        let mut first = [0; 1];
        tcp.read(&mut first).await
    };
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(0)) => Attempt::Otherwise("closed".to_owned()),
        Ok(Ok(_)) => Attempt::In,
        Ok(Err(error)) => of_io(&error),
        Err(_) => Attempt::Otherwise("no answer in time".to_owned()),
    }
}

fn of_io(error: &std::io::Error) -> Attempt {
    if let Some(rustls::Error::AlertReceived(alert)) = error.get_ref().and_then(|e| e.downcast_ref()) {
        return Attempt::Alert(*alert);
    }
    if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
        return Attempt::Reset;
    }
    Attempt::Otherwise(error.to_string())
}

/// An outsider does not care whom it talks to.
#[derive(Debug)]
struct Careless(Arc<CryptoProvider>);

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
