//! The HTTP/2 settings of both sides, from the one table of limits.

use std::time::{Duration, SystemTime};

use h2::{client, server};
use tokio::time::Instant;

use crate::config::limits::{
    CONNECTION_WINDOW, MAX_FRAME, MAX_HEADER_LIST, MAX_RESET_BEFORE_ACCEPT, MAX_RESET_BY_ERROR, MAX_STREAMS,
    SEND_BUFFER, STREAM_WINDOW, UPSTREAM_STREAMS,
};

/// Streams that we reset and still remember, so that late frames for them are no error.
const RESET_STREAMS_REMEMBERED: usize = 50;
pub(super) fn server() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS_REMEMBERED)
        .max_pending_accept_reset_streams(MAX_RESET_BEFORE_ACCEPT)
        .max_local_error_reset_streams(Some(MAX_RESET_BY_ERROR));
    builder
}

pub(super) fn client() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(UPSTREAM_STREAMS)
        .max_concurrent_reset_streams(RESET_STREAMS_REMEMBERED)
        .max_local_error_reset_streams(Some(MAX_RESET_BY_ERROR))
        .enable_push(false);
    builder
}

/// How long it is until a moment of the wall clock; zero if it has passed.
pub(super) fn until(moment: SystemTime) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default()
}

/// `base` and up to a quarter more, so that connections opened together do not end together.
pub(super) fn jittered(base: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish() & 0xFFFF;
    base + Duration::from_millis(u64::try_from(base.as_millis() / 4).unwrap_or(u64::MAX) / 0xFFFF * random)
}

/// When to ask a peer to reconnect: at the maximum age, or `lead` before the end, but never before half of what is left,
/// so that a short-lived certificate still gets a usable connection.
pub(super) fn leave_at(now: Instant, left: Duration, lead: Duration, max_age: Duration) -> Instant {
    let before_end = left.saturating_sub(lead.min(left / 2));
    now + before_end.min(max_age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_is_by_age_or_before_the_end() {
        let now = Instant::now();
        let s = Duration::from_secs;
        assert_eq!(leave_at(now, s(86_400), s(60), s(3_600)), now + s(3_600));
        assert_eq!(leave_at(now, s(600), s(60), s(3_600)), now + s(540));
        assert_eq!(leave_at(now, s(10), s(60), s(3_600)), now + s(5));
        assert_eq!(leave_at(now, s(0), s(60), s(3_600)), now);
    }

    #[test]
    fn jitter_adds_up_to_a_quarter() {
        let base = Duration::from_secs(3_600);
        for _ in 0..100 {
            let age = jittered(base);
            assert!(age >= base && age <= base + base / 4, "{age:?}");
        }
    }
}
