use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::control::identity::{DEV_TTL, DevCa};
use crate::hbone::{Refusal, Server, Tunnel};
use crate::id::{TrustDomain, WorkloadId};
use crate::wire::authority::Authority;

struct Played {
    ca: DevCa,
    waypoint: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

fn local() -> TcpListener {
    net::listen("127.0.0.1:0".parse().unwrap()).unwrap()
}

fn id(text: &str) -> WorkloadId {
    WorkloadId::parse(text).unwrap()
}

/// A waypoint that fronts `here.ns.svc.cluster.local:80`, which answers with who called once it was asked everything.
fn play() -> Played {
    let ca = DevCa::ephemeral(&TrustDomain::parse("cluster.local").unwrap()).unwrap();
    let identity = ca.identity(&id("spiffe://cluster.local/ns/w/sa/waypoint"), DEV_TTL).unwrap();
    let (listener, stop, tasks) = (local(), CancellationToken::new(), TaskTracker::new());
    let waypoint = listener.local_addr().unwrap();
    let handler = |tunnel: Tunnel| async move {
        let here = Authority::parse("here.ns.svc.cluster.local:80").unwrap();
        if tunnel.authority != here {
            return tunnel.refuse(Refusal::NotFound);
        }
        let who = tunnel.peer.id().to_string();
        let mut stream = tunnel.accept().unwrap();
        let mut asked = String::new();
        stream.read_to_string(&mut asked).await.unwrap();
        stream.write_all(format!("{asked} {who}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    tasks.spawn(Server::new(identity).drain_deadline(Duration::from_secs(1)).serve(listener, handler, stop.clone()));
    Played { ca, waypoint, stop, tasks }
}

impl Played {
    /// Asks through a caller, and closes the sending side before reading.
    async fn ask(&self, expect: Expect, authority: &str) -> std::io::Result<String> {
        let identity = self.ca.identity(&id("spiffe://cluster.local/ns/a/sa/b"), DEV_TTL).unwrap();
        let listener = local();
        let addr = listener.local_addr().unwrap();
        self.tasks.spawn(Caller::new(identity, self.waypoint, expect, authority).serve(listener, self.stop.clone()));
        let mut tcp = TcpStream::connect(addr).await?;
        tcp.write_all(b"hello").await?;
        tcp.shutdown().await?;
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(60), tcp.read_to_string(&mut answer)).await??;
        Ok(answer)
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(60), self.tasks.wait()).await.unwrap();
    }
}

fn of_domain() -> Expect {
    Expect::TrustDomain(TrustDomain::parse("cluster.local").unwrap())
}

#[tokio::test]
async fn bytes_go_both_ways_with_the_identity_and_half_close_is_kept() {
    let played = play();
    let exact = Expect::Exact([id("spiffe://cluster.local/ns/w/sa/waypoint")].into());
    for expect in [of_domain(), exact] {
        let answer = played.ask(expect, "here.ns.svc.cluster.local:80").await.unwrap();
        assert_eq!(answer, "hello spiffe://cluster.local/ns/a/sa/b");
    }
    played.end().await;
}

#[tokio::test]
async fn a_refused_tunnel_closes_the_connection_without_a_byte() {
    let played = play();
    // A connection with unread bytes is closed by a reset: either way nothing comes back.
    let unknown = played.ask(of_domain(), "elsewhere.ns.svc.cluster.local:80").await;
    assert_eq!(unknown.unwrap_or_default(), "");
    let impostor = Expect::Exact([id("spiffe://cluster.local/ns/w/sa/other")].into());
    assert_eq!(played.ask(impostor, "here.ns.svc.cluster.local:80").await.unwrap_or_default(), "");
    played.end().await;
}

#[tokio::test]
async fn stopping_ends_what_is_open() {
    let played = play();
    let identity = played.ca.identity(&id("spiffe://cluster.local/ns/a/sa/b"), DEV_TTL).unwrap();
    let listener = local();
    let addr = listener.local_addr().unwrap();
    let caller = Caller::new(identity, played.waypoint, of_domain(), "here.ns.svc.cluster.local:80");
    let serving = played.tasks.spawn(caller.serve(listener, played.stop.clone()));
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"half a question").await.unwrap();
    played.end().await;
    serving.await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), tcp.read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || rest.is_empty());
}
