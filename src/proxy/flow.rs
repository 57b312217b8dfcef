//! The body of a plain HTTP answer on its way: counted, and ended when its call is no longer permitted.

use std::sync::Arc;

use futures_util::stream;
use http_body::Body as _;
use http_body_util::{BodyExt as _, StreamBody};

use super::Shared;
use super::answer::ProxyFault;
use super::note;
use super::stages::{Revoked, Standing};
use crate::intake::{BodyFault, ResponseBody};
use crate::telemetry::RecordGuard;
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
    async fn next(&mut self) -> Option<Result<http_body::Frame<bytes::Bytes>, BodyFault>> {
        let frame = if self.watched {
            tokio::select! {
                biased;
                Revoked(denial) = self.standing.revoked(&self.shared.published) => {
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
