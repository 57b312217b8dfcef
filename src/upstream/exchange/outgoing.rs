use http::header::{CONTENT_LENGTH, HOST, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri};
use http_body::Body as _;

use super::super::SendFault;
use super::super::body::OutBody;
use super::super::fields::strip_framing;

/// Origin form, `Host` named once, framing left to the body.
pub(in super::super) fn http1_request(mut request: Request<OutBody>) -> Result<Request<OutBody>, SendFault> {
    strip_framing(request.headers_mut());
    let host = host(&request)?;
    let path = path(&request)?;
    request.headers_mut().insert(HOST, host);
    // RFC 9110, 8.6: where the method anticipates a body, its absence is said. Servers answer 411 otherwise.
    if request.body().is_end_stream() && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = http::Version::HTTP_11;
    Ok(request)
}

/// `:authority` in place of `Host` (RFC 9113, 8.3.1). `te: trailers`, the one TE that HTTP/2 knows, stays: gRPC servers
/// insist on it. `:scheme` is http: what is inside a tunnel has no TLS of its own.
pub(super) fn http2_request(mut request: Request<OutBody>) -> Result<Request<OutBody>, SendFault> {
    let trailers = request.headers().get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip_framing(request.headers_mut());
    if trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    let host = host(&request)?;
    let path = path(&request)?;
    request.headers_mut().remove(HOST);
    let authority = Authority::try_from(host.as_bytes()).map_err(|_invalid| SendFault::NotSendable)?;
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path);
    *request.uri_mut() = uri.build().map_err(|_invalid| SendFault::NotSendable)?;
    *request.version_mut() = http::Version::HTTP_2;
    Ok(request)
}

fn host(request: &Request<OutBody>) -> Result<HeaderValue, SendFault> {
    let mut named = request.headers().get_all(HOST).iter();
    match (named.next(), named.next(), request.uri().authority()) {
        (Some(host), None, _) => Ok(host.clone()),
        (None, None, Some(authority)) => {
            HeaderValue::from_str(authority.as_str()).map_err(|_invalid| SendFault::NotSendable)
        }
        _ => Err(SendFault::NotSendable),
    }
}

fn path(request: &Request<OutBody>) -> Result<PathAndQuery, SendFault> {
    if request.method() == Method::CONNECT {
        return Err(SendFault::NotSendable);
    }
    Ok(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}
