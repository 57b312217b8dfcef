use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::channel::{Istiod, IstiodFault};
use super::life::CertificateLife;
use super::wire::IstioCertificateRequest;
use super::wire::istio_certificate_service_client::IstioCertificateServiceClient;
use crate::control::backoff::{Backoff, fraction};
use crate::id::WorkloadId;
use crate::tls::{BundleFault, Bundles, Identity, IdentityFault, Svid, SvidFault};

/// The whole of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Waits after failures: doubling from the first to the last (as Istio's clients do).
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(150);
/// Certificates in one answer.
const MAX_CHAIN: usize = 16;

/// Our certificate from istiod's CA, renewed at half of its life.
#[derive(Debug)]
pub struct IstioCa {
    istiod: Istiod,
    expected: WorkloadId,
    life: CertificateLife,
}

/// Why istiod gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaFault {
    /// The way to it.
    #[error("istiod's CA: {0}")]
    Istiod(#[from] IstiodFault),
    /// Its answer: a token it does not take, most often.
    #[error("istiod's CA refused: {0:?}: {1}; check the token's audience, the cluster id and the ServiceAccount")]
    Refused(tonic::Code, String),
    /// No answer in time.
    #[error("istiod's CA gave no answer in time")]
    Timeout,
    /// A key or request could not be made.
    #[error("certificate request: {0}")]
    Request(#[from] rcgen::Error),
    /// No leaf and roots in the answer.
    #[error("istiod's CA answered with {0} certificates; a leaf and roots are needed")]
    Chain(usize),
    /// The certificate is no SVID.
    #[error("istiod's CA: {0}")]
    Svid(#[from] SvidFault),
    /// The roots cannot be used.
    #[error("istiod's CA: {0}")]
    Bundle(#[from] BundleFault),
    /// A certificate for somebody else.
    #[error("istiod's CA gave a certificate of {got}, not of {expected}; check trust domain and ServiceAccount")]
    SomebodyElse {
        /// Whose it is.
        got: Box<WorkloadId>,
        /// Whose it should be.
        expected: Box<WorkloadId>,
    },
    /// The whole cannot be our identity.
    #[error("istiod's CA: {0}")]
    Identity(#[from] IdentityFault),
}

impl IstioCa {
    /// Asks for the first certificate, again and again until there is one or `stop` comes; each failure is logged.
    ///
    /// # Errors
    /// The last failure, when stopped.
    pub async fn open(
        istiod: Istiod,
        expected: WorkloadId,
        life: CertificateLife,
        stop: &CancellationToken,
    ) -> Result<(Self, Identity), CaFault> {
        let this = Self { istiod, expected, life };
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let fault = match this.first().await {
                Ok(identity) => return Ok((this, identity)),
                Err(fault) => fault,
            };
            let wait = retry.wait();
            tracing::warn!(%fault, retry_in = ?wait, "no certificate yet");
            tokio::select! {
                () = stop.cancelled() => return Err(fault),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Renews at half life until stopped. After a failure the certificate in force stays until it ends, and asking goes
    /// on beyond that, so that a CA that comes back ends the outage without a restart.
    pub async fn watch(self, identity: Identity, stop: CancellationToken) {
        let mut wait = jittered_half_life(&identity.svid());
        let mut retry = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            match self.renew(&identity).await {
                Ok(()) => {
                    tracing::info!(id = %identity.id(), "certificate renewed");
                    wait = jittered_half_life(&identity.svid());
                    retry.reset();
                }
                Err(fault) => {
                    wait = retry.wait();
                    tracing::warn!(%fault, retry_in = ?wait, "certificate not renewed; the one in force stays until it ends");
                }
            }
        }
    }

    async fn first(&self) -> Result<Identity, CaFault> {
        let (svid, bundles) = self.fetch().await?;
        Ok(Identity::new(svid, bundles)?)
    }

    async fn renew(&self, identity: &Identity) -> Result<(), CaFault> {
        let (svid, bundles) = self.fetch().await?;
        Ok(identity.rotate(svid, bundles)?)
    }

    /// A certificate for a fresh key, checked to be ours, and the roots of our trust domain.
    async fn fetch(&self) -> Result<(Svid, Bundles), CaFault> {
        let (key, csr) = self.csr()?;
        let chain = tokio::time::timeout(CALL_TIMEOUT, self.call(csr)).await.map_err(|_late| CaFault::Timeout)??;
        let (Some((roots, chain)), true) = (chain.split_last(), (2..=MAX_CHAIN).contains(&chain.len())) else {
            return Err(CaFault::Chain(chain.len()));
        };
        let svid = Svid::from_pem(chain.concat().as_bytes(), key.as_bytes())?;
        if *svid.id() != self.expected {
            return Err(CaFault::SomebodyElse {
                got: Box::new(svid.id().clone()),
                expected: Box::new(self.expected.clone()),
            });
        }
        let mut bundles = Bundles::default();
        bundles.add_pem(self.expected.trust_domain().clone(), roots.as_bytes())?;
        Ok((svid, bundles))
    }

    /// A fresh P-256 key (PKCS#8 PEM) and a request with our identity as its only name.
    fn csr(&self) -> Result<(String, String), CaFault> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(self.expected.uri().try_into()?)];
        let csr = params.serialize_request(&key)?.pem()?;
        Ok((key.serialize_pem(), csr))
    }

    async fn call(&self, csr: String) -> Result<Vec<String>, CaFault> {
        // A connection for each call: there are few calls, and roots may have been replaced meanwhile.
        let mut client = IstioCertificateServiceClient::new(self.istiod.channel().await?);
        let mut request = Request::new(IstioCertificateRequest { csr, validity_duration: self.life.as_secs() });
        *request.metadata_mut() = self.istiod.metadata().await?;
        let answer = client.create_certificate(request).await;
        let refused = |status: tonic::Status| CaFault::Refused(status.code(), status.message().to_owned());
        Ok(answer.map_err(refused)?.into_inner().cert_chain)
    }
}

/// Half of what is left, with up to a fifth taken off so that replicas do not renew together. Not half of what the
/// certificate says: istiod dates the beginning two minutes back for clocks that are late, and a life of less than that
/// would be over half before it began.
fn jittered_half_life(svid: &Svid) -> Duration {
    let left = svid.not_after().duration_since(SystemTime::now()).unwrap_or_default();
    (left / 2).mul_f64(1.0 - 0.2 * fraction()).max(RETRY_FIRST)
}
