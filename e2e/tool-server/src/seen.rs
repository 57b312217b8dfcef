//! What the server saw: the witness that tests ask whether a refused call reached it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Requests kept for [`Seen::requests`]; the oldest go first.
const KEPT: usize = 10_000;

/// One HTTP request that arrived whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenRequest {
    /// The HTTP method.
    pub http: String,
    /// The request's path.
    pub path: String,
    /// The JSON-RPC method, when the body is one JSON object that has one.
    pub method: Option<String>,
    /// `params.name`: the tool or prompt that was asked for.
    pub tool: Option<String>,
    /// `params.arguments`, as they arrived.
    pub arguments: Option<Value>,
    /// The body's length in bytes.
    pub body_bytes: usize,
}

type Report = dyn Fn(&SeenRequest) + Send + Sync;

#[derive(Default)]
struct Record {
    bytes: AtomicU64,
    connections: AtomicU64,
    requests: Mutex<VecDeque<SeenRequest>>,
    report: Option<Box<Report>>,
}

/// A shared record of everything that reached one server. Clones see the same record.
#[derive(Clone, Default)]
pub struct Seen(Arc<Record>);

impl Seen {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty record that also hands each request to `report` as it arrives.
    pub fn reporting(report: impl Fn(&SeenRequest) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Record { report: Some(Box::new(report)), ..Record::default() }))
    }

    /// Bytes received on all connections so far, HTTP heads and half-sent requests included.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::SeqCst)
    }

    /// Connections taken so far, those that never sent a byte included.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// The requests that arrived whole, oldest first; at most the last 10 000.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The `tools/call` requests among [`Self::requests`].
    pub fn calls(&self) -> Vec<SeenRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.method.as_deref() == Some("tools/call"));
        requests
    }

    /// The names of the tools that were called, in order of arrival.
    pub fn tools(&self) -> Vec<String> {
        self.calls().into_iter().filter_map(|call| call.tool).collect()
    }

    pub(crate) fn request(&self, head: &http::request::Parts, body: &[u8]) {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let request = SeenRequest {
            http: head.method.to_string(),
            path: head.uri.path().to_owned(),
            method: text("/method"),
            tool: text("/params/name"),
            arguments: message.pointer("/params/arguments").cloned(),
            body_bytes: body.len(),
        };
        if let Some(report) = &self.0.report {
            report(&request);
        }
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == KEPT {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    /// Counts the connection, and from then on each byte that is read from it.
    pub(crate) fn watch<IO>(&self, io: IO) -> Counted<IO> {
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        Counted { io, seen: self.clone() }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("bytes", &self.bytes()).field("connections", &self.connections()).finish()
    }
}

/// A connection whose received bytes are counted.
#[derive(Debug)]
pub(crate) struct Counted<IO> {
    io: IO,
    seen: Seen,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.seen.0.bytes.fetch_add(read as u64, Ordering::SeqCst);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
