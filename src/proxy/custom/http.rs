//! A check over HTTP: the request's own method and path, the headers that its provider gets, and the status decides.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{CheckFault, Question, Said, Shared, Told, answer};
use crate::call::{Call, HttpHead};
use crate::config::limits::MAX_CHECK_ANSWER;
use crate::mesh::Endpoint;
use crate::policy::{Edits, HttpTerms, Provider};
use crate::upstream::{Caller, Departure, InBody, OutBody, UpstreamHttp};
use crate::wire::grpc::percent_encoded;
use crate::wire::http1::fields::hyphened;

/// Whether the body that is shown is cut, in Envoy's word.
pub(super) const PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");
/// Fields by which a permission takes headers out of the request, in Envoy's word.
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// Beginning of the names of what this waypoint itself says of a call.
const OURS: &str = "x-agent-waypoint-";

/// Asks, and reads what is said.
pub(super) async fn ask(
    shared: &Shared,
    (provider, terms): (&Provider, &HttpTerms),
    (question, head): (&Question<'_>, &HttpHead),
    endpoints: &[Arc<Endpoint>],
) -> Result<Said, CheckFault> {
    let mut request = request(provider, terms, question, head)?;
    let first = shared.upstreams.pick(endpoints, None).map_err(|none| CheckFault::Send(none.into()))?;
    Caller::tell_at(&mut request, &first, question.asked.peer().id());
    let departure = Departure::default();
    let sending = shared.upstreams.send_first(first, endpoints, UpstreamHttp::Http1, (request, &departure));
    let sent = tokio::time::timeout(provider.timeout, sending).await;
    let (_, response) = sent.map_err(|_late| {
        shared.upstreams.late(&departure);
        CheckFault::Timeout
    })??;
    said(provider, terms, response).await
}

fn request(
    provider: &Provider,
    terms: &HttpTerms,
    question: &Question<'_>,
    head: &HttpHead,
) -> Result<Request<OutBody>, CheckFault> {
    let unsendable = |_fault| CheckFault::Garbage("the request cannot be shown to it");
    // Where the mesh does not normalise paths, the provider's own server may: it would be asked something else then.
    if !terms.prefix.is_empty() && leads_out(&head.path) {
        return Err(CheckFault::LeadsOut);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        if (*name == AUTHORIZATION || terms.sent.has(name)) && !is_ours(name) {
            headers.append(name, value.clone());
        }
    }
    if terms.sent.has(&XFCC) {
        // The caller's own was taken out; this one is proven.
        let proven = format!("URI={}", question.asked.peer().id().uri());
        headers.insert(XFCC, HeaderValue::from_str(&proven).map_err(|_no_value| unsendable(()))?);
    }
    for (name, value) in known(question) {
        let name = HeaderName::try_from(format!("{OURS}{name}")).map_err(|_no_name| unsendable(()))?;
        let value = HeaderValue::from_str(&percent_encoded(&value)).map_err(|_no_value| unsendable(()))?;
        headers.insert(name, value);
    }
    for (name, value) in &terms.added {
        headers.insert(name, value.clone());
    }
    let mut body = OutBody::empty();
    if let (Some(sample), true) = (&question.sample, provider.body.is_some()) {
        headers.insert(PARTIAL, HeaderValue::from_static(if sample.partial { "true" } else { "false" }));
        body = OutBody::full(sample.bytes.clone());
    }
    headers.insert(HOST, HeaderValue::from_str(&head.host).map_err(|_no_host| unsendable(()))?);
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = format!("{}{}", terms.prefix, head.target()).parse().map_err(|_no_uri| unsendable(()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether a provider could read a header of that name as one of ours, which says what was proven: CGI takes `_` for `-`.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    hyphened(name).starts_with(OURS)
}

/// Whether some server could read dot segments in a path, in whatever spelling.
fn leads_out(path: &str) -> bool {
    let spelt =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    spelt.split('/').any(dots)
}

/// What this waypoint knows of a call beyond its request, by name: who calls what, proven and decoded.
pub(super) fn known(question: &Question<'_>) -> Vec<(&'static str, String)> {
    let destination = question.destination;
    let mut out = vec![
        ("source-principal", question.asked.peer().id().uri().to_owned()),
        ("destination", format!("{}/{}:{}", destination.namespace, destination.service, destination.port)),
    ];
    match question.call {
        Call::Mcp(call) => {
            out.push(("mcp-method", call.method.to_string()));
            out.extend(call.name().map(|name| ("mcp-name", name.to_owned())));
        }
        Call::A2a(call) => out.push(("a2a-operation", call.operation.as_str().to_owned())),
        Call::Http | Call::Tcp => {}
    }
    out
}

/// 200 allows; what is the server's fault is no answer; everything else denies, in the answer's own words.
async fn said(provider: &Provider, terms: &HttpTerms, response: Response<InBody>) -> Result<Said, CheckFault> {
    let (parts, body) = response.into_parts();
    if parts.status.is_server_error() {
        return Err(CheckFault::Status(parts.status));
    }
    if parts.status != StatusCode::OK {
        // It denied: a body that cannot be read, or does not end, does not undo that.
        let body = tokio::time::timeout(provider.timeout, read(body)).await;
        let body = body.ok().and_then(|read| read.ok()).map(|(bytes, _trailers)| bytes).unwrap_or_default();
        let headers = denied(terms, parts.headers);
        let headers = answer::passable(headers, !body.is_empty());
        return Ok(Said::Denied(Told { status: answer::refusing(Some(parts.status)), headers, body }));
    }
    let (mut upstream, mut downstream) = (Edits::default(), Edits::default());
    for value in parts.headers.get_all(&REMOVE) {
        let names = value.to_str().map_err(|_no_text| CheckFault::Garbage("its headers are no text"))?;
        for name in names.split(',').filter_map(|name| name.trim().parse().ok()) {
            upstream.remove(name);
        }
    }
    for name in parts.headers.keys() {
        for (at, value) in parts.headers.get_all(name).iter().enumerate() {
            let put = |edits: &mut Edits| match at {
                0 => edits.set(name.clone(), value.clone()),
                _ => edits.append(name.clone(), value.clone()),
            };
            if terms.to_upstream.has(name) {
                put(&mut upstream);
            }
            if terms.on_allow.has(name) {
                put(&mut downstream);
            }
        }
    }
    // Read to its end, so that the connection can be used again; what it says is nobody's.
    if body.size_hint().upper().is_some_and(|length| length <= MAX_CHECK_ANSWER as u64) {
        drop(tokio::time::timeout(provider.timeout, read(body)).await);
    }
    Ok(Said::Allowed { upstream, downstream })
}

/// The headers of a refusal that go to the caller: those that are listed, and those without which it says nothing.
fn denied(terms: &HttpTerms, mut headers: HeaderMap) -> HeaderMap {
    let Some(names) = &terms.on_deny else { return headers };
    let always = [WWW_AUTHENTICATE, LOCATION];
    let gone: Vec<HeaderName> =
        headers.keys().filter(|name| !names.has(name) && !always.contains(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
    headers
}

/// A whole body, and its trailers.
pub(super) async fn read(mut body: InBody) -> Result<(Bytes, HeaderMap), CheckFault> {
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| CheckFault::Garbage("its answer broke off"))?;
        match frame.into_data() {
            Ok(data) if bytes.len().saturating_add(data.len()) > MAX_CHECK_ANSWER => {
                return Err(CheckFault::Garbage("its answer is too large"));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((bytes.freeze(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_of_every_spelling_lead_out() {
        for path in ["/../x", "/a/%2e%2E/x", "/a/.%2e", "/./x", "/a%2f..%2fx", "/a\\..\\x", "/a%5C..", "/..;a=b/x"] {
            assert!(leads_out(path), "{path}");
        }
        for path in ["/", "/a/b", "/...", "/a..b", "/.well-known/x", "/a/%252e%252e"] {
            assert!(!leads_out(path), "{path}");
        }
    }
}
