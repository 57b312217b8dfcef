//! The callers: tunnels over a few HBONE connections, in a closed loop, or at a rate without coordinated omission.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_waypoint::hbone::Pool;
use agent_waypoint::id::WorkloadId;
use agent_waypoint::net::BoxedIo;
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

    /// One call after the other in each of `tunnels`.
    pub(crate) async fn closed(self: &Arc<Self>, case: Case, tunnels: usize, time: Duration) -> Ran {
        let request: Arc<[u8]> = case.request().into();
        let mut ends = Vec::new();
        for number in 0..tunnels {
            ends.push(End {
                load: Arc::clone(self),
                number,
                case,
                io: self.tunnel(number, case.vip()).await,
                held: vec![],
                reopened: 0,
            });
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
            let end = End {
                load: Arc::clone(self),
                number,
                case,
                io: self.tunnel(number, case.vip()).await,
                held: vec![],
                reopened: 0,
            };
            back.send(end).await.unwrap();
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
    io: BoxedIo,
    held: Vec<u8>,
    reopened: u64,
}

impl End {
    async fn call(&mut self, request: &[u8]) {
        while !self.attempt(request).await {
            self.io = self.load.tunnel(self.number, self.case.vip()).await;
            self.reopened += 1;
        }
    }

    /// Whether it was answered; not, if the proxy had ended the tunnel before.
    async fn attempt(&mut self, request: &[u8]) -> bool {
        self.held.clear();
        if self.io.write_all(request).await.is_err() {
            return false;
        }
        while whole(&self.held).is_none() {
            match self.io.read_buf(&mut self.held).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        let answer = String::from_utf8_lossy(&self.held[..self.held.len().min(600)]);
        assert!(self.case.is_answered(&self.held), "{}: {answer}", self.case.name());
        true
    }
}
