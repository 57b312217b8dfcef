//! Refusals and faults in the words of each binding (specification sections 5.4, 9.5, 10.6 and 11.6).
//!
//! JSON-RPC: an error with the caller's id, on HTTP 200 wherever the id was readable. HTTP with JSON: the status and
//! `google.rpc.Status`. gRPC: an answer that is trailers only.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{HeaderName, StatusCode};

use super::REFUSED;
use super::fault::{Cause, DecodeFault, HeadFault, MessageFault};
use crate::call::{A2aBinding, Object, Value};
use crate::wire::grpc::{FrameFault, GrpcCode, percent_encoded};
use crate::wire::json;
use crate::wire::jsonrpc::{INVALID_PARAMS, INVALID_REQUEST, Id, METHOD_NOT_FOUND, PARSE_ERROR};

const TASK_NOT_FOUND: i64 = -32001;
const VERSION_NOT_SUPPORTED: i64 = -32009;
const INTERNAL_ERROR: i64 = -32603;
const A2A_JSON: HeaderValue = HeaderValue::from_static("application/a2a+json");

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// Refused by policy.
    Denied,
    /// Refused by policy for now.
    TooMany,
    /// Refused, as if the task did not exist.
    TaskNotFound,
    /// The text is none.
    Parse,
    /// The request is none that may pass.
    Invalid,
    /// Its members are not.
    Params,
    /// No such operation.
    Unknown,
    /// Not this version.
    Version,
    /// Not written so.
    Media,
    /// Compressed.
    Compressed,
    /// Larger than a limit.
    TooLarge,
    /// Did not come in time.
    TooSlow,
    /// No valid token.
    Unauthenticated,
    /// Cannot be served now.
    Unavailable,
    /// The agent's answer cannot be passed on.
    BadAnswer,
}

impl Saying {
    fn rpc(self) -> i64 {
        match self {
            Self::Denied | Self::TooMany | Self::Unauthenticated => REFUSED,
            Self::TaskNotFound => TASK_NOT_FOUND,
            Self::Parse => PARSE_ERROR,
            Self::Invalid | Self::Media | Self::Compressed | Self::TooLarge | Self::TooSlow => INVALID_REQUEST,
            Self::Params => INVALID_PARAMS,
            Self::Unknown => METHOD_NOT_FOUND,
            Self::Version => VERSION_NOT_SUPPORTED,
            Self::Unavailable | Self::BadAnswer => INTERNAL_ERROR,
        }
    }

    fn grpc(self) -> GrpcCode {
        match self {
            Self::Denied => GrpcCode::PermissionDenied,
            Self::TaskNotFound => GrpcCode::NotFound,
            Self::Parse | Self::Invalid | Self::Params | Self::Media => GrpcCode::InvalidArgument,
            Self::Unknown | Self::Compressed => GrpcCode::Unimplemented,
            Self::Version => GrpcCode::FailedPrecondition,
            Self::TooMany | Self::TooLarge => GrpcCode::ResourceExhausted,
            Self::TooSlow => GrpcCode::DeadlineExceeded,
            Self::Unauthenticated => GrpcCode::Unauthenticated,
            Self::Unavailable => GrpcCode::Unavailable,
            Self::BadAnswer => GrpcCode::Internal,
        }
    }

    fn http(self) -> StatusCode {
        match self {
            Self::Denied => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::TaskNotFound | Self::Unknown => StatusCode::NOT_FOUND,
            Self::Parse | Self::Invalid | Self::Params | Self::Version => StatusCode::BAD_REQUEST,
            Self::Media | Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadAnswer => StatusCode::BAD_GATEWAY,
        }
    }

    /// `reason` of `google.rpc.ErrorInfo`: the specification's where it has one.
    fn reason(self) -> &'static str {
        match self {
            Self::Denied => "PERMISSION_DENIED",
            Self::TooMany => "RATE_LIMIT_EXCEEDED",
            Self::TaskNotFound => "TASK_NOT_FOUND",
            Self::Parse => "PARSE_ERROR",
            Self::Invalid | Self::Params => "INVALID_REQUEST",
            Self::Unknown => "METHOD_NOT_FOUND",
            Self::Version => "VERSION_NOT_SUPPORTED",
            Self::Media | Self::Compressed => "CONTENT_TYPE_NOT_SUPPORTED",
            Self::TooLarge => "TOO_LARGE",
            Self::TooSlow => "TIMEOUT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Unavailable => "UNAVAILABLE",
            Self::BadAnswer => "INVALID_AGENT_RESPONSE",
        }
    }
}

/// What is told beside the words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Details<'a> {
    /// Why, in `snake_case`.
    pub reason: Option<&'a str>,
    /// The rule that refused.
    pub rule: Option<&'a str>,
    /// Its policy, `namespace/name`.
    pub policy: Option<&'a str>,
    /// Under which the decision record is found.
    pub request_id: Option<&'a str>,
    /// For a limit: in how many seconds the call will be permitted.
    pub retry: Option<u64>,
}

/// An answer of ours.
#[derive(Debug)]
pub struct Told {
    /// HTTP status: 200 for gRPC, and for JSON-RPC where the id is known.
    pub status: StatusCode,
    /// `Content-Type`, for gRPC the trailers too.
    pub headers: HeaderMap,
    /// The body; empty for gRPC.
    pub body: Vec<u8>,
    /// `grpc-status`.
    pub grpc: Option<u16>,
}

