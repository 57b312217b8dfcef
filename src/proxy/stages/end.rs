//! When a stream ends by itself: with the token that its permit rests on.

use std::pin::Pin;
use std::time::SystemTime;

use tokio::time::Sleep;

use crate::policy::Claims;

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
    /// Of a stream that was begun with this token.
    pub(super) fn of(claims: Option<&Claims>) -> Self {
        let Some(ends) = claims.and_then(Claims::ends) else { return Self::Open };
        let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
        Self::Token(Box::pin(tokio::time::sleep(left)))
    }

    /// Waits for it; for ever where there is none.
    pub(super) async fn reached(&mut self) {
        match self {
            Self::Token(sleep) => sleep.await,
            Self::Whole | Self::Open => std::future::pending().await,
        }
    }
}
