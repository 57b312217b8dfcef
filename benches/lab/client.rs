//! Callers in the mesh: tunnels over a few HBONE connections, each with one HTTP/1.1 call after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_waypoint::app::dev_identity;
use agent_waypoint::hbone::Pool;
use agent_waypoint::id::WorkloadId;
use agent_waypoint::net::BoxedIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::process::Waypoint;
use super::server::{Servers, domain, whole};
use super::world::{CALLER, call, vip};

/// How a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// TCP to the server.
    DirectPlain,
    /// HBONE to the server.
    DirectHbone,
    /// HBONE to the waypoint, to a port of that protocol, and from there `back`.
    Through {
        /// `tcp`, `http`, `mcp`
        protocol: &'static str,
        /// `plain`, `hbone`
        back: &'static str,
    },
}

/// Open tunnels.
pub(crate) struct Client {
    tunnels: Vec<Arc<Mutex<BoxedIo>>>,
    _pools: Vec<Pool>,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
}

impl Client {
    pub(crate) async fn open(
        servers: &Servers,
        waypoint: Option<&Waypoint>,
        way: Way,
        connections: usize,
        tunnels: usize,
    ) -> Self {
        let pools: Vec<_> = (0..connections).map(|_| Pool::new(servers.identity(CALLER.0, CALLER.1))).collect();
        let mut open = Vec::new();
        for tunnel in 0..tunnels {
            let pool = &pools[tunnel % connections];
            let io = connect(servers, waypoint, way, pool).await;
            open.push(Arc::new(Mutex::new(io)));
        }
        Self { tunnels: open, _pools: pools }
    }

    /// Calls in every tunnel for as long as `time`.
    pub(crate) async fn run(&self, time: Duration, size: usize) -> Ran {
        let body = call(size);
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: tools\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\nuser-agent: bench\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request: Arc<[u8]> = [head.as_bytes(), &body].concat().into();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for tunnel in &self.tunnels {
            let (tunnel, request) = (Arc::clone(tunnel), Arc::clone(&request));
            tasks.spawn(async move {
                let mut tunnel = tunnel.lock().await;
                let (mut calls, mut held) = (0, Vec::with_capacity(8 << 10));
                while began.elapsed() < time {
                    one(&mut tunnel, &request, &mut held).await;
                    calls += 1;
                }
                calls
            });
        }
        let calls = tasks.join_all().await.into_iter().sum();
        Ran { calls, took: began.elapsed() }
    }
}

async fn one(io: &mut BoxedIo, request: &[u8], held: &mut Vec<u8>) {
    io.write_all(request).await.unwrap();
    held.clear();
    while !over(held) {
        assert!(io.read_buf(held).await.unwrap() > 0, "the stream ended: {}", String::from_utf8_lossy(held));
    }
    let text = String::from_utf8_lossy(held);
    assert!(text.starts_with("HTTP/1.1 200") && text.contains(r#""isError":false}}"#), "{text}");
}

/// Whether the answer is there to its end, chunked or not.
fn over(held: &[u8]) -> bool {
    let head = held.windows(4).position(|window| window == b"\r\n\r\n").map_or(&[][..], |end| &held[..end]);
    let chunked = head.windows(9).any(|window| window == b": chunked");
    if chunked { held.ends_with(b"\r\n0\r\n\r\n") } else { whole(held).is_some() }
}

async fn connect(servers: &Servers, waypoint: Option<&Waypoint>, way: Way, pool: &Pool) -> BoxedIo {
    let expected: Arc<[WorkloadId]> = match way {
        Way::DirectHbone => vec![WorkloadId::of_istio(&domain(), "tools", "server").unwrap()].into(),
        Way::DirectPlain | Way::Through { .. } => vec![dev_identity(&domain()).unwrap()].into(),
    };
    match way {
        Way::DirectPlain => {
            let tcp = TcpStream::connect(servers.plain).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            Box::new(tcp)
        }
        Way::DirectHbone => Box::new(pool.connect(servers.hbone, &expected, "127.0.0.1:80").await.unwrap()),
        Way::Through { protocol, back } => {
            let at = waypoint.unwrap().hbone;
            Box::new(pool.connect(at, &expected, &vip(protocol, back)).await.unwrap())
        }
    }
}
