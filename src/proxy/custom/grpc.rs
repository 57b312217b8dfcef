//! A check over gRPC: `envoy.service.auth.v3.Authorization/Check`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, Request, Response, StatusCode, Version};

use super::http::{is_ours, known, read};
use super::{CheckFault, Question, Said, Shared, Told, answer};
use crate::call::HttpHead;
use crate::config::limits::MAX_CHECK_ANSWER;
use crate::mesh::Endpoint;
use crate::policy::{Ask, Edits};
use crate::upstream::{Caller, Departure, InBody, OutBody, UpstreamHttp};
use crate::wire::ext_authz as wire;
use crate::wire::ext_authz::{CheckResponse, HeaderValueOption, HttpResponse};

/// Asks, and reads what is said.
pub(super) async fn ask(
    shared: &Shared,
    ask: &Ask,
    question: &Question<'_>,
    (endpoints, departure): (&[Arc<Endpoint>], &Departure),
) -> Result<Said, CheckFault> {
    let provider = ask.provider();
    let mut request = Request::new(OutBody::full(wire::framed(&check(ask, question))));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(wire::CHECK);
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&provider.host).map_err(|_no_host| CheckFault::Garbage("its host is none"))?;
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let timeout = HeaderValue::try_from(format!("{}m", provider.timeout.as_millis())).ok();
    headers.extend(timeout.map(|timeout| (HeaderName::from_static("grpc-timeout"), timeout)));
    let first = shared.upstreams.pick(endpoints, None).map_err(|none| CheckFault::Send(none.into()))?;
    Caller::tell_at(&mut request, &first, question.asked.peer().id());
    let sending = shared.upstreams.send_first(first, endpoints, UpstreamHttp::Http2, (request, departure));
    let (_, response) = sending.await?;
    said(unary(response).await?)
}

/// The one message of an answer that went well.
async fn unary(response: Response<InBody>) -> Result<CheckResponse, CheckFault> {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(CheckFault::Status(parts.status));
    }
    let status =
        |fields: &HeaderMap| fields.get("grpc-status").and_then(|code| code.to_str().ok()?.parse::<u16>().ok());
    if let Some(code) = status(&parts.headers) {
        return Err(CheckFault::Grpc(code));
    }
    let (bytes, trailers) = read(body).await?;
    match status(&trailers) {
        Some(0) => wire::answer(&bytes).map_err(|_no_message| CheckFault::Garbage("it is no CheckResponse")),
        Some(code) => Err(CheckFault::Grpc(code)),
        None => Err(CheckFault::Garbage("it has no status")),
    }
}

/// What a message comes to. One that says two things at once, or asks for what is not done here, allows nothing.
fn said(response: CheckResponse) -> Result<Said, CheckFault> {
    let code = response.status.map(|status| status.code);
    match (code, response.http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) => Err(CheckFault::Itself),
        (Some(0), Some(HttpResponse::DeniedResponse(_))) => Err(CheckFault::Garbage("it allows and denies")),
        (_, Some(HttpResponse::DeniedResponse(denied))) => Ok(Said::Denied(told(denied))),
        (Some(0) | None, Some(HttpResponse::OkResponse(ok))) => allowed(ok),
        (Some(0), None) => Ok(Said::Allowed { upstream: Edits::default(), downstream: Edits::default() }),
        (None, None) => Err(CheckFault::Garbage("it says nothing")),
        (Some(_), Some(HttpResponse::OkResponse(_)) | None) => {
            Ok(Said::Denied(told(wire::DeniedHttpResponse::default())))
        }
    }
}

fn allowed(ok: wire::OkHttpResponse) -> Result<Said, CheckFault> {
    if !ok.query_parameters_to_set.is_empty() || !ok.query_parameters_to_remove.is_empty() {
        return Err(CheckFault::Garbage("it changes the query, which is not done here"));
    }
    let mut upstream = Edits::default();
    for name in ok.headers_to_remove {
        // Pseudo-headers are no names: they are not its to remove.
        name.parse().into_iter().for_each(|name| upstream.remove(name));
    }
    edits(ok.headers, &mut upstream)?;
    let mut downstream = Edits::default();
    edits(ok.response_headers_to_add, &mut downstream)?;
    Ok(Said::Allowed { upstream, downstream })
}

/// In Envoy's reading: `append` where it is said, else the action; a header that is only named is set.
fn edits(options: Vec<HeaderValueOption>, into: &mut Edits) -> Result<(), CheckFault> {
    for option in options {
        let (append, action) = (option.append, option.append_action);
        let Some((name, value)) = header(option)? else { continue };
        match (append, action) {
            (Some(true), _) => into.append(name, value),
            (Some(false), _) | (None, 0 | 2) => into.set(name, value),
            (None, 1) => into.set_if_absent(name, value),
            (None, 3) => into.set_if_present(name, value),
            (None, _) => return Err(CheckFault::Garbage("it names an action that there is not")),
        }
    }
    Ok(())
}

