//! The callers: tunnels over a few HBONE connections, in a closed loop, or at a rate without coordinated omission.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_waypoint::hbone::Pool;
use agent_waypoint::id::WorkloadId;
use agent_waypoint::net::BoxedIo;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::case::Case;
use super::origin::{BULK, Origin, whole};
use super::proxy::Proxy;

/// Callers of one proxy.
pub(crate) struct Load {
    pools: Vec<Pool>,
    at: std::net::SocketAddr,
    expect: Arc<[WorkloadId]>,
    origin: Arc<Origin>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    /// Sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Tunnels that the proxy ended after an answer.
    pub(crate) reopened: u64,
}

impl Ran {
    pub(crate) fn rate(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }

    /// The latency that `share` of all calls stay within, in microseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let at = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }
}

impl Load {
    pub(crate) fn new(origin: &Arc<Origin>, proxy: &Proxy, connections: usize) -> Self {
        let pools = (0..connections).map(|_| Pool::new(origin.identity("agents", "writer"))).collect();
        Self { pools, at: proxy.hbone, expect: proxy.expect(), origin: Arc::clone(origin) }
    }

    async fn tunnel(&self, number: usize, vip: &str) -> BoxedIo {
        let pool = &self.pools[number % self.pools.len()];
        Box::new(pool.connect(self.at, &self.expect, vip).await.unwrap())
    }

    async fn end(self: &Arc<Self>, number: usize, case: Case) -> End {
        let spoken = self.spoken(number, case).await;
        End { load: Arc::clone(self), number, case, spoken, held: vec![], reopened: 0 }
    }

    async fn spoken(&self, number: usize, case: Case) -> Spoken {
        let io = self.tunnel(number, case.vip()).await;
        if !case.is_h2() {
            return Spoken::Http1(io);
        }
        let (calls, connection) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Spoken::Http2(calls, case.body().into())
    }

    /// One call after the other in each of `tunnels`.
    pub(crate) async fn closed(self: &Arc<Self>, case: Case, tunnels: usize, time: Duration) -> Ran {
        let request: Arc<[u8]> = case.request().into();
        let mut ends = Vec::new();
        for number in 0..tunnels {
            ends.push(self.end(number, case).await);
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut end in ends {
            let request = Arc::clone(&request);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < time {
                    let start = Instant::now();
                    end.call(&request).await;
                    latencies.push(start.elapsed());
                }
                (latencies, end.reopened)
            });
        }
        let mut ran = Ran::default();
        for (latencies, reopened) in tasks.join_all().await {
            ran.calls += latencies.len() as u64;
            ran.latencies.extend(latencies);
            ran.reopened += reopened;
        }
        ran.took = began.elapsed();
        ran.latencies.sort();
        ran
    }

    /// `rate` calls per second, each due at its own time whether or not earlier ones were answered; its latency counts
    /// from when it was due.
    pub(crate) async fn open(self: &Arc<Self>, case: Case, rate: f64, time: Duration) -> Ran {
        const TUNNELS: usize = 64;
        let request: Arc<[u8]> = case.request().into();
        let (back, mut free) = mpsc::channel(TUNNELS);
        for number in 0..TUNNELS {
            back.send(self.end(number, case).await).await.unwrap();
        }
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        let calls = (rate * time.as_secs_f64()) as u64;
        for number in 0..calls {
            let due = began + Duration::from_secs_f64(number as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let mut end = free.recv().await.unwrap();
            let (back, request) = (back.clone(), Arc::clone(&request));
            tasks.spawn(async move {
                end.call(&request).await;
                let latency = due.elapsed();
                back.send(end).await.unwrap();
                latency
            });
        }
        let mut latencies = tasks.join_all().await;
        latencies.sort();
        Ran { calls, took: began.elapsed(), latencies, reopened: 0 }
    }

    /// Tunnels opened, used for one GET and closed, one after the other in each of `lanes`.
    pub(crate) async fn tunnels(self: &Arc<Self>, lanes: usize, time: Duration) -> Ran {
        self.lanes(lanes, time, |load, number| async move { load.once(number).await }).await
    }

    /// The same, each over a TLS connection of its own.
    pub(crate) async fn connections(self: &Arc<Self>, lanes: usize, time: Duration) -> Ran {
        self.lanes(lanes, time, |load, _| async move {
            let pool = Pool::new(load.origin.identity("agents", "writer"));
            let io = pool.connect(load.at, &load.expect, super::HTTP).await.unwrap();
            let answered = get(Box::new(io)).await;
            pool.close().await;
            answered
        })
        .await
    }

    async fn lanes<F, Fut>(self: &Arc<Self>, lanes: usize, time: Duration, one: F) -> Ran
    where
        F: Fn(Arc<Self>, usize) -> Fut + Copy + Send + 'static,
        Fut: Future<Output = bool> + Send,
    {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..lanes {
            let load = Arc::clone(self);
            tasks.spawn(async move {
                let mut done = 0;
                while began.elapsed() < time {
                    done += u64::from(one(Arc::clone(&load), number).await);
                }
                done
            });
        }
        let calls = tasks.join_all().await.into_iter().sum();
        Ran { calls, took: began.elapsed(), ..Ran::default() }
    }

    async fn once(&self, number: usize) -> bool {
        get(self.tunnel(number, super::HTTP).await).await
    }

    /// Bytes per second of one bulk download through a TCP port.
    pub(crate) async fn bulk(&self) -> f64 {
        let mut io = self.tunnel(0, super::TCP).await;
        let began = Instant::now();
        io.write_all(b"BULK\n").await.unwrap();
        let (mut left, mut chunk) = (BULK, vec![0; 256 << 10]);
        while left > 0 {
            let read = io.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the bulk stream ended with {left} bytes to come");
            left -= read;
        }
        BULK as f64 / began.elapsed().as_secs_f64()
    }

    /// Streams of events that have begun and go on.
    pub(crate) async fn streams(&self, streams: usize) -> Vec<BoxedIo> {
        let mut held = Vec::new();
        for number in 0..streams {
            let mut io = self.tunnel(number, super::MCP).await;
            io.write_all(&Case::held()).await.unwrap();
            let mut came = Vec::new();
            while !came.windows(9).any(|window| window == b"progress\"") {
                assert!(io.read_buf(&mut came).await.unwrap() > 0, "a stream ended before its first event");
            }
            held.push(io);
        }
        held
    }

    /// Whether the call that policies allow at first still is.
    pub(crate) async fn is_allowed(&self) -> bool {
        let mut io = self.tunnel(0, Case::Call.vip()).await;
        io.write_all(&Case::Call.request()).await.unwrap();
        let mut held = Vec::new();
        while whole(&held).is_none() {
            assert!(io.read_buf(&mut held).await.unwrap() > 0, "a call was not answered");
        }
        Case::Call.is_answered(&held)
    }

    /// Connections on which a tunnel was and none is.
    pub(crate) async fn connected(&self, connections: usize) -> Vec<Pool> {
        let mut held = Vec::new();
        for _ in 0..connections {
            let pool = Pool::new(self.origin.identity("agents", "writer"));
            drop(pool.connect(self.at, &self.expect, super::HTTP).await.unwrap());
            held.push(pool);
        }
        held
    }

    /// Tunnels that say nothing.
    pub(crate) async fn idle(&self, tunnels: usize, vip: &str) -> Vec<BoxedIo> {
        let mut held = Vec::new();
        for number in 0..tunnels {
            held.push(self.tunnel(number, vip).await);
        }
        held
    }
}

