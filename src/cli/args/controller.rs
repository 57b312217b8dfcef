use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::IstiodArgs;
use crate::control::feed::FeedAddress;
use crate::id::TrustDomain;

/// `controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Own identity from istiod.
    #[command(flatten)]
    pub istiod: IstiodArgs,
    /// Our certificate chain, PEM, leaf first, instead of one from istiod
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_IDENTITY_CERT", requires_all = ["identity_key", "trust_bundle"])]
    pub identity_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_IDENTITY_KEY", requires = "identity_cert")]
    pub identity_key: Option<PathBuf>,
    /// Roots of a trust domain, PEM; without TD= those of --trust-domain. May be repeated
    #[arg(
        long,
        value_name = "[TD=]FILE",
        env = "AGENT_WAYPOINT_TRUST_BUNDLE",
        value_delimiter = ',',
        requires = "identity_cert"
    )]
    pub trust_bundle: Vec<String>,
    /// Our trust domain, and that of waypoints
    #[arg(long, value_name = "TD", env = "AGENT_WAYPOINT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: TrustDomain,
    /// Image of the waypoints that are provisioned: this binary
    #[arg(
        long,
        value_name = "IMAGE",
        env = "AGENT_WAYPOINT_IMAGE",
        default_value = concat!("agent-waypoint:", env!("CARGO_PKG_VERSION"))
    )]
    pub image: String,
    /// istiod for the waypoints that are provisioned: certificates and xDS
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "AGENT_WAYPOINT_ISTIOD_ADDRESS",
        default_value = "istiod.istio-system.svc:15012"
    )]
    pub istiod_address: String,
    /// Our feed for the waypoints that are provisioned [default: agent-waypoint.NAMESPACE.svc:15018]
    #[arg(long, value_name = "HOST:PORT", env = "AGENT_WAYPOINT_FEED")]
    pub feed: Option<FeedAddress>,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", env = "AGENT_WAYPOINT_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Where the feed is served
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_FEED_ADDR", default_value = "[::]:15018")]
    pub feed_addr: SocketAddr,
    /// Where the admission webhook is served
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_WEBHOOK_ADDR", default_value = "[::]:15017")]
    pub webhook_addr: SocketAddr,
    /// Where /stats/prometheus is served
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_STATS_ADDR", default_value = "[::]:15020")]
    pub stats_addr: SocketAddr,
    /// Where /healthz/ready is served
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_READY_ADDR", default_value = "[::]:15021")]
    pub ready_addr: SocketAddr,
    /// Log lines of our own as JSON
    #[arg(long, env = "AGENT_WAYPOINT_LOG_JSON", value_parser = BoolishValueParser::new())]
    pub log_json: bool,
}
