//! From flags to the call that the data path would decide on.

use anyhow::{Context as _, bail};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::call::{A2aBinding, A2aCall, A2aOperation, A2aVersion, Call, HttpHead, Object, Value};
use crate::cli::args::ExplainArgs;
use crate::mesh::{PortProtocol, Target};
use crate::wire::{a2a, json, mcp};

/// One call, as it would reach policy.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) call: Call,
    pub(super) head: Option<HttpHead>,
    /// The call in words.
    pub(super) said: String,
}

impl Question {
    /// The call that `args` describe, on a port of `target`'s protocol.
    pub(super) fn ask(args: &ExplainArgs, target: &Target) -> anyhow::Result<Self> {
        let message = message(args)?;
        match (target.protocol, message) {
            (PortProtocol::Mcp, Some(message)) => Self::mcp(args, target, &message),
            (PortProtocol::Mcp, None) if args.method.is_none() => {
                bail!("say what is called: --tool, --method or --call")
            }
            (PortProtocol::A2a, _) => Self::a2a(args, target),
            (PortProtocol::Http | PortProtocol::Tcp | PortProtocol::Undeclared, Some(_)) => bail!(
                "{} is not declared MCP (an AgentPolicy's `spec.protocol: MCP` does that), so no tool is seen in its \
                 calls; ask with --method POST --path {}",
                target.key,
                args.path
            ),
            (PortProtocol::Tcp, None) => Ok(Self::tcp()),
            (PortProtocol::Undeclared, None) if args.method.is_none() => Ok(Self::tcp()),
            (PortProtocol::Mcp | PortProtocol::Http | PortProtocol::Undeclared, None) => Self::http(args, target),
        }
    }

    fn tcp() -> Self {
        Self { call: Call::Tcp, head: None, said: "bytes (TCP)".to_owned() }
    }

    fn http(args: &ExplainArgs, target: &Target) -> anyhow::Result<Self> {
        let method = args.method.as_deref().unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes()).context("--method is no HTTP method")?;
        let head = head(args, target, method)?;
        Ok(Self { call: Call::Http, said: format!("{} {}", head.method, head.path), head: Some(head) })
    }

    /// The JSON-RPC message of `--call`, or the operation of `--method` as if it named nothing.
    fn a2a(args: &ExplainArgs, target: &Target) -> anyhow::Result<Self> {
        let mut head = head(args, target, Method::POST)?;
        head.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let call = match (&args.call, args.method.as_deref()) {
            (Some(file), _) => {
                let message = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
                let decode = || a2a::decode(&a2a::Route::JsonRpc, &head, &message);
                decode().context("this is no A2A call over JSON-RPC: 1.0 needs --header A2A-Version=1.0")?.call
            }
            (None, Some(name)) => {
                let operation = A2aOperation::ALL.into_iter().find(|operation| operation.as_str() == name);
                let operation = operation.with_context(|| format!("{name:?} is no operation of A2A 1.0"))?;
                A2aCall::new(operation, A2aBinding::JsonRpc, A2aVersion::V1_0)
            }
            (None, None) => bail!("say what is called: --method OPERATION or --call FILE"),
        };
        let said = call.operation.as_str().to_owned();
        Ok(Self { call: Call::A2a(Box::new(call)), head: Some(head), said })
    }

    fn mcp(args: &ExplainArgs, target: &Target, message: &[u8]) -> anyhow::Result<Self> {
        let mut head = head(args, target, Method::POST)?;
        let fields = &mut head.headers;
        fields.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        fields.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json, text/event-stream"));
        let mcp_head = mcp::check_headers(fields).context("the data path would answer before policy")?;
        let context = mcp::Context { head: &mcp_head, session: None, session_version: None };
        let decoded = mcp::decode(message, &context).context(
            "this is no message that reaches policy (the data path answers it with a JSON-RPC error); --call FILE takes a \
             whole message",
        )?;
        let call = decoded.call().clone();
        let said = match call.name() {
            Some(name) => format!("{} {name}", call.method),
            None => call.method.to_string(),
        };
        Ok(Self { call: Call::Mcp(call), head: Some(head), said })
    }
}

