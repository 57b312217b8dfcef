//! The messages of Envoy's external authorization (`envoy.service.auth.v3`), framed as one gRPC message each way.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use super::grpc::{FrameFault, only_message};

#[expect(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
mod generated {
    tonic::include_proto!("envoy.service.auth.v3");
}

pub use generated::attribute_context::{HttpRequest, Peer, Request};
pub use generated::check_response::HttpResponse;
pub use generated::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption,
    HttpStatus, OkHttpResponse, QueryParameter, SocketAddress, Status,
};
#[doc(hidden)]
pub use generated::{authorization_client, authorization_server};

/// Path of the call.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Why bytes are no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// No single message.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// No message of that type.
    #[error("no CheckResponse")]
    Message(#[from] prost::DecodeError),
}

/// A request as the body of the call.
pub fn framed(request: &CheckRequest) -> Bytes {
    let message = request.encode_to_vec();
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    // Longer than 4 GiB is nothing here: heads and bodies are bounded far below.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(&message);
    out.freeze()
}

/// The answer that the body of the call's response is.
///
/// # Errors
/// [`AnswerFault`]
pub fn answer(body: &[u8]) -> Result<CheckResponse, AnswerFault> {
    Ok(CheckResponse::decode(only_message(body)?)?)
}

#[cfg(test)]
mod tests;
