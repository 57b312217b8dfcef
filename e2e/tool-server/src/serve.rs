//! HTTP/1.1 around the MCP service: listeners and single connections, each watched by [`Seen`].

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::notes::Notes;
use crate::seen::Seen;

/// Where the MCP endpoint is.
pub const PATH: &str = "/mcp";
/// Largest request body, in bytes: the default of the official SDKs.
const MAX_BODY: usize = 4 * 1024 * 1024;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// One server: its notes, its MCP sessions and its record. Clones are the same server, so that a session opened on one
/// connection is known on another.
#[derive(Clone)]
pub struct ToolServer {
    mcp: StreamableHttpService<Notes, LocalSessionManager>,
    seen: Seen,
    shutdown: CancellationToken,
}

impl std::fmt::Debug for ToolServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolServer").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl ToolServer {
    /// A server with two notes: `n1` of owner `acme`, `n2` of owner `globex`. `shutdown` ends its sessions and
    /// connections.
    pub fn new(seen: Seen, shutdown: CancellationToken) -> Self {
        let notes = Notes::with_examples();
        // Behind a waypoint the Host is whatever the client dialled, so no list of hosts could be right.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_cancellation_token(shutdown.child_token());
        let mcp =
            StreamableHttpService::new(move || Ok(notes.clone()), Arc::new(LocalSessionManager::default()), config);
        Self { mcp, seen, shutdown }
    }

    /// The record of what reached this server.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Takes connections until `shutdown`, then lets each finish the request it is in.
    pub async fn serve(&self, listener: TcpListener) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            // A failed accept concerns one connection (or a passing lack of descriptors), never the listener.
            let Ok((stream, _)) = accepted else {
                tokio::task::yield_now().await;
                continue;
            };
            let server = self.clone();
            connections.spawn(async move { server.serve_connection(stream).await });
        }
        connections.close();
        connections.wait().await;
    }

    /// Serves one connection (a socket, or a stream of a tunnel) until its peer ends it or `shutdown`. What goes wrong on
    /// it concerns its peer alone.
    pub async fn serve_connection<IO>(&self, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(self.seen.watch(io)), service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ended = connection.as_mut() => {}
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ended = connection.await;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 4 MiB, or ended early\n");
        };
        let body = body.to_bytes();
        self.seen.request(&head, &body);
        match head.uri.path() {
            PATH => self.mcp.handle(Request::from_parts(head, Full::new(body))).await,
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            _ => plain(StatusCode::NOT_FOUND, "the MCP endpoint is /mcp\n"),
        }
    }
}

/// Serves a new [`ToolServer`] on `listener` until `shutdown`.
pub async fn serve(listener: TcpListener, seen: Seen, shutdown: CancellationToken) {
    ToolServer::new(seen, shutdown).serve(listener).await;
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *answer.status_mut() = status;
    answer
}
