//! Certificates for tests, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use agent_waypoint::id::{TrustDomain, WorkloadId};
use agent_waypoint::tls::{Bundles, Identity, Svid};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

pub(crate) const WAYPOINT: &str = "spiffe://cluster.local/ns/infra/sa/waypoint";
pub(crate) const ALICE: &str = "spiffe://cluster.local/ns/agents/sa/alice";
pub(crate) const SERVER: &str = "spiffe://cluster.local/ns/tools/sa/server";

/// A CA whose certificates can be anything.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) root: CertificateDer<'static>,
}

/// A chain, leaf first, and its key, PKCS#8.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

impl Pair {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub(crate) fn svid(&self) -> Svid {
        Svid::from_der(self.chain.clone(), self.key()).unwrap()
    }

    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params();
        let root = params.self_signed(&key).unwrap();
        Self { root: root.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { root: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Whatever was asked for, signed.
    pub(crate) fn issue(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    pub(crate) fn good(&self, uri: &str) -> Pair {
        self.issue(&leaf(&[uri]))
    }

    pub(crate) fn bundles(&self, trust_domain: &str) -> Bundles {
        let mut bundles = Bundles::default();
        bundles.add_der(td(trust_domain), vec![self.root.clone()]).unwrap();
        bundles
    }

    pub(crate) fn identity(&self, uri: &str) -> Identity {
        let svid = self.good(uri).svid();
        let bundles = self.bundles(svid.id().trust_domain().as_str());
        Identity::new(svid, bundles).unwrap()
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("test CA {}", rand()));
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// A leaf as a mesh CA makes them, valid for an hour, with these URI SANs.
pub(crate) fn leaf(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(60);
    params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3_600);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![Eku::ServerAuth, Eku::ClientAuth];
    params
}

pub(crate) fn td(text: &str) -> TrustDomain {
    TrustDomain::parse(text).unwrap()
}

pub(crate) fn id(uri: &str) -> WorkloadId {
    WorkloadId::parse(uri).unwrap()
}

pub(crate) fn ids(uris: &[&str]) -> Arc<[WorkloadId]> {
    uris.iter().map(|uri| id(uri)).collect()
}
