//! The bodies of plain HTTP on their way: counted, and an answer's ended when its call is no longer permitted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};

use super::Shared;
use super::answer::ProxyFault;
use super::note;
use super::stages::Standing;
use crate::intake::{Body, BodyFault, ResponseBody};
use crate::telemetry::{Meter, RecordGuard};
use crate::upstream::InBody;

/// An answer whose whole length is known and at most this is short: it is over before any policy could change, bytes.
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
    let flow = Flow { shared, standing, record, body, watched };
    let frames = stream::unfold(Some(flow), |flow| async move {
        let mut flow = flow?;
        match flow.next().await? {
            Ok(frame) => {
                if let Some(data) = frame.data_ref() {
                    flow.record.meter().sent(data.len());
                }
                Some((Ok(frame), Some(flow)))
            }
            Err(fault) => Some((Err(fault), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyFault>> {
        let frame = if self.watched {
            tokio::select! {
                biased;
                denial = self.standing.revoked(&self.shared.published) => {
                    if let Some(denial) = denial {
                        self.record.denied(note::denial(&denial, self.standing.asked().target()));
                    }
                    self.record.failed(&ProxyFault::Revoked);
                    return Some(Err(BodyFault::Ended));
                }
                frame = self.body.frame() => frame,
            }
        } else {
            self.body.frame().await
        };
        Some(frame?.map_err(|_cut| {
            self.record.failed(&BodyFault::Upstream);
            BodyFault::Upstream
        }))
    }
}

/// The body of a request, counted. Its length stays known: a body of known length goes out with it, not in chunks.
pub(super) struct Metered {
    body: Body,
    meter: Meter,
}

impl Metered {
    pub(super) fn new(body: Body, meter: Meter) -> Self {
        Self { body, meter }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.meter.received(data.len());
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
