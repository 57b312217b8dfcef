//! The command line: every flag, its environment variable and its default. No behaviour.

#[cfg(feature = "controller")]
mod controller;
#[cfg(feature = "controller")]
mod guard;
mod istiod;
mod jwks;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};

#[cfg(feature = "controller")]
pub use controller::ControllerArgs;
#[cfg(feature = "controller")]
pub use guard::GuardArgs;
pub use istiod::{IstiodArgs, MeshArgs, VARIABLES as ISTIO_VARIABLES};
pub use jwks::JwksArgs;

use crate::client::tools::ServerUrl;
use crate::control::feed::FeedAddress;
use crate::control::identity::{BundlePath, FilePaths};
use crate::id::{TrustDomain, WorkloadId};

const EXAMPLES: &str = "\
Examples:
  agent-waypoint demo                        a small mesh on loopback, each decision printed
  agent-waypoint check -f policies/          every error with file, line, field and remedy
  agent-waypoint run --dev -f policies/      the waypoint on a laptop, with an embedded CA

  # call through it as an identity
  agent-waypoint connect --as agents/researcher --listen 127.0.0.1:8080 tools/repo-mcp:80

  # which rule decides, and why
  agent-waypoint explain -f policies/ --from agents/researcher --to tools/repo-mcp:80 \\
      --tool get_note --arg id=7";

/// A waypoint for Istio ambient meshes: decodes MCP calls, authorizes each by proven SPIFFE identity, and forwards
/// exactly what was authorized.
#[derive(Debug, Parser)]
#[command(name = "agent-waypoint", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The data plane: HBONE in, verify, decode, authorize, forward
    Run(Box<RunArgs>),
    /// The client side of the mesh on a laptop: plain TCP in, HBONE out with an identity
    Connect(ConnectArgs),
    /// The control plane in Kubernetes: provisions waypoints, feeds them documents, writes status
    #[cfg(feature = "controller")]
    Controller(Box<ControllerArgs>),
    /// What keeps others from going round the waypoints of a cluster: list it, plan it, remove it
    #[cfg(feature = "controller")]
    Guard(GuardArgs),
    /// Load documents as `run` would and report every problem; exit 1 on any error
    Check(CheckArgs),
    /// Say whether a call would be permitted, and by which rule; exit 0 allow, 3 deny
    Explain(ExplainArgs),
    /// The definitions of a live server's tools, as `spec.pins` of an AgentPolicy holds them
    Pins(PinsArgs),
    /// A whole small mesh on loopback, driven by real MCP sessions, printing each decision
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Print the version
    Version,
    /// Print shell completions
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// An identity in files, and the trust domain that it is of.
#[derive(Debug, Args, Clone)]
pub struct IdentityFiles {
    /// Our certificate chain, PEM, leaf first
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
    /// Our trust domain
    #[arg(long, value_name = "TD", env = "AGENT_WAYPOINT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: TrustDomain,
}

impl IdentityFiles {
    /// The files, where the flags name them.
    pub fn paths(&self) -> Option<FilePaths> {
        let (certificate, key) = self.identity_cert.clone().zip(self.identity_key.clone())?;
        let bundles = self.trust_bundle.iter().map(|text| BundlePath::parse(text)).collect();
        Some(FilePaths { certificate, key, bundles })
    }
}

/// Where our own identity comes from.
#[derive(Debug, Args, Clone)]
pub struct IdentityArgs {
    /// Take identities from an embedded CA in $XDG_STATE_HOME/agent-waypoint/dev; loopback addresses only
    #[arg(long, env = "AGENT_WAYPOINT_DEV", value_parser = BoolishValueParser::new(), conflicts_with_all = ["identity_cert", "spiffe_endpoint"])]
    pub dev: bool,
    /// From files.
    #[command(flatten)]
    pub files: IdentityFiles,
    /// SPIFFE Workload API, unix:///path/to/socket
    #[arg(long, value_name = "URI", env = "AGENT_WAYPOINT_SPIFFE_ENDPOINT", conflicts_with = "identity_cert")]
    pub spiffe_endpoint: Option<String>,
}

