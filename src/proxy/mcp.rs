//! MCP over Streamable HTTP: one strict decode of each request, and the mirror of it for each answer.
//!
//! On a port that is declared MCP every POST that could be taken for JSON is MCP, whatever its path: servers disagree
//! on what their path is (`/MCP`, `/mcp/`, `/%6dcp`). What is none of it is plain HTTP and needs an `http` allow.

mod addresses;
mod exchange;
mod get;
mod listing;
mod manner;
mod mirror;
mod own;
mod post;
mod pump;
mod reply;
mod sse;
mod waited;

use std::sync::Arc;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

pub(super) use addresses::Addresses;
pub(super) use exchange::{ReadFault, read_body};
pub(super) use manner::{Manner, Manners};
pub(super) use reply::{collect, stays_here};

use super::http::{Calls, plain};
use crate::call::HttpHead;
use crate::intake::{Answer, Request};
use crate::mesh::Target;

const SESSION_ID: &str = "mcp-session-id";
const LAST_EVENT_ID: &str = "last-event-id";

/// What a request on an MCP port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A message.
    Post,
    /// A stream of the server's messages.
    Get,
    /// The end of a session.
    Delete,
    /// Plain HTTP.
    Other,
}

impl Shape {
    pub(super) fn of(head: &HttpHead) -> Self {
        let headers = &head.headers;
        let in_session = headers.contains_key(SESSION_ID) || headers.contains_key(LAST_EVENT_ID);
        match head.method {
            Method::POST if maybe_json(headers) => Self::Post,
            Method::GET if in_session || accepts_events(headers) => Self::Get,
            Method::DELETE if in_session => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// Whether some server could take the body for JSON: no content type, several, or one that speaks of JSON anywhere.
fn maybe_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) => one.to_str().map_or(true, |text| text.to_ascii_lowercase().contains("json")),
        (None, _) | (Some(_), Some(_)) => true,
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let says = |text: &str| text.to_ascii_lowercase().contains("text/event-stream");
    headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(says))
}

/// Serves one request on an MCP port.
pub(super) async fn serve(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    match Shape::of(&request.head) {
        Shape::Post => Box::pin(post::serve(calls, target, request)).await,
        Shape::Get => Box::pin(get::stream(calls, target, request)).await,
        Shape::Delete => Box::pin(get::end(calls, target, request)).await,
        Shape::Other => Box::pin(plain(calls, target, request)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn head(method: Method, fields: &[(&'static str, &str)]) -> HttpHead {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        HttpHead { method, path: "/mcp".into(), query: None, host: "h".into(), headers }
    }

    #[test]
    fn whatever_a_server_could_run_as_mcp_is_mcp() {
        for json in
            ["application/json", "APPLICATION/JSON", "application/json, text/plain", "text/plain; application/json"]
        {
            assert_eq!(Shape::of(&head(Method::POST, &[("content-type", json)])), Shape::Post, "{json}");
        }
        assert_eq!(Shape::of(&head(Method::POST, &[])), Shape::Post);
        let twice = [("content-type", "text/plain"), ("content-type", "application/json")];
        assert_eq!(Shape::of(&head(Method::POST, &twice)), Shape::Post);
        assert_eq!(Shape::of(&head(Method::GET, &[("accept", "text/event-stream")])), Shape::Get);
        assert_eq!(Shape::of(&head(Method::GET, &[("mcp-session-id", "x")])), Shape::Get);
        assert_eq!(Shape::of(&head(Method::DELETE, &[("mcp-session-id", "x")])), Shape::Delete);
    }

    #[test]
    fn the_rest_is_plain_http() {
        assert_eq!(Shape::of(&head(Method::POST, &[("content-type", "multipart/form-data")])), Shape::Other);
        assert_eq!(Shape::of(&head(Method::GET, &[])), Shape::Other);
        assert_eq!(Shape::of(&head(Method::PUT, &[("content-type", "application/json")])), Shape::Other);
    }
}
