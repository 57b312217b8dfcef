//! Copies of plain requests, as routes mirror them: made once a request is permitted, to Services whose own rules permit it
//! too. No call waits for a copy, none fails with one, and nothing that is said to a copy reaches the caller.
//!
//! A copy of a call to a tool would be a second call, so declared ports have none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request as Outgoing;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::budget::{Budget, Hold};
use super::http::{XFCC, upstream_version};
use super::route::{spelt, write};
use super::stages::Asked;
use crate::call::HttpHead;
use crate::config::limits::{COPY_TIMEOUT, MAX_COPIES, MAX_COPIES_PER_NAMESPACE, MAX_COPY_HELD};
use crate::fault::Faulty;
use crate::id::Peer;
use crate::intake::{Body, BodyFault};
use crate::mesh::{Target, Then};
use crate::policy::{Decision, Permit, Verdicts};
use crate::upstream::{Caller, Client, OutBody, SendFault, Upstreams};

/// Frames of one copy that wait to go out.
const MAX_FRAMES: usize = 64;
/// What is read of the answer to a copy, so that its connection can serve on, bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The copies that are under way.
#[derive(Debug)]
pub(super) struct Copies {
    /// By the namespace whose routes make them.
    places: Arc<Budget<Arc<str>>>,
    tasks: TaskTracker,
}

impl Default for Copies {
    fn default() -> Self {
        Self { places: Budget::new(MAX_COPIES, MAX_COPIES_PER_NAMESPACE), tasks: TaskTracker::new() }
    }
}

/// A copy that is to be made, with the permission of where it goes.
#[derive(Debug)]
pub(super) struct Copy {
    to: Arc<Target>,
    head: HttpHead,
    /// The caller.
    by: Arc<Peer>,
    _permit: Permit,
    place: Hold<Arc<str>>,
}

/// The copies that a way makes of a permitted request, which its rule has made `head` of.
pub(super) fn copies(shared: &Shared, asked: &Asked, then: &Then, head: &HttpHead) -> Vec<Copy> {
    let mirrors = then.mirrors.iter().filter(|mirror| mirror.takes(Upstreams::dice()));
    let made = mirrors.filter_map(|mirror| {
        let made = mirror.to.as_ref().ok_or("nowhere").and_then(|key| {
            let to = shared.published.current().get(key).ok_or("nowhere")?;
            permit(shared, asked, to, head.clone())
        });
        made.map_err(|why| shared.telemetry.metrics().copied(why)).ok()
    });
    made.collect()
}

/// Asks the rules of where a copy goes. Nobody is asked but rules: where those would ask a provider, there is no copy.
fn permit(shared: &Shared, asked: &Asked, to: Arc<Target>, mut head: HttpHead) -> Result<Copy, &'static str> {
    if !to.protocol.is_plain() {
        return Err("refused");
    }
    head.path = spelt(&to, head.path).map_err(|_no_path| "refused")?;
    match asked.admitted((&to, &mut head), &Verdicts::default(), None) {
        Ok(Decision::Allow(permit)) => {
            let place = shared.copies.places.one(&asked.target().key.namespace).map_err(|_full| "dropped")?;
            Ok(Copy { to, head, by: Arc::clone(asked.peer()), _permit: permit, place })
        }
        Ok(Decision::Deny(_)) | Err(_) => Err("refused"),
    }
}

/// Sends the copies; the body with which the request itself goes on.
pub(super) fn begin(shared: &Arc<Shared>, copies: Vec<Copy>, request: &Outgoing<OutBody>, body: Body) -> Body {
    if copies.is_empty() {
        return body;
    }
    let mut lines = Vec::new();
    for copy in copies {
        let mut out = Outgoing::new(OutBody::empty());
        *out.method_mut() = request.method().clone();
        Caller::tell(&mut out, &copy.to, copy.by.id());
        out.headers_mut().extend(request.headers().get(XFCC).map(|caller| (XFCC, caller.clone())));
        if write(&copy.head, &mut out).is_err() {
            shared.telemetry.metrics().copied("failed");
            continue;
        }
        if !body.is_end_stream() {
            let (line, rest) = line(body.size_hint());
            *out.body_mut() = OutBody::stream(rest);
            lines.push(line);
        }
        shared.copies.tasks.spawn(send(Arc::clone(shared), copy, out));
    }
    if lines.is_empty() { body } else { Body::stream(Tee { body, lines }) }
}

