//! An authorization provider, over HTTP and over gRPC, that decides by words in the head of what it is asked. Over HTTP it is
//! a server like any other too, that can be slow or fail.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_waypoint::net;
use agent_waypoint::wire::ext_authz::authorization_server::{Authorization, AuthorizationServer};
use agent_waypoint::wire::ext_authz::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus,
    OkHttpResponse, Status,
};
use anyhow::bail;
use clap::Args;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::Service as _;
use tonic::{Request, Response};

/// A head must be that short, bytes.
const MAX_HEAD: usize = 8 << 10;

/// What heads are looked at for.
#[derive(Debug, Clone, Args)]
pub struct Words {
    /// Refused.
    #[arg(long)]
    pub deny: Vec<String>,
    /// Not answered at all.
    #[arg(long)]
    pub hold: Vec<String>,
    /// Answered 503 each other time, the first time too.
    #[arg(long)]
    pub flaky: Vec<String>,
}

fn holds(head: &str, words: &[String]) -> bool {
    words.iter().any(|word| head.contains(word.as_str()))
}

/// Says yes or no to requests without a body, until `stop`.
///
/// # Errors
/// It cannot listen there.
pub async fn http(at: SocketAddr, words: Words, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let listener = net::listen(at)?;
    let flaky = Arc::new(AtomicUsize::new(0));
    loop {
        let mut tcp = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let (words, flaky, stop) = (words.clone(), Arc::clone(&flaky), stop.clone());
        tasks.spawn(async move {
            while let Ok(head) = read_head(&mut tcp).await {
                let head = head.to_ascii_lowercase();
                if writeln!(std::io::stdout(), "{head:?}").is_err() {
                    return;
                }
                if holds(&head, &words.hold) {
                    return stop.cancelled().await;
                }
                let fails = holds(&head, &words.flaky) && flaky.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
                let answer = match (holds(&head, &words.deny), fails) {
                    (true, _) => "HTTP/1.1 403 no\r\ncontent-length: 0\r\n\r\n",
                    (false, true) => "HTTP/1.1 503 not now\r\ncontent-length: 0\r\n\r\n",
                    (false, false) => "HTTP/1.1 200 yes\r\nx-user: told\r\ncontent-length: 0\r\n\r\n",
                };
                if tcp.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Answers Envoy's `Check`, until `stop`.
///
/// # Errors
/// It cannot listen there.
pub async fn grpc(at: SocketAddr, words: Words, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let listener = net::listen(at)?;
    let service = AuthorizationServer::new(Checks { deny: words.deny.into() });
    loop {
        let tcp = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let service = service.clone();
        let answer = hyper::service::service_fn(move |request| service.clone().call(request));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(server.serve_connection(TokioIo::new(tcp), answer)));
    }
}

#[derive(Debug, Clone)]
struct Checks {
    deny: Arc<[String]>,
}

#[tonic::async_trait]
impl Authorization for Checks {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, tonic::Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
        let mut lines: Vec<String> = http.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        lines.sort();
        let head = format!("check {} {}\r\n{}", http.method, http.path, lines.join("\r\n")).to_ascii_lowercase();
        drop(writeln!(std::io::stdout(), "{head:?}"));
        let (code, said) = if holds(&head, &self.deny) {
            let status = Some(HttpStatus { code: 403 });
            (7, HttpResponse::DeniedResponse(DeniedHttpResponse { status, ..DeniedHttpResponse::default() }))
        } else {
            let header = HeaderValue { key: "x-user".to_owned(), value: "told".to_owned(), ..HeaderValue::default() };
            let headers = vec![HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }];
            (0, HttpResponse::OkResponse(OkHttpResponse { headers, ..OkHttpResponse::default() }))
        };
        let status = Some(Status { code, message: String::new() });
        Ok(Response::new(CheckResponse { status, http_response: Some(said) }))
    }
}

/// All until the first empty line.
///
/// # Errors
/// The connection ends before, or the head is longer than any that is meant.
pub async fn read_head(tcp: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            bail!("head too long");
        }
        head.push(tcp.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}
