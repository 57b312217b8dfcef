//! The tools of an MCP server as it lists them: a client that begins a session, asks for every page and ends the session.
//!
//! Plain HTTP to an address: of a port that is forwarded, or of `connect`. It calls no tool.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::call::{Object, Value};
use crate::config::limits::MAX_LIST;
use crate::wire::json;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{META_VERSION, ResponseForm, ServerKind, ServerMessage, Version};
use crate::wire::sse;

/// Time for one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pages that are asked for.
const MAX_PAGES: usize = 1_024;
/// Of versions with sessions the one that is offered; the server chooses.
const OFFERED: &str = Version::V2025_11_25.as_str();
/// Without sessions.
const MODERN: &str = Version::V2026_07_28.as_str();
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// Where a server is: `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    authority: String,
    path: String,
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("only http:// is spoken here: forward a port of the server to this machine".to_owned());
        }
        let wrong = || format!("{text:?} is not http://HOST:PORT/PATH, as in http://127.0.0.1:8080/mcp");
        let uri: http::Uri = text.parse().map_err(|_no_uri| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Self { authority, path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string) })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Why the tools of a server are not known.
#[derive(Debug, thiserror::Error)]
pub enum ListFault {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Connect(#[source] std::io::Error),
    /// No HTTP.
    #[error("does not speak HTTP/1.1: {0}")]
    Http(#[from] hyper::Error),
    /// No answer in time.
    #[error("did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Another status.
    #[error("answered {0}: is this the path of its MCP endpoint?")]
    Status(StatusCode),
    /// No answer that can be read.
    #[error("its answer to `{0}` is no message of MCP")]
    Unreadable(&'static str),
    /// An error of the protocol.
    #[error("answered `{0}` with an error: {1}")]
    Refused(&'static str, String),
    /// More pages than are read.
    #[error("lists more than {MAX_PAGES} pages")]
    TooLong,
}

/// In which way a server is spoken to.
enum Dialect {
    /// Until 2025-11-25: in a session, where it gave one.
    Session { version: Box<str>, id: Option<http::HeaderValue> },
    /// From 2026-07-28 on: each request by itself.
    Single,
}

/// Every entry of the server's `tools/list`, in its order.
///
/// # Errors
/// [`ListFault`]
pub async fn tools(server: &ServerUrl) -> Result<Vec<Value>, ListFault> {
    let dialect = begin(server).await?;
    let (mut tools, mut cursor) = (Vec::new(), None);
    for page in 0..MAX_PAGES {
        let mut params = Object::new();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", Value::String(cursor));
        }
        let (_, result) = ask(server, &dialect, "tools/list", (page, params)).await?;
        if let Some(Value::Array(entries)) = result.get("tools") {
            tools.extend(entries.iter().cloned());
        }
        cursor = result.get("nextCursor").and_then(Value::as_str).map(Into::into);
        if cursor.is_none() {
            end(server, &dialect).await;
            return Ok(tools);
        }
    }
    Err(ListFault::TooLong)
}

async fn begin(server: &ServerUrl) -> Result<Dialect, ListFault> {
    let info = [("name", Value::from("agent-waypoint-pins")), ("version", env!("CARGO_PKG_VERSION").into())];
    let params: Object = [
        ("protocolVersion", Value::from(OFFERED)),
        ("capabilities", Value::Object(Object::new())),
        ("clientInfo", Value::Object(info.into_iter().collect())),
    ]
    .into_iter()
    .collect();
    let first = Dialect::Session { version: "".into(), id: None };
    let (headers, result) = match ask(server, &first, "initialize", (0, params)).await {
        Ok(answered) => answered,
        // Later versions know no such method.
        Err(ListFault::Refused(..)) | Err(ListFault::Status(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)) => {
            return Ok(Dialect::Single);
        }
        Err(fault) => return Err(fault),
    };
    let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or(OFFERED).into();
    let dialect = Dialect::Session { version, id: headers.get(SESSION).cloned() };
    let ready = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let (status, ..) = send(server, &dialect, (Method::POST, "notifications/initialized"), ready.to_vec()).await?;
    if status.is_success() { Ok(dialect) } else { Err(ListFault::Status(status)) }
}

/// Tells the server that the session is over; whether it cares is its own affair.
async fn end(server: &ServerUrl, dialect: &Dialect) {
    if let Dialect::Session { id: Some(_), .. } = dialect {
        drop(send(server, dialect, (Method::DELETE, ""), Vec::new()).await);
    }
}

async fn ask(
    server: &ServerUrl,
    dialect: &Dialect,
    method: &'static str,
    (number, mut params): (usize, Object),
) -> Result<(HeaderMap, Value), ListFault> {
    let id = Value::from(i64::try_from(number).unwrap_or_default());
    if let Dialect::Single = dialect {
        let meta = [(META_VERSION, Value::from(MODERN)), (META_CAPABILITIES, Value::Object(Object::new()))];
        params.set("_meta", Value::Object(meta.into_iter().collect()));
    }
    let message: Object =
        [("jsonrpc", Value::from("2.0")), ("id", id.clone()), ("method", method.into()), ("params", params.into())]
            .into_iter()
            .collect();
    let mut body = Vec::new();
    json::write(&message.into(), &mut body);
    let (status, headers, body) = send(server, dialect, (Method::POST, method), body).await?;
    let id = Id::read(&id).ok_or(ListFault::Unreadable(method))?;
    let Some(message) = answer(&headers, &body, &id) else {
        return Err(if status.is_success() { ListFault::Unreadable(method) } else { ListFault::Status(status) });
    };
    match (message.kind(), message.result()) {
        (ServerKind::Result, Some(result)) => Ok((headers, result.clone())),
        _ => {
            let told = message.tree().get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
            Err(ListFault::Refused(method, told.unwrap_or("no reason given").to_owned()))
        }
    }
}

async fn send(
    server: &ServerUrl,
    dialect: &Dialect,
    (verb, method): (Method, &'static str),
    body: Vec<u8>,
) -> Result<(StatusCode, HeaderMap, Bytes), ListFault> {
    let mut request = Request::builder()
        .method(verb)
        .uri(&server.path)
        .header(HOST, &server.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream");
    match dialect {
        Dialect::Session { version, id } => {
            if !version.is_empty() {
                request = request.header(VERSION, &**version);
            }
            if let Some(id) = id {
                request = request.header(SESSION, id);
            }
        }
        Dialect::Single => request = request.header(VERSION, MODERN).header(METHOD, method),
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_odd| ListFault::Unreadable(method))?;
    let sending = async {
        let tcp = TcpStream::connect(&server.authority).await.map_err(ListFault::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let exchange = async {
            let (parts, mut body) = sender.send_request(request).await?.into_parts();
            let mut held = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                held.extend_from_slice(&data);
                // A stream of events may go on after its answer.
                if held.len() > MAX_LIST || has_answer(&parts.headers, &held) {
                    break;
                }
            }
            Ok((parts.status, parts.headers, Bytes::from(held)))
        };
        tokio::select! {
            done = exchange => done,
            // It ends after the exchange; before, its error is the exchange's.
            _ = async { drop(connection.await); std::future::pending::<()>().await } => Err(ListFault::Timeout),
        }
    };
    tokio::time::timeout(TIMEOUT, sending).await.unwrap_or(Err(ListFault::Timeout))
}

fn has_answer(headers: &HeaderMap, body: &[u8]) -> bool {
    matches!(ResponseForm::read(headers), Ok(ResponseForm::EventStream))
        && events(body).any(|message| matches!(message.kind(), ServerKind::Result | ServerKind::Error))
}

fn events(body: &[u8]) -> impl Iterator<Item = ServerMessage> {
    let mut frames = Vec::new();
    let read = sse::Parser::new(MAX_LIST).push(body, &mut frames).is_ok();
    frames.into_iter().filter(move |_| read).filter_map(|frame| match frame {
        sse::Frame::Event(event) => ServerMessage::parse(event.as_message()?.as_bytes()).ok(),
        sse::Frame::Comment => None,
    })
}

fn answer(headers: &HeaderMap, body: &[u8], id: &Id) -> Option<ServerMessage> {
    match ResponseForm::read(headers).ok()? {
        ResponseForm::Json => ServerMessage::parse(body).ok().filter(|message| message.answers(id)),
        ResponseForm::EventStream => events(body).find(|message| message.answers(id)),
        ResponseForm::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_server_is() {
        let of = |text: &str| text.parse::<ServerUrl>().map(|url| url.to_string());
        assert_eq!(of("http://127.0.0.1:8080/mcp").as_deref(), Ok("http://127.0.0.1:8080/mcp"));
        assert_eq!(of("http://[::1]:1/a?b=c").as_deref(), Ok("http://[::1]:1/a?b=c"));
        assert_eq!(of("http://notes").as_deref(), Ok("http://notes:80/"));
        assert!(of("https://x/").unwrap_err().contains("forward a port"));
        for wrong in ["", "127.0.0.1:8080", "/mcp", "ftp://x/", "http://u@x/"] {
            assert!(of(wrong).unwrap_err().contains("as in http://"), "{wrong}");
        }
    }
}