/// One header; none where it is a pseudo-header, which is not a provider's to say.
fn header(option: HeaderValueOption) -> Result<Option<(HeaderName, HeaderValue)>, CheckFault> {
    let no_header = || CheckFault::Garbage("it has a header that is none");
    let header = option.header.ok_or_else(no_header)?;
    if header.key.starts_with(':') {
        return Ok(None);
    }
    let name = HeaderName::from_bytes(header.key.as_bytes()).map_err(|_no_name| no_header())?;
    let bytes = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
    let value = HeaderValue::from_bytes(bytes).map_err(|_no_value| no_header())?;
    Ok(Some((name, value)))
}

/// A refusal; what of it cannot be told is left out, as it is one all the same.
fn told(denied: wire::DeniedHttpResponse) -> Told {
    let code = denied.status.and_then(|status| u16::try_from(status.code).ok());
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::new();
    for option in denied.headers {
        let append = option.append == Some(true);
        if let Ok(Some((name, value))) = header(option) {
            if append {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
    }
    let body = if denied.body.len() > MAX_CHECK_ANSWER { String::new() } else { denied.body };
    let headers = answer::passable(headers, !body.is_empty());
    Told { status: answer::refusing(status), headers, body: body.into() }
}

/// The call as the provider sees it.
fn check(ask: &Ask, question: &Question<'_>) -> wire::CheckRequest {
    let (peer, destination) = (question.asked.peer(), ask.destination());
    let source = wire::Peer {
        address: Some(address(peer.addr())),
        service: String::new(),
        principal: peer.id().uri().to_owned(),
    };
    let vip = destination.addresses.first().map(|ip: &IpAddr| address(SocketAddr::new(*ip, destination.port)));
    let service = format!("{}/{}", destination.namespace, destination.service);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = prost_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.subsec_nanos()).unwrap_or(0),
    };
    let request = wire::Request { time: Some(time), http: question.head.map(|head| http_request(head, question)) };
    let extensions = known(question).into_iter().map(|(name, value)| (format!("agent-waypoint.dev/{name}"), value));
    wire::CheckRequest {
        attributes: Some(wire::AttributeContext {
            source: Some(source),
            destination: Some(wire::Peer { address: vip, service, principal: String::new() }),
            request: Some(request),
            context_extensions: extensions.collect(),
        }),
    }
}

fn address(addr: SocketAddr) -> wire::Address {
    let socket_address =
        wire::SocketAddress { address: addr.ip().to_canonical().to_string(), port_value: addr.port().into() };
    wire::Address { socket_address: Some(socket_address) }
}

fn http_request(head: &HttpHead, question: &Question<'_>) -> wire::HttpRequest {
    let path = head.target().into_owned();
    let mut headers: HashMap<String, String> = HashMap::with_capacity(head.headers.keys_len() + 5);
    // What this waypoint says of a call it says in extensions: nothing else may look like it.
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_ours(name)) {
        // Intake takes visible ASCII alone; lines of one name are one value (RFC 9110 section 5.3).
        let text = String::from_utf8_lossy(value.as_bytes());
        let known = headers.entry(name.as_str().to_owned()).or_default();
        if !known.is_empty() {
            known.push(',');
        }
        known.push_str(&text);
    }
    let pseudo = [(":method", head.method.as_str()), (":path", &path), (":authority", &head.host), (":scheme", "http")];
    headers.extend(pseudo.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (mut body, mut raw_body) = (String::new(), Vec::new());
    if let Some(sample) = &question.sample {
        headers.insert(super::http::PARTIAL.as_str().to_owned(), sample.partial.to_string());
        if sample.as_bytes {
            raw_body = sample.bytes.to_vec();
        } else {
            body = text(&sample.bytes);
        }
    }
    let whole = question.sample.as_ref().filter(|sample| !sample.partial);
    wire::HttpRequest {
        id: head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
        method: head.method.to_string(),
        headers,
        host: head.host.clone(),
        scheme: "http".to_owned(),
        size: whole.and_then(|sample| i64::try_from(sample.bytes.len()).ok()).unwrap_or(-1),
        protocol: if question.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" }.to_owned(),
        path,
        body,
        raw_body,
    }
}

/// Bytes as the text that protobuf has a string be, as long as they are (Envoy's `sanitizeUtf8String`): a message that grows
/// with what a caller puts into it is one that a provider refuses to read.
fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '!'));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_text_is_as_long_as_it_was() {
        for (bytes, shown) in
            [(&b"abc"[..], "abc"), ("\u{e4}".as_bytes(), "\u{e4}"), (b"\xff\xfea\xe2\x82", "!!a!!"), (b"", "")]
        {
            assert_eq!(super::text(bytes), shown);
        }
        assert_eq!(super::text(&[0xff; 1_000]).len(), 1_000);
    }
}
