use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A SPIFFE trust domain name: 1-255 of `a-z 0-9 . - _` (SPIFFE-ID spec, 2.1). Upper case is refused, not folded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain name.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        check_trust_domain(text)?;
        Ok(Self(text.into()))
    }

    /// The name, without `spiffe://`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for TrustDomain {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<Self, IdFault> {
        Self::parse(text)
    }
}

/// A SPIFFE ID with a path, as it stands in an X.509-SVID's URI SAN.
///
/// Every valid SPIFFE ID is a workload here; only those of Istio's shape, `spiffe://TD/ns/NS/sa/SA`, have
/// [`WorkloadId::istio`] parts. Comparison is by exact bytes: nothing is folded, decoded or trimmed.
#[derive(Clone)]
pub struct WorkloadId {
    uri: Arc<str>,
    trust_domain: TrustDomain,
    istio: Option<IstioId>,
}

/// The namespace and service account of an Istio workload identity. Both are non-empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IstioId {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Kubernetes service account.
    pub service_account: Arc<str>,
}

/// Why a text is no SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// Not `spiffe://` in lower case.
    #[error("does not start with spiffe://")]
    Scheme,
    /// Trust domain empty, too long or with a character that SPIFFE does not allow (port, userinfo, upper case).
    #[error("trust domain is not 1-255 characters of a-z 0-9 . - _")]
    TrustDomain,
    /// No path, an empty or dot segment, a trailing slash, or a character outside `a-zA-Z0-9.-_`.
    #[error("path is missing or has an empty, dot or disallowed segment")]
    Path,
    /// Over 2048 bytes (SPIFFE-ID spec, 2.3).
    #[error("longer than 2048 bytes")]
    TooLong,
}

const SCHEME: &str = "spiffe://";
const MAX_LEN: usize = 2048;

impl WorkloadId {
    /// Parses `spiffe://TD/path` strictly: no percent encoding, query, fragment, userinfo, port or empty segment.
    pub fn parse(uri: &str) -> Result<Self, IdFault> {
        if uri.len() > MAX_LEN {
            return Err(IdFault::TooLong);
        }
        let rest = uri.strip_prefix(SCHEME).ok_or(IdFault::Scheme)?;
        let (domain, path) =
            rest.split_once('/').ok_or(if rest.is_empty() { IdFault::TrustDomain } else { IdFault::Path })?;
        let trust_domain = TrustDomain::parse(domain)?;
        check_path(path)?;
        Ok(Self { uri: uri.into(), trust_domain, istio: istio_parts(path) })
    }

    /// The identity Istio gives to a service account.
    pub fn of_istio(trust_domain: &TrustDomain, namespace: &str, service_account: &str) -> Result<Self, IdFault> {
        if [namespace, service_account].iter().any(|part| part.contains('/')) {
            return Err(IdFault::Path);
        }
        Self::parse(&format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"))
    }

    /// The whole URI, with `spiffe://`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Istio's principal: the URI without `spiffe://`.
    pub fn principal(&self) -> &str {
        self.uri.strip_prefix(SCHEME).unwrap_or(&self.uri)
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Namespace and service account, where the ID has exactly Istio's shape.
    pub fn istio(&self) -> Option<&IstioId> {
        self.istio.as_ref()
    }
}

fn check_trust_domain(text: &str) -> Result<(), IdFault> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    if text.is_empty() || text.len() > 255 || !text.bytes().all(allowed) {
        return Err(IdFault::TrustDomain);
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), IdFault> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let good = |segment: &str| !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed);
    if path.split('/').all(good) { Ok(()) } else { Err(IdFault::Path) }
}

fn istio_parts(path: &str) -> Option<IstioId> {
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("ns"), Some(namespace), Some("sa"), Some(service_account), None) => {
            Some(IstioId { namespace: namespace.into(), service_account: service_account.into() })
        }
        _ => None,
    }
}

impl FromStr for WorkloadId {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<Self, IdFault> {
        Self::parse(text)
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.uri, f)
    }
}

impl PartialEq for WorkloadId {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for WorkloadId {}

impl std::hash::Hash for WorkloadId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istio_shape_is_taken_apart() {
        let id = WorkloadId::parse("spiffe://cluster.local/ns/agents/sa/researcher").unwrap();
        assert_eq!(id.principal(), "cluster.local/ns/agents/sa/researcher");
        let istio = id.istio().unwrap();
        assert_eq!((&*istio.namespace, &*istio.service_account), ("agents", "researcher"));
    }

    #[test]
    fn other_shapes_are_identities_without_istio_parts() {
        for uri in ["spiffe://td/a", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/b/c", "spiffe://td/x/a/sa/b"] {
            assert!(WorkloadId::parse(uri).unwrap().istio().is_none(), "{uri}");
        }
    }

    #[test]
    fn hostile_texts_are_refused() {
        let rows: &[(&str, IdFault)] = &[
            ("", IdFault::Scheme),
            ("SPIFFE://td/a", IdFault::Scheme),
            ("https://td/a", IdFault::Scheme),
            ("spiffe://", IdFault::TrustDomain),
            ("spiffe:///ns/a/sa/b", IdFault::TrustDomain),
            ("spiffe://TD/a", IdFault::TrustDomain),
            ("spiffe://td:1/a", IdFault::TrustDomain),
            ("spiffe://u@td/a", IdFault::TrustDomain),
            ("spiffe://td", IdFault::Path),
            ("spiffe://td/", IdFault::Path),
            ("spiffe://td/ns//sa/b", IdFault::Path),
            ("spiffe://td/ns/a/sa/", IdFault::Path),
            ("spiffe://td/ns/a/sa/b/", IdFault::Path),
            ("spiffe://td/ns/../sa/b", IdFault::Path),
            ("spiffe://td/ns/a%2fb/sa/c", IdFault::Path),
            ("spiffe://td/ns/a/sa/b?x", IdFault::Path),
            ("spiffe://td/ns/a/sa/b#x", IdFault::Path),
            ("spiffe://td/ns/a/sa/b\0", IdFault::Path),
            ("spiffe://td/ns/a/sa/b ", IdFault::Path),
        ];
        for (text, fault) in rows {
            assert_eq!(WorkloadId::parse(text).unwrap_err(), *fault, "{text:?}");
        }
        assert_eq!(WorkloadId::parse(&format!("spiffe://td/{}", "a".repeat(2048))).unwrap_err(), IdFault::TooLong);
    }

    #[test]
    fn istio_parts_cannot_smuggle_a_segment() {
        let td = TrustDomain::parse("td").unwrap();
        assert!(WorkloadId::of_istio(&td, "a/sa/b", "c").is_err());
        assert!(WorkloadId::of_istio(&td, "", "c").is_err());
    }
}
