//! What a server asks of its client: in an event (until 2025-11-25), or inside a result (2026-07-28).

use std::sync::Arc;

use super::method::{alike, has_lookalike};
use super::view::check_keys;
use super::{MessageFault, ServerKind, ServerMessage};
use crate::call::{Elicitation, McpCall, McpObject, Object, ServerRequest, Value};

const SAMPLING_KEYS: &[&str] = &[
    "_meta",
    "messages",
    "modelPreferences",
    "systemPrompt",
    "includeContext",
    "temperature",
    "maxTokens",
    "stopSequences",
    "metadata",
    "tools",
    "toolChoice",
    "task",
];
const ELICITATION_KEYS: &[&str] = &["_meta", "mode", "message", "requestedSchema", "url", "elicitationId", "task"];
const OTHER_KEYS: &[&str] = &["_meta"];
const ERROR_KEYS: &[&str] = &["code", "message", "data"];
/// Where a result has what is asked (MCP 2026-07-28).
const REQUESTS: &str = "inputRequests";
/// The code of an error that is to be answered by a visit to a page (MCP 2025-11-25).
const ELICITATION_REQUIRED: i64 = -32042;
const METHODS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];

/// The request of a server, asked while `during` was answered, as policy sees it.
///
/// # Errors
/// [`MessageFault`] where two clients could read it in two ways: such a request reaches none.
pub fn server_request(method: &str, params: Option<&Object>, during: &McpCall) -> Result<McpCall, MessageFault> {
    if METHODS.iter().any(|known| *known != method && alike(known, method)) {
        return Err(MessageFault::MethodLookalike);
    }
    let keys = match method {
        "sampling/createMessage" => SAMPLING_KEYS,
        "elicitation/create" => ELICITATION_KEYS,
        _ => OTHER_KEYS,
    };
    check_keys(params, keys)?;
    let elicitation = if method == "elicitation/create" { Some(elicitation(params)?) } else { None };
    let tool = during.tool().cloned();
    let params = Arc::new(params.cloned().unwrap_or_default());
    let request = ServerRequest { params, tool, elicitation };
    Ok(McpCall { method: method.into(), ..during.entry(McpObject::ServerRequest(Arc::new(request))) })
}

impl ServerMessage {
    /// The requests of a server that a result of 2026-07-28, or a notification of a task, carries for its client; and the
    /// pages to which an error of 2025-11-25 sends its user.
    ///
    /// # Errors
    /// [`MessageFault`] where one of them cannot be read: the message must not pass.
    pub fn input_requests(&self, during: &McpCall) -> Result<Vec<McpCall>, MessageFault> {
        if *self.kind() == ServerKind::Error {
            return self.tree().get("error").map_or(Ok(Vec::new()), |error| elicitations(error, during));
        }
        let carrier = self.result().or_else(|| self.tree().get("params")).and_then(Value::as_object);
        let Some(carrier) = carrier else { return Ok(Vec::new()) };
        // A lenient client would take another member for them.
        if has_lookalike(carrier, REQUESTS) {
            return Err(MessageFault::Lookalike);
        }
        let Some(requests) = carrier.get(REQUESTS) else { return Ok(Vec::new()) };
        let requests = requests.as_object().ok_or(MessageFault::BadInputRequest)?;
        requests.iter().map(|(_, request)| input_request(request, during)).collect()
    }
}

/// What `URLElicitationRequiredError` asks for (MCP 2025-11-25): each entry is the parameters of an `elicitation/create`.
fn elicitations(error: &Value, during: &McpCall) -> Result<Vec<McpCall>, MessageFault> {
    check_keys(error.as_object(), ERROR_KEYS)?;
    if error.get("code").and_then(Value::as_number).and_then(|code| code.as_i64()) != Some(ELICITATION_REQUIRED) {
        return Ok(Vec::new());
    }
    let Some(data) = error.get("data") else { return Ok(Vec::new()) };
    check_keys(data.as_object(), &["elicitations"])?;
    let Some(Value::Array(wanted)) = data.get("elicitations") else { return Err(MessageFault::BadInputRequest) };
    let asked = |params: &Value| {
        let params = params.as_object().ok_or(MessageFault::BadInputRequest)?;
        server_request("elicitation/create", Some(params), during)
    };
    wanted.iter().map(asked).collect()
}

