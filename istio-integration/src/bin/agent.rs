//! An A2A agent as small as can be: `agent ADDR`. Every message begins a task; any task is there, whoever asks. It prints
//! one JSON line for each request that reaches it.
//!
//! It keeps nothing and asks nobody who they are, as agents in a mesh do: whose a task is, is the waypoint's to know.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

/// Of one request, bytes.
const MAX_BODY: usize = 1 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).context("usage: agent ADDR")?.parse()?;
    let listener = TcpListener::bind(address).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (begun, connections) = (Arc::new(AtomicU64::new(0)), TaskTracker::new());
    loop {
        let (stream, _) = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        connections.spawn(serve(stream, Arc::clone(&begun)));
    }
}

async fn serve(stream: TcpStream, begun: Arc<AtomicU64>) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request, &begun).await) });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    drop(served);
}

async fn answer(request: Request<Incoming>, begun: &AtomicU64) -> Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.map(|body| body.to_bytes());
    let message: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let line = json!({"method": message.get("method"), "params": message.get("params")});
    drop(writeln!(std::io::stdout(), "{line}"));
    let named = message.pointer("/params/id").and_then(Value::as_str);
    let result = match named {
        Some(id) => task(id),
        None => json!({"task": task(&format!("task-{}", begun.fetch_add(1, Ordering::Relaxed) + 1))}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": message.get("id"), "result": result});
    let mut response = Response::new(Full::from(answer.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn task(id: &str) -> Value {
    json!({"id": id, "contextId": format!("context-of-{id}"), "status": {"state": "TASK_STATE_WORKING"}})
}