/// `run`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("identity").args(["dev", "identity_cert", "spiffe_endpoint", "ca_address"]).required(true))]
pub struct RunArgs {
    /// Documents: files or directories, watched. May be repeated
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE_OR_DIR",
        env = "AGENT_WAYPOINT_FILE",
        value_delimiter = ',',
        required_unless_present_any = ["feed", "config", "xds_address"],
        conflicts_with = "feed"
    )]
    pub files: Vec<PathBuf>,
    /// Documents from the controller; in a pod that is given no files the one of agent-waypoint-system
    #[arg(long, value_name = "HOST:PORT", env = "AGENT_WAYPOINT_FEED")]
    pub feed: Option<FeedAddress>,
    /// Who must answer there; ServiceAccount agent-waypoint of agent-waypoint-system where absent
    #[arg(long, value_name = "SPIFFE_ID", env = "AGENT_WAYPOINT_CONTROLLER_ID")]
    pub controller_id: Option<WorkloadId>,
    /// Where whose A2A tasks are whose is kept over a restart; one directory for each process
    #[arg(long, value_name = "DIR", env = "AGENT_WAYPOINT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The other replicas of this waypoint, which are told whose A2A tasks are whose; those that istiod tells of are known.
    /// May be repeated
    #[arg(long, value_name = "HOST:PORT", env = "AGENT_WAYPOINT_REPLICAS", value_delimiter = ',')]
    pub replicas: Vec<String>,
    /// Own identity.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Own identity from istiod.
    #[command(flatten)]
    pub istiod: IstiodArgs,
    /// Who and where from istiod.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Keys of tokens.
    #[command(flatten)]
    pub jwks: JwksArgs,
    /// Configuration that istiod's template passes; makes the addresses default to all interfaces, admin excepted
    #[arg(long, value_name = "X", env = "AGENT_WAYPOINT_CONFIG")]
    pub config: Option<String>,
    /// Be ready after 20 s even without documents, refusing every call: istiod's own template ends a pod that is not ready in
    /// time. Implied by --config without a command
    #[arg(long, env = "AGENT_WAYPOINT_DROPPED_IN", value_parser = BoolishValueParser::new())]
    pub dropped_in: bool,
    /// HBONE
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_HBONE_ADDR", help = "HBONE in [default: 127.0.0.1:15008]")]
    pub hbone_addr: Option<SocketAddr>,
    /// Metrics
    #[arg(
        long,
        value_name = "ADDR",
        env = "AGENT_WAYPOINT_STATS_ADDR",
        help = "/stats/prometheus [default: 127.0.0.1:15020]"
    )]
    pub stats_addr: Option<SocketAddr>,
    /// Readiness
    #[arg(
        long,
        value_name = "ADDR",
        env = "AGENT_WAYPOINT_READY_ADDR",
        help = "/healthz/ready [default: 127.0.0.1:15021]"
    )]
    pub ready_addr: Option<SocketAddr>,
    /// Administration, never on all interfaces
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_ADMIN_ADDR", default_value = "127.0.0.1:15000")]
    pub admin_addr: SocketAddr,
    /// Seconds that streams may go on after SIGTERM
    #[arg(long, value_name = "SECONDS", env = "AGENT_WAYPOINT_DRAIN_SECONDS", default_value_t = crate::config::limits::DRAIN_DEADLINE.as_secs())]
    pub drain_seconds: u64,
    /// Seconds in which a server must have answered an MCP message, or have begun to where it answers by events
    #[arg(long, value_name = "SECONDS", env = "AGENT_WAYPOINT_MCP_ANSWER_SECONDS", default_value_t = crate::config::limits::MCP_ANSWER.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub mcp_answer_seconds: u64,
    /// New connections
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AGENT_WAYPOINT_LINGER_SECONDS",
        help = "Seconds after SIGTERM in which connections are still taken, for callers that do not know yet; not ready meanwhile [default: 0, with --config 5]"
    )]
    pub linger_seconds: Option<u64>,
    /// Keys that seal MCP session ids, each a line of 32 bytes in base64 (openssl rand -base64 32): the first one seals, all
    /// open. Shared by replicas, and kept over restarts; read again when it changes. In place of the feed's keys
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_SEALING_KEY_FILE")]
    pub sealing_key_file: Option<PathBuf>,
    /// Tell servers who calls in x-forwarded-client-cert: URI= and the SPIFFE ID that the caller's certificate proved. What
    /// callers send of that name is taken out either way. A Gateway of ours says so by the annotation
    /// ambient.istio.io/xfcc-include-client-identity
    #[arg(long, env = "AGENT_WAYPOINT_XFCC_INCLUDE_CLIENT_IDENTITY", value_parser = BoolishValueParser::new())]
    pub xfcc_include_client_identity: bool,
    /// Log lines of our own as JSON
    #[arg(long, env = "AGENT_WAYPOINT_LOG_JSON", value_parser = BoolishValueParser::new())]
    pub log_json: bool,
}

