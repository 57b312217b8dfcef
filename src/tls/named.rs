//! Certificates of servers outside the mesh that are held to other names than the one that is sent.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::leaf;
use crate::mesh::AltName;

/// A name that a certificate may prove.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    Dns(ServerName<'static>),
    Uri(Arc<str>),
}

impl Expected {
    /// None where it is no DNS name.
    pub(super) fn of(name: &AltName) -> Option<Self> {
        match name {
            AltName::Dns(dns) => match ServerName::try_from(dns.to_string()) {
                Ok(name @ ServerName::DnsName(_)) => Some(Self::Dns(name)),
                Ok(_) | Err(_) => None,
            },
            AltName::Uri(uri) => Some(Self::Uri(Arc::clone(uri))),
        }
    }
}

/// Verifies the chain, and any of the names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) store: Arc<RootCertStore>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) names: Arc<[Expected]>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sent: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.store, intermediates, now, algorithms)?;
        let uris = leaf::uris(end_entity);
        let has = |name: &Expected| match name {
            Expected::Dns(dns) => verify_server_name(&parsed, dns).is_ok(),
            Expected::Uri(uri) => uris.iter().any(|one| **one == **uri),
        };
        if self.names.iter().any(has) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
