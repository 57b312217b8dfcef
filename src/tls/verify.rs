//! The verifiers that rustls calls in a handshake: identity first, then its chain against its own domain's roots.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::connect::Expect;
use super::{Bundles, IdentityFault, PeerFault, leaf, provider};
use crate::id::{TrustDomain, WorkloadId};

/// The roots of every trust domain, prepared once per set of bundles.
#[derive(Debug)]
pub(super) struct Trust {
    domains: HashMap<TrustDomain, Domain>,
}

#[derive(Debug)]
struct Domain {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    pub(super) fn new(bundles: &Bundles) -> Result<Self, IdentityFault> {
        let mut domains = HashMap::new();
        for (trust_domain, roots) in bundles.stores() {
            let roots = Arc::new(roots.map_err(IdentityFault::Bundle)?);
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider::mesh()));
            let Ok(clients) = builder.build() else { return Err(IdentityFault::NoBundle(trust_domain.clone())) };
            domains.insert(trust_domain.clone(), Domain { roots, clients });
        }
        Ok(Self { domains })
    }

    fn domain(&self, id: &WorkloadId) -> Result<&Domain, PeerFault> {
        let trust_domain = id.trust_domain();
        self.domains.get(trust_domain).ok_or_else(|| PeerFault::UnknownTrustDomain(trust_domain.clone()))
    }

    /// Whoever a server's chain proves, by the roots of its own trust domain.
    pub(super) fn verify_server(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<WorkloadId, Error> {
        let leaf = leaf::read(end_entity)?;
        let domain = self.domain(&leaf.id)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider::mesh().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &domain.roots, intermediates, now, algorithms)?;
        Ok(leaf.id)
    }
}

/// Verifies who calls us.
#[derive(Debug)]
pub(super) struct Clients(pub(super) Arc<Trust>);

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let leaf = leaf::read(end_entity)?;
        self.0.domain(&leaf.id)?.clients.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Verifies whom we call: the identity must be one of those expected, whatever name or address was dialled.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) trust: Arc<Trust>,
    pub(super) expect: Expect,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let id = self.trust.verify_server(end_entity, intermediates, now)?;
        if !self.expect.admits(&id) {
            return Err(PeerFault::Unexpected(id).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// The verifier of the base configuration, which each dial replaces by its own: admits nobody.
pub(super) fn nobody(trust: &Arc<Trust>) -> Arc<Servers> {
    Arc::new(Servers { trust: Arc::clone(trust), expect: Expect::Exact(Arc::from([])) })
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(message, certificate, signature, &provider::mesh().signature_verification_algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    provider::mesh().signature_verification_algorithms.supported_schemes()
}

fn tls12() -> Error {
    Error::General("TLS 1.3 is required".to_owned())
}
