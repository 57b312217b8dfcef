//! Upstreams that do with a TCP connection what a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server; every connection is handed to the test's own code.
pub(crate) struct Raw {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) seen: Arc<Mutex<Vec<u8>>>,
}

/// One accepted connection, remembering what it read.
pub(crate) struct Accepted {
    pub(crate) io: TcpStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Raw {
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(Accepted) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<u8>>>::default());
        let (count, record) = (Arc::clone(&connections), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(Accepted { io, seen: Arc::clone(&record) }));
            }
        });
        Self { addr, connections, seen }
    }

    /// Answers every request head with the next of `answers`, the last one again and again, and keeps the connection.
    pub(crate) async fn answering(answers: &'static [&'static str]) -> Self {
        let turn = Arc::new(AtomicUsize::new(0));
        Self::start(move |mut accepted| {
            let turn = Arc::clone(&turn);
            async move {
                while accepted.head().await.is_some() {
                    let at = turn.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                    if accepted.io.write_all(answers[at].as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Accepted {
    /// Reads once; `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        let mut chunk = vec![0; 16384];
        match self.io.read(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                chunk.truncate(read);
                self.seen.lock().unwrap().extend_from_slice(&chunk);
                Some(chunk)
            }
        }
    }

    /// Reads until the end of a request head.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let mut held = Vec::new();
        while !held.windows(4).any(|four| four == b"\r\n\r\n") {
            held.extend(self.read().await?);
        }
        Some(String::from_utf8_lossy(&held).into_owned())
    }
}
