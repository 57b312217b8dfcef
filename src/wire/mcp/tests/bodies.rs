use proptest::prelude::*;

use super::super::{Kind, MessageFault, Version};
use super::*;
use crate::call::Phase;
use crate::fault::Faulty as _;

/// Accepted bodies, the call that is decided on, and the bytes that are forwarded.
#[test]
fn what_passes_is_what_was_read() {
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"danger","arguments":{}}}"#;
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"danger"}}"#;
    let rows = [
        ("baseline", plain.to_owned(), "danger", plain.to_owned()),
        ("escaped key", plain.replace("method", "m\\u0065thod"), "danger", plain.to_owned()),
        ("escaped value", plain.replace("tools/", "\\u0074ools\\/"), "danger", plain.to_owned()),
        ("escaped name", plain.replace("danger", "d\\u0061nger"), "danger", plain.to_owned()),
        ("white space", format!(" \r\n\t{plain}\n "), "danger", plain.to_owned()),
        ("case of a name", plain.replace("danger", "Danger"), "Danger", plain.replace("danger", "Danger")),
        ("space in a name", plain.replace("danger", " danger"), " danger", plain.replace("danger", " danger")),
        ("arguments absent", bare.to_owned(), "danger", bare.to_owned()),
        ("arguments null", call(r#"{"name":"danger","arguments":null}"#), "danger", bare.to_owned()),
        ("unknown params", call(r#"{"x":[1],"name":"a","task":{}}"#), "a", call(r#"{"x":[1],"name":"a","task":{}}"#)),
        (
            "big number",
            call(r#"{"name":"a","n":12345678901234567890123456789012}"#),
            "a",
            call(r#"{"name":"a","n":12345678901234567890123456789012}"#),
        ),
        ("text id", plain.replace(":1,", ":\"1\","), "danger", plain.replace(":1,", ":\"1\",")),
    ];
    for (probe, body, name, forwarded) in rows {
        let decoded = legacy(&body).unwrap_or_else(|e| panic!("{probe}: {e}"));
        assert_eq!(decoded.kind(), Kind::Request, "{probe}");
        assert_eq!(&*decoded.call().method, "tools/call", "{probe}");
        assert_eq!(decoded.call().name(), Some(name), "{probe}");
        assert_eq!(decoded.call().phase(), Phase::Call, "{probe}");
        assert_eq!(decoded.call().version.as_deref(), Some("2025-06-18"));
        assert_eq!(String::from_utf8(decoded.canonical()).unwrap(), forwarded, "{probe}");
    }
}

#[test]
fn arguments_are_those_that_are_forwarded() {
    let decoded = legacy(call(r#"{"name":"a","arguments":{"n":1.50,"s":"\u0041"}}"#)).unwrap();
    assert_eq!(text(&arguments(decoded.call()).clone().into()), r#"{"n":1.50,"s":"A"}"#);
    assert_eq!(decoded.params().unwrap().get("arguments").unwrap().as_object().unwrap(), arguments(decoded.call()));
    for absent in [r#"{"name":"a"}"#, r#"{"name":"a","arguments":null}"#] {
        assert!(arguments(legacy(call(absent)).unwrap().call()).is_empty());
    }
}

/// Probe, body, HTTP status, JSON-RPC code, echoed id, reason.
type Refusal<'a> = (&'a str, Vec<u8>, u16, i64, Option<&'a str>, &'a str);
type Fields<'a> = &'a [(&'static str, &'static str)];

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_does_not_pass() {
    let ping = |rest: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping"{rest}}}"#);
    let plain = call(r#"{"name":"danger","arguments":{}}"#);
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_marked: Vec<u8> = [vec![0xff, 0xfe], utf16.clone()].concat();
    let utf32: Vec<u8> = plain.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let nested = |n: usize| call(&format!(r#"{{"name":"a","arguments":{{"x":{}{}}}}}"#, "[".repeat(n), "]".repeat(n)));
    let invalid = |bytes: &[u8]| [br#"{"jsonrpc":"2.0","id":1,"method":""#, bytes, br#""}"#].concat();
    let rows: Vec<Refusal<'_>> = vec![
        ("dup name", call(r#"{"name":"safe","name":"danger"}"#).into(), 400, -32600, None, "json_duplicate_key"),
        (
            "dup name, one escaped",
            call(r#"{"name":"safe","n\u0061me":"d"}"#).into(),
            400,
            -32600,
            None,
            "json_duplicate_key",
        ),
        (
            "dup params",
            plain.replace("\"params\"", "\"params\":{},\"params\"").into(),
            400,
            -32600,
            None,
            "json_duplicate_key",
        ),
        (
            "dup method",
            plain.replace("\"method\"", "\"method\":\"ping\",\"method\"").into(),
            400,
            -32600,
            None,
            "json_duplicate_key",
        ),
        (
            "dup method, one escaped",
            plain.replace("\"method\"", "\"method\":\"ping\",\"m\\u0065thod\"").into(),
            400,
            -32600,
            None,
            "json_duplicate_key",
        ),
        (
            "dup argument",
            call(r#"{"name":"a","arguments":{"x":"ok","x":"evil"}}"#).into(),
            400,
            -32600,
            None,
            "json_duplicate_key",
        ),
        ("Method alone", plain.replace("method", "Method").into(), 400, -32600, Some("1"), "rpc_unknown_key"),
        ("method and Method", ping(r#","Method":"tools/call""#).into(), 400, -32600, Some("1"), "rpc_unknown_key"),
        ("Name alone", call(r#"{"Name":"danger"}"#).into(), 200, -32602, Some("1"), "mcp_lookalike"),
        ("name and Name", call(r#"{"name":"safe","Name":"danger"}"#).into(), 200, -32602, Some("1"), "mcp_lookalike"),
        ("Arguments", call(r#"{"name":"a","Arguments":{}}"#).into(), 200, -32602, Some("1"), "mcp_lookalike"),
        ("long s", call("{\"name\":\"a\",\"argument\u{17f}\":{}}").into(), 200, -32602, Some("1"), "mcp_lookalike"),
        ("_META", ping(r#","params":{"_META":{}}"#).into(), 200, -32602, Some("1"), "mcp_lookalike"),
        ("__proto__", call(r#"{"__proto__":{"name":"danger"}}"#).into(), 200, -32602, Some("1"), "mcp_lookalike"),
        (
            "__proto__ deep in arguments",
            call(r#"{"name":"safe","arguments":{"a":[{"__proto__":{}}]}}"#).into(),
            200,
            -32602,
            Some("1"),
            "mcp_lookalike",
        ),
        (
            "__proto__ and name",
            call(r#"{"name":"safe","__proto__":{"name":"d"}}"#).into(),
            200,
            -32602,
            Some("1"),
            "mcp_lookalike",
        ),
        (
            "Tools/Call",
            plain.replace("tools/call", "Tools/Call").into(),
            200,
            -32601,
            Some("1"),
            "mcp_method_lookalike",
        ),
        ("name with NUL", call(r#"{"name":"danger\u0000"}"#).into(), 200, -32602, Some("1"), "mcp_name"),
        ("name with C1", call(r#"{"name":"danger\u009f"}"#).into(), 200, -32602, Some("1"), "mcp_name"),
        (
            "method with NUL",
            plain.replace("tools/call", "tools/call\\u0000").into(),
            400,
            -32600,
            Some("1"),
            "rpc_method",
        ),
        ("mark", [b"\xef\xbb\xbf".as_slice(), plain.as_bytes()].concat(), 400, -32700, None, "json_byte_order_mark"),
        ("UTF-16", utf16, 400, -32700, None, "json_syntax"),
        ("UTF-16 with mark", utf16_marked, 400, -32700, None, "json_not_utf8"),
        ("UTF-32", utf32, 400, -32700, None, "json_syntax"),
        ("gzip", b"\x1f\x8b\x08\x00\x00".to_vec(), 400, -32700, None, "json_not_utf8"),
        ("batch", format!("[{plain},{plain}]").into(), 400, -32600, None, "rpc_batch"),
        ("batch of one", format!("[{plain}]").into(), 400, -32600, None, "rpc_batch"),
        ("nested batch", format!("[[{plain}]]").into(), 400, -32600, None, "rpc_batch"),
        ("trailing garbage", format!("{plain}x").into(), 400, -32700, None, "json_trailing"),
        ("two objects", format!("{}{plain}", ping("")).into(), 400, -32700, None, "json_trailing"),
        ("two lines", format!("{}\n{plain}", ping("")).into(), 400, -32700, None, "json_trailing"),
        ("trailing NUL", format!("{plain}\0").into(), 400, -32700, None, "json_trailing"),
        ("trailing comma", call(r#"{"name":"a",}"#).into(), 400, -32700, None, "json_syntax"),
        ("comment", format!("/**/{plain}").into(), 400, -32700, None, "json_syntax"),
        ("NaN", call(r#"{"name":"a","arguments":{"x":NaN}}"#).into(), 400, -32700, None, "json_syntax"),
        ("1e999", call(r#"{"name":"a","arguments":{"x":1e999}}"#).into(), 400, -32700, None, "json_number_range"),
        ("invalid UTF-8", invalid(b"a\xff"), 400, -32700, None, "json_not_utf8"),
        ("overlong UTF-8", invalid(b"\xc1\xa1"), 400, -32700, None, "json_not_utf8"),
        ("lone surrogate", call(r#"{"name":"a","x":"\ud800"}"#).into(), 400, -32700, None, "json_lone_surrogate"),
        ("raw control", call("{\"name\":\"a\nb\"}").into(), 400, -32700, None, "json_control"),
        ("no jsonrpc", r#"{"id":1,"method":"ping"}"#.into(), 400, -32600, Some("1"), "rpc_version"),
        ("jsonrpc 1.0", ping("").replace("2.0", "1.0").into(), 400, -32600, Some("1"), "rpc_version"),
        ("id null", plain.replace("\"id\":1", "\"id\":null").into(), 400, -32600, None, "rpc_id"),
        ("id 1.5", plain.replace("\"id\":1", "\"id\":1.5").into(), 400, -32600, None, "rpc_id"),
        ("id 1.0", plain.replace("\"id\":1", "\"id\":1.0").into(), 400, -32600, None, "rpc_id"),
        ("id true", plain.replace("\"id\":1", "\"id\":true").into(), 400, -32600, None, "rpc_id"),
        ("id object", plain.replace("\"id\":1", "\"id\":{}").into(), 400, -32600, None, "rpc_id"),
        ("id 2^53+1", plain.replace("\"id\":1", "\"id\":9007199254740993").into(), 400, -32600, None, "rpc_id"),
        ("no id", plain.replace("\"id\":1,", "").into(), 400, -32600, None, "mcp_needs_id"),
        ("list without id", r#"{"jsonrpc":"2.0","method":"tools/list"}"#.into(), 400, -32600, None, "mcp_needs_id"),
        (
            "notification with id",
            r#"{"jsonrpc":"2.0","id":"n","method":"notifications/initialized"}"#.into(),
            400,
            -32600,
            Some("\"n\""),
            "mcp_takes_no_id",
        ),
        (
            "method and result",
            plain.replace("\"id\"", "\"result\":{},\"id\"").into(),
            400,
            -32600,
            Some("1"),
            "rpc_mixed",
        ),
        ("method and error", ping(r#","error":{"code":1,"message":""}"#).into(), 400, -32600, Some("1"), "rpc_mixed"),
        ("extra member", ping(r#","x":1"#).into(), 400, -32600, Some("1"), "rpc_unknown_key"),
        ("params array", call(r#"["danger"]"#).into(), 400, -32600, Some("1"), "rpc_params"),
        ("params absent", ping("").replace("ping", "tools/call").into(), 200, -32602, Some("1"), "mcp_name"),
        ("no name", call("{}").into(), 200, -32602, Some("1"), "mcp_name"),
        ("empty name", call(r#"{"name":""}"#).into(), 200, -32602, Some("1"), "mcp_name"),
        ("name 5", call(r#"{"name":5}"#).into(), 200, -32602, Some("1"), "mcp_name"),
        ("long name", call(&format!(r#"{{"name":"{}"}}"#, "n".repeat(257))).into(), 200, -32602, Some("1"), "mcp_name"),
        ("arguments text", call(r#"{"name":"a","arguments":"{}"}"#).into(), 200, -32602, Some("1"), "mcp_arguments"),
        ("arguments array", call(r#"{"name":"a","arguments":[]}"#).into(), 200, -32602, Some("1"), "mcp_arguments"),
        ("_meta 5", call(r#"{"name":"a","_meta":5}"#).into(), 200, -32602, Some("1"), "mcp_meta"),
        (
            "_meta of a notification",
            r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":[]}}"#.into(),
            400,
            -32602,
            None,
            "mcp_meta",
        ),
        ("depth 200", nested(200).into(), 400, -32600, None, "json_too_deep"),
        ("depth 20000", nested(20_000).into(), 400, -32600, None, "json_too_deep"),
        ("empty", Vec::new(), 400, -32700, None, "json_syntax"),
    ];
    for (probe, body, status, code, id, reason) in rows {
        let fault = legacy(&body).expect_err(probe);
        assert_eq!(
            (fault.status().as_u16(), fault.code(), fault.id().map(|id| id.as_json()), fault.reason()),
            (status, code, id, reason),
            "{probe}"
        );
        let answer = tree(std::str::from_utf8(&fault.body()).unwrap());
        assert_eq!(answer.get("id").map(text).as_deref(), Some(id.unwrap_or("null")), "{probe}");
        assert_eq!(answer.get("error").unwrap().get("code"), Some(&Value::from(code)), "{probe}");
    }
}

#[test]
fn methods_and_what_they_name() {
    let name = r#"{"name":"n"}"#;
    let uri = r#"{"uri":"FILE:///a/../b"}"#;
    let rows = [
        ("initialize", "{}", "base"),
        ("ping", "{}", "base"),
        ("server/discover", "{}", "base"),
        ("tools/list", "{}", "tool ?"),
        ("tools/call", name, "tool n"),
        ("prompts/list", r#"{"cursor":"x"}"#, "prompt ?"),
        ("prompts/get", name, "prompt n"),
        ("resources/list", "{}", "resource ?"),
        ("resources/templates/list", "{}", "resource ?"),
        ("resources/read", uri, "resource FILE:///a/../b file:///b"),
        ("resources/subscribe", uri, "resource FILE:///a/../b file:///b"),
        ("resources/unsubscribe", uri, "resource FILE:///a/../b file:///b"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"n","title":"N"},"argument":{}}"#, "prompt n"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"FILE:///{a}/x/../b"}}"#,
            "resource FILE:///{a}/x/../b file:///{a}/b",
        ),
        ("logging/setLevel", r#"{"level":"info"}"#, "setting"),
        ("tasks/list", "{}", "task ?"),
        ("tasks/get", r#"{"taskId":"t"}"#, "task t"),
        ("tasks/result", r#"{"taskId":"t"}"#, "task t"),
        ("tasks/cancel", r#"{"taskId":"t"}"#, "task t"),
        ("tasks/update", r#"{"taskId":"t","inputResponses":{}}"#, "task t"),
        ("subscriptions/listen", "{}", "subscription [] []"),
        (
            "subscriptions/listen",
            r#"{"notifications":{"toolsListChanged":true,"x-new":false,"resourceSubscriptions":["A:b","c:d"],"taskIds":["t"]}}"#,
            r#"subscription ["a:b", "c:d"] ["t"]"#,
        ),
        ("vendor/thing", r#"{"Name":"x"}"#, "other"),
    ];
    for (method, params, expected) in rows {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"i","method":"{method}","params":{params}}}"#);
        let decoded = legacy(&body).unwrap_or_else(|e| panic!("{method}: {e}"));
        let object = match &decoded.call().object {
            McpObject::Base => "base".to_owned(),
            McpObject::Other | McpObject::ServerRequest(_) => "other".to_owned(),
            McpObject::Setting => "setting".to_owned(),
            McpObject::Task(task) => format!("task {}", task.id.known().map_or("?", |id| id)),
            McpObject::Subscription(wanted) => {
                let uris: Vec<_> = wanted.resources.iter().map(|uri| &*uri.normal).collect();
                let tasks: Vec<_> = wanted.tasks.iter().filter_map(|task| task.id.known()).collect();
                format!("subscription {uris:?} {tasks:?}")
            }
            McpObject::Tool { name, .. } => format!("tool {}", name.known().map_or("?", |n| n)),
            McpObject::Prompt { name, .. } => format!("prompt {}", name.known().map_or("?", |n| n)),
            McpObject::Resource(uri) => match uri.known() {
                Some(uri) => format!("resource {} {}", uri.raw, uri.normal),
                None => "resource ?".to_owned(),
            },
        };
        assert_eq!(object, expected, "{method}");
        assert_eq!(&*decoded.call().method, method);
        assert_eq!(String::from_utf8(decoded.canonical()).unwrap(), body);
        assert_eq!(decoded.call().phase(), if expected.ends_with('?') { Phase::List } else { Phase::Call }, "{method}");
    }
}

#[test]
fn methods_that_look_alike() {
    for method in ["Ping", "tool\u{17f}/call", "tas\u{212a}s/get", "NOTIFICATIONS/x", "notification\u{17f}/x"] {
        let fault = legacy(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#)).expect_err(method);
        assert_eq!(fault.reason(), "mcp_method_lookalike", "{method}");
    }
}

#[test]
fn resources_need_a_uri() {
    for params in ["{}", r#"{"uri":""}"#, r#"{"uri":1}"#, r#"{"uri":"a\u0000b"}"#] {
        let fault = legacy(call(params).replace("tools/call", "resources/read")).expect_err(params);
        assert_eq!((fault.code(), fault.reason()), (-32602, "mcp_name"), "{params}");
    }
    let fault = legacy(call(r#"{"uri":"a:b","URI":"a:c"}"#).replace("tools/call", "resources/read")).unwrap_err();
    assert_eq!(fault.reason(), "mcp_lookalike");
}

/// What a completion, a subscription or a task request names must be readable in one way only.
#[test]
fn what_is_named_is_named_once() {
    let many = format!(r#"{{"notifications":{{"taskIds":[{}"t"]}}}}"#, r#""t","#.repeat(256));
    let rows = [
        ("completion/complete", "{}", "mcp_reference"),
        ("completion/complete", r#"{"ref":"n"}"#, "mcp_reference"),
        ("completion/complete", r#"{"ref":{"name":"n"}}"#, "mcp_reference"),
        ("completion/complete", r#"{"ref":{"type":"ref/tool","name":"n"}}"#, "mcp_reference"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"n","uri":"a:b"}}"#, "mcp_reference"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt"}}"#, "mcp_reference"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":""}}"#, "mcp_name"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"n","Name":"m"}}"#, "mcp_lookalike"),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"n"},"Ref":{}}"#, "mcp_lookalike"),
        ("tasks/get", "{}", "mcp_name"),
        ("tasks/get", r#"{"taskId":5}"#, "mcp_name"),
        ("tasks/get", r#"{"taskId":"t","taskid":"u"}"#, "mcp_lookalike"),
        ("subscriptions/listen", r#"{"notifications":[]}"#, "mcp_subscription"),
        ("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":"a:b"}}"#, "mcp_subscription"),
        ("subscriptions/listen", r#"{"notifications":{"vendorSubscriptions":["a:b"]}}"#, "mcp_subscription"),
        ("subscriptions/listen", r#"{"notifications":{"resourceSubscriptions":[5]}}"#, "mcp_name"),
        ("subscriptions/listen", r#"{"notifications":{"ResourceSubscriptions":["a:b"]}}"#, "mcp_lookalike"),
        ("subscriptions/listen", r#"{"Notifications":{}}"#, "mcp_lookalike"),
        ("subscriptions/listen", many.as_str(), "mcp_subscription"),
    ];
    for (method, params, reason) in rows {
        let fault = legacy(call(params).replace("tools/call", method)).expect_err(params);
        assert_eq!((fault.status().as_u16(), fault.code(), fault.reason()), (200, -32602, reason), "{method} {params}");
    }
}

#[test]
fn notifications_and_responses() {
    let decoded = legacy(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
    assert_eq!((decoded.kind(), &decoded.call().object, decoded.id()), (Kind::Notification, &McpObject::Base, None));
    let decoded = legacy(r#"{"jsonrpc":"2.0","method":"vendor/event"}"#).unwrap();
    assert_eq!((decoded.kind(), &decoded.call().object), (Kind::Notification, &McpObject::Other));
    for body in
        [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#]
    {
        let decoded = legacy(body).unwrap();
        assert_eq!((decoded.kind(), &decoded.call().object), (Kind::Response, &McpObject::Other));
        assert_eq!((&*decoded.call().method, decoded.id().unwrap().as_json()), ("", "1"));
    }
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

/// Since 2026-07-28 headers repeat what the body says; servers differ in which of the two they believe.
#[test]
fn headers_and_body_agree() {
    let (version, modern) = ("mcp-protocol-version", "2026-07-28");
    let body = call(&format!(r#"{{"name":"danger",{META}}}"#));
    let without = call(r#"{"name":"danger"}"#);
    let strange = body.replace("danger", "\u{e9} ");
    let ok: &[(&str, Fields<'_>)] = &[
        (&body, &[(version, modern), ("mcp-method", "tools/call"), ("mcp-name", "danger")]),
        (&body, &[(version, modern), ("mcp-method", "tools/call"), ("mcp-name", "danger ")]),
        (&body, &[(version, modern), ("mcp-method", "tools/call"), ("mcp-name", "=?base64?ZGFuZ2Vy?=")]),
        (&strange, &[(version, modern), ("mcp-method", "tools/call"), ("mcp-name", "=?base64?w6kg?=")]),
        (&without, &[(version, "2025-06-18"), ("mcp-method", "tools/list"), ("mcp-name", "safe")]),
        (&without, &[("mcp-name", "a"), ("mcp-name", "b")]),
    ];
    for (body, fields) in ok {
        decode_with(body, fields).unwrap_or_else(|e| panic!("{body} {fields:?}: {e}"));
    }
    let call_is = ("mcp-method", "tools/call");
    let rows: &[(&str, Fields<'_>, MessageFault)] = &[
        (&body, &[(version, modern), ("mcp-name", "danger")], MessageFault::HeaderMismatch),
        (&body, &[(version, modern), call_is], MessageFault::HeaderMismatch),
        (&body, &[(version, modern), call_is, ("mcp-name", "safe")], MessageFault::HeaderMismatch),
        (
            &body,
            &[(version, modern), call_is, ("mcp-name", "danger"), ("mcp-param-x", "said by no argument")],
            MessageFault::HeaderMismatch,
        ),
        (&body, &[(version, modern), ("mcp-method", "ping"), ("mcp-name", "danger")], MessageFault::HeaderMismatch),
        (
            &body,
            &[(version, modern), ("mcp-method", "TOOLS/CALL"), ("mcp-name", "danger")],
            MessageFault::HeaderMismatch,
        ),
        (
            &body,
            &[(version, modern), call_is, ("mcp-name", "danger"), ("mcp-name", "safe")],
            MessageFault::HeaderMismatch,
        ),
        (&body, &[(version, modern), call_is, ("mcp-name", "=?BASE64?ZGFuZ2Vy?=")], MessageFault::HeaderMismatch),
        (&body, &[(version, modern), call_is, ("mcp-name", "=?base64?c2FmZQ==?=")], MessageFault::HeaderMismatch),
        (&body, &[(version, modern), call_is, ("mcp-name", "=?base64?!?=")], MessageFault::HeaderMismatch),
        (&body, &[(version, "2025-06-18")], MessageFault::HeaderMismatch),
        (&body, &[], MessageFault::HeaderMismatch),
        (&without, &[(version, modern), call_is, ("mcp-name", "danger")], MessageFault::NoVersion),
    ];
    for (body, fields, fault) in rows {
        let refused = decode_with(body, fields).expect_err(&format!("{fields:?}"));
        assert_eq!(refused.cause(), super::super::Cause::Message(*fault), "{fields:?}");
        let code = if *fault == MessageFault::NoVersion { -32602 } else { -32020 };
        assert_eq!((refused.status().as_u16(), refused.code()), (400, code));
    }
    let refused = decode_with(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[(version, modern)]).unwrap_err();
    assert_eq!(refused.reason(), "mcp_unexpected_response");
    let number = body.replace("\"2026-07-28\"", "20260728");
    let refused = decode_with(number, &[(version, modern), call_is, ("mcp-name", "danger")]).unwrap_err();
    assert_eq!(refused.reason(), "mcp_header_mismatch");
    let event = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    assert!(decode_with(event, &[(version, modern)]).is_ok());
    assert!(decode_with(event, &[(version, modern), call_is]).is_err());
}

#[test]
fn the_version_is_the_headers_else_the_sessions() {
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let (said, silent) = (head(&[("mcp-protocol-version", "2025-06-18")]), head(&[]));
    for (head, session_version, expected) in [
        (&said, Some(Version::V2025_11_25), Some("2025-06-18")),
        (&silent, Some(Version::V2025_11_25), Some("2025-11-25")),
        (&silent, None, None),
    ] {
        let decoded = decode(ping, &Context { head, session: Some("digest".into()), session_version }).unwrap();
        assert_eq!(decoded.call().version.as_deref(), expected);
        assert_eq!(decoded.call().session.as_deref(), Some("digest"));
    }
}

proptest! {
    /// What is forwarded decodes to the same call again, and to the same bytes.
    #[test]
    fn forwarding_is_final(
        key in "[a-zA-Z_]{0,9}",
        value in r#"(null|1|1\.0|"[a-z]*"|\{"a":\[1,2\]\}|\[\])"#,
        name in any::<String>(),
    ) {
        let name = text(&Value::from(&*name));
        let body = call(&format!(r#"{{"name":{name},{}:{value}}}"#, text(&Value::from(&*key))));
        if let Ok(first) = legacy(&body) {
            let again = legacy(first.canonical()).unwrap();
            prop_assert_eq!(first.call(), again.call());
            prop_assert_eq!(first.canonical(), again.canonical());
            let theirs: serde_json::Value = serde_json::from_slice(&first.canonical()).unwrap();
            prop_assert_eq!(theirs["params"]["name"].as_str(), first.call().name());
            prop_assert_eq!(theirs["method"].as_str(), Some("tools/call"));
        }
    }
}
