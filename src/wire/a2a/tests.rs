//! What is one call, and what is refused, row by row and once per binding where it applies.

mod aside;
mod bindings;
mod hostile;
mod prost;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{DecodeFault, Decoded, Mounts, decode, route};
use crate::call::{A2aCall, HttpHead};
use crate::fault::Faulty as _;

/// A request: verb, path with query, fields, body.
pub(super) fn head(method: &str, target: &str, fields: &[(&'static str, &str)]) -> HttpHead {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let path = crate::wire::path::canonical(path).unwrap();
    HttpHead { method: Method::from_bytes(method.as_bytes()).unwrap(), path, query, host: "agent".into(), headers }
}

pub(super) fn read(head: &HttpHead, body: &[u8]) -> Result<Decoded, DecodeFault> {
    let route = route(head, &Mounts::default(), true)?;
    decode(&route, head, body)
}

pub(super) const JSON: (&str, &str) = ("content-type", "application/json");
pub(super) const V1: (&str, &str) = ("a2a-version", "1.0");

/// JSON-RPC, 1.0.
pub(super) fn rpc(body: &str) -> Result<A2aCall, DecodeFault> {
    read(&head("POST", "/", &[JSON, V1]), body.as_bytes()).map(|decoded| decoded.call)
}

/// JSON-RPC, 0.3.
pub(super) fn rpc03(body: &str) -> Result<A2aCall, DecodeFault> {
    read(&head("POST", "/", &[JSON]), body.as_bytes()).map(|decoded| decoded.call)
}

/// HTTP with JSON, 1.0.
pub(super) fn rest(method: &str, target: &str, body: &str) -> Result<A2aCall, DecodeFault> {
    read(&head(method, target, &[JSON, V1]), body.as_bytes()).map(|decoded| decoded.call)
}

/// HTTP with JSON, 0.3.
pub(super) fn rest03(method: &str, target: &str, body: &str) -> Result<A2aCall, DecodeFault> {
    read(&head(method, target, &[JSON]), body.as_bytes()).map(|decoded| decoded.call)
}

/// One gRPC message as a body.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    body
}

/// gRPC: the method with its package, and the message.
pub(super) fn grpc(method: &str, message: &[u8]) -> Result<A2aCall, DecodeFault> {
    let head = head("POST", method, &[("content-type", "application/grpc"), ("te", "trailers")]);
    read(&head, &framed(message)).map(|decoded| decoded.call)
}

/// The fixed word of a refusal, or `call` for what is one.
pub(super) fn outcome(read: Result<A2aCall, DecodeFault>) -> &'static str {
    read.map_or_else(|fault| fault.reason(), |_| "call")
}

/// `{"jsonrpc": .., "method": method, "params": params}`
pub(super) fn envelope(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}
