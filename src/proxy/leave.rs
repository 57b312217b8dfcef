//! The last that a call waits for here: a connection. It leaves if the rules of that moment permit it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Shared;
use super::http::within;
use super::stages::Standing;
use crate::policy::Denial;
use crate::upstream::Departure;

/// Waits for `sending`, no longer than its route says or else `most`: none where that is over. Until the request is out it
/// waits for the rules too, as it may for a connection, and is decided on again when they change.
///
/// # Errors
/// As [`Standing::revoked`]; nothing has gone out.
pub(super) async fn leave<T>(
    shared: &Shared,
    (standing, departure): (&mut Standing, &Departure),
    (of_route, most): (Option<Duration>, Option<Duration>),
    sending: impl Future<Output = T>,
) -> Result<Option<T>, Option<Denial>> {
    let (mut sending, mut revoked) =
        (pin!(within(of_route.or(most), sending)), pin!(standing.revoked(&shared.published)));
    // Nearly always a connection is there, and it is out at once.
    let mut waits = false;
    let sent = poll_fn(|cx| {
        // What is no longer permitted does not go out where there comes to be a connection at the same time.
        if waits
            && !departure.is_out()
            && let Poll::Ready(denial) = revoked.as_mut().poll(cx)
        {
            return Poll::Ready(Err(denial));
        }
        if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
            return Poll::Ready(Ok(sent));
        }
        waits = !departure.is_out();
        if waits { revoked.as_mut().poll(cx).map(Err) } else { Poll::Pending }
    });
    let sent = sent.await;
    if let (Ok(None), Some(_)) = (&sent, of_route) {
        shared.upstreams.late(departure);
    }
    sent
}
