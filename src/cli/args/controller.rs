use std::net::SocketAddr;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{IdentityFiles, IstiodArgs};
use crate::control::feed::FeedAddress;
use crate::policy::token::{HostFault, KeyHost};

/// `controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Own identity from istiod.
    #[command(flatten)]
    pub istiod: IstiodArgs,
    /// Own identity from files, instead of one from istiod.
    #[command(flatten)]
    pub identity: IdentityFiles,
    /// Image of the waypoints that are provisioned: this binary
    #[arg(
        long,
        value_name = "IMAGE",
        env = "AGENT_WAYPOINT_IMAGE",
        default_value = concat!("agent-waypoint:", env!("CARGO_PKG_VERSION"))
    )]
    pub image: String,
    /// istiod for the waypoints that are provisioned: certificates and xDS; by its Service, `istiod-REVISION` where it has a
    /// revision, whose meshConfig is read then
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
    /// Hosts from which waypoints may fetch the keys of tokens, as `run` has it. Said here it holds for all that are
    /// provisioned, whatever a Gateway's parameters say, and a policy that names another is not accepted; left out, each
    /// Gateway's parameters say
    #[arg(
        long,
        value_name = "HOST[=NETWORK]",
        env = "AGENT_WAYPOINT_JWKS_HOSTS",
        value_delimiter = ',',
        value_parser = key_host
    )]
    pub jwks_hosts: Vec<String>,
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

/// It is handed on as it is written, but what no waypoint would take is refused here.
fn key_host(text: &str) -> Result<String, HostFault> {
    text.parse::<KeyHost>().map(|_good| text.to_owned())
}
