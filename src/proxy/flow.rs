//! The bodies of a plain HTTP request and its answer on their way: counted, told as long as they said they are, and ended
//! when their call is no longer permitted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};

use super::Shared;
use super::answer::ProxyFault;
use super::note;
use super::stages::Standing;
use crate::intake::{Body, BodyFault, ResponseBody};
use crate::telemetry::{Meter, RecordGuard};
use crate::upstream::{Departure, InBody, OutBody};

/// An answer whose whole length is known and at most this is short: what of it is there at once goes out without a look at
/// the rules, bytes.
const SHORT: u64 = 64 << 10;

struct Flow {
    shared: Arc<Shared>,
    standing: Standing,
    record: RecordGuard,
    body: InBody,
    watched: bool,
}

/// `body` with its record; a body that may last is decided on again whenever its target's rules change.
pub(super) fn flow(shared: Arc<Shared>, standing: Standing, record: RecordGuard, body: InBody) -> ResponseBody {
    let watched = body.size_hint().upper().is_none_or(|length| length > SHORT);
    let (left, over) = (body.size_hint().exact(), body.is_end_stream());
    let flow = Flow { shared, standing, record, body, watched };
    let frames = stream::unfold(Some(Box::new(flow)), |flow| async move {
        let mut flow = flow?;
        match flow.next().await? {
            Ok(frame) => {
                if let Some(data) = frame.data_ref() {
                    flow.record.meter().sent(data.len());
                }
                if let Some(trailers) = frame.trailers_ref() {
                    grpc_status(&mut flow.record, trailers);
                }
                Some((Ok(frame), Some(flow)))
            }
            Err(fault) => Some((Err(fault), None)),
        }
    });
    Lasting { frames: StreamBody::new(frames).boxed_unsync(), left, over }.boxed_unsync()
}

/// How a gRPC call ended, which stands in the trailers, or in the head of an answer that is nothing else.
pub(super) fn grpc_status(record: &mut RecordGuard, fields: &HeaderMap) {
    let status = fields.get("grpc-status").and_then(|status| status.to_str().ok()?.parse().ok());
    if let Some(status) = status {
        record.grpc_status(status);
    }
}

/// Frames with the length of the body that they are made from: a server's `Content-Length` stays, and an answer that is a
/// head alone (gRPC's trailers-only, by which it reports errors) stays one.
struct Lasting {
    frames: ResponseBody,
    left: Option<u64>,
    over: bool,
}

impl HttpBody for Lasting {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = Pin::new(&mut self.frames).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.left = self.left.map(|left| left.saturating_sub(length));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Whether a request's body is still on its way.
#[derive(Debug, Clone)]
pub(super) struct Uploading(Arc<AtomicBool>);

impl Uploading {
    /// Of a request that may be sent again: until its answer has come, it is never the server's for good.
    pub(super) fn again() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Waits until the call is no longer permitted before it went out, or while its body is still on its way; a request that
    /// went out whole is the server's by now, and its answer is watched for itself.
    pub(super) async fn revoked(
        &self,
        (standing, departure): (&mut Standing, &Departure),
        shared: &Shared,
    ) -> Option<crate::policy::Denial> {
        let denial = standing.revoked(&shared.published).await;
        if departure.is_out() && !self.0.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        denial
    }
}

/// The body of a request, counted.
struct Upload {
    body: Body,
    meter: Meter,
    going: Uploading,
}

/// `body` as it goes out, and whether it still does.
pub(super) fn upload(body: Body, meter: Meter) -> (OutBody, Uploading) {
    let going = Uploading(Arc::new(AtomicBool::new(!body.is_end_stream())));
    if body.is_end_stream() {
        return (OutBody::empty(), going);
    }
    (OutBody::stream(Upload { body, meter, going: going.clone() }), going)
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.meter.received(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.going.0.store(false, Ordering::Relaxed);
    }
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyFault>> {
        let at_once = if self.watched { None } else { self.body.frame().now_or_never() };
        let frame = match at_once {
            Some(frame) => frame,
            None => tokio::select! {
                biased;
                denial = self.standing.revoked(&self.shared.published) => {
                    if let Some(denial) = denial {
                        self.record.denied(note::denial(&denial, self.standing.asked().target()));
                    }
                    self.record.failed(&ProxyFault::Revoked);
                    return Some(Err(BodyFault::Ended));
                }
                frame = self.body.frame() => frame,
            },
        };
        Some(frame?.map_err(|_cut| {
            self.record.failed(&BodyFault::Upstream);
            BodyFault::Upstream
        }))
    }
}
