//! The mesh's ends around a waypoint under test, with certificates from the istiod that runs beside it.
//!
//! `peer proxy` plays the ztunnel of a client: an HTTP CONNECT proxy whose requests name the waypoint in a header and
//! go out as HBONE. `peer serve` plays the ztunnel of a server: it takes HBONE and dials the application. Neither
//! decides anything; who may do what is the waypoint's to say. `peer feed` asks the controller's feed for all it gives to
//! the identity of its pod, and prints the names of what it is sent. `peer provider` is an authorization provider.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_waypoint::control::delta::{Client, Keeper, Push, Rejected, wire::Node};
use agent_waypoint::control::feed::{self, FeedAddress, FeedWay};
use agent_waypoint::control::istiod::{CertificateLife, IstioCa, Istiod, Roots};
use agent_waypoint::hbone::{DialFault, Pool, Refusal, Server, Tunnel};
use agent_waypoint::id::{TrustDomain, WorkloadId};
use agent_waypoint::net;
use agent_waypoint::tls::{Expect, Identity};
use agent_waypoint::wire::authority::Authority;
use anyhow::{Context as _, bail};
use clap::{Args, Parser};
use http::{HeaderMap, HeaderName, HeaderValue};
use istio_integration::provider::{self, Words, read_head};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug, Parser)]
enum Command {
    /// CONNECT requests in, HBONE out. `waypoint: IP:PORT` and `waypoint-id: spiffe://..` say through whom.
    Proxy(Common),
    /// HBONE in, plain TCP to the authority, which must be an address of ours
    Serve(Common),
    /// What the feed sends to our identity: a line `sent NAME` or `removed NAME` for each resource, `push TYPE` after each
    Feed {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value = feed::DEFAULT_ADDRESS)]
        feed: FeedAddress,
    },
    /// Answers ext_authz: no to whose head holds one of the words, else yes. Prints each head as a JSON string
    Provider {
        #[arg(long)]
        listen: SocketAddr,
        /// Over gRPC, else over HTTP: a server like any other
        #[arg(long)]
        grpc: bool,
        #[command(flatten)]
        words: Words,
    },
}

#[derive(Debug, Clone, Args)]
struct Common {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    #[arg(long, env = "SERVICE_ACCOUNT")]
    service_account: String,
    #[arg(long, default_value = "cluster.local")]
    trust_domain: TrustDomain,
    #[arg(long, default_value = "istiod.istio-system.svc:15012")]
    ca_address: String,
    #[arg(long, env = "SECRET_TTL", default_value = "24h")]
    secret_ttl: CertificateLife,
    #[arg(long, default_value = "/var/run/secrets/tokens/istio-token")]
    token: PathBuf,
    #[arg(long, default_value = "/var/run/secrets/istio/root-cert.pem")]
    root: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let tasks = TaskTracker::new();
    let work = async {
        match Command::parse() {
            Command::Proxy(common) => proxy(common, &tasks, &stop).await,
            Command::Serve(common) => serve(common, &tasks, &stop).await,
            Command::Feed { common, feed } => follow(common, feed, &tasks, &stop).await,
            Command::Provider { listen, grpc: false, words } => provider::http(listen, words, &tasks, &stop).await,
            Command::Provider { listen, grpc: true, words } => provider::grpc(listen, words, &tasks, &stop).await,
        }
    };
    let until_signal = async {
        tokio::select! {
            _ = terminate.recv() => stop.cancel(),
            () = stop.cancelled() => {}
        }
    };
    let ended = async {
        let done = work.await;
        stop.cancel();
        done
    };
    let (done, ()) = tokio::join!(ended, until_signal);
    tasks.close();
    tasks.wait().await;
    done
}