fn input_request(request: &Value, during: &McpCall) -> Result<McpCall, MessageFault> {
    let request = request.as_object().ok_or(MessageFault::BadInputRequest)?;
    check_keys(Some(request), &["method", "params"])?;
    let method = request.get("method").and_then(Value::as_str).ok_or(MessageFault::BadInputRequest)?;
    let params = match request.get("params") {
        None => None,
        Some(params) => Some(params.as_object().ok_or(MessageFault::BadInputRequest)?),
    };
    server_request(method, params, during)
}

/// A form, or a page that the user is sent to. A form that also has a page, or a page that browsers and we could take for
/// another one, is neither.
fn elicitation(params: Option<&Object>) -> Result<Elicitation, MessageFault> {
    let get = |key| params.and_then(|params| params.get(key));
    match (get("mode").map(Value::as_str), get("url")) {
        (None | Some(Some("form")), None) => Ok(Elicitation::Form),
        (Some(Some("url")), Some(Value::String(url))) => {
            let host = host_of(url).ok_or(MessageFault::BadElicitation)?;
            Ok(Elicitation::Url { url: (&**url).into(), host: host.into() })
        }
        _ => Err(MessageFault::BadElicitation),
    }
}

/// The host of an `https` or `http` URL as every browser reads it, in lower case and without the port. None where
/// browsers would mend the text first (WHATWG URL: backslashes, white space, user information, escapes in the host).
fn host_of(url: &str) -> Option<String> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port),
        _ => (authority, "443"),
    };
    let numeric = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric {
        return None;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return Some(format!("[{}]", v6.parse::<std::net::Ipv6Addr>().ok()?));
    }
    let named =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // What ends in a number is an address to browsers, in whatever base and length: `0x7f.1` is 127.0.0.1.
    let last = host.rsplit('.').next().unwrap_or_default();
    let number =
        last.bytes().all(|byte| byte.is_ascii_digit()) || last.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("0x"));
    let good = host.split('.').all(named) && (!number || host.parse::<std::net::Ipv4Addr>().is_ok());
    good.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn during() -> McpCall {
        McpCall::base("tools/call", None, None)
    }

    fn read(method: &str, params: &str) -> Result<McpCall, MessageFault> {
        let params = crate::wire::json::parse(params.as_bytes()).unwrap();
        server_request(method, params.as_object(), &during())
    }

    #[test]
    fn hosts_are_what_every_browser_takes_them_for() {
        let good = [
            ("https://Login.Example.com/x?y=1", "login.example.com"),
            ("HTTPS://a.b:8443", "a.b"),
            ("http://127.0.0.1:1/", "127.0.0.1"),
            ("https://[::1]:443/x", "[::1]"),
            ("https://[::1]", "[::1]"),
            ("https://[0:0::1]", "[::1]"),
            ("https://xn--bcher-kva.example#f", "xn--bcher-kva.example"),
        ];
        for (url, host) in good {
            assert_eq!(host_of(url).as_deref(), Some(host), "{url}");
        }
        let bad = [
            "https://good.example@evil.example/",
            "https://good.example\\@evil.example/",
            "https:good.example",
            "https:///evil.example",
            "//good.example",
            "javascript://good.example/%0aalert(1)",
            "file://good.example/etc",
            "https://good.example%2eevil.example",
            "https://b\u{fc}cher.example",
            "https://good.example\t.evil.example",
            " https://good.example",
            "https://good.example:",
            "https://good.example:x",
            "https://[::1",
            "http://0x7f.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "https://good.example./",
            "https://good..example/",
            "https://",
            "",
        ];
        for url in bad {
            assert_eq!(host_of(url), None, "{url}");
        }
    }

    #[test]
    fn elicitations_are_forms_or_pages() {
        let form = read("elicitation/create", r#"{"message":"m","requestedSchema":{}}"#).unwrap();
        let McpObject::ServerRequest(request) = &form.object else { panic!("{form:?}") };
        assert_eq!(request.elicitation, Some(Elicitation::Form));
        assert_eq!(form.phase(), crate::call::Phase::Result);
        let page = read("elicitation/create", r#"{"mode":"url","url":"https://a.b/c","message":"m"}"#).unwrap();
        let McpObject::ServerRequest(request) = &page.object else { panic!("{page:?}") };
        let url = Elicitation::Url { url: "https://a.b/c".into(), host: "a.b".into() };
        assert_eq!(request.elicitation, Some(url));
        for bad in [
            r#"{"mode":"url"}"#,
            r#"{"mode":"url","url":5}"#,
            r#"{"mode":"form","url":"https://a.b"}"#,
            r#"{"url":"https://a.b"}"#,
            r#"{"mode":"other"}"#,
            r#"{"mode":5}"#,
            r#"{"mode":"url","url":"https://a@b"}"#,
        ] {
            assert_eq!(read("elicitation/create", bad).unwrap_err(), MessageFault::BadElicitation, "{bad}");
        }
        for twin in [r#"{"mode":"form","Mode":"url"}"#, r#"{"mode":"url","url":"https://a.b","URL":"https://c.d"}"#] {
            assert_eq!(read("elicitation/create", twin).unwrap_err(), MessageFault::Lookalike, "{twin}");
        }
        assert_eq!(read("Elicitation/create", "{}").unwrap_err(), MessageFault::MethodLookalike);
    }

    #[test]
    fn pages_that_an_error_asks_for_are_found() {
        let asked = |data: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":-32042,"message":"m"{data}}}}}"#);
            ServerMessage::parse(text.as_bytes()).unwrap().input_requests(&during())
        };
        let page = r#"{"mode":"url","url":"https://a.b/c","elicitationId":"e","message":"m"}"#;
        let found = asked(&format!(r#","data":{{"elicitations":[{page},{page}]}}"#)).unwrap();
        let McpObject::ServerRequest(request) = &found[1].object else { panic!("{found:?}") };
        assert_eq!((found.len(), &*found[1].method), (2, "elicitation/create"));
        assert!(matches!(&request.elicitation, Some(Elicitation::Url { host, .. }) if &**host == "a.b"));
        assert_eq!(asked(""), Ok(Vec::new()));
        for bad in ["1", "{}", r#"{"elicitations":{}}"#, r#"{"elicitations":[5]}"#, r#"{"Elicitations":[]}"#] {
            assert!(asked(&format!(r#","data":{bad}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_inside_results_are_found_wherever_they_are() {
        let parse = |text: &str| ServerMessage::parse(text.as_bytes()).unwrap();
        let result = parse(
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"},"b":{"method":"sampling/createMessage","params":{"maxTokens":5}}}}}"#,
        );
        let methods = |message: &ServerMessage| -> Result<Vec<String>, MessageFault> {
            Ok(message.input_requests(&during())?.iter().map(|call| call.method.to_string()).collect())
        };
        assert_eq!(methods(&result).unwrap(), ["roots/list", "sampling/createMessage"]);
        let noticed = parse(
            r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"inputRequests":{"a":{"method":"x/y"}}}}"#,
        );
        assert_eq!(methods(&noticed).unwrap(), ["x/y"]);
        assert!(methods(&parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)).unwrap().is_empty());
        for bad in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"InputRequests":{"a":{"method":"roots/list"}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{},"inputrequests":{"a":{"method":"roots/list"}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"Code":-32042,"message":"m"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m","Data":{"elicitations":[]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":[]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"a":[]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"a":{"params":{}}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"a":{"method":"roots/list","params":[]}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"inputRequests":{"a":{"method":"roots/list","Method":"x"}}}}"#,
        ] {
            assert!(methods(&parse(bad)).is_err(), "{bad}");
        }
    }
}
