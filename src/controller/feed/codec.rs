//! gRPC's framing (gRPC over HTTP/2, "Length-Prefixed-Message"), so that what many waypoints are sent is held once: a
//! response goes out in parts that it shares with others, and no stream copies ten thousand documents for itself. Nor is
//! it compressed for each: tonic would do both.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body_util::StreamBody;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::codec::{DecodeBuf, Decoder};
use tonic::{Code, Status};

use super::catalog::Delta;
use super::packed::Packed;
use crate::control::delta::wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

/// A response put together from parts that other responses share.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    compressed: bool,
    parts: Vec<Bytes>,
}

impl Frame {
    /// `parts` are encoded resources, one or many in each.
    pub(super) fn new(head: Head<'_>, removed: Vec<String>, parts: Vec<Bytes>) -> Self {
        let head = Bytes::from(head.encode(removed));
        Self { compressed: false, parts: std::iter::once(head).chain(parts).collect() }
    }

    /// Of resources that are compressed already; none where the rest does not fit before them.
    pub(super) fn packed(head: Head<'_>, packed: &Packed) -> Option<Self> {
        let parts = packed.after(&head.encode(Vec::new()))?;
        Some(Self { compressed: true, parts: parts.into() })
    }

    pub(super) fn of(head: Head<'_>, delta: &Delta) -> Self {
        let parts = delta.changed.iter().map(|one| one.field.clone()).collect();
        Self::new(head, delta.removed.clone(), parts)
    }

    /// The message with its prefix: whether it is compressed, and its length.
    fn framed(self) -> Result<VecDeque<Bytes>, Status> {
        let length = self.parts.iter().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(length).map_err(|_long| Status::resource_exhausted("over 4 GiB of documents"))?;
        let prefix = [&[u8::from(self.compressed)][..], &length.to_be_bytes()].concat();
        Ok(std::iter::once(Bytes::from(prefix)).chain(self.parts).collect())
    }
}

/// A response without its resources.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) type_url: &'a str,
    pub(super) nonce: &'a str,
    /// Of the state, its order.
    pub(super) version: &'a str,
}

impl Head<'_> {
    /// The order of fields in a message is nobody's business (protobuf, encoding).
    fn encode(self, removed: Vec<String>) -> Vec<u8> {
        let head = DeltaDiscoveryResponse {
            type_url: self.type_url.to_owned(),
            nonce: self.nonce.to_owned(),
            system_version_info: self.version.to_owned(),
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        };
        head.encode_to_vec()
    }
}

/// Requests, as usual.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Requests;

impl Decoder for Requests {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        match DeltaDiscoveryRequest::decode(buffer) {
            Ok(request) => Ok(Some(request)),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

/// Responses on their way.
struct Outgoing {
    responses: mpsc::Receiver<Result<Frame, Status>>,
    parts: VecDeque<Bytes>,
    ended: bool,
}

/// The body of a stream of responses, with gRPC's status at its end.
pub(super) fn body(responses: mpsc::Receiver<Result<Frame, Status>>) -> tonic::body::Body {
    let outgoing = Outgoing { responses, parts: VecDeque::new(), ended: false };
    tonic::body::Body::new(StreamBody::new(stream::unfold(outgoing, next)))
}

async fn next(mut outgoing: Outgoing) -> Option<(Result<http_body::Frame<Bytes>, Infallible>, Outgoing)> {
    loop {
        if let Some(part) = outgoing.parts.pop_front() {
            return Some((Ok(http_body::Frame::data(part)), outgoing));
        }
        if outgoing.ended {
            return None;
        }
        let said = outgoing.responses.recv().await;
        let status = match said.map(|said| said.and_then(Frame::framed)) {
            Some(Ok(parts)) => {
                outgoing.parts = parts;
                continue;
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        outgoing.ended = true;
        return Some((Ok(http_body::Frame::trailers(trailers(&status))), outgoing));
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Words that no header can hold: the code is what counts.
        trailers.clear();
        let _never = Status::new(status.code(), "").add_header(&mut trailers);
    }
    trailers
}
