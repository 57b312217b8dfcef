//! What tools an endpoint has, asked by us: in the name of the caller whose call depends on it, at the endpoint that it
//! goes to, in its session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::budget::Hold;
use super::super::definitions::Listed;
use super::super::http::{outgoing, upstream_version};
use super::super::stages::Standing;
use super::reply::collect;
use crate::call::{McpCall, McpObject, Object, Value};
use crate::config::limits::MAX_LIST;
use crate::mesh::Endpoint;
use crate::policy::Rules;
use crate::upstream::{InBody, SendFault, Upstreams};
use crate::wire::json;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{
    Context, Definition, McpHead, ResponseForm, ServerMessage, decode, drop_parameters, filter_list, forward_headers,
};
use crate::wire::sse;

/// Time for all pages together.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of one list that are asked for.
const MAX_PAGES: usize = 64;
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Why there is no list.
#[derive(Debug)]
pub(super) enum Unlisted {
    /// The server does not know the session.
    NoSession,
    /// The endpoint could not be asked.
    Unsent(SendFault),
    /// It could not be asked so, or its answer is no list, or none that is read here.
    Unreadable,
}

/// One tool of a page; none where it has no readable name or definition.
pub(super) fn read(rules: &Rules, object: &McpObject, entry: &Value) -> Option<Listed> {
    let McpObject::Tool { name, .. } = object else { return None };
    let (tool, definition) = (Arc::clone(name.known()?), Definition::of(entry)?);
    let pinned = rules.pinned(&tool, &definition);
    Some(Listed { tool, definition, pinned })
}

/// Asks `endpoint` for its tools, until one named `tool` was there.
pub(super) async fn ask(
    shared: &Shared,
    standing: &Standing,
    endpoint: &Arc<Endpoint>,
    tool: &str,
) -> Result<Vec<Listed>, Unlisted> {
    let asking = async {
        let (mut all, mut cursor) = (Vec::new(), None);
        for page in 0..MAX_PAGES {
            let result = self::page(shared, standing, endpoint, (page, cursor.take())).await?;
            let (listed, next) = result;
            all.extend(listed);
            cursor = next;
            if cursor.is_none() || all.iter().any(|one: &Listed| *one.tool == *tool) {
                return Ok(all);
            }
        }
        Err(Unlisted::Unreadable)
    };
    tokio::time::timeout(TIMEOUT, asking).await.unwrap_or(Err(Unlisted::Unreadable))
}

type Page = (Vec<Listed>, Option<Box<str>>);

async fn page(
    shared: &Shared,
    standing: &Standing,
    endpoint: &Arc<Endpoint>,
    (number, cursor): (usize, Option<Box<str>>),
) -> Result<Page, Unlisted> {
    let asked = standing.asked();
    // No client's id has this: answers under it are ours.
    let id = format!("agent-waypoint-{:016x}-{number}", Upstreams::dice());
    let id = Id::read(&Value::from(id.as_str())).ok_or(Unlisted::Unreadable)?;
    let head = asked.head().ok_or(Unlisted::Unreadable)?;
    let (headers, body) = request(&head.headers, &id, cursor.as_deref()).ok_or(Unlisted::Unreadable)?;
    let request = outgoing(shared, asked, headers, body).map_err(|_fault: ProxyFault| Unlisted::Unreadable)?;
    let sending = shared.upstreams.send(endpoint, upstream_version(asked.target()), request);
    let response = sending.await.map_err(Unlisted::Unsent)?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(Unlisted::NoSession);
    }
    let mut hold = shared.budget.hold(asked.peer().id());
    let message = answer(response, &id, &mut hold).await.ok_or(Unlisted::Unreadable)?;
    let rules = &asked.target().rules;
    let read = || {
        let list = decoded(&head.headers, &id)?;
        let mut message = message;
        let (mut listed, result) = (Vec::new(), message.result_mut()?);
        let next = result.get("nextCursor").and_then(Value::as_str).map(Into::into);
        filter_list(&list, result, |call, entry| {
            listed.extend(read(rules, &call.object, entry));
            false
        });
        Some((listed, next))
    };
    shared.heavy.run(hold.bytes(), read).await.ok_or(Unlisted::Unreadable)
}

