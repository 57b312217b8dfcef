use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, string::Ia5String,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::wait_for;
use crate::id::{TrustDomain, WorkloadId};
use crate::tls::{Bundles, Identity, Svid};

/// Life of a certificate of the developer's CA; renewed at half of it.
pub const DEV_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Life of the developer's CA itself, days.
const CA_DAYS: i64 = 3_650;
/// Certificates begin a little in the past, for clocks that differ.
const SKEW: Duration = Duration::from_secs(60);
/// Between attempts to renew.
const RENEW_FLOOR: Duration = Duration::from_secs(1);

/// A CA for one laptop: `run --dev`, `connect` and `demo` prove themselves to each other by it. Its key lies in a file
/// that only this user can read; it must never be trusted beyond loopback, see [`require_loopback`].
#[derive(Debug)]
pub struct DevCa {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    trust_domain: TrustDomain,
}

/// Why there is no developer's CA.
#[derive(Debug, thiserror::Error)]
pub enum DevFault {
    /// Neither XDG_STATE_HOME nor HOME is set.
    #[error("cannot place the developer's CA: neither XDG_STATE_HOME nor HOME is set")]
    NoPlace,
    /// The directory or file cannot be made or read.
    #[error("developer's CA in {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Others may read or write it.
    #[error("developer's CA in {0} is open to other users: chmod 700 the directory and 600 the file")]
    Open(PathBuf),
    /// The file is no CA, or has expired.
    #[error("developer's CA {0} is damaged or expired: remove it to have a new one made")]
    Damaged(PathBuf),
    /// The identity is of another trust domain than the CA.
    #[error("developer's CA is for trust domain {ca}, not for {id}")]
    OtherTrustDomain {
        /// The CA's trust domain.
        ca: TrustDomain,
        /// The identity asked for.
        id: WorkloadId,
    },
    /// The certificate could not be made.
    #[error("developer's CA cannot issue: {0}")]
    Issue(String),
    /// Asked to serve beyond this machine.
    #[error("--dev serves on loopback only, not on {0}: use certificates of your mesh instead")]
    NotLoopback(SocketAddr),
}

/// Refuses an address that others can reach: the developer's CA proves nothing to them.
pub fn require_loopback(addr: SocketAddr) -> Result<(), DevFault> {
    if addr.ip().is_loopback() { Ok(()) } else { Err(DevFault::NotLoopback(addr)) }
}

/// `$XDG_STATE_HOME/agent-waypoint/dev`, else `~/.local/state/agent-waypoint/dev` (XDG Base Directory Specification; a
/// relative XDG_STATE_HOME is ignored as it says).
pub fn default_dir() -> Result<PathBuf, DevFault> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Ok(state.ok_or(DevFault::NoPlace)?.join("agent-waypoint/dev"))
}

impl DevCa {
    /// Opens the CA of a trust domain in a directory, making both if they are not there. Safe beside other processes
    /// that do the same: all end up with one CA.
    pub fn open(dir: &Path, trust_domain: &TrustDomain) -> Result<Self, DevFault> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| DevFault::Io(path, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        refuse_open(dir)?;
        let path = dir.join(format!("{trust_domain}.pem"));
        if !path.try_exists().map_err(at(&path))? {
            publish(dir, &path, &new_ca(trust_domain)?).map_err(at(&path))?;
        }
        refuse_open(&path)?;
        let pem = fs::read_to_string(&path).map_err(at(&path))?;
        Self::parse(&pem, trust_domain).ok_or(DevFault::Damaged(path))
    }

    /// A CA that lives in memory only, for tests and the demo.
    pub fn ephemeral(trust_domain: &TrustDomain) -> Result<Self, DevFault> {
        let pem = new_ca(trust_domain)?;
        Self::parse(&pem, trust_domain).ok_or_else(|| DevFault::Issue("own CA does not parse".to_owned()))
    }

