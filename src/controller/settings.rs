use std::net::SocketAddr;

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
}
