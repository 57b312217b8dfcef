//! The servers behind the waypoint: HTTP/1.1 that answers every request alike, in plaintext and inside HBONE.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use agent_waypoint::control::identity::{DEV_TTL, DevCa};
use agent_waypoint::hbone;
use agent_waypoint::id::{TrustDomain, WorkloadId};
use agent_waypoint::tls::Identity;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Servers and the mesh's CA; they run until the process ends.
pub(crate) struct Servers {
    pub(crate) plain: SocketAddr,
    pub(crate) hbone: SocketAddr,
    /// Holds the waypoint's `--dev` CA and the documents.
    pub(crate) dir: tempfile::TempDir,
    ca: DevCa,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = DevCa::open(&state(dir.path()).join("agent-waypoint/dev"), &domain()).unwrap();
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hbone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { plain: plain.local_addr().unwrap(), hbone: hbone.local_addr().unwrap(), dir, ca };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = plain.accept().await {
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(serve(tcp));
            }
        });
        let handler = |tunnel: hbone::Tunnel| async move {
            if let Ok(stream) = tunnel.accept() {
                serve(stream).await;
            }
        };
        let ends = hbone::Server::new(this.identity("tools", "server"));
        tokio::spawn(ends.serve(hbone, handler, CancellationToken::new()));
        this
    }

    pub(crate) fn identity(&self, namespace: &str, account: &str) -> Identity {
        let id = WorkloadId::of_istio(&domain(), namespace, account).unwrap();
        self.ca.identity(&id, DEV_TTL).unwrap()
    }

    /// Where the waypoint keeps its CA.
    pub(crate) fn state(&self) -> std::path::PathBuf {
        state(self.dir.path())
    }
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn state(dir: &Path) -> std::path::PathBuf {
    dir.join("state")
}

/// Answers each request, whose body has a `Content-Length`, until the stream ends.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let body = answer(1 << 10);
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    answer.extend_from_slice(&body);
    let answer: Arc<[u8]> = answer.into();
    let (mut held, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => held.extend_from_slice(&chunk[..read]),
        }
        while let Some(used) = whole(&held) {
            held.drain(..used);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// The length of a whole message at the front of `bytes`.
pub(crate) fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let fields = bytes[..head].split(|byte| *byte == b'\n');
    let mut length = fields.filter_map(|field| {
        let (name, value) = std::str::from_utf8(field).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let total = head + length.next_back().unwrap_or(0);
    (bytes.len() >= total).then_some(total)
}

/// The answer to the benchmark's call, of about `size` bytes.
fn answer(size: usize) -> Vec<u8> {
    let text = "Made. ".repeat(size / 6);
    format!(r#"{{"jsonrpc":"2.0","id":17,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#)
        .into_bytes()
}
