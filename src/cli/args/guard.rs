use clap::builder::BoolishValueParser;
use clap::{ArgGroup, Args};

use crate::id::TrustDomain;

/// `guard`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["list", "dry_run", "remove", "restore"]))]
pub struct GuardArgs {
    /// What protects what: every Service that a waypoint of ours fronts, its guard, the ways round left, who is cut off
    #[arg(long, env = "AGENT_WAYPOINT_LIST", value_parser = BoolishValueParser::new())]
    pub list: bool,
    /// What would be written and removed now
    #[arg(long, env = "AGENT_WAYPOINT_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Switch all guards off and remove those that we wrote: before uninstalling, or in need
    #[arg(long, env = "AGENT_WAYPOINT_REMOVE", value_parser = BoolishValueParser::new())]
    pub remove: bool,
    /// Undo --remove: the controller writes them anew
    #[arg(long, env = "AGENT_WAYPOINT_RESTORE", value_parser = BoolishValueParser::new())]
    pub restore: bool,
    /// With --list: end with 1 while there is any guard, as uninstalling must
    #[arg(long, env = "AGENT_WAYPOINT_NONE", requires = "list", value_parser = BoolishValueParser::new())]
    pub none: bool,
    /// Only Services of this namespace, for --list and --dry-run
    #[arg(long, short, value_name = "NS", env = "AGENT_WAYPOINT_NAMESPACE", conflicts_with_all = ["remove", "restore"])]
    pub namespace: Option<String>,
    /// The namespace that the controller runs in
    #[arg(long, value_name = "NS", env = "POD_NAMESPACE", default_value = "agent-waypoint-system")]
    pub pod_namespace: String,
    /// Trust domain of the mesh
    #[arg(long, value_name = "TD", env = "AGENT_WAYPOINT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: TrustDomain,
    /// JSON instead of text
    #[arg(long, env = "AGENT_WAYPOINT_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}
