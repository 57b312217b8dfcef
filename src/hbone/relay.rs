//! One tunnel's bytes into another, both ways, without a copy: a frame goes out as it came.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use super::Stream;
use super::stream::{Reading, Writing};
use crate::net::copy::{Copied, Stop, directions};

/// [`crate::net::copy::both_ways`] for two tunnels. The sender of each may send more as the other takes it.
pub async fn relay(mut a: Stream, mut b: Stream, cancel: &CancellationToken) -> Copied {
    let (a_to_b, b_to_a) = (AtomicU64::new(0), AtomicU64::new(0));
    let ((a_read, a_write), (b_read, b_write)) = (a.directions(), b.directions());
    let end = directions(one_way(a_read, b_write, &a_to_b), one_way(b_read, a_write, &b_to_a), cancel).await;
    Copied { a_to_b: a_to_b.into_inner(), b_to_a: b_to_a.into_inner(), end }
}

async fn one_way(read: &mut Reading, write: &mut Writing, count: &AtomicU64) -> Result<(), Stop> {
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = read.recv() => chunk.map_err(Stop::Read)?,
            error = gone(write) => return Err(Stop::Write(error)),
        };
        let Some(chunk) = chunk else { break };
        let length = chunk.len();
        write.send(chunk).await.map_err(Stop::Write)?;
        read.release(length).map_err(Stop::Read)?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
    poll_fn(|cx| write.poll_shutdown(cx)).await.map_err(Stop::Write)
}

/// Ends when the peer is known to take nothing more.
async fn gone(write: &mut Writing) -> io::Error {
    poll_fn(|cx| match write.poll_gone(cx) {
        Err(error) => Poll::Ready(error),
        Ok(()) => Poll::Pending,
    })
    .await
}