/// The JSON-RPC message that the flags describe: none where they describe an HTTP request, or nothing.
fn message(args: &ExplainArgs) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(file) = &args.call {
        return Ok(Some(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?));
    }
    if let Some(tool) = &args.tool {
        let mut params = Object::new();
        params.set("name", tool.as_str().into());
        params.set("arguments", Value::Object(arguments(&args.args)?));
        return Ok(Some(request("tools/call", Some(params))));
    }
    Ok(args.method.as_deref().filter(|method| !is_http(method)).map(|method| {
        // Notifications have no id; a request needs one.
        if method.starts_with("notifications/") { notification(method) } else { request(method, None) }
    }))
}

/// HTTP's registered methods are upper case; MCP has none that is.
fn is_http(method: &str) -> bool {
    !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn arguments(pairs: &[String]) -> anyhow::Result<Object> {
    let mut object = Object::new();
    for pair in pairs {
        let (key, text) = pair.split_once('=').with_context(|| format!("--arg {pair:?} is not K=V"))?;
        if object.get(key).is_some() {
            bail!("--arg {key} is given twice");
        }
        object.set(key, json::parse(text.as_bytes()).unwrap_or_else(|_no_json| text.into()));
    }
    Ok(object)
}

fn request(method: &str, params: Option<Object>) -> Vec<u8> {
    let mut message = Object::new();
    message.set("jsonrpc", "2.0".into());
    message.set("id", "explain".into());
    message.set("method", method.into());
    if let Some(params) = params {
        message.set("params", Value::Object(params));
    }
    written(message)
}

fn notification(method: &str) -> Vec<u8> {
    let mut message = Object::new();
    message.set("jsonrpc", "2.0".into());
    message.set("method", method.into());
    written(message)
}

fn written(message: Object) -> Vec<u8> {
    let mut out = Vec::new();
    json::write(&Value::Object(message), &mut out);
    out
}

fn head(args: &ExplainArgs, target: &Target, method: Method) -> anyhow::Result<HttpHead> {
    let (raw, query) = match args.path.split_once('?') {
        Some((raw, query)) => (raw, Some(query.to_owned())),
        None => (args.path.as_str(), None),
    };
    let path = target.paths.apply(raw).with_context(|| format!("--path {raw:?} would be refused before policy"))?;
    let mut headers = HeaderMap::new();
    for field in &args.headers {
        let (name, value) = field.split_once('=').with_context(|| format!("--header {field:?} is not NAME=VALUE"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("{name:?} is no header name"))?;
        headers.append(name, HeaderValue::from_str(value).with_context(|| format!("{value:?} is no header value"))?);
    }
    let host = match headers.remove("host") {
        Some(host) => host.to_str().context("--header host must be ASCII")?.to_ascii_lowercase(),
        None => format!("{}.{}.svc.cluster.local:{}", target.key.name, target.key.namespace, target.key.port),
    };
    Ok(HttpHead { method, path, query, host, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_json_where_they_parse_as_such() {
        let pairs = ["n=7", "s=seven", "q=\"7\"", "list=[1, 2]", "url=http://a/?b=c", "empty="].map(str::to_owned);
        let object = arguments(&pairs).unwrap();
        let mut out = Vec::new();
        json::write(&Value::Object(object), &mut out);
        let expected = r#"{"n":7,"s":"seven","q":"7","list":[1,2],"url":"http://a/?b=c","empty":""}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(arguments(&["n".to_owned()]).is_err());
        assert!(arguments(&["n=1".to_owned(), "n=2".to_owned()]).is_err());
    }

    #[test]
    fn http_methods_are_told_from_mcp_methods() {
        assert!(is_http("GET"));
        for method in ["tools/list", "ping", ""] {
            assert!(!is_http(method), "{method}");
        }
    }
}