/// Whether it was answered. Envoy may take a tunnel and end it.
async fn get(mut io: BoxedIo) -> bool {
    if io.write_all(&Case::Get.request()).await.is_err() {
        return false;
    }
    let mut held = Vec::new();
    while whole(&held).is_none() {
        if !matches!(io.read_buf(&mut held).await, Ok(1..)) {
            return false;
        }
    }
    true
}

/// One tunnel with a caller at it.
struct End {
    load: Arc<Load>,
    number: usize,
    case: Case,
    spoken: Spoken,
    held: Vec<u8>,
    reopened: u64,
}

/// What is spoken in the tunnel. In HTTP/2 with the body of each call.
enum Spoken {
    Http1(BoxedIo),
    Http2(h2::client::SendRequest<Bytes>, Bytes),
}

impl End {
    async fn call(&mut self, request: &[u8]) {
        while !self.attempt(request).await {
            self.spoken = self.load.spoken(self.number, self.case).await;
            self.reopened += 1;
        }
    }

    /// Whether it was answered; not, if the proxy had ended the tunnel before.
    async fn attempt(&mut self, request: &[u8]) -> bool {
        self.held.clear();
        let answered = match &mut self.spoken {
            Spoken::Http1(io) => attempt(io, request, &mut self.held).await,
            Spoken::Http2(calls, body) => attempt_h2(calls, self.case, body, &mut self.held).await.is_ok(),
        };
        if !answered {
            return false;
        }
        let answer = String::from_utf8_lossy(&self.held[..self.held.len().min(600)]);
        assert!(self.case.is_answered(&self.held), "{}: {answer}", self.case.name());
        true
    }
}

async fn attempt(io: &mut BoxedIo, request: &[u8], held: &mut Vec<u8>) -> bool {
    if io.write_all(request).await.is_err() {
        return false;
    }
    while whole(held).is_none() {
        match io.read_buf(held).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    true
}

/// One call in HTTP/2; `held` is what it would have looked like in HTTP/1.1, as far as a benchmark looks.
async fn attempt_h2(
    calls: &mut h2::client::SendRequest<Bytes>,
    case: Case,
    body: &Bytes,
    held: &mut Vec<u8>,
) -> Result<(), h2::Error> {
    *calls = calls.clone().ready().await?;
    let (answer, mut sent) = calls.send_request(case.head(), false)?;
    sent.send_data(body.clone(), true)?;
    let answer = answer.await?;
    held.extend_from_slice(format!("HTTP/1.1 {}\r\n\r\n", answer.status().as_u16()).as_bytes());
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        held.extend_from_slice(&data);
    }
    for (name, value) in body.trailers().await?.iter().flatten() {
        held.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    Ok(())
}