/// `connect`
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Whom to call as: NAMESPACE/SERVICEACCOUNT, with an identity from the `--dev` CA unless files are given
    #[arg(long = "as", value_name = "NS/SA", env = "AGENT_WAYPOINT_AS", required_unless_present_any = ["identity_cert", "spiffe_endpoint"], value_parser = parse_namespaced)]
    pub caller: Option<Namespaced>,
    /// Where to accept plain TCP; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_LISTEN")]
    pub listen: SocketAddr,
    /// The waypoint
    #[arg(long, value_name = "ADDR", env = "AGENT_WAYPOINT_WAYPOINT", default_value = "127.0.0.1:15008")]
    pub waypoint: SocketAddr,
    /// The waypoint's identity; any of our trust domain where absent
    #[arg(long, value_name = "SPIFFE_ID", env = "AGENT_WAYPOINT_WAYPOINT_ID")]
    pub waypoint_id: Option<WorkloadId>,
    /// Own identity.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// The service to call; a port's number
    #[arg(value_name = "NS/SERVICE:PORT", value_parser = parse_service)]
    pub service: ServicePort,
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Documents: files or directories. May be repeated
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE_OR_DIR",
        required = true,
        env = "AGENT_WAYPOINT_FILE",
        value_delimiter = ','
    )]
    pub files: Vec<PathBuf>,
    /// Our trust domain
    #[arg(long, value_name = "TD", env = "AGENT_WAYPOINT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: TrustDomain,
    /// One JSON object per line
    #[arg(long, env = "AGENT_WAYPOINT_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Documents: files or directories. May be repeated
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE_OR_DIR",
        required = true,
        env = "AGENT_WAYPOINT_FILE",
        value_delimiter = ','
    )]
    pub files: Vec<PathBuf>,
    /// Who calls: NAMESPACE/SERVICEACCOUNT, or a whole SPIFFE ID
    #[arg(long, value_name = "NS/SA", env = "AGENT_WAYPOINT_FROM")]
    pub from: String,
    /// The caller's address, for ipBlocks
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:40000", env = "AGENT_WAYPOINT_FROM_ADDR")]
    pub from_addr: SocketAddr,
    /// What is called
    #[arg(long, value_name = "NS/SERVICE:PORT", value_parser = parse_service, env = "AGENT_WAYPOINT_TO")]
    pub to: ServicePort,
    /// A tool call
    #[arg(long, value_name = "TOOL", conflicts_with_all = ["call", "method"], env = "AGENT_WAYPOINT_TOOL")]
    pub tool: Option<String>,
    /// One argument of the tool, K=V; V is JSON if it parses, else a string. May be repeated
    #[arg(long = "arg", value_name = "K=V", requires = "tool", env = "AGENT_WAYPOINT_ARG")]
    pub args: Vec<String>,
    /// Another MCP method by name, or an HTTP method for a plain port (with --path)
    #[arg(long, value_name = "METHOD", conflicts_with = "call", env = "AGENT_WAYPOINT_METHOD")]
    pub method: Option<String>,
    /// A file with the JSON-RPC message, as a client would send it
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_CALL")]
    pub call: Option<PathBuf>,
    /// A label that the session is supposed to have; without it there is none. May be repeated
    #[arg(long = "label", value_name = "LABEL", env = "AGENT_WAYPOINT_LABEL", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Path of the HTTP request
    #[arg(long, value_name = "PATH", default_value = "/mcp", env = "AGENT_WAYPOINT_PATH")]
    pub path: String,
    /// Header of the HTTP request, NAME=VALUE. May be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", env = "AGENT_WAYPOINT_HEADER")]
    pub headers: Vec<String>,
    /// What the providers of CUSTOM rules are supposed to say
    #[arg(long, value_name = "WORD", value_enum, default_value = "allow", env = "AGENT_WAYPOINT_CUSTOM")]
    pub custom: Supposed,
    /// A file with the caller's token (its claims are taken as verified) or its claims as JSON
    #[arg(long, value_name = "FILE", env = "AGENT_WAYPOINT_JWT")]
    pub jwt: Option<PathBuf>,
    /// Our trust domain
    #[arg(long, value_name = "TD", env = "AGENT_WAYPOINT_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: TrustDomain,
    /// JSON instead of text
    #[arg(long, env = "AGENT_WAYPOINT_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// What a provider is supposed to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Supposed {
    /// It allows
    Allow,
    /// It denies
    Deny,
}

/// `pins`
#[derive(Debug, Args)]
pub struct PinsArgs {
    /// The server's MCP endpoint: of a port that is forwarded, or of `connect`
    #[arg(value_name = "URL")]
    pub server: ServerUrl,
}

/// `demo`
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep everything running afterwards and print commands to try by hand
    #[arg(long, env = "AGENT_WAYPOINT_SERVE", value_parser = BoolishValueParser::new())]
    pub serve: bool,
    /// One JSON object per line
    #[arg(long, env = "AGENT_WAYPOINT_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `namespace/name`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaced {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// `namespace/service:port`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Namespace.
    pub namespace: String,
    /// Service name.
    pub service: String,
    /// Service port.
    pub port: u16,
}

impl ServicePort {
    /// The CONNECT authority of the service.
    pub fn authority(&self) -> String {
        format!("{}.{}.svc.cluster.local:{}", self.service, self.namespace, self.port)
    }
}

fn parse_namespaced(text: &str) -> Result<Namespaced, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Namespaced { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("expected NAMESPACE/NAME".to_owned()),
    }
}

fn parse_service(text: &str) -> Result<ServicePort, String> {
    let expected = || "expected NAMESPACE/SERVICE:PORT, as in tools/repo-mcp:80".to_owned();
    let (name, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
    let Namespaced { namespace, name: service } = parse_namespaced(name).map_err(|_short| expected())?;
    Ok(ServicePort { namespace, service, port })
}

#[cfg(test)]
mod tests;