async fn send(shared: Arc<Shared>, copy: Copy, request: Outgoing<OutBody>) {
    let Copy { to, by, head, place, .. } = copy;
    let exchange = async {
        let client = Client { addr: by.addr().ip(), head: Some(&head) };
        let endpoint = shared.upstreams.pick_of(&to, None, &client).map_err(SendFault::from)?;
        let response = shared.upstreams.send(&endpoint, upstream_version(&to), request).await?;
        let (mut body, mut read) = (response.into_body(), 0);
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_ANSWER {
                break;
            }
        }
        Ok::<_, SendFault>(())
    };
    let result = match tokio::time::timeout(COPY_TIMEOUT, exchange).await {
        Ok(Ok(())) => "sent",
        Ok(Err(fault)) => {
            tracing::debug!(to = %to.key, reason = fault.reason(), %fault, "a copy did not arrive");
            "failed"
        }
        Err(_late) => "failed",
    };
    shared.telemetry.metrics().copied(result);
    drop(place);
}

/// The two ends of a copy's body.
fn line(length: SizeHint) -> (Line, Rest) {
    let (sender, frames) = mpsc::channel(MAX_FRAMES);
    let (held, whole) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let rest = Rest { frames, held: Arc::clone(&held), whole: Arc::clone(&whole), length };
    (Line { sender, held, whole }, rest)
}

struct Line {
    sender: mpsc::Sender<Bytes>,
    held: Arc<AtomicUsize>,
    whole: Arc<AtomicBool>,
}

impl Line {
    /// Whether the copy keeps up; one that does not is cut off.
    fn push(&self, data: &Bytes) -> bool {
        let held = self.held.fetch_add(data.len(), Ordering::Relaxed);
        held + data.len() <= MAX_COPY_HELD && self.sender.try_send(data.clone()).is_ok()
    }
}

/// A body on its way, of which copies are made.
struct Tee {
    body: Body,
    lines: Vec<Line>,
}

impl Tee {
    fn end(&mut self) {
        for line in self.lines.drain(..) {
            line.whole.store(true, Ordering::Release);
        }
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.lines.retain(|line| line.push(data));
                }
                // Whoever knows the length does not ask for more.
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Some(Err(_cut)) => self.lines.clear(),
            None => self.end(),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a copy.
struct Rest {
    frames: mpsc::Receiver<Bytes>,
    held: Arc<AtomicUsize>,
    whole: Arc<AtomicBool>,
    length: SizeHint,
}

/// The request, or its copy, did not get to its end.
#[derive(Debug, thiserror::Error)]
#[error("the copy is not whole")]
struct Cut;

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Poll::Ready(match ready!(self.frames.poll_recv(cx)) {
            Some(data) => {
                self.held.fetch_sub(data.len(), Ordering::Relaxed);
                Some(Ok(Frame::data(data)))
            }
            None if self.whole.load(Ordering::Acquire) => None,
            None => Some(Err(Cut)),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.exact().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: Vec<Result<&'static str, BodyFault>>) -> Body {
        let frames = pieces.into_iter().map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))));
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn both(pieces: Body) -> (Result<Bytes, BodyFault>, Result<Bytes, Cut>) {
        let (line, rest) = line(pieces.size_hint());
        let tee = Tee { body: pieces, lines: vec![line] };
        let own = tee.collect().await.map(http_body_util::Collected::to_bytes);
        (own, rest.collect().await.map(http_body_util::Collected::to_bytes))
    }

    #[tokio::test]
    async fn a_copy_is_whole_or_seen_not_to_be() {
        let (own, copy) = both(pieces(vec![Ok("ab"), Ok("c")])).await;
        assert_eq!((own.unwrap(), copy.unwrap()), (Bytes::from("abc"), Bytes::from("abc")));
        let (own, copy) = both(pieces(vec![Ok("ab"), Err(BodyFault::Ended)])).await;
        assert!(own.is_err() && copy.is_err());
    }

    #[tokio::test]
    async fn a_copy_that_falls_behind_is_cut_and_the_request_goes_on() {
        let many = vec![Ok("x"); MAX_FRAMES + 1];
        let (own, copy) = both(pieces(many)).await;
        assert_eq!(own.unwrap().len(), MAX_FRAMES + 1);
        assert!(copy.is_err());
        static LARGE: [u8; MAX_COPY_HELD + 1] = [b'x'; MAX_COPY_HELD + 1];
        let (own, copy) = both(pieces(vec![Ok(std::str::from_utf8(&LARGE).unwrap())])).await;
        assert_eq!(own.unwrap().len(), MAX_COPY_HELD + 1);
        assert!(copy.is_err());
    }
}
