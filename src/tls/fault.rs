use std::io;

use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::id::{IdFault, TrustDomain, WorkloadId};

/// Why a peer's certificate proves no identity to us.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PeerFault {
    /// Not an X.509 certificate, or with an extension that is malformed or there twice.
    #[error("certificate does not parse")]
    Malformed,
    /// No URI SAN at all.
    #[error("certificate has no SPIFFE URI SAN")]
    NoSpiffeSan,
    /// More than one URI SAN (X.509-SVID spec, section 2: exactly one).
    #[error("certificate has several URI SANs")]
    SeveralUriSans,
    /// The URI SAN is no SPIFFE ID of a workload.
    #[error("URI SAN is no SPIFFE ID: {0}")]
    NotSpiffe(IdFault),
    /// A signing certificate (CA:TRUE or keyCertSign) where a leaf must be (X.509-SVID spec, 4.1 and 4.3).
    #[error("leaf certificate is a CA")]
    CaLeaf,
    /// We hold no roots for the trust domain that the certificate names.
    #[error("trust domain {0} is not trusted here")]
    UnknownTrustDomain(TrustDomain),
    /// Before its time or after it.
    #[error("certificate is expired or not yet valid")]
    Expired,
    /// The chain does not end in the roots of its own trust domain, or is not for this use.
    #[error("certificate chain does not verify: {0}")]
    BadChain(rustls::CertificateError),
    /// Verified, but not who was expected.
    #[error("peer is {0}, which is not expected here")]
    Unexpected(WorkloadId),
}

impl PeerFault {
    /// The fault's word in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed_certificate",
            Self::NoSpiffeSan => "no_spiffe_san",
            Self::SeveralUriSans => "several_uri_sans",
            Self::NotSpiffe(_) => "not_spiffe",
            Self::CaLeaf => "ca_leaf",
            Self::UnknownTrustDomain(_) => "unknown_trust_domain",
            Self::Expired => "expired",
            Self::BadChain(_) => "bad_chain",
            Self::Unexpected(_) => "unexpected_identity",
        }
    }
}

/// Why a handshake gave no proven peer.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// The client sent no certificate.
    #[error("peer presented no certificate")]
    NoCertificate,
    /// The peer's certificate was refused.
    #[error(transparent)]
    Peer(PeerFault),
    /// The peer did not agree on `h2` by ALPN.
    #[error("peer does not speak h2 by ALPN")]
    NoAlpn,
    /// Not done within `config::limits::HANDSHAKE_TIMEOUT`.
    #[error("TLS handshake timed out")]
    Timeout,
    /// Our own certificate ended and no new one came: nothing is served or dialled on it.
    #[error("our own certificate has expired")]
    OwnCertificateExpired,
    /// The peer refused us by an alert.
    #[error("peer refused the handshake: {0:?}")]
    Alert(rustls::AlertDescription),
    /// Not TLS, not TLS 1.3, or broken.
    #[error("TLS failed: {0}")]
    Tls(rustls::Error),
    /// The connection failed.
    #[error("connection failed during the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeFault {
    /// Takes apart what tokio-rustls reports: an `io::Error` around rustls' error around ours.
    pub(super) fn of(error: io::Error) -> Self {
        let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
            return Self::Io(error);
        };
        Self::of_rustls(inner.clone())
    }

    fn of_rustls(error: rustls::Error) -> Self {
        use rustls::{AlertDescription as Alert, Error};
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' error is open-ended; the rest is shown as it is")]
        match error {
            Error::NoCertificatesPresented | Error::AlertReceived(Alert::CertificateRequired) => Self::NoCertificate,
            Error::NoApplicationProtocol | Error::AlertReceived(Alert::NoApplicationProtocol) => Self::NoAlpn,
            Error::InvalidCertificate(inner) => Self::Peer(peer_fault(inner)),
            Error::AlertReceived(alert) => Self::Alert(alert),
            other => Self::Tls(other),
        }
    }
}

/// The fault inside a rustls certificate error: our own where the verifier gave it, else the chain's.
pub(super) fn peer_fault(error: rustls::CertificateError) -> PeerFault {
    use rustls::CertificateError as E;
    if let E::Other(other) = &error
        && let Some(fault) = other.0.downcast_ref::<PeerFault>()
    {
        return fault.clone();
    }
    let of_time =
        matches!(error, E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. });
    if of_time {
        return PeerFault::Expired;
    }
    if matches!(error, E::BadEncoding) { PeerFault::Malformed } else { PeerFault::BadChain(error) }
}

impl From<PeerFault> for rustls::Error {
    fn from(fault: PeerFault) -> Self {
        let other = rustls::OtherError(std::sync::Arc::new(fault));
        Self::InvalidCertificate(rustls::CertificateError::Other(other))
    }
}

impl Faulty for HandshakeFault {
    fn blame(&self) -> Blame {
        if matches!(self, Self::OwnCertificateExpired) { Blame::Waypoint } else { Blame::Caller }
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Authenticate
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Peer(fault) => fault.reason(),
            Self::NoAlpn => "no_alpn",
            Self::Timeout => "timeout",
            Self::OwnCertificateExpired => "own_certificate_expired",
            Self::Alert(_) => "alert",
            Self::Tls(_) => "tls",
            Self::Io(_) => "io",
        }
    }
}
