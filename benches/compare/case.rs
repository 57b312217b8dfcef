//! What is asked, and what answer counts.

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// `GET` on a plain HTTP port.
    Get,
    /// `tools/call` of 1 KiB that the policy allows.
    Call,
    /// The same of 64 KiB.
    LargeCall,
    /// `tools/call` of 1 KiB that the policy refuses.
    Refused,
    /// `tools/list` of 200 tools, of which half may be seen.
    List,
    /// `tools/call` answered by 100 events.
    Events,
    /// `SendMessage` of 1 KiB to an agent, in JSON-RPC.
    Message,
    /// A unary call of 1 KiB on a plain gRPC port.
    Grpc,
    /// What the policy refuses, in HTTP/2 inside of the tunnel.
    RefusedInH2,
}

impl Case {
    pub(crate) const ALL: [Self; 9] = [
        Self::Get,
        Self::Call,
        Self::Refused,
        Self::RefusedInH2,
        Self::LargeCall,
        Self::List,
        Self::Events,
        Self::Message,
        Self::Grpc,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "plain GET",
            Self::Call => "tools/call 1 KiB",
            Self::LargeCall => "tools/call 64 KiB",
            Self::Refused => "tools/call refused",
            Self::List => "tools/list of 200",
            Self::Events => "SSE of 100 events",
            Self::Message => "A2A message 1 KiB",
            Self::Grpc => "gRPC unary 1 KiB",
            Self::RefusedInH2 => "tools/call refused, HTTP/2 inside",
        }
    }

    /// Where Envoy does less than ours in this row.
    pub(crate) fn remark(self) -> &'static str {
        match self {
            Self::Call | Self::LargeCall => "Envoy: no rule on arguments",
            Self::List => "Envoy: list not filtered",
            Self::Events => "Envoy: events not decoded",
            Self::Message => "Envoy: a plain POST, neither decoded nor decided on",
            Self::Refused => "Envoy: 403, the session's HTTP/1.1 connection may end",
            Self::RefusedInH2 => "Envoy: 403",
            Self::Get | Self::Grpc => "",
        }
    }

    /// Whether it is spoken in HTTP/2 inside of the tunnel.
    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::Grpc | Self::RefusedInH2)
    }

    /// Which service is called.
    pub(crate) fn vip(self) -> &'static str {
        match self {
            Self::Get => super::HTTP,
            Self::Message => super::A2A,
            Self::Grpc => super::GRPC,
            Self::Call | Self::LargeCall | Self::Refused | Self::RefusedInH2 | Self::List | Self::Events => super::MCP,
        }
    }

    pub(crate) fn request(self) -> Vec<u8> {
        let body = match self {
            Self::Get => {
                return b"GET /items/7 HTTP/1.1\r\nhost: tools\r\nuser-agent: bench\r\naccept: */*\r\n\r\n".to_vec();
            }
            Self::Call => call("create_issue", 1 << 10),
            Self::LargeCall => call("create_issue", 64 << 10),
            Self::Refused | Self::RefusedInH2 => call("delete_issue", 1 << 10),
            Self::Grpc => return unary(&[b'x'; 1 << 10]),
            Self::Events => call("get_events", 200),
            Self::Message => return post("/", "a2a-version: 1.0\r\n", &message()),
            Self::List => br#"{"jsonrpc":"2.0","id":17,"method":"tools/list"}"#.to_vec(),
        };
        post("/mcp", MCP_FIELDS, &body)
    }

    /// The same without its body, for HTTP/2.
    pub(crate) fn head(self) -> http::Request<()> {
        let is_grpc = matches!(self, Self::Grpc);
        let (path, kind) = if is_grpc { ("/bench.Echo/Say", "application/grpc") } else { ("/mcp", "application/json") };
        let request = http::Request::post(format!("http://tools{path}")).header("content-type", kind);
        let request = if is_grpc {
            request.header("te", "trailers")
        } else {
            request.header("accept", "application/json, text/event-stream").header("mcp-protocol-version", "2025-06-18")
        };
        request.header("user-agent", "bench").body(()).unwrap()
    }

    /// What goes as the body in HTTP/2.
    pub(crate) fn body(self) -> Vec<u8> {
        if matches!(self, Self::RefusedInH2) { call("delete_issue", 1 << 10) } else { self.request() }
    }

    /// A `tools/call` whose answer begins with an event and never ends.
    pub(crate) fn held() -> Vec<u8> {
        post("/mcp", MCP_FIELDS, &call("get_held", 200))
    }

    /// Whether that is the answer.
    pub(crate) fn is_answered(self, answer: &[u8]) -> bool {
        let has = |what: &str| answer.windows(what.len()).any(|window| window == what.as_bytes());
        let ok = answer.starts_with(b"HTTP/1.1 200");
        match self {
            Self::Get => ok,
            Self::Call | Self::LargeCall => ok && has(r#""isError":false"#),
            Self::Refused | Self::RefusedInH2 => answer.starts_with(b"HTTP/1.1 403") || (ok && has(r#""error""#)),
            Self::Grpc => ok && has("grpc-status: 0"),
            Self::List => ok && has("get_item_0"),
            Self::Message => ok && has(r#""message""#),
            Self::Events => ok && has(r#""progress":98"#) && has(r#""isError":false"#),
        }
    }
}

const MCP_FIELDS: &str = "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-06-18\r\n";

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: tools\r\ncontent-type: application/json\r\n{fields}user-agent: bench\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One message of gRPC.
pub(crate) fn unary(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// `SendMessage` of about 1 KiB.
fn message() -> Vec<u8> {
    let text = "Please look at the printer on floor 3. ".repeat(20);
    format!(
        r#"{{"jsonrpc":"2.0","id":17,"method":"SendMessage","params":{{"message":{{"messageId":"m-1","role":"ROLE_USER","parts":[{{"text":"{text}"}},{{"url":"https://files.example.com/report.pdf","mediaType":"application/pdf"}}]}}}}}}"#
    )
    .into_bytes()
}

/// A `tools/call` of about `size` bytes, as agents send them.
fn call(tool: &str, size: usize) -> Vec<u8> {
    let mut body = format!(
        r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"owner":"acme","items":["#
    );
    let mut n = 0;
    while body.len() + 120 < size {
        let comma = if n == 0 { "" } else { "," };
        body.push_str(&format!(
            r#"{comma}{{"id":{n},"title":"Printer on floor {n} says \"PC LOAD LETTER\"","done":false,"hours":1.25}}"#
        ));
        n += 1;
    }
    body.push_str(r#"]},"_meta":{"progressToken":17}}}"#);
    body.into_bytes()
}
