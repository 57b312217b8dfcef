use super::super::{Filtered, ServerKind, ServerMessage, filter_list, is_list, mark_private};
use super::*;
use crate::fault::Faulty as _;
use crate::wire::jsonrpc::Id;

fn list(method: &str) -> McpCall {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    legacy(body).unwrap().call().clone()
}

fn filtered(method: &str, result: &str, keep: impl FnMut(&McpCall) -> bool) -> (String, Filtered) {
    let mut result = tree(result);
    let mut keep = keep;
    let counts = filter_list(&list(method), &mut result, |call, _| keep(&call));
    (text(&result), counts)
}

#[test]
fn only_what_is_kept_stays() {
    let keep = |call: &McpCall| {
        assert_eq!(call.version.as_deref(), Some("2025-06-18"));
        call.name().is_some_and(|name| name.contains("safe"))
    };
    let rows = [
        (
            "tools/list",
            r#"{"tools":[{"name":"safe","x-vendor":1.0},{"name":"danger"},{"name":"safe2"}],"nextCursor":"c"}"#,
            r#"{"tools":[{"name":"safe","x-vendor":1.0},{"name":"safe2"}],"nextCursor":"c"}"#,
            (2, 1),
        ),
        (
            "tools/list",
            r#"{"tools":[{"Name":"safe"},{"name":5},{"name":""},{"name":"safe\u0000"},"safe",null,["safe"]]}"#,
            r#"{"tools":[]}"#,
            (0, 7),
        ),
        ("tools/list", r#"{"tools":[{"name":"danger"}],"nextCursor":"c"}"#, r#"{"tools":[],"nextCursor":"c"}"#, (0, 1)),
        (
            "tools/list",
            r#"{"resultType":"complete","tools":[],"ttlMs":5,"cacheScope":"public"}"#,
            r#"{"resultType":"complete","tools":[],"ttlMs":5,"cacheScope":"private"}"#,
            (0, 0),
        ),
        ("tools/list", r#"{"tools":{"name":"danger"}}"#, r#"{"tools":[]}"#, (0, 0)),
        // Go's reader takes the later of two members, whatever its case.
        ("tools/list", r#"{"tools":[{"name":"safe"}],"Tools":[{"name":"danger"}]}"#, r#"{"tools":[]}"#, (0, 0)),
        ("tools/list", r#"{"tool\u017f":[{"name":"danger"}],"tools":[{"name":"safe"}]}"#, r#"{"tools":[]}"#, (0, 0)),
        (
            "tools/list",
            r#"{"tools":[{"name":"safe","Name":"danger"},{"name":"safe"}]}"#,
            r#"{"tools":[{"name":"safe"}]}"#,
            (1, 1),
        ),
        ("tools/list", r#"{"x":1}"#, r#"{"x":1,"tools":[]}"#, (0, 0)),
        ("tools/list", r#"[{"name":"danger"}]"#, r#"{"tools":[]}"#, (0, 0)),
        (
            "prompts/list",
            r#"{"prompts":[{"name":"danger"},{"name":"safe"}]}"#,
            r#"{"prompts":[{"name":"safe"}]}"#,
            (1, 1),
        ),
        (
            "resources/list",
            r#"{"resources":[{"uri":"file:///safe","name":"n"},{"uri":"file:///d","name":"safe"},{"name":"safe"}]}"#,
            r#"{"resources":[{"uri":"file:///safe","name":"n"}]}"#,
            (1, 2),
        ),
        (
            "resources/templates/list",
            r#"{"resourceTemplates":[{"uriTemplate":"x://safe/{id}"},{"uriTemplate":"x://d/{id}"},{"uri":"x://safe"}]}"#,
            r#"{"resourceTemplates":[{"uriTemplate":"x://safe/{id}"}]}"#,
            (1, 2),
        ),
    ];
    for (method, result, expected, (kept, dropped)) in rows {
        assert!(is_list(method));
        assert_eq!(filtered(method, result, keep), (expected.to_owned(), Filtered { kept, dropped }), "{result}");
    }
}

#[test]
fn entries_know_their_name_and_nothing_else() {
    let mut seen = Vec::new();
    filtered("tools/list", r#"{"tools":[{"name":"a"}]}"#, |call| {
        seen.push(call.clone());
        true
    });
    filtered("resources/list", r#"{"resources":[{"uri":"FILE:///a/../b"}]}"#, |call| {
        seen.push(call.clone());
        true
    });
    let tool = McpObject::Tool { name: Knowable::Known("a".into()), arguments: Knowable::Unknown };
    assert_eq!((&seen[0].object, &*seen[0].method), (&tool, "tools/list"));
    let McpObject::Resource(Knowable::Known(uri)) = &seen[1].object else { panic!("{seen:?}") };
    assert_eq!((&*uri.raw, &*uri.normal), ("FILE:///a/../b", "file:///b"));
}

#[test]
fn other_results_are_left_alone() {
    let mut result = tree(r#"{"tools":[{"name":"a"}],"cacheScope":"public"}"#);
    let before = result.clone();
    assert_eq!(filter_list(&tool("a"), &mut result, |_, _| false), Filtered::default());
    assert_eq!(result, before);
    assert!(!is_list("tools/call"));
}

#[test]
fn messages_of_a_server() {
    let id = |text| Id::read(&tree(text)).unwrap();
    let parse = |text: &str| ServerMessage::parse(text.as_bytes());
    let mut answer = parse(r#" {"result":{"tools":[]},"jsonrpc":"2.0","id":1}"#).unwrap();
    assert!(answer.answers(&id("1")) && !answer.answers(&id("\"1\"")) && !answer.answers(&id("2")));
    assert_eq!(answer.canonical(), br#"{"result":{"tools":[]},"jsonrpc":"2.0","id":1}"#);
    *answer.result_mut().unwrap() = tree("{}");
    assert_eq!(answer.canonical(), br#"{"result":{},"jsonrpc":"2.0","id":1}"#);

    let error = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}"#).unwrap();
    assert_eq!((error.kind(), error.id(), error.answers(&id("1"))), (&ServerKind::Error, None, false));
    let request = parse(r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#).unwrap();
    assert_eq!(request.kind(), &ServerKind::Request("roots/list".into()));
    assert!(!request.answers(&id("0")));
    let event = parse(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).unwrap();
    assert_eq!(event.kind(), &ServerKind::Notification("notifications/message".into()));

    let rows = [
        (r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#, "rpc_batch"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[]}}"#, "json_duplicate_key"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}x"#, "json_trailing"),
        ("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", "json_byte_order_mark"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, "rpc_mixed"),
    ];
    for (text, reason) in rows {
        assert_eq!(parse(text).unwrap_err().reason(), reason, "{text}");
    }
}

#[test]
fn what_one_caller_got_is_no_other_callers() {
    let rows = [
        ("resources/read", "2026-07-28", r#"{"cacheScope":"public"}"#, r#"{"cacheScope":"private"}"#),
        ("resources/read", "2026-07-28", "{}", "{}"),
        ("tools/list", "2026-07-28", r#"{"tools":[]}"#, r#"{"tools":[],"cacheScope":"private"}"#),
        ("tools/list", "2025-11-25", r#"{"tools":[]}"#, r#"{"tools":[]}"#),
        ("tools/list", "2025-11-25", r#"{"cacheScope":"public"}"#, r#"{"cacheScope":"private"}"#),
        ("tools/list", "2026-07-28", "[]", "[]"),
    ];
    for (method, version, result, want) in rows {
        let mut result = tree(result);
        mark_private(&McpCall::base(method, Some(version.into()), None), &mut result);
        assert_eq!(text(&result), want, "{method} {version}");
    }
}
