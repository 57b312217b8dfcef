use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::keeper::Keeper;
use super::session::{Kept, serve};
use super::wire::Node;
use crate::control::backoff::Backoff;

/// Waits between streams: doubling from the first to the last (as Istio's own clients wait).
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LAST: Duration = Duration::from_secs(15);

/// How a server is reached.
pub trait Way: Send + Sync + 'static {
    /// Why it is not.
    type Fault: fmt::Display + Send;

    /// A fresh connection, bounded in time, and the metadata of the stream on it: tokens are read anew each time.
    fn open(&self) -> impl Future<Output = Result<(Channel, MetadataMap), Self::Fault>> + Send;
}

/// The client. [`Client::run`] keeps a stream going.
pub struct Client<W> {
    server: &'static str,
    way: W,
    node: Node,
    kept: Vec<Kept>,
    link: Link,
}

/// How the stream is doing. A clone shares the state.
#[derive(Debug, Clone, Default)]
pub struct Link(Arc<LinkState>);

#[derive(Debug, Default)]
struct LinkState {
    up: AtomicBool,
    opened: AtomicU64,
    rejected: AtomicU64,
    behind: AtomicU64,
}

impl Link {
    /// Whether a stream is open on which the server has said something.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// Streams on which the server has said something, since the start.
    pub fn opened(&self) -> u64 {
        self.0.opened.load(Ordering::Relaxed)
    }

    /// Resources that were refused, since the start.
    pub fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }

    /// Pushes that were refused whole, as they are of an older state than the one that is kept, since the start.
    pub fn behind(&self) -> u64 {
        self.0.behind.load(Ordering::Relaxed)
    }

    pub(super) fn is_behind(&self) {
        self.0.behind.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn up(&self) {
        if !self.0.up.swap(true, Ordering::Relaxed) {
            self.0.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn refused(&self, resources: usize) {
        self.0.rejected.fetch_add(resources as u64, Ordering::Relaxed);
    }

    fn down(&self) {
        self.0.up.store(false, Ordering::Relaxed);
    }
}

impl<W: Way> Client<W> {
    /// A client of `server` (a name for the log) that says it is `node`.
    pub fn new(server: &'static str, way: W, node: Node) -> Self {
        Self { server, way, node, kept: Vec::new(), link: Link::default() }
    }

    /// Subscribes to everything of one more type.
    #[must_use]
    pub fn keep(mut self, keeper: Box<dyn Keeper>) -> Self {
        self.kept.push(Kept::new(keeper));
        self
    }

    /// How the stream is doing.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Keeps a stream going until `stop`. Whatever ends one – no connection, an error, the server's own end – another is
    /// opened after a wait, which begins anew once a server has said something.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let behind = self.link.behind();
            let why = tokio::select! {
                biased;
                () = stop.cancelled() => return self.link.down(),
                why = self.stream() => why,
            };
            // A server that is behind is not hurried.
            if self.link.is_up() && self.link.behind() == behind {
                backoff.reset();
            }
            self.link.down();
            let wait = backoff.wait();
            tracing::warn!(server = self.server, why, retry_in = ?wait, "no xDS stream; what was received stays in force");
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One stream to its end, which it tells.
    async fn stream(&mut self) -> String {
        let (channel, metadata) = match self.way.open().await {
            Ok(opened) => opened,
            Err(fault) => return fault.to_string(),
        };
        match serve((channel, metadata), &self.node, &mut self.kept, &self.link).await {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }
}

impl<W> fmt::Debug for Client<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server).field("link", &self.link).finish_non_exhaustive()
    }
}
