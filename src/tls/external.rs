use std::fmt;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::HandshakeFault;
use super::named::{Expected, Named};
use super::provider;
use crate::config::limits::HANDSHAKE_TIMEOUT;
use crate::mesh::AltName;

/// Roots for servers outside the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExternalRoots {
    /// Those of the operating system.
    System,
    /// PEM text of a document.
    Inline(Arc<[u8]>),
}

/// TLS towards one server outside the mesh: its DNS name verified, TLS 1.2 or 1.3, HTTP/1.1. Cheap to clone; build it
/// once per endpoint.
#[derive(Clone)]
pub struct ExternalTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Why there is no TLS towards a server outside the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExternalFault {
    /// Neither a DNS name nor an address.
    #[error("server name is no DNS name")]
    BadName,
    /// The operating system gave no usable root.
    #[error("the operating system has no root certificates")]
    NoSystemRoots,
    /// The document's roots are no certificates in PEM form.
    #[error("roots are not certificates in PEM form")]
    BadRoots,
    /// rustls would not build it.
    #[error("TLS configuration failed")]
    Unusable,
}

/// Prepares TLS to `server_name`, verified against `roots`; where there are `others`, the server's certificate has to have
/// one of those, and `server_name` is only sent (Gateway API, BackendTLSPolicyValidation). Presents no certificate of ours: our identity is the mesh's
/// business. Reads the system's roots from disk when asked for them.
pub fn external_client(
    server_name: &str,
    others: &[AltName],
    roots: &ExternalRoots,
) -> Result<ExternalTls, ExternalFault> {
    let Ok(name) = ServerName::try_from(server_name.to_owned()) else { return Err(ExternalFault::BadName) };
    let store = match roots {
        ExternalRoots::System => system_roots()?,
        ExternalRoots::Inline(pem) => inline_roots(pem)?,
    };
    let provider = Arc::clone(provider::external());
    let store = Arc::new(store);
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(&provider));
    let Ok(verifier) = builder.build() else { return Err(ExternalFault::BadRoots) };
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let Ok(builder) = versions else { return Err(ExternalFault::Unusable) };
    let mut config = if others.is_empty() {
        builder.with_webpki_verifier(verifier).with_no_client_auth()
    } else {
        let names = others.iter().map(Expected::of).collect::<Option<_>>().ok_or(ExternalFault::BadName)?;
        let named = Named { inner: verifier, store, provider, names };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(named)).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(ExternalTls { connector: TlsConnector::from(Arc::new(config)), name })
}

impl ExternalTls {
    /// The same for HTTP/2 (ALPN `h2`).
    #[must_use]
    pub fn http2(&self) -> Self {
        let mut config = ClientConfig::clone(self.connector.config());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { connector: TlsConnector::from(Arc::new(config)), name: self.name.clone() }
    }

    /// Does the handshake, within `HANDSHAKE_TIMEOUT`.
    ///
    /// # Errors
    /// The server's name or chain does not verify; nothing was sent inside TLS then.
    pub async fn connect<IO>(&self, io: IO) -> Result<TlsStream<IO>, HandshakeFault>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(HANDSHAKE_TIMEOUT, self.connector.connect(self.name.clone(), io)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeFault::of(error)),
            Err(_) => Err(HandshakeFault::Timeout),
        }
    }
}

impl fmt::Debug for ExternalTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalTls").field("name", &self.name).finish_non_exhaustive()
    }
}

fn system_roots() -> Result<RootCertStore, ExternalFault> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(ExternalFault::NoSystemRoots) } else { Ok(store) }
}

fn inline_roots(pem: &[u8]) -> Result<RootCertStore, ExternalFault> {
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let Ok(roots) = roots else { return Err(ExternalFault::BadRoots) };
    let mut store = RootCertStore::empty();
    for root in roots {
        if store.add(root).is_err() {
            return Err(ExternalFault::BadRoots);
        }
    }
    if store.is_empty() { Err(ExternalFault::BadRoots) } else { Ok(store) }
}
