//! Requests of our own to a server: in the name of the caller whose call depends on the answer, at the endpoint that it goes
//! to, in its session. What comes back is for us; nothing of it reaches the caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::budget::Hold;
use super::super::http::{outgoing, upstream_version};
use super::super::stages::Standing;
use super::reply::collect;
use crate::call::{McpCall, Object, Value};
use crate::config::limits::MAX_LIST;
use crate::mesh::Endpoint;
use crate::upstream::{InBody, SendFault, Upstreams};
use crate::wire::json;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{
    Context, McpHead, ResponseForm, ServerMessage, TASKS, decode, drop_parameters, encode_mirror, forward_headers,
};
use crate::wire::sse;

/// Time for all that one call makes us ask.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The server does not know the session.
    NoSession,
    /// The endpoint could not be asked.
    Unsent(SendFault),
    /// It could not be asked so, or what it answers is not read here.
    Unreadable,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) method: &'static str,
    /// The one parameter, with its name, if there is one.
    pub(super) parameter: Option<(&'static str, &'a str)>,
    /// Whether the parameter is what `Mcp-Name` repeats.
    pub(super) named: bool,
}

/// An answer, and what it was the answer to.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) call: McpCall,
    pub(super) message: ServerMessage,
    /// What it takes.
    pub(super) hold: Hold,
}

/// Asks `endpoint`; `number` tells the questions of one call apart.
pub(super) async fn ask(
    shared: &Shared,
    standing: &Standing,
    endpoint: &Arc<Endpoint>,
    (number, question): (usize, &Question<'_>),
) -> Result<Told, Unanswered> {
    let asked = standing.asked();
    // No client's id has this: answers under it are ours.
    let id = format!("agent-waypoint-{:016x}-{number}", Upstreams::dice());
    let id = Id::read(&Value::from(id.as_str())).ok_or(Unanswered::Unreadable)?;
    let head = asked.head().ok_or(Unanswered::Unreadable)?;
    let (call, headers, body) = question.request(&head.headers, &id).ok_or(Unanswered::Unreadable)?;
    let request = outgoing(shared, asked, headers, body).map_err(|_fault: ProxyFault| Unanswered::Unreadable)?;
    let sending = shared.upstreams.send(endpoint, upstream_version(asked.target()), request);
    let response = sending.await.map_err(Unanswered::Unsent)?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(Unanswered::NoSession);
    }
    let mut hold = shared.budget.hold(asked.peer().id());
    let message = answer(response, &id, &mut hold).await.ok_or(Unanswered::Unreadable)?;
    Ok(Told { call, message, hold })
}

impl Question<'_> {
    /// The request as it is decided on, its headers and its body, as a client of the call's version would send it.
    fn request(&self, of: &HeaderMap, id: &Id) -> Option<(McpCall, HeaderMap, Bytes)> {
        let mut headers = of.clone();
        // What repeats arguments of the call: here there are none.
        drop_parameters(&mut headers);
        let head = self.head(&headers)?;
        let body = self.body(&head, id);
        let decoded = decode(&body, &Context { head: &head, session: None, session_version: None }).ok()?;
        forward_headers(&mut headers, &head, &decoded);
        Some((decoded.call().clone(), headers, body.into()))
    }

    /// The MCP headers of the call, of this method.
    fn head(&self, of: &HeaderMap) -> Option<McpHead> {
        let mut headers = of.clone();
        headers.remove(NAME);
        if headers.contains_key(METHOD) {
            headers.insert(METHOD, HeaderValue::from_static(self.method));
            if let Some((_, name)) = self.parameter.filter(|_| self.named) {
                headers.insert(NAME, encode_mirror(name)?);
            }
        }
        McpHead::read(&headers).ok()
    }

    fn body(&self, head: &McpHead, id: &Id) -> Vec<u8> {
        let object = |pairs: &[(&str, Value)]| pairs.iter().cloned().collect::<Object>();
        let mut params = Object::new();
        if let Some(version) = head.version().filter(|version| version.is_modern()) {
            // The caller asked for a task of its own, and so has this extension.
            let extensions = object(&[(TASKS, Object::new().into())]);
            let capabilities = if self.named { object(&[("extensions", extensions.into())]) } else { Object::new() };
            let meta = object(&[
                ("io.modelcontextprotocol/protocolVersion", Value::from(version.as_str())),
                ("io.modelcontextprotocol/clientCapabilities", capabilities.into()),
            ]);
            params.set("_meta", meta.into());
        }
        if let Some((key, value)) = self.parameter {
            params.set(key, value.into());
        }
        let message = object(&[
            ("jsonrpc", Value::from("2.0")),
            ("id", id.to_value()),
            ("method", self.method.into()),
            ("params", params.into()),
        ]);
        let mut out = Vec::new();
        json::write(&message.into(), &mut out);
        out
    }
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

    fn of(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    /// A call may say its arguments again; a list that is asked for in its place has none to say.
    #[test]
    fn a_list_repeats_no_arguments() {
        let of = of(&[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "get_note"),
            ("mcp-param-region", "eu"),
            ("authorization", "Bearer x"),
        ]);
        let id = Id::read(&Value::from("a")).unwrap();
        let list = Question { method: "tools/list", parameter: Some(("cursor", "c")), named: false };
        let (call, headers, body) = list.request(&of, &id).unwrap();
        assert!(!headers.contains_key("mcp-param-region") && headers.contains_key("authorization"), "{headers:?}");
        assert_eq!(headers.get("mcp-method").unwrap(), "tools/list");
        assert!(!headers.contains_key("mcp-name"));
        assert!(String::from_utf8_lossy(&body).contains(r#""cursor":"c""#));
        assert_eq!(&*call.method, "tools/list");
    }

    #[test]
    fn a_task_is_named_in_the_header_too() {
        let of = of(&[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tasks/cancel"), ("mcp-name", "sealed")]);
        let id = Id::read(&Value::from("a")).unwrap();
        for name in ["t-1", "t\u{e4}sk"] {
            let get = Question { method: "tasks/get", parameter: Some(("taskId", name)), named: true };
            let (_, headers, body) = get.request(&of, &id).unwrap();
            assert_eq!(headers.get("mcp-method").unwrap(), "tasks/get");
            assert_eq!(headers.get("mcp-name"), encode_mirror(name).as_ref());
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains(name) && body.contains("io.modelcontextprotocol/tasks"), "{body}");
        }
        // Before 2026-07-28 nothing is repeated.
        let legacy = HeaderMap::new();
        let get = Question { method: "tasks/get", parameter: Some(("taskId", "t-1")), named: true };
        let (_, headers, body) = get.request(&legacy, &id).unwrap();
        assert!(!headers.contains_key("mcp-name") && !String::from_utf8_lossy(&body).contains("_meta"));
    }
}
