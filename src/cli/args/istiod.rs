use std::path::PathBuf;

use clap::Args;

/// Variables that keep Istio's names.
pub const VARIABLES: [&str; 8] = [
    "CA_ADDRESS",
    "CA_ROOT_CA",
    "ALT_CA_HOSTNAME",
    "AUTH_TOKEN",
    "CLUSTER_ID",
    "POD_NAME",
    "POD_NAMESPACE",
    "SERVICE_ACCOUNT",
];

/// istiod's CA as the source of our identity. The variables are those that istiod's own templates set.
#[derive(Debug, Args, Clone)]
pub struct IstiodArgs {
    /// istiod's CA, as in istiod.istio-system.svc:15012
    #[arg(long, value_name = "HOST:PORT", env = "CA_ADDRESS", requires_all = ["pod_namespace", "service_account"])]
    pub ca_address: Option<String>,
    /// Whom istiod's certificate is taken from: a PEM file, or SYSTEM
    #[arg(long, value_name = "FILE", env = "CA_ROOT_CA", default_value = "/var/run/secrets/istio/root-cert.pem")]
    pub ca_root_ca: PathBuf,
    /// Name that istiod's certificate must have, where it is not the address's host
    #[arg(long, value_name = "NAME", env = "ALT_CA_HOSTNAME")]
    pub alt_ca_hostname: Option<String>,
    /// Our ServiceAccount token, for audience istio-ca; read anew for each call
    #[arg(long, value_name = "FILE", env = "AUTH_TOKEN", default_value = "/var/run/secrets/tokens/istio-token")]
    pub auth_token: PathBuf,
    /// The cluster whose API server issued the token
    #[arg(long, value_name = "ID", env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Our pod's name
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Our namespace
    #[arg(long, value_name = "NS", env = "POD_NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// Our ServiceAccount
    #[arg(long, value_name = "SA", env = "SERVICE_ACCOUNT")]
    pub service_account: Option<String>,
}
