use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::id::TrustDomain;
use crate::tls::{BundleFault, Bundles, Identity, IdentityFault, Svid, SvidFault};

/// How often the files are read again. They are compared by content: Kubernetes swaps symbolic links, which watches on
/// files miss.
const POLL: Duration = Duration::from_millis(500);

/// The files that the command line names.
#[derive(Debug, Clone)]
pub struct FilePaths {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// PEM roots.
    pub bundles: Vec<BundlePath>,
}

/// One `[TRUST_DOMAIN=]FILE` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundlePath {
    /// Whose roots these are; none: those of our own trust domain.
    pub trust_domain: Option<TrustDomain>,
    /// The file.
    pub path: PathBuf,
}

/// Certificate, key and bundles from files, followed live.
#[derive(Debug)]
pub struct FileSource {
    paths: FilePaths,
    taken: Contents,
}

/// Why files give no identity. One clear line each.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// Missing or unreadable.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Certificate and key are no SVID.
    #[error("{0}: {1}")]
    Svid(PathBuf, SvidFault),
    /// No usable roots.
    #[error("{0}: {1}")]
    Bundle(PathBuf, BundleFault),
    /// A whole that cannot be our identity.
    #[error("{0}: {1}")]
    Identity(PathBuf, IdentityFault),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    bundles: Vec<Vec<u8>>,
}

impl BundlePath {
    /// Parses `[TRUST_DOMAIN=]FILE`. What stands before the first `=` is a trust domain only if it can be one.
    pub fn parse(text: &str) -> Self {
        let named = text.split_once('=').and_then(|(domain, path)| Some((TrustDomain::parse(domain).ok()?, path)));
        match named {
            Some((trust_domain, path)) => Self { trust_domain: Some(trust_domain), path: path.into() },
            None => Self { trust_domain: None, path: text.into() },
        }
    }
}

impl FileSource {
    /// Reads the files and builds the identity from them.
    pub async fn open(paths: FilePaths) -> Result<(Self, Identity), FileFault> {
        let taken = read(&paths).await?;
        let (svid, bundles) = parse(&paths, &taken)?;
        let identity =
            Identity::new(svid, bundles).map_err(|fault| FileFault::Identity(paths.certificate.clone(), fault))?;
        Ok((Self { paths, taken }, identity))
    }

    /// Takes new files into force as they appear, until stopped. What does not fit together is logged, once it stays
    /// that way for a whole round: a writer may be between certificate and key.
    pub async fn watch(mut self, identity: Identity, stop: CancellationToken) {
        let mut ticks = interval(POLL);
        let mut failing: Option<(Contents, u32)> = None;
        let mut unreadable = 0_u32;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let contents = match read(&self.paths).await {
                Ok(contents) => contents,
                Err(fault) => {
                    unreadable += 1;
                    warn_on_second(unreadable, &fault);
                    continue;
                }
            };
            unreadable = 0;
            if contents == self.taken {
                failing = None;
                continue;
            }
            match take(&self.paths, &contents, &identity) {
                Ok(()) => {
                    tracing::info!(id = %identity.id(), "identity files taken into force");
                    self.taken = contents;
                    failing = None;
                }
                Err(fault) => {
                    let rounds = failing.take().filter(|(failed, _)| *failed == contents).map_or(0, |(_, n)| n);
                    warn_on_second(rounds.saturating_add(1), &fault);
                    failing = Some((contents, rounds.saturating_add(1)));
                }
            }
        }
    }
}

fn warn_on_second(rounds: u32, fault: &FileFault) {
    if rounds == 2 {
        tracing::warn!(%fault, "identity files not taken; the certificate in force stays until it expires");
    }
}

async fn read(paths: &FilePaths) -> Result<Contents, FileFault> {
    let mut bundles = Vec::with_capacity(paths.bundles.len());
    for bundle in &paths.bundles {
        bundles.push(read_one(&bundle.path).await?);
    }
    Ok(Contents { certificate: read_one(&paths.certificate).await?, key: read_one(&paths.key).await?, bundles })
}

async fn read_one(path: &Path) -> Result<Vec<u8>, FileFault> {
    tokio::fs::read(path).await.map_err(|error| FileFault::Read(path.to_owned(), error))
}

fn take(paths: &FilePaths, contents: &Contents, identity: &Identity) -> Result<(), FileFault> {
    let (svid, bundles) = parse(paths, contents)?;
    identity.rotate(svid, bundles).map_err(|fault| FileFault::Identity(paths.certificate.clone(), fault))
}

fn parse(paths: &FilePaths, contents: &Contents) -> Result<(Svid, Bundles), FileFault> {
    let svid = Svid::from_pem(&contents.certificate, &contents.key).map_err(|fault| {
        let of_key = matches!(fault, SvidFault::NoKey | SvidFault::BadKey | SvidFault::KeyMismatch);
        FileFault::Svid(if of_key { &paths.key } else { &paths.certificate }.clone(), fault)
    })?;
    let mut bundles = Bundles::default();
    for (bundle, pem) in paths.bundles.iter().zip(&contents.bundles) {
        let trust_domain = bundle.trust_domain.as_ref().unwrap_or_else(|| svid.id().trust_domain()).clone();
        bundles.add_pem(trust_domain, pem).map_err(|fault| FileFault::Bundle(bundle.path.clone(), fault))?;
    }
    Ok((svid, bundles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundle_paths() {
        let td = |text| Some(TrustDomain::parse(text).unwrap());
        let rows = [
            ("roots.pem", None, "roots.pem"),
            ("cluster.local=roots.pem", td("cluster.local"), "roots.pem"),
            ("other=/etc/a=b.pem", td("other"), "/etc/a=b.pem"),
            ("/etc/a=b.pem", None, "/etc/a=b.pem"),
        ];
        for (text, trust_domain, path) in rows {
            assert_eq!(BundlePath::parse(text), BundlePath { trust_domain, path: path.into() }, "{text}");
        }
    }
}
