//! What the waypoint's memory does when others misbehave or are merely many: the real process, seen by the kernel.
//!
//! `cargo test --test memory -- --ignored --nocapture` prints what was measured.

#![cfg(test)]

#[path = "../benches/lab/process.rs"]
mod process;
#[path = "../benches/lab/server.rs"]
mod server;
#[path = "../benches/lab/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_waypoint::app::dev_identity;
use agent_waypoint::hbone::{Pool, Stream};
use agent_waypoint::id::WorkloadId;
use process::Waypoint;
use server::{Servers, domain, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use world::{CALLER, call, vip};

const KIB: usize = 1024;
/// More than a copy's buffers and HTTP/2's send buffer per stopped tunnel is somebody else's data.
const PER_STOPPED_TUNNEL: usize = 256 * KIB;
/// What an allocator may still do while nothing moves.
const FLAT: usize = 8 * 1024 * KIB;
const PER_IDLE_TUNNEL: usize = 24 * KIB;
const PER_STREAM: usize = 64 * KIB;

const EVENT: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"";

/// What the server does with a request, by its path: pour events for ever, send one and fall silent, or answer.
async fn serve(mut tcp: TcpStream, written: Arc<AtomicUsize>) {
    let (mut held, body) = (Vec::new(), r#"{"jsonrpc":"2.0","id":17,"result":{"content":[]}}"#);
    loop {
        while whole(&held).is_none() {
            if !matches!(tcp.read_buf(&mut held).await, Ok(1..)) {
                return;
            }
        }
        let path = String::from_utf8_lossy(&held).split(' ').nth(1).unwrap_or_default().to_owned();
        held.drain(..whole(&held).unwrap_or(0));
        let event = format!("{EVENT}{}\"}}}}\n\n", "x".repeat(900));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        match path.as_str() {
            "/pour" => {
                let events = event.repeat(32);
                let _gone = tcp.write_all(head.as_bytes()).await;
                while tcp.write_all(events.as_bytes()).await.is_ok() {
                    written.fetch_add(events.len(), Ordering::Relaxed);
                }
                return;
            }
            "/one" => {
                let _gone = tcp.write_all(format!("{head}{event}").as_bytes()).await;
            }
            // One event, and then one every second for as long as somebody listens.
            "/tick" => {
                let _gone = tcp.write_all(format!("{head}{event}").as_bytes()).await;
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if tcp.write_all(event.as_bytes()).await.is_err() {
                        return;
                    }
                    written.fetch_add(event.len(), Ordering::Relaxed);
                }
            }
            _ => {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _gone = tcp.write_all(answer.as_bytes()).await;
            }
        }
    }
}

struct Lab {
    waypoint: Waypoint,
    pools: Vec<Pool>,
    written: Arc<AtomicUsize>,
    _servers: Servers,
}

impl Lab {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut servers = Servers::start().await;
        servers.plain = listener.local_addr().unwrap();
        let written = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&written);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, Arc::clone(&counted)));
            }
        });
        let waypoint = Waypoint::start(&process::binaries()[0].1, &servers).await;
        let pools = (0..10).map(|_| Pool::new(servers.identity(CALLER.0, CALLER.1))).collect();
        Self { waypoint, pools, written, _servers: servers }
    }

    async fn tunnel(&self, nth: usize, protocol: &str) -> Stream {
        let expected: Arc<[WorkloadId]> = vec![dev_identity(&domain()).unwrap()].into();
        let pool = &self.pools[nth % self.pools.len()];
        pool.connect(self.waypoint.hbone, &expected, &vip(protocol, "plain")).await.unwrap()
    }

    /// A tunnel in which a call to `path` was made and `expected` bytes of its answer were read.
    async fn asked(&self, nth: usize, protocol: &str, path: &str) -> Stream {
        let mut tunnel = self.tunnel(nth, protocol).await;
        let body = call(1 << 10);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: tools\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        tunnel.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        tunnel
    }

    /// Bytes of a settled process.
    async fn settled(&self) -> usize {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.waypoint.resident()
    }
}

