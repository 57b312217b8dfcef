//! The server behind either proxy: HTTP/1.1 inside HBONE, that answers by what it is asked; and a bulk sender.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::hbone;
use agent_waypoint::id::{TrustDomain, WorkloadId};
use agent_waypoint::tls::Identity;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::case::unary;

/// Asks the bulk port for this many bytes.
pub(crate) const BULK: usize = 64 << 20;

/// The server and the mesh's CA; they run until the process ends.
pub(crate) struct Origin {
    pub(crate) hbone: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    ca: DevCa,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = DevCa::open(&dir.path().join("state/agent-waypoint/dev"), &domain()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { hbone: listener.local_addr().unwrap(), dir, ca };
        let answers = Arc::new(Answers::new());
        let handler = move |tunnel: hbone::Tunnel| {
            let answers = Arc::clone(&answers);
            async move {
                if let Ok(stream) = tunnel.accept() {
                    serve(stream, &answers).await;
                }
            }
        };
        let ends = hbone::Server::new(this.identity("tools", "server"));
        tokio::spawn(ends.serve(listener, handler, CancellationToken::new()));
        this
    }

    pub(crate) fn identity(&self, namespace: &str, account: &str) -> Identity {
        self.ca.identity(&WorkloadId::of_istio(&domain(), namespace, account).unwrap(), DEV_TTL).unwrap()
    }

    /// Adds a policy by which the call of the benchmark is refused, beside the documents of who was started last.
    pub(crate) fn forbid(&self) {
        let policy = super::proxy::FORBIDS;
        std::fs::write(self.dir.path().join("documents/zz-edit.yaml"), policy).unwrap();
    }

    /// Certificate chain and key, and the root, as PEM files for a proxy that takes files.
    pub(crate) fn pem(&self, namespace: &str, account: &str) -> [std::path::PathBuf; 3] {
        let id = WorkloadId::of_istio(&domain(), namespace, account).unwrap();
        let (chain, key) = self.ca.issue_pem(&id, DEV_TTL).unwrap();
        let texts = [("chain.pem", chain), ("key.pem", key), ("root.pem", self.ca.root_pem())];
        texts.map(|(name, text)| {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
    }
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

struct Answers {
    plain: Vec<u8>,
    made: Vec<u8>,
    list: Vec<u8>,
    events: Vec<u8>,
    held: Vec<u8>,
    said: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let json = |body: String| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
            format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let made = |text: String| {
            format!(
                r#"{{"jsonrpc":"2.0","id":17,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
            )
        };
        let names = ["get", "list", "delete", "create"];
        let tool = |n: usize| {
            let verb = names[n % names.len()];
            format!(
                r#"{{"name":"{verb}_item_{n}","title":"Item {n}","description":"Does something to item {n} of the catalogue, and says so.","inputSchema":{{"type":"object","properties":{{"id":{{"type":"string"}},"limit":{{"type":"integer"}}}},"required":["id"]}}}}"#
            )
        };
        let tools = (0..200).map(tool).collect::<Vec<_>>().join(",");
        let mut events =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for n in 0..100 {
            let message = match n {
                99 => made("Done. ".repeat(20)),
                _ => format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":17,"progress":{n},"total":100,"message":"working on part {n} of it"}}}}"#
                ),
            };
            let event = format!("event: message\ndata: {message}\n\n");
            events.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
        }
        // As much as there is of an answer whose end never comes.
        let first = events.windows(4).position(|window| window == b"\n\n\r\n").unwrap() + 4;
        let held = events[..first].to_vec();
        events.extend_from_slice(b"0\r\n\r\n");
        let said = r#"{"jsonrpc":"2.0","id":17,"result":{"message":{"messageId":"m-2","role":"ROLE_AGENT","parts":[{"text":"It prints again."}]}}}"#;
        Self {
            plain: json("x".repeat(1 << 10)),
            made: json(made("Made. ".repeat(170))),
            list: json(format!(r#"{{"jsonrpc":"2.0","id":17,"result":{{"tools":[{tools}]}}}}"#)),
            events,
            held,
            said: json(said.to_owned()),
        }
    }

    fn to(&self, request: &[u8]) -> &[u8] {
        let front = &request[..request.len().min(2 << 10)];
        let says = |what: &[u8]| front.windows(what.len()).any(|window| window == what);
        match () {
            () if request.starts_with(b"GET") => &self.plain,
            () if says(b"tools/list") => &self.list,
            () if says(b"get_events") => &self.events,
            () if says(b"get_held") => &self.held,
            () if says(b"SendMessage") => &self.said,
            () => &self.made,
        }
    }
}

/// One call after the other of a gRPC client.
async fn serve_h2<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<(), h2::Error> {
    let said = Bytes::from(unary(&[b'y'; 1 << 10]));
    let mut calls = h2::server::handshake(stream).await?;
    while let Some(call) = calls.accept().await {
        let (request, mut answer) = call?;
        let said = said.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data?.len())?;
            }
            let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut sent = answer.send_response(head, false)?;
            sent.send_data(said, false)?;
            sent.send_trailers(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]))
        });
    }
    Ok(())
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answers: &Answers) {
    let (mut held, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => held.extend_from_slice(&chunk[..read]),
        }
        if held.starts_with(b"PRI ") {
            let (read, write) = tokio::io::split(stream);
            // The client has gone.
            let _ended = serve_h2(tokio::io::join(held.as_slice().chain(read), write)).await;
            return;
        }
        if held.starts_with(b"BULK\n") {
            held.drain(..5);
            for _ in 0..BULK / chunk.len() {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
        while let Some(used) = whole(&held) {
            let answer = answers.to(&held[..used]);
            if stream.write_all(answer).await.is_err() {
                return;
            }
            held.drain(..used);
        }
    }
}

/// The length of a whole message at the front of `bytes`: by `Content-Length`, or chunked up to its last chunk.
pub(crate) fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let last = bytes.windows(7).position(|window| window == b"\r\n0\r\n\r\n")?;
        return Some(last + 7);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let total = head + length.unwrap_or(0);
    (bytes.len() >= total).then_some(total)
}
