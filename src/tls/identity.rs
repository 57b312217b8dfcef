use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

use super::accept::Side;
use super::fault::peer_fault;
use super::verify::{Clients, Servers, Trust, nobody};
use super::{BundleFault, Bundles, Expect, PeerChain, PeerFault, Svid, provider};
use crate::id::{TrustDomain, WorkloadId};

/// Who we are and whom we trust, swapped live. A cheap handle: clones see every rotation.
///
/// The TLS configurations are built once per certificate or bundle change, never per connection. Sessions are never
/// resumed, so that every handshake answers to the certificates and roots of its own moment.
#[derive(Clone)]
pub struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    current: ArcSwap<Material>,
    edition: watch::Sender<Edition>,
}

/// Counts changes, for those who hold something made with an older certificate or older roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Edition {
    /// Moves with every rotation.
    pub(crate) certificate: u64,
    /// Moves when the roots change.
    pub(crate) trust: u64,
}

/// One edition of everything that handshakes need.
pub(super) struct Material {
    pub(super) svid: Svid,
    pub(super) server: Arc<ServerConfig>,
    pub(super) edition: Edition,
    bundles: Bundles,
    trust: Arc<Trust>,
    client: ClientConfig,
}

/// Why a certificate and bundles are not taken as our identity. The one in force stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdentityFault {
    /// No roots for our own trust domain: we could believe nobody of our own mesh.
    #[error("no trust bundle for trust domain {0}")]
    NoBundle(TrustDomain),
    /// Roots that are none.
    #[error(transparent)]
    Bundle(BundleFault),
    /// The certificate has ended already.
    #[error("certificate of {0} has expired")]
    Expired(WorkloadId),
    /// A rotation to another identity: peers, guards and policies know us by the old one.
    #[error("new certificate is for {new}, but this process runs as {old}")]
    OtherIdentity {
        /// The identity in force.
        old: Box<WorkloadId>,
        /// The identity that was offered.
        new: Box<WorkloadId>,
    },
    /// rustls would not take it.
    #[error("certificate cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl Identity {
    /// The first identity of the process.
    pub fn new(svid: Svid, bundles: Bundles) -> Result<Self, IdentityFault> {
        let material = Material::build(svid, bundles, Edition::default())?;
        let (edition, _) = watch::channel(material.edition);
        Ok(Self { shared: Arc::new(Shared { current: ArcSwap::from_pointee(material), edition }) })
    }

    /// Takes a new certificate or new roots for every handshake from now on. Connections that stand keep theirs.
    /// Changing nothing costs nothing.
    ///
    /// # Errors
    /// What was offered is not usable; what was in force stays in force until it expires.
    pub fn rotate(&self, svid: Svid, bundles: Bundles) -> Result<(), IdentityFault> {
        let old = self.shared.current.load_full();
        if old.svid == svid && old.bundles == bundles {
            return Ok(());
        }
        if old.svid.id() != svid.id() {
            let (old, new) = (Box::new(old.svid.id().clone()), Box::new(svid.id().clone()));
            return Err(IdentityFault::OtherIdentity { old, new });
        }
        let edition = Edition {
            certificate: old.edition.certificate + 1,
            trust: old.edition.trust + u64::from(old.bundles != bundles),
        };
        let material = Arc::new(Material::build(svid, bundles, edition)?);
        self.shared.edition.send_modify(|current| {
            self.shared.current.store(material);
            *current = edition;
        });
        Ok(())
    }

    /// Our own identity.
    pub fn id(&self) -> WorkloadId {
        self.shared.current.load().svid.id().clone()
    }

    /// The certificate in force.
    pub fn svid(&self) -> Svid {
        self.shared.current.load().svid.clone()
    }

    /// The trust domains whose certificates are believed.
    pub fn trust_domains(&self) -> Vec<TrustDomain> {
        self.shared.current.load().bundles.trust_domains().cloned().collect()
    }

    /// Whether our own certificate has ended: nothing is served or dialled then.
    pub fn expired(&self) -> bool {
        self.shared.current.load().svid.expired(SystemTime::now())
    }

    /// Resolves when the roots have changed so that a peer's chain no longer verifies; not when it merely ends.
    pub async fn distrusts(&self, chain: &PeerChain) {
        let mut editions = self.shared.edition.subscribe();
        let mut seen = editions.borrow_and_update().trust;
        // What was rotated between the handshake and now is looked at once.
        while self.trusts(chain) {
            loop {
                if editions.changed().await.is_err() {
                    return std::future::pending().await;
                }
                let trust = editions.borrow_and_update().trust;
                if trust != seen {
                    seen = trust;
                    break;
                }
            }
        }
    }

    fn trusts(&self, chain: &PeerChain) -> bool {
        let material = self.shared.current.load();
        let (trust, now) = (&material.trust, UnixTime::now());
        let verdict = chain.parts().map(|(leaf, rest)| match chain.side {
            Side::Client => Clients(Arc::clone(trust)).verify_client_cert(leaf, rest, now).map(drop),
            // Whether it was the one that was expected does not change.
            Side::Server => trust.verify_server(leaf, rest, now).map(drop),
        });
        match verdict {
            Some(Ok(())) => true,
            // Its end has a timer of its own.
            Some(Err(rustls::Error::InvalidCertificate(error))) => peer_fault(error) == PeerFault::Expired,
            Some(Err(_)) | None => false,
        }
    }

    /// Which rotation is in force.
    pub(crate) fn edition(&self) -> Edition {
        self.shared.current.load().edition
    }

    pub(super) fn material(&self) -> Arc<Material> {
        self.shared.current.load_full()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.shared.current.load().svid).finish()
    }
}

impl Material {
    fn build(svid: Svid, bundles: Bundles, edition: Edition) -> Result<Self, IdentityFault> {
        if svid.expired(SystemTime::now()) {
            return Err(IdentityFault::Expired(svid.id().clone()));
        }
        if !bundles.contains(svid.id().trust_domain()) {
            return Err(IdentityFault::NoBundle(svid.id().trust_domain().clone()));
        }
        let trust = Arc::new(Trust::new(&bundles)?);
        let server = Arc::new(server_config(&svid, &trust).map_err(IdentityFault::Unusable)?);
        let client = client_config(&svid, &trust).map_err(IdentityFault::Unusable)?;
        Ok(Self { svid, server, edition, bundles, trust, client })
    }

    /// A client configuration that accepts exactly the identities expected.
    pub(super) fn client(&self, expect: Expect) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.dangerous().set_certificate_verifier(Arc::new(Servers { trust: Arc::clone(&self.trust), expect }));
        Arc::new(config)
    }
}

fn server_config(svid: &Svid, trust: &Arc<Trust>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider::mesh()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Clients(Arc::clone(trust))))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(svid.key()))));
    config.alpn_protocols = vec![provider::ALPN_H2.to_vec()];
    // No tickets: a resumed session would outlive the certificate or the roots that it was verified by.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(svid: &Svid, trust: &Arc<Trust>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider::mesh()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(nobody(trust))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(svid.key()))));
    config.alpn_protocols = vec![provider::ALPN_H2.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}
