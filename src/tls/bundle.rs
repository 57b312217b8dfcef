use std::collections::BTreeMap;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::id::TrustDomain;

/// The roots of each trust domain that we believe. A certificate is held against the roots of its own domain only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles(BTreeMap<TrustDomain, Vec<CertificateDer<'static>>>);

/// Why a text is no trust bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// Nothing in it.
    #[error("trust bundle has no certificate in PEM form")]
    Empty,
    /// Broken PEM.
    #[error("trust bundle is not in PEM form")]
    BadPem,
    /// A certificate that cannot be a root.
    #[error("trust bundle has a certificate that cannot be a root")]
    BadRoot,
}

impl Bundles {
    /// Adds the roots of a PEM text to a trust domain.
    pub fn add_pem(&mut self, trust_domain: TrustDomain, pem: &[u8]) -> Result<(), BundleFault> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let Ok(roots) = roots else { return Err(BundleFault::BadPem) };
        self.add_der(trust_domain, roots)
    }

    /// Adds DER roots to a trust domain.
    pub fn add_der(
        &mut self,
        trust_domain: TrustDomain,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<(), BundleFault> {
        if roots.is_empty() {
            return Err(BundleFault::Empty);
        }
        store(&roots)?;
        let held = self.0.entry(trust_domain).or_default();
        for root in roots {
            if !held.contains(&root) {
                held.push(root);
            }
        }
        Ok(())
    }

    /// Whether there are roots for a trust domain.
    pub fn contains(&self, trust_domain: &TrustDomain) -> bool {
        self.0.contains_key(trust_domain)
    }

    /// The trust domains, in order.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }

    /// One root store per trust domain.
    pub(super) fn stores(&self) -> impl Iterator<Item = (&TrustDomain, Result<RootCertStore, BundleFault>)> {
        self.0.iter().map(|(domain, roots)| (domain, store(roots)))
    }
}

fn store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, BundleFault> {
    let mut store = RootCertStore::empty();
    for root in roots {
        if store.add(root.clone()).is_err() {
            return Err(BundleFault::BadRoot);
        }
    }
    Ok(store)
}
