//! A node proxy of our own, for tests: what ztunnel does in a pod's network namespace, and nothing more.
//!
//! `serve` takes what the namespace's redirection rules send it: outbound TCP goes where the mesh's addresses say (a
//! waypoint, HBONE to the pod, or plaintext), inbound HBONE and inbound plaintext are held against the L4 authorization
//! that istiod sends, then handed to the application. `probe` is a client of any kind, honest or not: raw TCP, or HBONE
//! with whatever certificate, authority and headers. `certs` is the mesh's CA, `guard` the controller's planner.

mod authz;
mod capture;
mod certs;
mod events;
mod guard;
mod inbound;
mod istiod;
mod outbound;
mod probe;
mod route;
mod serve;
mod world;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "node-proxy", max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Proxy for the pod whose network namespace this runs in; one JSON line per connection
    Serve(serve::ServeArgs),
    /// One connection, one request; prints one JSON line about what became of it
    Probe(probe::ProbeArgs),
    /// A CA of its own, and a certificate for each identity: files root.pem, NAMESPACE-ACCOUNT.crt and .key
    Certs(certs::CertsArgs),
    /// A control plane that serves the world's file as istiod serves it to ztunnel: delta xDS over TLS
    Istiod(istiod::IstiodArgs),
    /// The guard that the controller would plan for the cluster on standard input, as ztunnel would be sent it
    Guard,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,agent_waypoint=debug").init();
    match CommandLine::parse().command {
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::Probe(args) => Box::pin(probe::run(args)).await,
        Command::Certs(args) => certs::run(&args),
        Command::Istiod(args) => Box::pin(istiod::run(args)).await,
        Command::Guard => guard::run(),
    }
}
