//! Pings that notice a peer that is gone, and a clock that notices an end that a sleeping machine would miss.

use std::time::SystemTime;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::config::limits::{PING_INTERVAL, PING_TIMEOUT};

/// Why the keepalive gave the connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// A ping was not answered in time, or the connection broke.
    Ping,
    /// A certificate has ended by the wall clock, though our timer has not run out: the machine slept.
    Expired,
}

/// Pings until the peer stops answering or `not_after` has passed. The connection must be polled beside it.
pub(super) async fn watch(pings: Option<PingPong>, not_after: SystemTime) -> Lost {
    // Handed out once per connection; without it there would be no keepalive, which the peer must not be able to cause.
    let Some(mut pings) = pings else { return Lost::Ping };
    loop {
        sleep(PING_INTERVAL).await;
        if SystemTime::now() >= not_after {
            return Lost::Expired;
        }
        match timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Lost::Ping,
        }
    }
}
