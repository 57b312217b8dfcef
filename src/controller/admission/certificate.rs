use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::super::lead::Leading;

/// Name of the Secret, in the controller's namespace.
pub(super) const SECRET: &str = "agent-waypoint-webhook";
/// Name of our Service, which the API server calls.
const SERVICE: &str = "agent-waypoint";
/// Life of a certificate and its CA.
const LIFE: Duration = Duration::days(365);
/// What is left of it when the next is made.
const RENEW: Duration = Duration::days(120);
/// Certificates begin a little in the past, for clocks that differ.
const SKEW: Duration = Duration::minutes(5);

/// A certificate, its key, and the CAs that vouch for it and its predecessor. PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    chain: String,
    key: String,
    pub(super) roots: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateFault {
    #[error("Secret {SECRET}: {0}")]
    Api(#[from] kube::Error),
    #[error("Secret {SECRET} does not hold what it should; delete it, and a new one is made")]
    Shape,
    #[error("certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("certificate: {0}")]
    Tls(#[from] rustls::Error),
    #[error("certificate: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
}

/// The Secret.
pub(super) struct Certificates {
    secrets: Api<Secret>,
    namespace: String,
}

impl Certificates {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self { secrets: Api::namespaced(client, &namespace), namespace }
    }

    /// The certificate as it is; made or renewed first where that is due and ours to do.
    pub(super) async fn look(&self, leading: &Leading) -> Result<Option<Pair>, CertificateFault> {
        let Some(secret) = self.secrets.get_opt(SECRET).await? else {
            if !leading.is_leading() {
                return Ok(None);
            }
            let pair = Pair::fresh(&self.namespace, "")?;
            self.secrets.create(&PostParams::default(), &pair.write(&self.namespace, None)?).await?;
            return Ok(Some(pair));
        };
        let (pair, ends) = Pair::parse(&secret).ok_or(CertificateFault::Shape)?;
        if !leading.is_leading() || ends - OffsetDateTime::now_utc() > RENEW {
            return Ok(Some(pair));
        }
        let pair = Pair::fresh(&self.namespace, first_certificate(&pair.roots))?;
        let next = pair.write(&self.namespace, secret.metadata.resource_version.as_deref())?;
        self.secrets.replace(SECRET, &PostParams::default(), &next).await?;
        tracing::info!(secret = SECRET, "certificate of the admission webhook renewed");
        Ok(Some(pair))
    }
}

impl Pair {
    /// A new CA, whose key nobody keeps, and a certificate by it. `before` is the CA until now.
    pub(super) fn fresh(namespace: &str, before: &str) -> Result<Self, CertificateFault> {
        let now = OffsetDateTime::now_utc();
        let life = |params: &mut CertificateParams| {
            (params.not_before, params.not_after) = (now - SKEW, now + LIFE);
        };
        let (ca_key, mut ca) = (KeyPair::generate()?, CertificateParams::default());
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // A name of its own, so that two CAs of one bundle are told apart.
        ca.distinguished_name
            .push(DnType::CommonName, format!("agent-waypoint webhook {}", now.unix_timestamp_nanos()));
        life(&mut ca);
        let root = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let names = ["svc", "svc.cluster.local"].map(|end| format!("{SERVICE}.{namespace}.{end}"));
        let (key, mut leaf) = (KeyPair::generate()?, CertificateParams::new(names)?);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        life(&mut leaf);
        let chain = leaf.signed_by(&key, &issuer)?.pem();
        Ok(Self { chain, key: key.serialize_pem(), roots: format!("{root}{before}") })
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, CertificateFault> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain?, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn parse(secret: &Secret) -> Option<(Self, OffsetDateTime)> {
        let text = |key: &str| String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok();
        let pair = Self { chain: text("tls.crt")?, key: text("tls.key")?, roots: text("ca.crt")? };
        let leaf = CertificateDer::from_pem_slice(pair.chain.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        let ends = OffsetDateTime::from_unix_timestamp(parsed.validity().not_after.timestamp()).ok()?;
        (!pair.roots.is_empty()).then_some((pair, ends))
    }

    fn write(&self, namespace: &str, version: Option<&str>) -> Result<Secret, CertificateFault> {
        let secret = json!({
            "metadata": {"name": SECRET, "namespace": namespace, "resourceVersion": version},
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": STANDARD.encode(&self.chain),
                "tls.key": STANDARD.encode(&self.key),
                "ca.crt": STANDARD.encode(&self.roots),
            },
        });
        serde_json::from_value(secret).map_err(|_never| CertificateFault::Shape)
    }
}

/// The first certificate of a bundle: the newest CA.
fn first_certificate(roots: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----\n";
    roots.find(END).and_then(|at| roots.get(..at + END.len())).unwrap_or("")
}
