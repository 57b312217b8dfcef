use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{PeerFault, leaf, provider};
use crate::id::WorkloadId;

/// Our own X.509-SVID: chain and private key, held to belong together. Cheap to clone.
///
/// The key lives only inside the signing key; it is never shown, logged or written.
#[derive(Clone)]
pub struct Svid {
    key: Arc<CertifiedKey>,
    id: WorkloadId,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// Why a certificate and key are no SVID.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SvidFault {
    /// No certificate in the PEM text.
    #[error("no certificate in PEM form")]
    NoCertificate,
    /// Broken PEM among the certificates.
    #[error("certificate is not in PEM form")]
    BadCertificate,
    /// No private key in the PEM text (PKCS#8, SEC1 or PKCS#1).
    #[error("no private key in PEM form (PKCS#8, SEC1 or PKCS#1)")]
    NoKey,
    /// A key of a kind that TLS cannot sign with.
    #[error("private key is of no usable kind")]
    BadKey,
    /// The key belongs to another certificate.
    #[error("private key does not belong to the certificate")]
    KeyMismatch,
    /// The leaf names no workload.
    #[error("leaf certificate: {0}")]
    Leaf(PeerFault),
}

impl Svid {
    /// Parses a PEM chain, leaf first, and a PEM key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SvidFault> {
        let chain: Vec<CertificateDer<'static>> = match CertificateDer::pem_slice_iter(chain).collect() {
            Ok(chain) => chain,
            Err(_) => return Err(SvidFault::BadCertificate),
        };
        let Ok(key) = PrivateKeyDer::from_pem_slice(key) else { return Err(SvidFault::NoKey) };
        Self::from_der(chain, key)
    }

    /// Takes a DER chain, leaf first, and a DER key.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, SvidFault> {
        let first = chain.first().ok_or(SvidFault::NoCertificate)?;
        let leaf = leaf::read(first).map_err(SvidFault::Leaf)?;
        let not_after = leaf::earliest_end(&chain, leaf.not_after);
        let key = match CertifiedKey::from_der(chain, key, provider::mesh()) {
            Ok(key) => Arc::new(key),
            Err(rustls::Error::InconsistentKeys(_)) => return Err(SvidFault::KeyMismatch),
            Err(_) => return Err(SvidFault::BadKey),
        };
        Ok(Self { key, id: leaf.id, not_before: leaf.not_before, not_after })
    }

    /// Who we are.
    pub fn id(&self) -> &WorkloadId {
        &self.id
    }

    /// When the leaf begins.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the first certificate of the chain ends; we neither serve nor dial after that.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether it ended at `now`.
    pub fn expired(&self, now: SystemTime) -> bool {
        now >= self.not_after
    }

    /// Half of its life: when a source should have the next one.
    pub fn half_life(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life / 2
    }

    /// The chain, leaf first, DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl PartialEq for Svid {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}
