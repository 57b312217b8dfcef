//! The agent of the demo: an A2A server as small as can be, which remembers what reached it. Every message begins a task.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::limits::MAX_BODY;
use crate::net;

/// The agent, running.
#[derive(Debug)]
pub(super) struct Agent {
    addr: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: AtomicU64,
    /// The JSON-RPC method of each request, else its HTTP method and path.
    requests: Mutex<Vec<String>>,
    tasks: AtomicU64,
}

impl Agent {
    pub(super) fn start(tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Self> {
        let listener = net::listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
        let (addr, seen) = (listener.local_addr()?, Arc::new(Seen::default()));
        let serving = serve(listener, Arc::clone(&seen), tasks.clone(), stop.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self { addr, seen })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Bytes that reached it.
    pub(super) fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::SeqCst)
    }

    /// What reached it, oldest first.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let seen = Arc::clone(&seen);
        let connection = async move {
            let counted = InspectReader::new(stream, |bytes: &[u8]| {
                seen.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            });
            let seen = &seen;
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(seen.answer(request).await) });
            let server = hyper::server::conn::http1::Builder::new();
            if let Err(error) = server.serve_connection(TokioIo::new(counted), service).await {
                tracing::debug!(%error, "a connection to the demo's agent ended");
            }
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

impl Seen {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
        let plain = || format!("{} {}", head.method, head.uri.path());
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(method.clone().unwrap_or_else(plain));
        let task = |id: String| json!({"id": id, "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}});
        let answer = match method.as_deref() {
            Some("SendMessage") => {
                let id = format!("task-{}", self.tasks.fetch_add(1, Ordering::SeqCst) + 1);
                json!({"jsonrpc": "2.0", "id": message.get("id"), "result": {"task": task(id)}})
            }
            Some(_) => json!({"jsonrpc": "2.0", "id": message.get("id"), "result": task("task-1".to_owned())}),
            None => task(head.uri.path().rsplit('/').next().unwrap_or_default().to_owned()),
        };
        let mut response = Response::new(Full::from(answer.to_string()));
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}
