use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::control::istiod::CertificateLife;

/// Variables that keep Istio's names.
pub const VARIABLES: [&str; 15] = [
    "ALT_CA_HOSTNAME",
    "ALT_XDS_HOSTNAME",
    "AUTH_TOKEN",
    "CA_ADDRESS",
    "CA_ROOT_CA",
    "CLUSTER_ID",
    "GATEWAY",
    "INSTANCE_IP",
    "NETWORK",
    "POD_NAME",
    "POD_NAMESPACE",
    "SECRET_TTL",
    "SERVICE_ACCOUNT",
    "XDS_ADDRESS",
    "XDS_ROOT_CA",
];

/// istiod as the source of our identity. The variables are those that istiod's own templates set.
#[derive(Debug, Args, Clone)]
pub struct IstiodArgs {
    /// istiod's CA, as in istiod.istio-system.svc:15012
    #[arg(long, value_name = "HOST:PORT", env = "CA_ADDRESS", value_parser = address, requires_all = ["pod_namespace", "service_account"])]
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
    /// Life of the certificates that we ask the CA for, renewed at half of it; at least 10s, as in 24h or 90s
    #[arg(long, value_name = "DURATION", env = "SECRET_TTL", default_value = "24h")]
    pub secret_ttl: CertificateLife,
    /// Our pod
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Our namespace
    #[arg(long, value_name = "NS", env = "POD_NAMESPACE")]
    pub pod_namespace: Option<String>,
    /// Our ServiceAccount
    #[arg(long, value_name = "SA", env = "SERVICE_ACCOUNT")]
    pub service_account: Option<String>,
}

/// istiod as the source of who and where.
#[derive(Debug, Args, Clone)]
pub struct MeshArgs {
    /// istiod, which says who and where: the mesh in place of the documents. Those say what is intended
    #[arg(long, value_name = "HOST:PORT", env = "XDS_ADDRESS", value_parser = address, requires_all = ["pod_namespace", "service_account", "pod_name", "instance_ip", "gateway"])]
    pub xds_address: Option<String>,
    /// As --ca-root-ca, for --xds-address
    #[arg(long, value_name = "FILE", env = "XDS_ROOT_CA", default_value = "/var/run/secrets/istio/root-cert.pem")]
    pub xds_root_ca: PathBuf,
    /// As --alt-ca-hostname, for --xds-address
    #[arg(long, value_name = "NAME", env = "ALT_XDS_HOSTNAME")]
    pub alt_xds_hostname: Option<String>,
    /// Domain of Services' host names
    #[arg(long, value_name = "DOMAIN", env = "AGENT_WAYPOINT_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The network that we are on; empty: the only one
    #[arg(long, value_name = "NAME", env = "NETWORK", default_value = "")]
    pub network: String,
    /// The Gateway that we are, in our namespace
    #[arg(long, value_name = "NAME", env = "GATEWAY")]
    pub gateway: Option<String>,
    /// Our pod's address
    #[arg(long, value_name = "IP", env = "INSTANCE_IP")]
    pub instance_ip: Option<IpAddr>,
}

/// `HOST:PORT`, with `https://` or without. istiod is never spoken to without TLS.
fn address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let port = rest.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    match port {
        Some(Ok(1..)) if !rest.contains("://") => Ok(rest.to_owned()),
        _ => Err("expected HOST:PORT, as in istiod.istio-system.svc:15012; TLS is always spoken".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_and_no_plaintext() {
        for text in ["istiod.istio-system.svc:15012", "https://istiod.istio-system.svc:15012", "https://[::1]:15012/"] {
            assert!(address(text).is_ok_and(|address| !address.contains('/')), "{text}");
        }
        for text in ["istiod", "http://istiod:15010", ":15012", "istiod:0", "istiod:xds", ""] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
