//! What real servers did with each of these bodies is the reason for each row: a call that one server runs and another
//! refuses, or that two read differently, must not pass.

mod bodies;
mod denials;
mod headers;
mod lists;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::{Context, DecodeFault, Decoded, McpHead, Version, decode};
use crate::call::{Knowable, McpCall, McpObject, Object, Value};
use crate::wire::json;

fn tree(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

fn text(value: &Value) -> String {
    let mut out = Vec::new();
    json::write(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn head(fields: &[(&'static str, &'static str)]) -> McpHead {
    McpHead::read(&headers(fields)).unwrap()
}

fn legacy(body: impl AsRef<[u8]>) -> Result<Decoded, DecodeFault> {
    decode_with(body, &[("mcp-protocol-version", "2025-06-18")])
}

fn decode_with(body: impl AsRef<[u8]>, fields: &[(&'static str, &'static str)]) -> Result<Decoded, DecodeFault> {
    decode(body.as_ref(), &Context { head: &head(fields), session: None, session_version: None })
}

/// `tools/call` with these params.
fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

fn tool(name: &str) -> McpCall {
    let object = McpObject::Tool { name: Knowable::Known(name.into()), arguments: Knowable::Known(Default::default()) };
    McpCall { method: "tools/call".into(), object, version: None, session: None }
}

fn arguments(call: &McpCall) -> &Object {
    call.arguments().unwrap_or_else(|| panic!("no arguments in {call:?}"))
}

#[test]
fn versions() {
    for version in Version::ALL {
        assert_eq!(Version::parse(version.as_str()), Some(version));
    }
    assert!(Version::ALL.is_sorted_by(|newer, older| newer > older));
    assert_eq!(Version::parse("2025-06-18 "), None);
    assert!(Version::V2026_07_28.is_modern() && !Version::V2025_11_25.is_modern());
}
