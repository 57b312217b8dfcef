use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};

/// TCP, TLS and HTTP/2 to istiod together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings, so that a silent loss is noticed (istiod's clients use the same).
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where istiod is and how it is known.
#[derive(Debug, Clone)]
pub struct Istiod {
    /// `host:port`
    pub address: String,
    /// Its certificate authority.
    pub roots: Roots,
    /// Name that its certificate must have, where it is not the address's host (`ALT_CA_HOSTNAME`).
    pub server_name: Option<String>,
    /// Our ServiceAccount token, read anew for each call as the kubelet rotates it.
    pub token: PathBuf,
    /// `clusterid` of each call; istiod checks tokens against that cluster's API server.
    pub cluster_id: String,
}

/// Whom we take istiod's certificate from.
#[derive(Debug, Clone)]
pub enum Roots {
    /// A PEM file, read anew for each connection: roots are replaced while we run.
    File(PathBuf),
    /// The system's store.
    System,
}

/// Why istiod cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum IstiodFault {
    /// Token or root file.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// A root file without a certificate.
    #[error("{path}: holds no PEM certificate", path = .0.display())]
    NoRoots(PathBuf),
    /// A token that cannot stand in a header.
    #[error("{path}: holds no token", path = .0.display())]
    Token(PathBuf),
    /// The address has no host that a certificate could name.
    #[error("{0:?} is not HOST:PORT: {1}")]
    Address(String, InvalidDnsNameError),
    /// TLS versions or roots that cannot be used.
    #[error("TLS to istiod: {0}")]
    Tls(#[from] rustls::Error),
    /// No connection, or not with the certificate that we expect.
    #[error(
        "{0}: {1}; check that istiod runs there, and that its certificate is of that name and of the roots in --ca-root-ca and --xds-root-ca"
    )]
    Connect(String, String),
}

impl Istiod {
    /// A fresh connection.
    ///
    /// # Errors
    /// [`IstiodFault`]
    pub async fn channel(&self) -> Result<Channel, IstiodFault> {
        let connector = TlsConnector::from(Arc::new(self.client_config().await?));
        let name = self.name()?;
        let address = self.address.clone();
        let connect = tower::service_fn(move |_uri: http::Uri| {
            let (connector, name, address) = (connector.clone(), name.clone(), address.clone());
            async move {
                let tcp = TcpStream::connect(address).await?;
                crate::net::tune(&tcp);
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
            }
        });
        // The scheme is https for tonic's own books only: TLS is the connector's.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|error| self.unreachable(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connect)).await;
        match connecting {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error)),
            Err(_late) => Err(IstiodFault::Connect(self.address.clone(), "no answer in time".to_owned())),
        }
    }

    /// No way to istiod, by what is at the bottom of it: the errors above say no more than that there is one.
    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> IstiodFault {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let why = causes.last().map(ToString::to_string).unwrap_or_default();
        IstiodFault::Connect(self.address.clone(), why)
    }

    /// The metadata of one call: the token as it is now.
    ///
    /// # Errors
    /// A token file that cannot be read.
    pub async fn metadata(&self) -> Result<MetadataMap, IstiodFault> {
        let token = read(&self.token).await?;
        let token = std::str::from_utf8(&token).unwrap_or_default().trim();
        let bad = || IstiodFault::Token(self.token.clone());
        if token.is_empty() {
            return Err(bad());
        }
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_no_header| bad())?;
        bearer.set_sensitive(true);
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", bearer);
        if let Ok(cluster) = self.cluster_id.parse() {
            metadata.insert("clusterid", cluster);
        }
        Ok(metadata)
    }

    async fn client_config(&self) -> Result<ClientConfig, IstiodFault> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Roots::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Roots::File(path) => {
                let pem = read(path).await?;
                let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
                if roots.add_parsable_certificates(found).0 == 0 {
                    return Err(IstiodFault::NoRoots(path.clone()));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn name(&self) -> Result<ServerName<'static>, IstiodFault> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _port)| host);
        let host = self.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']);
        ServerName::try_from(host.to_owned()).map_err(|error| IstiodFault::Address(self.address.clone(), error))
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, IstiodFault> {
    tokio::fs::read(path).await.map_err(|error| IstiodFault::File(path.to_owned(), error))
}