/// Headers and body of the request, as a client of the call's version would send it.
fn request(of: &HeaderMap, id: &Id, cursor: Option<&str>) -> Option<(HeaderMap, Bytes)> {
    let (head, mut headers) = (head(of)?, without_parameters(of));
    let body = body(&head, id, cursor);
    let decoded = decode(&body, &Context { head: &head, session: None, session_version: None }).ok()?;
    forward_headers(&mut headers, &head, &decoded);
    Some((headers, body.into()))
}

fn decoded(of: &HeaderMap, id: &Id) -> Option<McpCall> {
    let head = head(of)?;
    let decoded = decode(&body(&head, id, None), &Context { head: &head, session: None, session_version: None });
    decoded.ok().map(|decoded| decoded.call().clone())
}

/// Without what repeats arguments of the call: a list has none.
fn without_parameters(of: &HeaderMap) -> HeaderMap {
    let mut headers = of.clone();
    drop_parameters(&mut headers);
    headers
}

/// The MCP headers of the call, of another method.
fn head(of: &HeaderMap) -> Option<McpHead> {
    let mut headers = without_parameters(of);
    headers.remove(NAME);
    if headers.contains_key(METHOD) {
        headers.insert(METHOD, HeaderValue::from_static("tools/list"));
    }
    McpHead::read(&headers).ok()
}

fn body(head: &McpHead, id: &Id, cursor: Option<&str>) -> Vec<u8> {
    let mut params = Object::new();
    if let Some(version) = head.version().filter(|version| version.is_modern()) {
        let meta: Object = [
            ("io.modelcontextprotocol/protocolVersion", Value::from(version.as_str())),
            ("io.modelcontextprotocol/clientCapabilities", Value::Object(Object::new())),
        ]
        .into_iter()
        .collect();
        params.set("_meta", meta.into());
    }
    if let Some(cursor) = cursor {
        params.set("cursor", cursor.into());
    }
    let message: Object = [
        ("jsonrpc", Value::from("2.0")),
        ("id", id.to_value()),
        ("method", "tools/list".into()),
        ("params", params.into()),
    ]
    .into_iter()
    .collect();
    let mut out = Vec::new();
    json::write(&message.into(), &mut out);
    out
}

/// The answer to `id`, in either form.
async fn answer(response: Response<InBody>, id: &Id, hold: &mut Hold) -> Option<ServerMessage> {
    let (parts, mut body) = response.into_parts();
    if !parts.status.is_success() {
        return None;
    }
    let is_it = |bytes: &[u8]| ServerMessage::parse(bytes).ok().filter(|message| message.answers(id));
    match ResponseForm::read(&parts.headers).ok()? {
        ResponseForm::Json => is_it(&collect(body, MAX_LIST, hold).await?),
        ResponseForm::EventStream => {
            let (mut parser, mut frames) = (sse::Parser::new(MAX_LIST), Vec::new());
            loop {
                let data = body.frame().await?.ok()?.into_data().unwrap_or_default();
                hold.grow(data.len()).ok()?;
                parser.push(&data, &mut frames).ok()?;
                for frame in frames.drain(..) {
                    let sse::Frame::Event(event) = frame else { continue };
                    if let Some(message) = event.as_message().and_then(|data| is_it(data.as_bytes())) {
                        return Some(message);
                    }
                }
            }
        }
        ResponseForm::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call may say its arguments again; a list that is asked for in its place has none to say.
    #[test]
    fn a_list_repeats_no_arguments() {
        let fields = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "get_note"),
            ("mcp-param-region", "eu"),
            ("authorization", "Bearer x"),
        ];
        let of: HeaderMap = fields
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let id = Id::read(&Value::from("a")).unwrap();
        let (headers, body) = request(&of, &id, None).unwrap();
        assert!(!headers.contains_key("mcp-param-region") && headers.contains_key("authorization"), "{headers:?}");
        assert_eq!(headers.get("mcp-method").unwrap(), "tools/list");
        assert!(body.starts_with(b"{"));
        assert!(decoded(&of, &id).is_some());
    }
}
