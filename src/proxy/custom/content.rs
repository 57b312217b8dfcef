//! What a provider is shown of a request's body. What was read of a stream goes on from where it began.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::super::budget::Hold;
use crate::config::limits::{BODY_TIMEOUT, MAX_FRAME};
use crate::intake::{Body, BodyFault};
use crate::policy::{BodyTerms, Edits, token};

/// The part of a body that a provider gets.
#[derive(Debug)]
pub(in super::super) struct Sample {
    pub(super) bytes: Bytes,
    /// Whether there is more of it.
    pub(super) partial: bool,
    /// Whether gRPC has it as bytes.
    pub(super) as_bytes: bool,
    /// What it and its copies hold of the memory for decoding; what it was cut out of holds its own.
    _hold: Option<Hold>,
}

impl Sample {
    /// With what it holds from here on.
    pub(super) fn holding(self, hold: Hold) -> Self {
        Self { _hold: Some(hold), ..self }
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SampleFault {
    /// It cannot be read, or it is longer than the provider takes.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// Ours.
    #[error("over the decoding budget")]
    OverBudget,
}

/// What goes out if it is permitted.
pub(in super::super) trait Content: Send {
    /// What of its body a provider gets.
    fn sample(&mut self, terms: BodyTerms, hold: Hold) -> impl Future<Output = Result<Sample, SampleFault>> + Send;

    /// Changes of headers that it carries itself.
    fn edit(&mut self, _edits: &Edits) {}

    /// What a token's verification makes of headers that it carries itself.
    fn vouch(&mut self, _edits: &token::Edits) {}

    /// The HTTP version that it came in.
    fn version(&self) -> Version {
        Version::HTTP_11
    }
}

/// Bytes that are whole already.
pub(in super::super) fn whole(bytes: &Bytes, terms: BodyTerms) -> Result<Sample, SampleFault> {
    let partial = bytes.len() > terms.max;
    if partial && !terms.partial {
        return Err(BodyFault::TooLarge.into());
    }
    let bytes = bytes.slice(..bytes.len().min(terms.max));
    Ok(Sample { bytes, partial, as_bytes: terms.as_bytes, _hold: None })
}

/// Streams of bytes, whose contents nobody sees.
impl Content for () {
    async fn sample(&mut self, terms: BodyTerms, _hold: Hold) -> Result<Sample, SampleFault> {
        whole(&Bytes::new(), terms)
    }
}

/// Requests without a body, whose headers go out by themselves.
impl Content for HeaderMap {
    async fn sample(&mut self, terms: BodyTerms, _hold: Hold) -> Result<Sample, SampleFault> {
        whole(&Bytes::new(), terms)
    }

    fn edit(&mut self, edits: &Edits) {
        edits.apply(self);
    }

    fn vouch(&mut self, edits: &token::Edits) {
        edits.apply_to_fields(self);
    }
}

/// Reads the beginning of a stream, and puts it back.
pub(in super::super) async fn beginning(body: &mut Body, terms: BodyTerms, hold: Hold) -> Result<Sample, SampleFault> {
    let mut rest = std::mem::replace(body, Body::empty());
    let mut read = Read { held: BytesMut::new(), over: false, hold };
    let reading = read.on(&mut rest, terms);
    tokio::time::timeout(BODY_TIMEOUT, reading).await.unwrap_or_else(|_late| Err(BodyFault::Timeout.into()))?;
    let Read { held, over, hold } = read;
    let held = held.freeze();
    let bytes = held.slice(..held.len().min(terms.max));
    let partial = !over || held.len() > terms.max;
    *body =
        if held.is_empty() && over { Body::empty() } else { Body::stream(Replayed { held, over, rest, _hold: hold }) };
    Ok(Sample { bytes, partial, as_bytes: terms.as_bytes, _hold: None })
}

/// In one piece, so that it takes the memory that is accounted for it: a caller may send a byte at a time, and to keep each
/// as it came would take many times as much.
struct Read {
    held: BytesMut,
    /// Whether that was all.
    over: bool,
    hold: Hold,
}

impl Read {
    /// Reads until the body ends, or there is enough of it.
    async fn on(&mut self, body: &mut Body, terms: BodyTerms) -> Result<(), SampleFault> {
        loop {
            if body.is_end_stream() {
                self.over = true;
                return Ok(());
            }
            if self.held.len() >= terms.max && terms.partial {
                return Ok(());
            }
            let Some(frame) = body.frame().await else {
                self.over = true;
                return Ok(());
            };
            let Ok(data) = frame?.into_data() else { continue };
            if self.held.len().saturating_add(data.len()) > terms.max && !terms.partial {
                return Err(BodyFault::TooLarge.into());
            }
            self.hold.grow(data.len()).map_err(|_full| SampleFault::OverBudget)?;
            self.held.extend_from_slice(&data);
        }
    }
}

/// A body whose beginning was read already; as long as it was.
struct Replayed {
    held: Bytes,
    /// Whether that was all.
    over: bool,
    rest: Body,
    _hold: Hold,
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if !self.held.is_empty() {
            let most = self.held.len().min(MAX_FRAME as usize);
            return Poll::Ready(Some(Ok(Frame::data(self.held.split_to(most)))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && (self.over || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        if self.over {
            return SizeHint::with_exact(held);
        }
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::budget::Budget;
    use super::*;
    use crate::id::WorkloadId;

    fn hold() -> Hold {
        Budget::new(100, 100).hold(&WorkloadId::parse("spiffe://td/a").unwrap())
    }

    fn pieces(pieces: &'static [&'static str]) -> Body {
        let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn terms(max: usize, partial: bool) -> BodyTerms {
        BodyTerms { max, partial, as_bytes: false }
    }

    #[tokio::test]
    async fn what_was_shown_goes_on_as_it_came() {
        for (max, partial, shown, cut) in
            [(10, false, "abcdef", false), (6, false, "abcdef", false), (4, true, "abcd", true), (1, true, "a", true)]
        {
            let mut body = pieces(&["ab", "cd", "ef"]);
            let sample = beginning(&mut body, terms(max, partial), hold()).await.unwrap();
            assert_eq!((sample.bytes.as_ref(), sample.partial), (shown.as_bytes(), cut), "{max}");
            let all = body.collect().await.unwrap().to_bytes();
            assert_eq!(all.as_ref(), b"abcdef", "{max}");
        }
    }

    #[tokio::test]
    async fn what_is_longer_than_it_may_be_is_told() {
        let mut body = pieces(&["ab", "cd"]);
        let fault = beginning(&mut body, terms(3, false), hold()).await.unwrap_err();
        assert!(matches!(fault, SampleFault::Body(BodyFault::TooLarge)), "{fault}");
        let mut body = pieces(&["0123456789012345678901234567890123456789012345678901234567890123456789"; 2]);
        let fault = beginning(&mut body, terms(1_000, true), hold()).await.unwrap_err();
        assert!(matches!(fault, SampleFault::OverBudget), "{fault}");
    }

    /// Frames of a byte each take an allocation's handle, which is many times as much as the byte that is accounted for.
    #[tokio::test]
    async fn what_comes_byte_by_byte_is_held_as_what_comes_at_once() {
        const LENGTH: usize = 100_000;
        let frames = (0..LENGTH).map(|_| Ok(Frame::data(Bytes::from_static(b"x"))));
        let mut body = Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        let hold = Budget::new(2 * LENGTH, 2 * LENGTH).hold(&WorkloadId::parse("spiffe://td/a").unwrap());
        let sample = beginning(&mut body, terms(LENGTH, false), hold).await.unwrap();
        assert_eq!((sample.bytes.len(), sample.partial), (LENGTH, false));
        let (mut frames, mut length) = (0, 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= MAX_FRAME as usize);
            (frames, length) = (frames + 1, length + data.len());
        }
        assert_eq!((frames, length), (LENGTH.div_ceil(MAX_FRAME as usize), LENGTH));
    }

    #[tokio::test]
    async fn a_body_of_known_length_stays_one() {
        let mut body = Body::full("abc");
        beginning(&mut body, terms(10, false), hold()).await.unwrap();
        assert_eq!(body.size_hint().exact(), Some(3));
        let mut body = Body::empty();
        let sample = beginning(&mut body, terms(10, false), hold()).await.unwrap();
        assert!(sample.bytes.is_empty() && !sample.partial && body.is_end_stream());
    }
}
