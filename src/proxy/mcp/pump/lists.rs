//! Other rules, or another label on the session, other lists: a client that listens to its server for changes of lists
//! hears of this one too, where its server said that it tells of changes.

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::super::sessions::Announced;
use super::sse_session;
use crate::call::{McpCall, McpObject, Value};
use crate::config::limits::LABELS_SETTLE;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{ServerKind, ServerMessage, denial};

/// What the server of a stream said that it tells of.
#[derive(Debug, Default)]
pub(super) struct Told {
    lists: Announced,
    /// Which subscription a message is of (2026-07-28).
    subscription: Option<Value>,
}

impl Told {
    /// By the stream of a session that `initialize` began with this.
    pub(super) fn of_session(lists: Announced) -> Self {
        Self { lists, subscription: None }
    }

    /// Notes what the server of a subscription agreed to.
    pub(super) fn note_agreed(&mut self, during: &McpCall, message: &ServerMessage) {
        if matches!(during.object, McpObject::Subscription(_))
            && let Some((wanted, subscription)) = message.agreed()
        {
            // It is kept for as long as the stream lasts: the id of a request, as the specification has it, and nothing larger.
            let subscription = subscription.filter(|id| Id::read(id).is_some()).cloned();
            *self = Self { lists: Announced::agreed(wanted), subscription };
        }
    }

    /// Notes what the answer to `initialize` says, on a stream that is the session's (2024-11-05).
    pub(super) fn note_begun(&mut self, request: &McpCall, message: &ServerMessage) {
        if let (ServerKind::Result, "initialize", Some(result)) = (message.kind(), &*request.method, message.result()) {
            self.lists = Announced::read(result);
        }
    }

    /// The events by which a client hears that its lists are others now.
    pub(super) fn events(&self) -> impl Iterator<Item = Bytes> {
        let of = self.subscription.as_ref();
        self.lists.lists().map(move |list| sse_session::event_of(&denial::list_changed(list, of)))
    }
}

/// Hears of labels that are put on the session of a stream.
#[derive(Debug, Default)]
pub(super) struct Relabelled {
    count: Option<watch::Receiver<usize>>,
    /// When it may be said of what was heard.
    due: Option<Instant>,
}

impl Relabelled {
    /// Of a session that has so many; none where no rule asks.
    pub(super) fn of(count: Option<watch::Receiver<usize>>) -> Self {
        Self { count, due: None }
    }

    /// Waits until there is another label, and every replica has had the time to know it: whoever asks for lists at once may
    /// ask another one. May be dropped at any time.
    pub(super) async fn heard(&mut self) {
        loop {
            if let Some(due) = self.due {
                sleep_until(due).await;
                self.due = None;
                return;
            }
            let changed = match &mut self.count {
                Some(count) => count.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                // The session is forgotten: its client hears that by its next call.
                return std::future::pending().await;
            }
            self.due = Some(Instant::now() + LABELS_SETTLE);
        }
    }
}
