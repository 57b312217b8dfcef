use std::sync::Arc;

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::encode::Resource;
use crate::control::delta::wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

/// A response put together from parts that other responses share.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    head: Vec<u8>,
    parts: Vec<Bytes>,
}

impl Frame {
    /// `parts` are encoded resources, one or many in each.
    pub(super) fn new(type_url: &str, nonce: &str, removed: Vec<String>, parts: Vec<Bytes>) -> Self {
        let head = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        };
        // The order of fields in a message is nobody's business (protobuf, encoding).
        Self { head: head.encode_to_vec(), parts }
    }

    pub(super) fn of(type_url: &str, nonce: &str, removed: Vec<String>, changed: &[Arc<Resource>]) -> Self {
        Self::new(type_url, nonce, removed, changed.iter().map(|one| one.field.clone()).collect())
    }
}

/// Requests decoded as usual, responses from [`Frame`]s.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.head.len() + frame.parts.iter().map(Bytes::len).sum::<usize>());
        buffer.put_slice(&frame.head);
        frame.parts.iter().for_each(|part| buffer.put_slice(part));
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DeltaDiscoveryRequest>, Status> {
        match DeltaDiscoveryRequest::decode(buffer) {
            Ok(request) => Ok(Some(request)),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}
