//! An upstream whose connections a test holds in its own hands: it answers when and how the test says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::lab::PATIENCE;

pub(crate) struct Live {
    pub(crate) addr: SocketAddr,
    requests: mpsc::Receiver<Held>,
}

/// One request and the connection that waits for its answer.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) head: String,
    pub(crate) body: String,
    stream: TcpStream,
}

impl Live {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Some(held) = Box::pin(Held::read(stream)).await {
                        let _unwanted = sender.send(held).await;
                    }
                });
            }
        });
        Self { addr, requests }
    }

    pub(crate) async fn next(&mut self) -> Held {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("a request in time").unwrap()
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.requests.recv()).await.is_err()
    }
}

impl Held {
    async fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some((head, body, _)) = super::lab::request(&bytes) {
                return Some(Self { head, body, stream });
            }
            let mut chunk = [0; 16384];
            let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&chunk[..read]);
        }
    }

    /// The id under which the request came, as JSON.
    pub(crate) fn id(&self) -> String {
        serde_json::from_str::<serde_json::Value>(&self.body).unwrap()["id"].to_string()
    }

    /// Writes `bytes` as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The head of an event stream without an end.
    pub(crate) async fn begin_events(&mut self) {
        self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    }

    /// One chunk of the stream.
    pub(crate) async fn chunk(&mut self, text: &str) {
        self.write(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await;
    }

    /// One chunk of the stream, unless the other side has closed.
    pub(crate) async fn chunk_or_closed(&mut self, text: &str) {
        let _closed = self.stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await;
    }

    /// One message of the stream.
    pub(crate) async fn message(&mut self, json: &str) {
        self.chunk(&format!("data: {json}\n\n")).await;
    }

    /// Waits until the other side has closed.
    pub(crate) async fn closed(&mut self, within: Duration) -> bool {
        let closed = async {
            let mut rest = [0; 1024];
            while !matches!(self.stream.read(&mut rest).await, Ok(0) | Err(_)) {}
        };
        tokio::time::timeout(within, closed).await.is_ok()
    }
}
