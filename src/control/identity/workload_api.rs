use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use spiffe::{WorkloadApiClient, WorkloadApiError, X509Context, X509Source, X509SourceError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::id::TrustDomain;
use crate::tls::{Bundles, Identity, IdentityFault, Svid, SvidFault};

/// How long the first certificate may take.
const FIRST_SYNC: Duration = Duration::from_secs(30);
/// How long asking for the cause of a failure may take.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Certificate and bundles from the SPIFFE Workload API (SPIRE and others), followed live; the bundles of federated trust
/// domains too.
#[derive(Debug)]
pub struct WorkloadApi {
    source: X509Source,
}

/// Why the Workload API gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadApiFault {
    /// No connection, no permission, no certificate.
    #[error("SPIFFE Workload API: {0}")]
    Source(X509SourceError),
    /// What it answers instead of a certificate.
    #[error("SPIFFE Workload API: {0}")]
    Fetch(WorkloadApiError),
    /// What it gave is no SVID.
    #[error("SPIFFE Workload API gave an unusable certificate: {0}")]
    Svid(SvidFault),
    /// The whole cannot be our identity.
    #[error("SPIFFE Workload API: {0}")]
    Identity(IdentityFault),
}

impl WorkloadApi {
    /// Connects to an endpoint (`unix:///run/spire/agent.sock`) and waits for the first certificate.
    pub async fn open(endpoint: &str) -> Result<(Self, Identity), WorkloadApiFault> {
        let builder = X509Source::builder().endpoint(endpoint).initial_sync_timeout(FIRST_SYNC);
        let source = match builder.build().await {
            Ok(source) => source,
            Err(error) => return Err(why_not(endpoint, error).await),
        };
        let (svid, bundles) = read(&source)?;
        let identity = Identity::new(svid, bundles).map_err(WorkloadApiFault::Identity)?;
        Ok((Self { source }, identity))
    }

    /// Takes every update into force, until stopped. When the API withdraws the identity or goes away, the certificate
    /// in force stays until it expires.
    pub async fn watch(self, identity: Identity, stop: CancellationToken) {
        let mut updates = self.source.updated();
        loop {
            // Look before waiting: an update may have come since the last look.
            if let Err(fault) = self.take(&identity) {
                tracing::warn!(%fault, "update not taken; the certificate in force stays until it expires");
            }
            let update = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                update = updates.changed() => update,
            };
            if let Err(error) = update {
                tracing::error!(%error, "SPIFFE Workload API is followed no longer");
                return;
            }
        }
        self.source.shutdown().await;
    }

    fn take(&self, identity: &Identity) -> Result<(), WorkloadApiFault> {
        let (svid, bundles) = read(&self.source)?;
        identity.rotate(svid, bundles).map_err(WorkloadApiFault::Identity)
    }
}

/// The source retries and in the end reports only that time ran out; asking once more, directly, tells why.
async fn why_not(endpoint: &str, error: X509SourceError) -> WorkloadApiFault {
    let ask = async {
        let client = WorkloadApiClient::connect_to(endpoint).await?;
        client.fetch_x509_context().await.map(drop)
    };
    match timeout(ASK_AGAIN, ask).await {
        Ok(Err(cause)) => WorkloadApiFault::Fetch(cause),
        Ok(Ok(())) | Err(_) => WorkloadApiFault::Source(error),
    }
}

fn read(source: &X509Source) -> Result<(Svid, Bundles), WorkloadApiFault> {
    // One observation, so that certificate and bundles belong together.
    let state = source.state();
    let svid = state.svid().map_err(WorkloadApiFault::Source)?;
    let context = state.context().map_err(WorkloadApiFault::Source)?;
    let chain = svid.cert_chain().iter().map(|c| CertificateDer::from(c.as_bytes().to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()));
    let svid = Svid::from_der(chain, key).map_err(WorkloadApiFault::Svid)?;
    Ok((svid, bundles(&context)))
}

fn bundles(context: &Arc<X509Context>) -> Bundles {
    let mut bundles = Bundles::default();
    for (trust_domain, bundle) in context.bundle_set().iter() {
        let Ok(trust_domain) = TrustDomain::parse(trust_domain.as_str()) else {
            tracing::warn!(%trust_domain, "bundle of an impossible trust domain passed over");
            continue;
        };
        let roots: Vec<_> = bundle.authorities().iter().map(|c| CertificateDer::from(c.as_bytes().to_vec())).collect();
        if roots.is_empty() {
            continue;
        }
        // One broken federated bundle must not hold up the rotation of our own certificate.
        if let Err(fault) = bundles.add_der(trust_domain.clone(), roots) {
            tracing::warn!(%trust_domain, %fault, "bundle passed over");
        }
    }
    bundles
}