/// Says `saying` in the words of `binding`, to the request of `id` where it is JSON-RPC.
pub fn tell(binding: A2aBinding, id: Option<&Id>, saying: Saying, text: &str, details: &Details<'_>) -> Told {
    match binding {
        A2aBinding::JsonRpc => json_rpc(id, saying, text, details),
        A2aBinding::HttpJson => http_json(saying, text, details),
        A2aBinding::Grpc => trailers_only(saying, text),
    }
}

/// The answer to a request that was not decoded.
pub fn fault(binding: A2aBinding, fault: &DecodeFault, details: &Details<'_>) -> Told {
    tell(binding, fault.id(), saying(fault.cause()), &fault.to_string(), details)
}

/// How a cause is said.
fn saying(cause: Cause) -> Saying {
    match cause {
        Cause::Json(_) => Saying::Parse,
        Cause::Envelope(_) | Cause::Message(MessageFault::Notification | MessageFault::Response) => Saying::Invalid,
        Cause::Frame(FrameFault::Compressed) => Saying::Compressed,
        Cause::Frame(FrameFault::TooLarge) => Saying::TooLarge,
        Cause::Frame(FrameFault::Flag | FrameFault::Truncated | FrameFault::Several) => Saying::Invalid,
        Cause::Head(fault) => match fault {
            HeadFault::NotA2a | HeadFault::RpcPath => Saying::Unknown,
            HeadFault::ContentType | HeadFault::Charset | HeadFault::ContentEncoding => Saying::Media,
            HeadFault::Version => Saying::Version,
            HeadFault::Repeated
            | HeadFault::Extensions
            | HeadFault::Query
            | HeadFault::NotHttp2
            | HeadFault::Ambiguous => Saying::Invalid,
        },
        Cause::Message(MessageFault::UnknownMethod) => Saying::Unknown,
        Cause::Message(MessageFault::VersionMismatch) => Saying::Version,
        Cause::Shape(_)
        | Cause::Message(
            MessageFault::Missing(_)
            | MessageFault::BadId(_)
            | MessageFault::TooMany(_)
            | MessageFault::BadName(_)
            | MessageFault::Disagree(_)
            | MessageFault::Role
            | MessageFault::Part,
        ) => Saying::Params,
    }
}

fn said(details: &Details<'_>) -> Object {
    let pairs = [
        ("reason", details.reason),
        ("rule", details.rule),
        ("policy", details.policy),
        ("requestId", details.request_id),
    ];
    let mut said: Object = pairs.into_iter().filter_map(|(key, value)| Some((key, Value::from(value?)))).collect();
    if let Some(retry) = details.retry {
        // `metadata` of google.rpc.ErrorInfo holds text alone.
        said.set("retryAfterSeconds", retry.to_string().as_str().into());
    }
    said
}

fn written(object: Object) -> Vec<u8> {
    let mut out = Vec::new();
    json::write(&Value::Object(object), &mut out);
    out
}

fn with_type(content_type: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, content_type)])
}

fn json_rpc(id: Option<&Id>, saying: Saying, text: &str, details: &Details<'_>) -> Told {
    let mut error: Object = [("code", Value::from(saying.rpc())), ("message", text.into())].into_iter().collect();
    let data = said(details);
    if !data.is_empty() && saying != Saying::TaskNotFound {
        error.set("data", data.into());
    }
    let id_value = id.map_or(Value::Null, Id::to_value);
    let message: Object =
        [("jsonrpc", Value::from("2.0")), ("id", id_value), ("error", error.into())].into_iter().collect();
    let status = if id.is_some() { StatusCode::OK } else { saying.http() };
    Told {
        status,
        headers: with_type(HeaderValue::from_static("application/json")),
        body: written(message),
        grpc: None,
    }
}

fn http_json(saying: Saying, text: &str, details: &Details<'_>) -> Told {
    let mut info: Object = [
        ("@type", Value::from("type.googleapis.com/google.rpc.ErrorInfo")),
        ("reason", saying.reason().into()),
        ("domain", "a2a-protocol.org".into()),
    ]
    .into_iter()
    .collect();
    let metadata = said(details);
    if !metadata.is_empty() && saying != Saying::TaskNotFound {
        info.set("metadata", metadata.into());
    }
    let status = saying.http();
    let error: Object = [
        ("code", Value::from(i64::from(status.as_u16()))),
        ("status", saying.grpc().as_str().into()),
        ("message", text.into()),
        ("details", vec![info.into()].into()),
    ]
    .into_iter()
    .collect();
    let body = written([("error", Value::from(error))].into_iter().collect());
    let mut headers = with_type(A2A_JSON);
    if let Some(retry) = details.retry {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry));
    }
    Told { status, headers, body, grpc: None }
}

/// Every field in the head, no body, the end of the stream with it (gRPC, "Trailers-Only").
fn trailers_only(saying: Saying, text: &str) -> Told {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    const ACCEPTS: HeaderName = HeaderName::from_static("grpc-accept-encoding");
    let mut headers = with_type(HeaderValue::from_static("application/grpc"));
    let code = saying.grpc().number();
    headers.insert(STATUS, HeaderValue::from(code));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(text)) {
        headers.insert(MESSAGE, message);
    }
    if saying == Saying::Compressed {
        headers.insert(ACCEPTS, HeaderValue::from_static("identity"));
    }
    Told { status: StatusCode::OK, headers, body: Vec::new(), grpc: Some(code) }
}
