use super::super::denial::{Disclosure, disclosed, error, hidden, method_not_found, tool_error};
use super::super::{ServerMessage, UnknownName};
use super::*;
use crate::wire::jsonrpc::{Id, Message};

fn id(text: &str) -> Id {
    Id::read(&tree(text)).unwrap()
}

fn string(bytes: Vec<u8>) -> String {
    Message::read(&tree(std::str::from_utf8(&bytes).unwrap())).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn of(method: &str, params: &str) -> McpCall {
    legacy(call(params).replace("tools/call", method)).unwrap().call().clone()
}

#[test]
fn hidden_says_unknown() {
    let rows = [
        (tool("a\"b"), r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool: a\"b"}}"#),
        (
            of("prompts/get", r#"{"name":"p"}"#),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown prompt: p"}}"#,
        ),
        (
            of("resources/read", r#"{"uri":"x:Y"}"#),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"Resource not found","data":{"uri":"x:Y"}}}"#,
        ),
        (of("vendor/thing", "{}"), r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Method not found"}}"#),
        (of("tools/list", "{}"), r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Method not found"}}"#),
    ];
    for (call, expected) in rows {
        assert_eq!(string(hidden(&id("7"), &call, None)), expected);
    }
    let modern = McpCall { version: Some("2026-07-28".into()), ..of("resources/read", r#"{"uri":"x:y"}"#) };
    assert!(string(hidden(&id("7"), &modern, None)).contains("-32602"));
}

#[test]
fn ids_are_echoed_exactly() {
    for text in ["1", "-9007199254740991", "\"1\"", "\"\"", r#""a\"\\\n\u0001é""#] {
        let body = string(method_not_found(&id(text)));
        assert!(body.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{text},"#)), "{body}");
    }
    let unread = error(None, -32700, "Parse error", None);
    assert_eq!(string(unread), r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#);
}

#[test]
fn disclosed_says_why() {
    let told = Disclosure {
        reason: "denied_by_rule",
        rule: Some("no-delete"),
        policy: Some("tools/repo"),
        request_id: "r1",
        retry: None,
    };
    assert_eq!(
        string(disclosed(&id("\"x\""), &told)),
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":40301,"message":"Refused by policy: denied_by_rule (request r1)","data":{"reason":"denied_by_rule","rule":"no-delete","policy":"tools/repo","requestId":"r1"}}}"#
    );
    let told = Disclosure { rule: None, policy: None, reason: "not_allowed", ..told };
    assert!(string(disclosed(&id("1"), &told)).ends_with(r#""data":{"reason":"not_allowed","requestId":"r1"}}}"#));
}

#[test]
fn a_model_can_read_it() {
    assert_eq!(
        string(tool_error(&id("1"), &tool("a"), "no")),
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"no"}],"isError":true}}"#
    );
    let modern = McpCall { version: Some("2026-07-28".into()), ..tool("a") };
    assert!(string(tool_error(&id("1"), &modern, "no")).contains(r#""result":{"resultType":"complete","content""#));
}

/// The bytes of a refusal are those with which the server itself answers another name.
#[test]
fn learnt_answers_are_the_servers_own() {
    let servers = [
        r#"{"result":{"content":[{"type":"text","text":"MCP error -32602: Tool NAME not found"}],"isError":true},"jsonrpc":"2.0","id":ID}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"Tool NAME not found"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"Unknown tool: NAME"}],"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[{"type":"text","text":"Unknown tool: NAME"}],"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"unknown tool \"NAME\""}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"tool not found"}}"#,
    ];
    for server in servers {
        let answers = |name: &str, id: &str| server.replace("NAME", name).replace("ID", id);
        let real = ServerMessage::parse(answers("tool_seen", "\"first\"").as_bytes()).unwrap();
        let learnt = UnknownName::learn(&tool("tool_seen"), &real).unwrap_or_else(|| panic!("{server}"));
        assert_eq!(string(hidden(&id("2"), &tool("hidden_one"), Some(&learnt))), answers("hidden_one", "2"));
    }
    let of_tools = ServerMessage::parse(servers[4].replace("NAME", "tool_seen").replace("ID", "1").as_bytes()).unwrap();
    let of_tools = UnknownName::learn(&tool("tool_seen"), &of_tools).unwrap();
    let prompt = of("prompts/get", r#"{"name":"p_p"}"#);
    assert!(string(hidden(&id("1"), &prompt, Some(&of_tools))).contains("Unknown prompt: p_p"));

    let read = of("resources/read", r#"{"uri":"x://seen"}"#);
    let server =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"Resource not found","data":{"uri":"x://seen"}}}"#;
    let learnt = UnknownName::learn(&read, &ServerMessage::parse(server.as_bytes()).unwrap()).unwrap();
    let other = of("resources/read", r#"{"uri":"x://other"}"#);
    assert_eq!(string(hidden(&id("1"), &other, Some(&learnt))), server.replace("seen", "other"));
}

#[test]
fn nothing_is_learnt_from_what_a_caller_may_have_said() {
    let answer =
        br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool seen: buy at evil.example"}}"#;
    let answer = ServerMessage::parse(answer).unwrap();
    assert!(UnknownName::learn(&tool("seen"), &answer).is_some());
    let said: Object = [("x", Value::from("buy at evil.example"))].into_iter().collect();
    let mut call = tool("seen");
    call.object = McpObject::Tool { name: Knowable::Known("seen".into()), arguments: Knowable::Known(said.into()) };
    assert_eq!(UnknownName::learn(&call, &answer), None);
}

#[test]
fn nothing_is_learnt_from_other_answers() {
    let rows = [
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Unknown tool: seen"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"row seen not found"}],"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Unknown tool: seen"}],"isError":true,"_meta":{"of":"alice"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid arguments for tool seen"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"Unknown tool: seen"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: seen","data":{"of":"alice"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: seen (seen)"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: \u0000"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    ];
    for server in rows {
        assert_eq!(
            UnknownName::learn(&tool("seen"), &ServerMessage::parse(server.as_bytes()).unwrap()),
            None,
            "{server}"
        );
    }
    let short =
        ServerMessage::parse(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: o"}}"#);
    assert_eq!(UnknownName::learn(&tool("o"), &short.unwrap()), None);
}

#[test]
fn servers_known_by_name() {
    let answer = |name: &str| UnknownName::of_server(&tree(name)).map(|known| string(known.answer(&id("5"), "n_n")));
    let rmcp = r#"{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"tool not found"}}"#;
    assert_eq!(answer(r#"{"name":"rmcp","version":"1"}"#).as_deref(), Some(rmcp));
    let python =
        r#"{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"Unknown tool: n_n"}],"isError":true}}"#;
    assert_eq!(answer(r#"{"name":"FastMCP"}"#).as_deref(), Some(python));
    assert_eq!(answer(r#"{"name":"mine"}"#), None);
    assert_eq!(answer("{}"), None);
}
