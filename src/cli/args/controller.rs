use std::net::SocketAddr;

use clap::Args;
use clap::builder::BoolishValueParser;

/// `controller`
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The namespace that the controller runs in
    #[arg(long, value_name = "NS", env = "POD_NAMESPACE", default_value = "agent-waypoint-system")]
    pub pod_namespace: String,
    /// Name of this replica among the controller's
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "agent-waypoint")]
    pub pod_name: String,
    /// Readiness
    #[arg(
        long,
        value_name = "ADDR",
        env = "AGENT_WAYPOINT_READY_ADDR",
        help = "/healthz/ready",
        default_value = "[::]:15021"
    )]
    pub ready_addr: SocketAddr,
    /// Log lines of our own as JSON
    #[arg(long, env = "AGENT_WAYPOINT_LOG_JSON", value_parser = BoolishValueParser::new())]
    pub log_json: bool,
}
