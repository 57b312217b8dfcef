//! How a stream ends while its tunnel comes to its end, as we are draining or as its connection is old: whole, between two
//! events, so that its client opens another one elsewhere.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Pump, Waits};
use crate::config::limits::DRAIN_SPREAD;
use crate::upstream::Upstreams;

impl Pump {
    /// Whether its client can go on with another stream of the session, at another replica. One that waits for an answer
    /// can not in every version, and a session of 2024-11-05 would end with its stream.
    pub(super) fn goes_on_elsewhere(&self) -> bool {
        matches!(self.waits, Waits::Session { .. }) && self.injected.is_none()
    }

    /// Settles when the stream ends, once its tunnel is leaving.
    pub(super) fn note_leaving(&mut self) {
        if self.reply.leaving.is_cancelled() && self.leaves.is_none() {
            self.leaves = Some(Instant::now() + spread());
        }
    }
}

/// A share of the time in which such streams end: their clients come back at once.
fn spread() -> Duration {
    let share = u32::try_from(Upstreams::dice() % 1_000).unwrap_or_default();
    DRAIN_SPREAD * share / 1_000
}

/// Waits for the tunnel to come to its end, or for the moment to leave.
pub(super) async fn leave(leaving: &CancellationToken, at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => leaving.cancelled().await,
    }
}
