//! What a leaf certificate says: its one SPIFFE ID and when it ends. Says nothing about whether that is true.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::PeerFault;
use crate::id::WorkloadId;

/// A leaf that was read but not yet believed.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) id: WorkloadId,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// Reads a leaf by the X.509-SVID rules: exactly one URI SAN, a SPIFFE ID with a path; not a CA. Other kinds of SAN are
/// allowed beside it and ignored.
pub(super) fn read(der: &CertificateDer<'_>) -> Result<Leaf, PeerFault> {
    let certificate = parse(der)?;
    refuse_ca(&certificate)?;
    let id = one_spiffe_id(&certificate)?;
    let validity = certificate.validity();
    Ok(Leaf { id, not_before: system_time(validity.not_before), not_after: system_time(validity.not_after) })
}

/// The earliest end over a whole chain: after it nothing proves the identity any more. Certificates that do not parse
/// are passed over; the chain was verified before.
pub(super) fn earliest_end(chain: &[CertificateDer<'_>], leaf_end: SystemTime) -> SystemTime {
    let ends = chain.iter().filter_map(|der| parse(der).ok()).map(|c| system_time(c.validity().not_after));
    ends.fold(leaf_end, SystemTime::min)
}

/// Its URIs; none of one that does not parse, or holds what cannot be read.
pub(super) fn uris(der: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(certificate) = parse(der) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| if let GeneralName::URI(uri) = name { Some((*uri).into()) } else { None };
    extension.value.general_names.iter().filter_map(uri).collect()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerFault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(PeerFault::Malformed),
    }
}

fn refuse_ca(certificate: &X509Certificate<'_>) -> Result<(), PeerFault> {
    let malformed = |_| PeerFault::Malformed;
    let is_ca = certificate.basic_constraints().map_err(malformed)?.is_some_and(|c| c.value.ca);
    let may_sign = certificate.key_usage().map_err(malformed)?.is_some_and(|u| u.value.key_cert_sign());
    if is_ca || may_sign { Err(PeerFault::CaLeaf) } else { Ok(()) }
}

fn one_spiffe_id(certificate: &X509Certificate<'_>) -> Result<WorkloadId, PeerFault> {
    let Ok(extension) = certificate.subject_alternative_name() else { return Err(PeerFault::Malformed) };
    let names = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    let mut found = None;
    for name in names {
        match name {
            GeneralName::URI(uri) if found.is_none() => found = Some(*uri),
            GeneralName::URI(_) => return Err(PeerFault::SeveralUriSans),
            // Could be a second URI under another reading.
            GeneralName::Invalid(..) => return Err(PeerFault::Malformed),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::DNSName(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    WorkloadId::parse(found.ok_or(PeerFault::NoSpiffeSan)?).map_err(PeerFault::NotSpiffe)
}

fn system_time(time: ASN1Time) -> SystemTime {
    match u64::try_from(time.timestamp()) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}