async fn identity(common: &Common, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Identity> {
    let istiod = Istiod {
        address: common.ca_address.clone(),
        roots: Roots::File(common.root.clone()),
        server_name: None,
        token: common.token.clone(),
        cluster_id: "Kubernetes".to_owned(),
    };
    let id = WorkloadId::of_istio(&common.trust_domain, &common.namespace, &common.service_account)?;
    let (source, identity) = IstioCa::open(istiod, id, common.secret_ttl, stop).await?;
    tasks.spawn(source.watch(identity.clone(), stop.clone()));
    Ok(identity)
}

async fn serve(common: Common, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let identity = identity(&common, tasks, stop).await?;
    let listener = net::listen(common.listen)?;
    let own = common.listen.ip();
    tracing::info!(id = %identity.id(), listen = %common.listen, "serving");
    let handler = move |tunnel: Tunnel| async move {
        let peer = tunnel.peer.id().clone();
        match tunnel.authority {
            Authority::Addr(app) if app.ip() == own => match TcpStream::connect(app).await {
                Ok(tcp) => {
                    tracing::info!(%peer, %app, "tunnel");
                    if let Ok(stream) = tunnel.accept() {
                        net::copy::both_ways(tcp, stream, &CancellationToken::new()).await;
                    }
                }
                Err(_) => tunnel.refuse(Refusal::Unavailable),
            },
            Authority::Addr(_) | Authority::Host { .. } => tunnel.refuse(Refusal::BadAuthority),
        }
    };
    Server::new(identity).drain_deadline(Duration::from_secs(1)).serve(listener, handler, stop.clone()).await;
    Ok(())
}

/// Follows the feed until stopped. A stream that is refused is asked for again, and why goes to the log.
async fn follow(common: Common, at: FeedAddress, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let identity = identity(&common, tasks, stop).await?;
    let way = FeedWay::new(at, feed::default_controller(&common.trust_domain)?, identity);
    // Named like no pod: what it acknowledges is in force nowhere.
    let node = Node { id: format!("{}/listener", common.namespace), ..Node::default() };
    let client = Client::new("feed", way, node);
    client.keep(Box::new(Printer(feed::DOCUMENT))).keep(Box::new(Printer(feed::KEY))).run(stop.clone()).await;
    Ok(())
}

/// Prints the names of one type's resources; secrets stay unread.
struct Printer(&'static str);

#[tonic::async_trait]
impl Keeper for Printer {
    fn type_url(&self) -> &'static str {
        self.0
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let sent = push.resources.iter().map(|one| format!("sent {}\n", one.name));
        let removed = push.removed.iter().map(|name| format!("removed {name}\n"));
        let lines: String = sent.chain(removed).collect();
        if let Err(error) = writeln!(std::io::stdout(), "{lines}push {}", self.0) {
            tracing::error!(%error, "stdout");
        }
        Vec::new()
    }
}

async fn proxy(common: Common, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let identity = identity(&common, tasks, stop).await?;
    let listener = net::listen(common.listen)?;
    tracing::info!(id = %identity.id(), listen = %common.listen, "proxying");
    let pool = Pool::new(identity);
    loop {
        let tcp = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let (pool, stop, trust_domain) = (pool.clone(), stop.clone(), common.trust_domain.clone());
        tasks.spawn(async move {
            if let Err(error) = carry(tcp, &pool, trust_domain, &stop).await {
                tracing::warn!("{error:#}");
            }
        });
    }
}

/// One connection: its CONNECT, then bytes both ways. What the waypoint says to the CONNECT is the answer.
async fn carry(mut tcp: TcpStream, pool: &Pool, of: TrustDomain, stop: &CancellationToken) -> anyhow::Result<()> {
    net::tune(&tcp);
    let asked = Asked::read(&mut tcp).await?;
    let expect = match &asked.waypoint_id {
        Some(id) => Expect::Exact([id.clone()].into()),
        None => Expect::TrustDomain(of),
    };
    match pool.connect_with(asked.waypoint, expect, &asked.authority, &asked.headers).await {
        Ok(stream) => {
            tcp.write_all(b"HTTP/1.1 200 tunnel\r\n\r\n").await?;
            net::copy::both_ways(tcp, stream, stop).await;
        }
        Err(DialFault::Refused(status)) => {
            tcp.write_all(format!("HTTP/1.1 {} refused\r\ncontent-length: 0\r\n\r\n", status.as_u16()).as_bytes())
                .await?;
        }
        Err(fault) => {
            let reason = fault.to_string().replace(['\r', '\n'], " ");
            tcp.write_all(format!("HTTP/1.1 502 {reason}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
    }
    Ok(())
}

struct Asked {
    authority: String,
    waypoint: SocketAddr,
    waypoint_id: Option<WorkloadId>,
    headers: HeaderMap,
}

impl Asked {
    async fn read(tcp: &mut TcpStream) -> anyhow::Result<Self> {
        Self::parse(&read_head(tcp).await?)
    }

    fn parse(head: &str) -> anyhow::Result<Self> {
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some("CONNECT"), Some(authority)) = (first.next(), first.next()) else { bail!("only CONNECT is served") };
        let (mut waypoint, mut waypoint_id, mut headers) = (None, None, HeaderMap::new());
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "waypoint" => waypoint = Some(value.parse()?),
                "waypoint-id" => waypoint_id = Some(WorkloadId::parse(value)?),
                "host" => {}
                other => {
                    headers.insert(HeaderName::try_from(other)?, HeaderValue::from_str(value)?);
                }
            }
        }
        let waypoint = waypoint.context("no waypoint header")?;
        Ok(Self { authority: authority.to_owned(), waypoint, waypoint_id, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_target_waypoint_and_claims() {
        let head = "CONNECT 10.96.0.9:80 HTTP/1.1\r\nWaypoint: 10.96.0.8:15008\r\nHost: x\r\nbaggage: a=b\r\n\r\n";
        let asked = Asked::parse(head).unwrap();
        assert_eq!(asked.authority, "10.96.0.9:80");
        assert_eq!(asked.waypoint, "10.96.0.8:15008".parse().unwrap());
        assert_eq!(asked.headers["baggage"], "a=b");
        assert_eq!(asked.headers.len(), 1);
        for bad in ["GET / HTTP/1.1\r\nwaypoint: 10.96.0.8:15008\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\n\r\n"] {
            assert!(Asked::parse(bad).is_err(), "{bad}");
        }
    }
}
