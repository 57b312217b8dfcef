use std::net::SocketAddr;

use super::provision::Template;
use crate::control::identity::{FileFault, FilePaths};
use crate::control::istiod::{CaFault, CertificateLife, Istiod};
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::net::ListenFault;

/// What a controller is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace that it runs in.
    pub namespace: String,
    /// Name of this replica: its pod's.
    pub replica: String,
    /// Readiness.
    pub ready_addr: SocketAddr,
    /// The feed.
    pub feed_addr: SocketAddr,
    /// The admission webhook.
    pub webhook_addr: SocketAddr,
    /// Where our identity in the mesh comes from; without one there is no feed.
    pub identity: Option<IdentityFrom>,
    /// Metrics.
    pub stats_addr: SocketAddr,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// What waypoints are made with.
    pub template: Template,
}

/// Where the controller's identity comes from.
#[derive(Debug, Clone)]
pub enum IdentityFrom {
    /// istiod's CA.
    IstioCa {
        /// The way to it.
        istiod: Istiod,
        /// Who we are there.
        id: WorkloadId,
        /// How long its certificates live.
        life: CertificateLife,
    },
    /// PEM files, watched.
    Files(FilePaths),
}

/// Why a controller cannot start: one clear line for who started it.
#[derive(Debug, thiserror::Error)]
pub enum ControllerFault {
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// Neither kubeconfig nor a ServiceAccount in a pod.
    #[error("no way to the API server is known: {0}; run in a pod, or set KUBECONFIG")]
    Unknown(#[from] Box<kube::config::InferConfigError>),
    /// A kubeconfig that cannot be used.
    #[error("the API server's address or credentials cannot be used: {0}")]
    Client(#[from] Box<kube::Error>),
    /// Certificate, key or roots in files.
    #[error(transparent)]
    IdentityFiles(#[from] FileFault),
    /// istiod's CA, when asked to end before it answered.
    #[error(transparent)]
    IstioCa(#[from] CaFault),
    /// An identity that cannot be one.
    #[error("own identity: {0}")]
    Identity(#[from] IdFault),
}
