//! When a stream ends by itself: with the token that its permit rests on.

use std::pin::Pin;
use std::time::SystemTime;

use tokio::time::{Instant, Sleep};

use super::Standing;
use crate::mesh::Published;
use crate::policy::Denial;

/// The end that a permit in use has of its own.
#[derive(Debug)]
pub(super) enum End {
    /// None: its answer is one whole.
    Whole,
    /// A stream for which no token was sent, or one without an end.
    Open,
    /// A stream that ends with its token. One timer for as long as it lasts, as it is asked before each event.
    Token(Pin<Box<Sleep>>),
}

impl End {
    /// Of a stream that was begun with a token which ends then, if it ends at all.
    pub(super) fn of(ends: Option<SystemTime>) -> Self {
        let Some(ends) = ends else { return Self::Open };
        let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
        Self::Token(Box::pin(tokio::time::sleep(left)))
    }

    /// Whether it is there.
    pub(super) fn is_reached(&self) -> bool {
        matches!(self, Self::Token(sleep) if sleep.deadline() <= Instant::now())
    }

    /// Waits for it; for ever where there is none.
    pub(super) async fn reached(&mut self) {
        match self {
            Self::Token(sleep) => sleep.await,
            Self::Whole | Self::Open => std::future::pending().await,
        }
    }
}

impl Standing {
    /// Whether the token has ended that this stream rests on, its target's or that of the Service that it was led to.
    pub(in super::super) fn token_has_ended(&self) -> bool {
        self.end.is_reached()
    }

    /// What [`Standing::turned`] has to say at once, if anything. Where it would wait it has to be woken for that; this has
    /// not, and is asked before each event of a stream.
    pub(in super::super) fn turned_now(&mut self, published: &Published) -> Option<Result<(), Option<Denial>>> {
        if self.end.is_reached() {
            return Some(Err(None));
        }
        match self.still(published) {
            Ok(changed) => changed.then_some(Ok(())),
            Err(refused) => Some(Err(refused.map(|denial| *denial))),
        }
    }
}
