//! Ways round a policy that were measured against the Python SDK's server: each is refused, in every binding it has.

use super::{JSON, V1, envelope, framed, grpc, head, outcome, read, rest, rest03, rpc, rpc03};

const MESSAGE: &str = r#"{"messageId":"m","role":"ROLE_USER","parts":[{"text":"hi"}]}"#;

fn message(members: &str) -> String {
    format!(r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"hi"}}]{members}}}}}"#)
}

/// The same parameters in JSON-RPC and over HTTP.
fn both(params: &str) -> (&'static str, &'static str) {
    (outcome(rpc(&envelope("SendMessage", params))), outcome(rest("POST", "/message:send", params)))
}

#[test]
fn parameters_that_two_readers_could_read_in_two_ways() {
    assert_eq!(both(&message("")), ("call", "call"));
    let rows = [
        (message(r#","contextId":"a","contextId":"b""#), "json_duplicate_key"),
        (message(r#","contextId":"a","context\u0049d":"b""#), "json_duplicate_key"),
        (message(r#","metadata":{"a":{"b":1,"b":2}}"#), "json_duplicate_key"),
        (message(r#","contextId":"a","context_id":"b""#), "a2a_twice"),
        (message(r#","contextId":"a","context_id":null"#), "a2a_twice"),
        (message(r#","context_id":"a","contextId":"a""#), "a2a_twice"),
        (message(r#","ContextId":"a""#), "a2a_lookalike"),
        (message(r#","contextid":"a""#), "a2a_lookalike"),
        (message(r#","context-id":"a""#), "a2a_lookalike"),
        (message(r#","[contextId]":"a""#), "a2a_lookalike"),
        (message(r#","ta\u017f\u212aId":"a""#), "a2a_lookalike"),
        (message(r#","__proto__":{"taskId":"a"}"#), "a2a_proto_key"),
        (message(r#","metadata":{"x":[{"__proto__":1}]}"#), "a2a_proto_key"),
        (message(r#","content":[{"text":"x"}]"#), "a2a_foreign_member"),
        (message(r#","taskId":7"#), "a2a_type"),
        (message(r#","taskId":["t"]"#), "a2a_type"),
        (message(r#","taskId":"a\u0000b""#), "a2a_id"),
        (message(r#","referenceTaskIds":"t""#), "a2a_type"),
        (message(r#","referenceTaskIds":[null]"#), "a2a_type"),
        (message(&format!(r#","taskId":"{}""#, "x".repeat(257))), "a2a_id"),
        (r#"{"message":null}"#.to_owned(), "a2a_missing"),
        ("{}".to_owned(), "a2a_missing"),
        (r#"{"message":[]}"#.to_owned(), "a2a_type"),
        (format!(r#"{{"request":{MESSAGE}}}"#), "a2a_foreign_member"),
        (format!(r#"{{"message":{MESSAGE},"Tenant":"x"}}"#), "a2a_lookalike"),
        (
            format!(
                r#"{{"message":{MESSAGE},"configuration":{{"taskPushNotificationConfig":{{"url":"https://a/"}},"task_push_notification_config":{{"url":"https://b/"}}}}}}"#
            ),
            "a2a_twice",
        ),
        (
            format!(r#"{{"message":{MESSAGE},"configuration":{{"pushNotificationConfig":{{"url":"https://a/"}}}}}}"#),
            "a2a_foreign_member",
        ),
        (format!(r#"{{"message":{MESSAGE},"configuration":{{"taskPushNotificationConfig":{{}}}}}}"#), "a2a_missing"),
        (
            format!(
                r#"{{"message":{MESSAGE},"configuration":{{"taskPushNotificationConfig":{{"url":"https://a/","taskId":"other"}}}}}}"#
            ),
            "a2a_disagree",
        ),
        (
            format!(
                r#"{{"tenant":"a","message":{MESSAGE},"configuration":{{"taskPushNotificationConfig":{{"url":"https://a/","tenant":"b"}}}}}}"#
            ),
            "a2a_disagree",
        ),
    ];
    for (params, expected) in rows {
        assert_eq!(both(&params), (expected, expected), "{params}");
    }
}

#[test]
fn parts_and_roles() {
    let part = |part: &str| message("").replace(r#"{"text":"hi"}"#, part);
    for (params, expected) in [
        (part(r#"{"text":"a","data":{}}"#), "a2a_exclusive"),
        (part(r#"{"text":"a","url":"https://x/"}"#), "a2a_exclusive"),
        (part(r#"{"text":"a","data":null}"#), "a2a_exclusive"),
        (part(r#"{"text":"a","url":null}"#), "call"),
        (part(r#"{"raw":"not base64!"}"#), "a2a_type"),
        (part("{}"), "a2a_part"),
        (part(r#"{"file":{"uri":"https://x/"}}"#), "a2a_foreign_member"),
        (part(r#"{"text":"a","Url":"https://x/"}"#), "a2a_lookalike"),
        (message("").replace("ROLE_USER", "ROLE_AGENT"), "a2a_role"),
        (message("").replace(r#""ROLE_USER""#, "2"), "a2a_role"),
        (message("").replace(r#""ROLE_USER""#, "1"), "call"),
        (message("").replace(r#""ROLE_USER""#, "0"), "a2a_role"),
        (message("").replace(r#""ROLE_USER""#, "7"), "a2a_type"),
        (message("").replace(r#""ROLE_USER""#, r#""user""#), "a2a_type"),
        (message("").replace(r#""role":"ROLE_USER","#, ""), "a2a_role"),
    ] {
        assert_eq!(both(&params), (expected, expected), "{params}");
    }
    let old = |part: &str| {
        outcome(rpc03(&envelope(
            "message/send",
            &format!(r#"{{"message":{{"messageId":"m","role":"user","parts":[{part}]}}}}"#),
        )))
    };
    for (part, expected) in [
        (r#"{"kind":"text","text":"a"}"#, "call"),
        (r#"{"kind":"data","text":"a"}"#, "a2a_part"),
        (r#"{"kind":"text","text":"a","file":{"uri":"https://x/"}}"#, "a2a_exclusive"),
        (r#"{"kind":"file","file":{"uri":"https://x/","bytes":"QQ=="}}"#, "a2a_exclusive"),
        (r#"{"kind":"file","file":{}}"#, "a2a_part"),
        (r#"{"kind":"x","text":"a"}"#, "a2a_type"),
        (r#"{"text":"a","url":"https://x/"}"#, "a2a_foreign_member"),
    ] {
        assert_eq!(old(part), expected, "{part}");
    }
}

#[test]
fn envelopes() {
    let get = envelope("GetTask", r#"{"id":"t"}"#);
    let rows = [
        (format!("[{get}]"), "rpc_batch"),
        ("[]".to_owned(), "rpc_batch"),
        (get.replace(r#""id":1,"#, ""), "a2a_notification"),
        (get.replace(r#""id":1,"#, r#""id":null,"#), "rpc_id"),
        (get.replace(r#""id":1,"#, r#""id":1.5,"#), "rpc_id"),
        (get.replace("GetTask", "getTask"), "a2a_unknown_method"),
        (get.replace("GetTask", "GetTask "), "a2a_unknown_method"),
        (get.replace("GetTask", "GetAgentCard"), "a2a_unknown_method"),
        (get.replace("GetTask", r"G\u0065tTask"), "call"),
        (get.replace(r#""method":"GetTask""#, r#""method":"GetTask","method":"CancelTask""#), "json_duplicate_key"),
        (get.replace(r#""method":"GetTask""#, r#""method":"GetTask","Method":"CancelTask""#), "rpc_unknown_key"),
        (get.replace(r#""jsonrpc":"2.0""#, r#""jsonrpc":"1.0""#), "rpc_version"),
        (get.replace(r#"{"id":"t"}"#, r#"["t"]"#), "rpc_params"),
        (get.replace(r#"{"id":"t"}"#, "{}"), "a2a_missing"),
        (get.replace(r#"{"id":"t"}"#, r#"{"id":""}"#), "a2a_missing"),
        (get.replace(r#"{"id":"t"}"#, r#"{"id":"t","name":"tasks/u"}"#), "a2a_foreign_member"),
        (get.replace(r#"{"id":"t"}"#, r#"{"id":"t","historyLength":NaN}"#), "json_syntax"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), "a2a_response"),
        (format!("\u{feff}{get}"), "json_byte_order_mark"),
        (format!("{get}{get}"), "json_trailing"),
    ];
    for (body, expected) in rows {
        assert_eq!(outcome(rpc(&body)), expected, "{body}");
    }
    let wide: Vec<u8> = get.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let head = head("POST", "/", &[JSON, V1]);
    assert_eq!(outcome(read(&head, &wide).map(|decoded| decoded.call)), "json_syntax");
    let marked = [&[0xff, 0xfe], &*wide].concat();
    assert_eq!(outcome(read(&head, &marked).map(|decoded| decoded.call)), "json_not_utf8");
}

#[test]
fn heads() {
    let get = envelope("GetTask", r#"{"id":"t"}"#);
    let of = |fields: &[(&'static str, &str)]| {
        let mut all = vec![V1];
        all.extend(fields);
        outcome(read(&head("POST", "/", &all), get.as_bytes()).map(|decoded| decoded.call))
    };
    for (fields, expected) in [
        (&[JSON][..], "call"),
        (&[("content-type", "application/a2a+json; charset=\"UTF-8\"")], "call"),
        (&[], "content_type"),
        (&[("content-type", "text/plain")], "content_type"),
        (&[("content-type", "application/json; charset=utf-16")], "charset"),
        (&[("content-type", "application/json, text/plain")], "content_type"),
        (&[JSON, JSON], "repeated_header"),
        (&[JSON, ("content-encoding", "gzip")], "content_encoding"),
        (&[JSON, ("content-encoding", "identity")], "call"),
        (&[("content-type", "application/grpc")], "a2a_unrecognised"),
        (&[("content-type", "application/grpc-web+proto")], "content_type"),
        (&[("content-type", "application/grpc+json")], "content_type"),
        (&[("content-type", "multipart/form-data; boundary=x")], "content_type"),
    ] {
        assert_eq!(of(fields), expected, "{fields:?}");
    }
    for target in ["/?A2A-Version=1.0", "/?a2a-version=0.3", "/?x=1&A2A%2DVersion=0.3"] {
        let head = head("POST", target, &[JSON, V1]);
        assert_eq!(outcome(read(&head, get.as_bytes()).map(|decoded| decoded.call)), "a2a_query", "{target}");
    }
}

#[test]
fn paths() {
    for (verb, target, expected) in [
        ("GET", "/%74asks/t", "call"),
        ("POST", "/tasks/t%3Acancel", "call"),
        ("GET", "/tasks/a%2Db", "call"),
        ("GET", "/tasks/a%252Fb", "a2a_unrecognised"),
        ("GET", "/tasks/a:b", "a2a_unrecognised"),
        ("GET", "/tasks/t;x=y", "a2a_unrecognised"),
        ("GET", "/tasks/t%3Bx", "a2a_unrecognised"),
        ("POST", "/tasks/t;x:cancel", "a2a_unrecognised"),
        ("GET", "/acme;x/tasks/t", "a2a_unrecognised"),
        ("GET", "/tasks/t:cancel", "a2a_unrecognised"),
        ("POST", "/tasks/t:Cancel", "a2a_unrecognised"),
        ("POST", "/tasks/t:cancel/", "a2a_unrecognised"),
        ("GET", "/Tasks/t", "a2a_unrecognised"),
        ("GET", "/tasks/t/", "a2a_unrecognised"),
        ("GET", "/tasks/", "a2a_unrecognised"),
        ("PUT", "/tasks/t", "a2a_unrecognised"),
        ("HEAD", "/tasks/t", "a2a_unrecognised"),
        ("OPTIONS", "/", "a2a_unrecognised"),
        ("GET", "/", "a2a_unrecognised"),
        ("GET", "/healthz", "a2a_unrecognised"),
        ("DELETE", "/tasks/t", "a2a_unrecognised"),
        // Where a server mounted elsewhere finds an operation, there is no JSON-RPC either.
        ("POST", "/a/b/c/tasks/t:cancel", "a2a_unrecognised"),
        ("POST", "/a/b/message:send", "a2a_unrecognised"),
        ("POST", "/a/b/c/tasks/t/pushNotificationConfigs", "a2a_unrecognised"),
        ("POST", "/a/b/c/Tasks/t", "a2a_unrecognised"),
        ("GET", "/tasks/t?tenant=a&tenant=a", "a2a_query"),
        ("GET", "/tasks?contextId=a&contextId=b", "a2a_query"),
        ("GET", "/tasks?context_id=a", "a2a_query"),
        ("GET", "/tasks?ContextId=a", "a2a_query"),
        ("GET", "/tasks?contextId=a&x=1", "a2a_query"),
        ("GET", "/tasks?contextId=a;x", "a2a_query"),
        ("GET", "/tasks?contextId=%zz", "a2a_query"),
        ("GET", "/tasks?context%49d=a", "call"),
        ("GET", "/acme/tasks/t?tenant=other", "a2a_disagree"),
        ("GET", "/acme/tasks/t?tenant=acme", "call"),
        ("GET", "/.well-known/agent-card.json?x=1", "a2a_query"),
        ("POST", "/.well-known/agent-card.json", "a2a_rpc_path"),
    ] {
        let fields = if verb == "POST" && !target.ends_with("json") { vec![JSON, V1] } else { vec![V1] };
        let read = read(&head(verb, target, &fields), b"").map(|decoded| decoded.call);
        assert_eq!(outcome(read), expected, "{verb} {target}");
    }
    assert_eq!(outcome(rest("GET", "/tasks/t", "{}")), "content_type", "a GET has no body");
}

#[test]
fn what_stands_in_two_places_agrees() {
    for (target, body, expected) in [
        ("/tasks/t:cancel", "", "call"),
        ("/tasks/t:cancel", "{}", "call"),
        ("/tasks/t:cancel", r#"{"id":"t"}"#, "call"),
        ("/tasks/t:cancel", r#"{"id":"u"}"#, "a2a_disagree"),
        ("/tasks/t:cancel", r#"{"id":"t","Id":"u"}"#, "a2a_lookalike"),
        ("/acme/tasks/t:cancel", r#"{"tenant":"other"}"#, "a2a_disagree"),
        ("/tasks/t/pushNotificationConfigs", r#"{"url":"https://a/","taskId":"t"}"#, "call"),
        ("/tasks/t/pushNotificationConfigs", r#"{"url":"https://a/","task_id":"u"}"#, "a2a_disagree"),
        ("/tasks/t/pushNotificationConfigs", r#"{"url":"https://a/","taskId":"t","task_id":"t"}"#, "a2a_twice"),
        ("/tasks/t/pushNotificationConfigs", "{}", "a2a_missing"),
        (
            "/tasks/t/pushNotificationConfigs",
            r#"{"url":"https://a/","config":{"url":"http://127.0.0.1/"}}"#,
            "a2a_foreign_member",
        ),
        (
            "/acme/message:send",
            r#"{"tenant":"other","message":{"messageId":"m","role":1,"parts":[{"text":"a"}]}}"#,
            "a2a_disagree",
        ),
    ] {
        assert_eq!(outcome(rest("POST", target, body)), expected, "{target} {body}");
    }
    for (body, expected) in [
        (
            r#"{"config":{"name":"tasks/t/pushNotificationConfigs/c","pushNotificationConfig":{"url":"https://a/"}}}"#,
            "call",
        ),
        (r#"{"name":"tasks/u/pushNotificationConfigs/c","pushNotificationConfig":{"url":"https://a/"}}"#, "a2a_name"),
        (
            r#"{"config":{"name":"tasks/u/pushNotificationConfigs/c","pushNotificationConfig":{"url":"https://a/"}}}"#,
            "a2a_disagree",
        ),
        (r#"{"parent":"tasks/u","config":{"pushNotificationConfig":{"url":"https://a/"}}}"#, "a2a_disagree"),
    ] {
        let found = outcome(rest03("POST", "/v1/tasks/t/pushNotificationConfigs", body));
        let expected = if expected == "a2a_name" { "a2a_disagree" } else { expected };
        assert_eq!(found, expected, "{body}");
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

#[test]
fn protobuf_that_is_merged_or_read_in_two_ways() {
    const SEND: &str = "/lf.a2a.v1.A2AService/SendMessage";
    let role = vec![4 << 3, 1];
    let text = field(5, &field(1, b"hi"));
    let of = |parts: &[&[u8]]| field(2, &parts.concat());
    let good = of(&[&field(1, b"m"), &role, &text]);
    let rows = [
        (good.clone(), "call"),
        // A decoy, and the real one behind it: readers that merge see the second.
        ([good.clone(), of(&[&field(2, b"victim")])].concat(), "a2a_twice"),
        (of(&[&field(2, b"mine"), &field(2, b"victim"), &role, &text]), "a2a_twice"),
        (of(&[&role, &role, &text]), "a2a_twice"),
        (of(&[&role, &field(5, &[field(1, b"a"), field(3, b"https://x/")].concat())]), "a2a_exclusive"),
        (of(&[&role, &field(5, &[field(1, b"a"), field(1, b"b")].concat())]), "a2a_twice"),
        (of(&[&[4 << 3, 2], &text]), "a2a_role"),
        (of(&[&text]), "a2a_role"),
        (of(&[&field(4, b"\x01"), &text]), "a2a_type"),
        (of(&[&role, &text, &[2 << 3, 7]]), "a2a_type"),
        (of(&[&role, &text, &field(2, b"\xff")]), "a2a_not_utf8"),
        (of(&[&role, &text, &[(15 << 3) | 3, (15 << 3) | 4]]), "a2a_not_protobuf"),
        (good[..good.len() - 1].to_vec(), "a2a_not_protobuf"),
        (vec![0x00, 0x00], "a2a_not_protobuf"),
        (vec![0xff; 11], "a2a_not_protobuf"),
        // What the schema does not have passes.
        ([good.clone(), vec![0x7a, 1, 0]].concat(), "call"),
        (vec![], "a2a_missing"),
    ];
    for (message, expected) in rows {
        assert_eq!(outcome(grpc(SEND, &message)), expected, "{message:x?}");
    }
    // A bomb of nested lists: a Value of a ListValue of a Value ..
    let mut value = vec![8, 0];
    for _ in 0..200 {
        let list = [vec![0x0a], length(&value), value].concat();
        value = [vec![0x32], length(&list), list].concat();
    }
    let part = [vec![0x22], length(&value), value].concat();
    let part = [vec![0x2a], length(&part), part].concat();
    let message = [role, part].concat();
    let message = [vec![0x12], length(&message), message].concat();
    assert_eq!(outcome(grpc(SEND, &message)), "a2a_too_much");
}

fn length(bytes: &[u8]) -> Vec<u8> {
    let mut n = bytes.len();
    let mut out = Vec::new();
    while n >= 128 {
        out.push(u8::try_from(n % 128).unwrap() | 128);
        n /= 128;
    }
    out.push(u8::try_from(n).unwrap());
    out
}

#[test]
fn frames() {
    let message = field(2, b"t");
    let of = |body: Vec<u8>| {
        let head = head("POST", "/lf.a2a.v1.A2AService/GetTask", &[("content-type", "application/grpc")]);
        outcome(read(&head, &body).map(|decoded| decoded.call))
    };
    let one = framed(&message);
    let mut compressed = one.clone();
    compressed[0] = 1;
    let mut flagged = one.clone();
    flagged[0] = 128;
    let mut long = one.clone();
    long[1] = 0xff;
    for (body, expected) in [
        (one.clone(), "call"),
        ([one.clone(), one.clone()].concat(), "grpc_several"),
        ([one.clone(), vec![0]].concat(), "grpc_several"),
        (one[..one.len() - 1].to_vec(), "grpc_truncated"),
        (vec![], "grpc_truncated"),
        (compressed, "grpc_compressed"),
        (flagged, "grpc_flag"),
        (long, "grpc_truncated"),
    ] {
        assert_eq!(of(body.clone()), expected, "{body:x?}");
    }
    let http1 = head("POST", "/lf.a2a.v1.A2AService/GetTask", &[("content-type", "application/grpc")]);
    assert!(super::route(&http1, &super::Mounts::default(), false).is_err());
    let json = head("POST", "/lf.a2a.v1.A2AService/GetTask", &[JSON]);
    assert!(super::route(&json, &super::Mounts::default(), true).is_err());
}
