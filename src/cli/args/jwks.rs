use std::path::PathBuf;

use clap::Args;

use crate::policy::token::KeyHost;

/// From where the keys of tokens may be fetched.
#[derive(Debug, Args, Clone, Default)]
pub struct JwksArgs {
    /// Hosts from which the keys of tokens may be fetched (jwksUri, or an issuer's discovery): HOST, HOST:PORT or
    /// http://HOST:PORT; with =NETWORK behind it where its addresses are private. May be repeated; none where absent
    #[arg(long, value_name = "HOST[=NETWORK]", env = "AGENT_WAYPOINT_JWKS_HOSTS", value_delimiter = ',')]
    pub jwks_hosts: Vec<KeyHost>,
    /// Whom those hosts' certificates are taken from: a PEM file, instead of the system's roots
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_JWKS_ROOTS")]
    pub jwks_roots: Option<PathBuf>,
}
