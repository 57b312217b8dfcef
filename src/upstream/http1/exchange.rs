//! A request out, the head of its answer in.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use http::{Method, Request, StatusCode};

use super::super::SendFault;
use super::super::body::OutBody;
use super::super::exchange::Failed;
use super::One;
use super::head::{self, Head};
use super::upload::{Cut, Upload};
use crate::config::limits::{MAX_HEAD, MAX_INTERIM};

/// An answer of which the head was read.
pub(in super::super) struct Answered {
    pub(super) one: One,
    pub(super) head: Head,
    /// What of the request is not out yet: a server may answer before it has read everything.
    pub(super) upload: Option<Upload>,
}

/// Sends `request` and waits for the head of its answer. 101 is an answer; other interim ones are swallowed, but not
/// without end: a server that sends nothing else would keep us reading for as long as it likes.
///
/// Dropping the future closes the connection.
pub(in super::super) async fn exchange(mut one: One, request: Request<OutBody>) -> Result<Answered, Failed> {
    // What came before the request was sent is no answer to it.
    if !poll_fn(|cx| Poll::Ready(one.poll_quiet(cx))).await {
        return Err(Failed::unsent(SendFault::Unsent, request));
    }
    let mut upload = Upload::new(&request);
    let first = poll_fn(|cx| Poll::Ready(upload.poll_send(cx, &mut one.io))).await;
    if let (Poll::Ready(Err(_)), false) = (&first, upload.begun) {
        return Err(Failed::unsent(SendFault::Unsent, request));
    }
    let (parts, body) = request.into_parts();
    upload.with(body);
    let mut waiting = Waiting { one, upload: Some(upload), cut: false, method: parts.method, interim: 0, seen: 0 };
    let head = poll_fn(|cx| waiting.poll_head(cx)).await?;
    Ok(Answered { one: waiting.one, head, upload: waiting.upload })
}

struct Waiting {
    one: One,
    upload: Option<Upload>,
    /// The stream took only a part of the request.
    cut: bool,
    method: Method,
    interim: usize,
    /// Bytes of the buffer in which no head ends.
    seen: usize,
}

impl Waiting {
    /// Whether reading the head may come to an end: the first bytes may be none, later ones must have an empty line, so that
    /// a head that comes byte by byte is not read as often.
    fn may_be_whole(&self) -> bool {
        let buffer = &self.one.buffer;
        let new = buffer.get(self.seen.saturating_sub(3)..).unwrap_or_default();
        let ends = || new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
        !buffer.is_empty() && (self.seen == 0 || buffer.len() >= MAX_HEAD || ends())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, SendFault>> {
        if let Some(upload) = &mut self.upload {
            match upload.poll_send(cx, &mut self.one.io) {
                Poll::Ready(Ok(())) => self.upload = None,
                Poll::Ready(Err(Cut::Body)) => return Poll::Ready(Err(SendFault::CallerBody)),
                Poll::Ready(Err(Cut::Stream(error))) => {
                    // A server that has said all it has to say may want nothing more.
                    tracing::debug!(%error, "request not taken whole by upstream");
                    (self.upload, self.cut) = (None, true);
                }
                Poll::Pending => {}
            }
        }
        loop {
            if self.may_be_whole()
                && let Some(mut head) = head::parse(&mut self.one.buffer, &self.method)?
            {
                self.seen = 0;
                head.persists &= !self.cut;
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(SendFault::NotHttp));
                }
                continue;
            }
            self.seen = self.one.buffer.len();
            match ready!(self.one.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Err(SendFault::Broken)),
                Err(error) => {
                    tracing::debug!(%error, "no response from upstream");
                    return Poll::Ready(Err(SendFault::Broken));
                }
            }
        }
    }
}