    fn parse(pem: &str, trust_domain: &TrustDomain) -> Option<Self> {
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&root).ok()?;
        if !parsed.validity().is_valid() || !parsed.is_ca() {
            return None;
        }
        let key = KeyPair::from_pem(pem.get(pem.find("-----BEGIN PRIVATE KEY")?..)?).ok()?;
        let issuer = Issuer::from_ca_cert_der(&root, key).ok()?;
        Some(Self { issuer, root, trust_domain: trust_domain.clone() })
    }

    /// The trust domain that it issues for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its root, as the bundle of its trust domain.
    pub fn bundles(&self) -> Bundles {
        let mut bundles = Bundles::default();
        if let Err(fault) = bundles.add_der(self.trust_domain.clone(), vec![self.root.clone()]) {
            tracing::error!(%fault, "developer's CA has an unusable root");
        }
        bundles
    }

    /// Its root in PEM form.
    pub fn root_pem(&self) -> String {
        pem("CERTIFICATE", &self.root)
    }

    /// A fresh P-256 key and a certificate for it.
    pub fn issue(&self, id: &WorkloadId, ttl: Duration) -> Result<Svid, DevFault> {
        let (chain, key) = self.issue_pem(id, ttl)?;
        Svid::from_pem(chain.as_bytes(), key.as_bytes()).map_err(|fault| DevFault::Issue(fault.to_string()))
    }

    /// [`DevCa::issue`] as PEM texts: chain and key (PKCS#8).
    pub fn issue_pem(&self, id: &WorkloadId, ttl: Duration) -> Result<(String, String), DevFault> {
        if id.trust_domain() != &self.trust_domain {
            return Err(DevFault::OtherTrustDomain { ca: self.trust_domain.clone(), id: id.clone() });
        }
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = OffsetDateTime::now_utc() - SKEW;
        params.not_after = OffsetDateTime::now_utc() + ttl;
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.uri()).map_err(issue)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// An identity that trusts this CA alone.
    pub fn identity(&self, id: &WorkloadId, ttl: Duration) -> Result<Identity, DevFault> {
        let svid = self.issue(id, ttl)?;
        Identity::new(svid, self.bundles()).map_err(|fault| DevFault::Issue(fault.to_string()))
    }

    /// Renews the identity at half of its life, until stopped.
    pub async fn keep_fresh(self, identity: Identity, ttl: Duration, stop: CancellationToken) {
        loop {
            let wait = wait_for(identity.svid().half_life(), RENEW_FLOOR);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            match self.issue(&identity.id(), ttl) {
                Ok(svid) => {
                    if let Err(fault) = identity.rotate(svid, self.bundles()) {
                        tracing::warn!(%fault, "certificate not renewed");
                    }
                }
                Err(fault) => tracing::warn!(%fault, "certificate not renewed"),
            }
        }
    }
}

fn new_key() -> Result<KeyPair, DevFault> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue)
}

fn issue(error: rcgen::Error) -> DevFault {
    DevFault::Issue(error.to_string())
}

/// Certificate and key of a new CA in one text, so that there is one file and never a pair that does not match.
fn new_ca(trust_domain: &TrustDomain) -> Result<String, DevFault> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "agent-waypoint developer's CA");
    params.distinguished_name = name;
    params.not_before = OffsetDateTime::now_utc() - SKEW;
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let uri = Ia5String::try_from(format!("spiffe://{trust_domain}")).map_err(issue)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let certificate = params.self_signed(&key).map_err(issue)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes the file whole or not at all, and never over one that another process published first.
fn publish(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let draft = dir.join(format!(".ca-{}-{:x}", std::process::id(), nonce()?));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&draft, path)
    });
    let removed = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => removed,
        Err(error) => Err(error),
        Ok(()) => removed,
    }
}

/// A number that no other draft has.
fn nonce() -> io::Result<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| io::Error::other("no randomness"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn refuse_open(path: &Path) -> Result<(), DevFault> {
    let found = fs::metadata(path).map_err(|error| DevFault::Io(path.to_owned(), error))?;
    if found.mode() & 0o077 == 0 { Ok(()) } else { Err(DevFault::Open(path.to_owned())) }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn td(text: &str) -> TrustDomain {
        TrustDomain::parse(text).unwrap()
    }

    #[test]
    fn the_ca_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state/dev");
        let first = DevCa::open(&dir, &td("cluster.local")).unwrap();
        let again = DevCa::open(&dir, &td("cluster.local")).unwrap();
        assert_eq!(first.root, again.root);
        assert_ne!(first.root, DevCa::open(&dir, &td("other")).unwrap().root);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("cluster.local.pem"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no draft stays behind");
    }

    #[test]
    fn concurrent_makers_end_with_one_ca() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("dev");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let dir = dir.clone();
                std::thread::spawn(move || DevCa::open(&dir, &td("cluster.local")).unwrap().root)
            })
            .collect();
        let roots: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_ca_that_others_can_read_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("dev");
        drop(DevCa::open(&dir, &td("cluster.local")).unwrap());
        let file = dir.join("cluster.local.pem");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(DevCa::open(&dir, &td("cluster.local")), Err(DevFault::Open(_))));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "nothing").unwrap();
        assert!(matches!(DevCa::open(&dir, &td("cluster.local")), Err(DevFault::Damaged(_))));
    }

    #[test]
    fn it_issues_for_its_own_trust_domain_only() {
        let ca = DevCa::ephemeral(&td("cluster.local")).unwrap();
        let id = WorkloadId::parse("spiffe://cluster.local/ns/a/sa/b").unwrap();
        assert_eq!(ca.issue(&id, DEV_TTL).unwrap().id(), &id);
        let foreign = WorkloadId::parse("spiffe://other/ns/a/sa/b").unwrap();
        assert!(matches!(ca.issue(&foreign, DEV_TTL), Err(DevFault::OtherTrustDomain { .. })));
        assert_eq!(CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap(), ca.root);
    }

    #[test]
    fn only_loopback_is_served() {
        for addr in ["127.0.0.1:15008", "127.8.0.1:1", "[::1]:15008"] {
            require_loopback(addr.parse().unwrap()).unwrap();
        }
        for addr in ["0.0.0.0:15008", "10.0.0.1:15008", "[::]:15008"] {
            require_loopback(addr.parse().unwrap()).unwrap_err();
        }
    }
}