async fn read_until(tunnel: &mut Stream, end: &[u8]) {
    let mut held = Vec::new();
    while !held.windows(end.len()).any(|window| window == end) {
        assert!(tunnel.read_buf(&mut held).await.unwrap() > 0, "{}", String::from_utf8_lossy(&held));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute: cargo test --test memory -- --ignored"]
async fn readers_that_stopped_cost_what_is_bounded_and_no_more() {
    const TUNNELS: usize = 500;
    let lab = Lab::start().await;
    let mut others = lab.asked(0, "mcp", "/mcp").await;
    read_until(&mut others, b"content\":[]").await;
    let before = lab.settled().await;
    let mut stopped = Vec::new();
    for nth in 0..TUNNELS {
        let protocol = ["mcp", "http", "tcp"][nth % 3];
        stopped.push(lab.asked(1 + nth % 9, protocol, "/pour").await);
    }
    let mut written = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = lab.written.load(Ordering::Relaxed);
        println!("filling: {} KiB resident, {} KiB written", lab.waypoint.resident() / KIB, now / KIB);
        if now == written {
            break;
        }
        written = now;
    }
    let full = lab.waypoint.resident();
    println!(
        "before {} KiB, full {} KiB, {} KiB per tunnel",
        before / KIB,
        full / KIB,
        (full - before) / KIB / TUNNELS
    );
    assert!(full - before < TUNNELS * PER_STOPPED_TUNNEL);
    let busy = lab.waypoint.cpu();
    for second in (2..=20).step_by(2) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = lab.waypoint.resident();
        println!("{second} s: {} KiB", now / KIB);
        assert!(now < full + FLAT, "{now} bytes, {full} when all buffers were full");
    }
    assert_eq!(lab.written.load(Ordering::Relaxed), written, "nothing moves");
    let busy = lab.waypoint.cpu() - busy;
    assert!(busy < Duration::from_secs(1), "{busy:?} of work while nothing moves");
    // A caller of another connection is served all the while.
    let mut others = lab.asked(0, "mcp", "/mcp").await;
    read_until(&mut others, b"content\":[]").await;
    drop(stopped);
    println!("all gone: {} KiB", lab.settled().await / KIB);
    lab.waypoint.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute: cargo test --test memory -- --ignored"]
async fn an_idle_tunnel_is_small() {
    const TUNNELS: usize = 1_000;
    let lab = Lab::start().await;
    let mut warm = lab.asked(0, "mcp", "/mcp").await;
    read_until(&mut warm, b"content\":[]").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let before = lab.settled().await;
        for nth in 0..TUNNELS / 2 {
            let mut tunnel = lab.asked(nth, "mcp", "/mcp").await;
            read_until(&mut tunnel, b"content\":[]").await;
            held.push(tunnel);
        }
        let after = lab.settled().await;
        let each = (after - before) / (TUNNELS / 2);
        println!(
            "{} idle tunnels that made a call: {} KiB, {each} bytes for each of the last",
            held.len(),
            after / KIB
        );
        assert!(each < PER_IDLE_TUNNEL, "{each} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute: cargo test --test memory -- --ignored"]
async fn an_open_event_stream_is_small() {
    const STREAMS: usize = 1_000;
    let lab = Lab::start().await;
    let mut warm = lab.asked(0, "mcp", "/mcp").await;
    read_until(&mut warm, b"content\":[]").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let before = lab.settled().await;
        for nth in 0..STREAMS / 2 {
            let mut tunnel = lab.asked(nth, "mcp", "/one").await;
            read_until(&mut tunnel, b"xx\"}}\n\n").await;
            held.push(tunnel);
        }
        let after = lab.settled().await;
        let each = (after - before) / (STREAMS / 2);
        println!("{} event streams: {} KiB, {each} bytes for each of the last", held.len(), after / KIB);
        assert!(each < PER_STREAM, "{each} bytes");
    }
}

/// A thousand streams in which something is said every second cost what they cost when they were opened, however much went
/// through them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a minute: cargo test --test memory -- --ignored"]
async fn event_streams_that_flow_stay_as_small_as_they_began() {
    const STREAMS: usize = 1_000;
    let lab = Lab::start().await;
    let mut readers = tokio::task::JoinSet::new();
    for nth in 0..STREAMS {
        let mut tunnel = lab.asked(nth, "mcp", "/tick").await;
        read_until(&mut tunnel, b"xx\"}}\n\n").await;
        readers.spawn(async move {
            let mut chunk = vec![0; 4 * KIB];
            while matches!(tunnel.read(&mut chunk).await, Ok(1..)) {}
        });
    }
    let (full, before) = (lab.settled().await, lab.written.load(Ordering::Relaxed));
    for second in (5..=30).step_by(5) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = lab.waypoint.resident();
        println!("{STREAMS} streams, {second} s: {} KiB", now / KIB);
        assert!(now < full + FLAT, "{now} bytes, {full} when all were open");
    }
    let went = lab.written.load(Ordering::Relaxed) - before;
    println!("{} KiB went through", went / KIB);
    assert!(went > STREAMS * 10 * 900, "{went} bytes: they did not flow");
    assert_eq!(readers.len(), STREAMS, "none has ended");
    assert!(readers.try_join_next().is_none(), "none has ended");
    readers.abort_all();
}
