//! What a handler is given and what it gives back.

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use super::body::{Body, BodyFault};
use crate::call::HttpHead;
use crate::net::BoxedIo;
use crate::wire::http1::{HeadFault, Upgrade};
use crate::wire::path::Normalization;

/// The body of an answer. Each frame is sent on and flushed before the next is asked for; an error ends the stream so
/// that the caller sees that the body is not whole. Dropped as soon as the caller is known to be gone.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyFault>;

/// A body of no bytes.
pub fn no_body() -> ResponseBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is whole.
pub fn text_body(text: impl Into<Bytes>) -> ResponseBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A request, judged and normalised.
#[derive(Debug)]
pub struct Request {
    /// The head. `Host` is in `head.host`; `Content-Length` shows in the body's size hint; neither is among the fields.
    pub head: HttpHead,
    /// The version it came in.
    pub version: Version,
    /// Another protocol the caller asks for; ignoring it is always allowed. Never there in HTTP/2 or with a body.
    pub upgrade: Option<Upgrade>,
    /// The body, read from the connection only as it is asked for.
    pub body: Body,
}

/// What becomes of a request.
pub enum Answer {
    /// A response with a final status (not 1xx). Hop-by-hop and framing fields are replaced.
    Response(Response<ResponseBody>),
    /// 101 with these fields, then bytes both ways until both ends are done. Only where [`Request::upgrade`] is set.
    Switch {
        /// Fields of the 101, `Upgrade` among them; `Connection: upgrade` is added.
        head: Response<()>,
        /// The other end.
        io: BoxedIo,
    },
    /// The stream, or the HTTP/1.1 connection, ends without an answer.
    Reset,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => f.debug_tuple("Response").field(&response.status()).finish(),
            Self::Switch { .. } => f.write_str("Switch"),
            Self::Reset => f.write_str("Reset"),
        }
    }
}

/// What a stream is counted by, given back when dropped.
pub type Place = Box<dyn Send>;

/// Turns requests into answers. Dropping the future of [`Handler::handle`] abandons the request: the caller is gone.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// How the paths of the requests that come now are normalised.
    fn paths(&self) -> Normalization {
        Normalization::Strict
    }

    /// A place for one more HTTP/2 stream, kept until that has ended; none where there are too many.
    fn place(&self) -> Option<Place> {
        Some(Box::new(()))
    }

    /// The answer to something that is no acceptable request; an HTTP/1.1 connection ends after it.
    fn fault(&self, fault: &HeadFault) -> Response<ResponseBody> {
        let mut response = Response::new(text_body(format!("{fault}\n")));
        *response.status_mut() = fault.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
