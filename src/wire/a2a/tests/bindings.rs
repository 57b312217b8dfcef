//! The same call in every binding and version.

use super::{JSON, V1, envelope, grpc, head, outcome, read, rest, rest03, rpc, rpc03};
use crate::call::{A2aBinding, A2aCall, A2aOperation as Op, A2aVersion, Named, TaskState, UrlHost, Value};
use crate::fault::Faulty as _;
use crate::wire::a2a::{Mounts, Subject, card_urls, learn_json, route};
use crate::wire::json;

/// What policy sees but for binding and version.
fn said(mut call: A2aCall) -> A2aCall {
    (call.binding, call.version) = (A2aBinding::JsonRpc, A2aVersion::V1_0);
    call
}

const ROWS: &[(Op, &str, &str, &str)] = &[
    (Op::SendMessage, "SendMessage", "message/send", "POST /message:send"),
    (Op::SendStreamingMessage, "SendStreamingMessage", "message/stream", "POST /message:stream"),
    (Op::GetTask, "GetTask", "tasks/get", "GET /tasks/t1"),
    (Op::CancelTask, "CancelTask", "tasks/cancel", "POST /tasks/t1:cancel"),
    (Op::SubscribeToTask, "SubscribeToTask", "tasks/resubscribe", "GET /tasks/t1:subscribe"),
    (Op::SubscribeToTask, "SubscribeToTask", "tasks/resubscribe", "POST /tasks/t1:subscribe"),
    (
        Op::CreateTaskPushNotificationConfig,
        "CreateTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/set",
        "POST /tasks/t1/pushNotificationConfigs",
    ),
    (
        Op::GetTaskPushNotificationConfig,
        "GetTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/get",
        "GET /tasks/t1/pushNotificationConfigs/c1",
    ),
    (
        Op::ListTaskPushNotificationConfigs,
        "ListTaskPushNotificationConfigs",
        "tasks/pushNotificationConfig/list",
        "GET /tasks/t1/pushNotificationConfigs",
    ),
    (
        Op::DeleteTaskPushNotificationConfig,
        "DeleteTaskPushNotificationConfig",
        "tasks/pushNotificationConfig/delete",
        "DELETE /tasks/t1/pushNotificationConfigs/c1",
    ),
];

/// What asks for the task `t1`: in JSON-RPC of 1.0 and of 0.3, and as a body over HTTP of either.
fn params(operation: Op) -> (&'static str, &'static str, &'static str, &'static str) {
    match operation {
        Op::SendMessage | Op::SendStreamingMessage => (
            r#"{"message":{"messageId":"m","role":"ROLE_USER","taskId":"t1","parts":[{"text":"hi"}]}}"#,
            r#"{"message":{"kind":"message","messageId":"m","role":"user","taskId":"t1","parts":[{"kind":"text","text":"hi"}]}}"#,
            r#"{"message":{"messageId":"m","role":"ROLE_USER","taskId":"t1","parts":[{"text":"hi"}]}}"#,
            r#"{"message":{"messageId":"m","role":"ROLE_USER","taskId":"t1","content":[{"text":"hi"}]}}"#,
        ),
        Op::CreateTaskPushNotificationConfig => (
            r#"{"taskId":"t1","url":"https://h.example/x"}"#,
            r#"{"taskId":"t1","pushNotificationConfig":{"url":"https://h.example/x"}}"#,
            r#"{"url":"https://h.example/x"}"#,
            r#"{"config":{"pushNotificationConfig":{"url":"https://h.example/x"}}}"#,
        ),
        Op::GetTaskPushNotificationConfig | Op::DeleteTaskPushNotificationConfig => {
            (r#"{"taskId":"t1","id":"c1"}"#, r#"{"id":"t1","pushNotificationConfigId":"c1"}"#, "", "")
        }
        Op::ListTaskPushNotificationConfigs => (r#"{"taskId":"t1"}"#, r#"{"id":"t1"}"#, "", ""),
        Op::GetTask
        | Op::CancelTask
        | Op::SubscribeToTask
        | Op::ListTasks
        | Op::GetExtendedAgentCard
        | Op::GetAgentCard => (r#"{"id":"t1"}"#, r#"{"id":"t1"}"#, "", ""),
    }
}

#[test]
fn every_operation_under_every_name() {
    for (operation, modern, old, http) in ROWS {
        let (new_params, old_params, body, old_body) = params(*operation);
        let (verb, path) = http.split_once(' ').unwrap();
        let calls = [
            rpc(&envelope(modern, new_params)),
            rpc03(&envelope(old, old_params)),
            rest(verb, path, body),
            rest03(verb, &format!("/v1{path}"), old_body),
        ];
        let calls: Vec<_> =
            calls.into_iter().map(|call| call.unwrap_or_else(|fault| panic!("{http}: {fault}"))).collect();
        for call in &calls {
            assert_eq!(call.operation, *operation, "{http}");
            assert_eq!(call.task, Some(Named::new("t1")), "{http}");
            assert_eq!(said(call.clone()), said(calls[0].clone()), "{http}");
        }
    }
}

#[test]
fn operations_that_not_every_version_has() {
    assert_eq!(outcome(rpc03(&envelope("tasks/list", "{}"))), "a2a_unknown_method");
    assert_eq!(rpc(&envelope("ListTasks", r#"{"contextId":"c"}"#)).unwrap().context, Some(Named::new("c")));
    assert_eq!(rest("GET", "/tasks?contextId=c", "").unwrap().context, Some(Named::new("c")));
    for (verb, path) in [("GET", "/extendedAgentCard"), ("GET", "/acme/extendedAgentCard")] {
        assert_eq!(rest(verb, path, "").unwrap().operation, Op::GetExtendedAgentCard);
    }
    for path in ["/v1/card", "/agent/authenticatedExtendedCard"] {
        assert_eq!(rest03("GET", path, "").unwrap().operation, Op::GetExtendedAgentCard);
    }
    assert_eq!(
        rpc03(&envelope("agent/getAuthenticatedExtendedCard", "{}")).unwrap().operation,
        Op::GetExtendedAgentCard
    );
    for path in ["/.well-known/agent-card.json", "/.well-known/agent.json", "/x/y/.well-known/agent-card.json"] {
        assert_eq!(read(&head("GET", path, &[]), b"").unwrap().call.operation, Op::GetAgentCard);
    }
}

#[test]
fn names_of_grpc_by_package() {
    let id = |number: u8, text: &str| [&[number << 3 | 2, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let rows = [
        ("/lf.a2a.v1.A2AService/GetTask", id(2, "t"), "call"),
        ("/lf.a2a.v1.A2AService/SubscribeToTask", id(2, "t"), "call"),
        ("/lf.a2a.v1.A2AService/ListTasks", vec![], "call"),
        ("/lf.a2a.v1.A2AService/GetExtendedAgentCard", vec![], "call"),
        ("/a2a.v1.A2AService/GetTask", id(1, "tasks/t"), "call"),
        ("/a2a.v1.A2AService/TaskSubscription", id(1, "tasks/t"), "call"),
        ("/a2a.v1.A2AService/ListTaskPushNotificationConfig", id(1, "tasks/t"), "call"),
        ("/a2a.v1.A2AService/GetTaskPushNotificationConfig", id(1, "tasks/t/pushNotificationConfigs/c"), "call"),
        ("/a2a.v1.A2AService/GetAgentCard", vec![], "call"),
        // The other schema's reading of it: `id` where `name` is meant, and `name` where there is none.
        ("/a2a.v1.A2AService/GetTask", id(1, "t"), "a2a_name"),
        ("/a2a.v1.A2AService/GetTask", id(1, "tasks/t/pushNotificationConfigs/c"), "a2a_name"),
        ("/lf.a2a.v1.A2AService/GetTask", id(1, "tasks/t"), "a2a_missing"),
        // Names of the other version, of no version, in another case.
        ("/a2a.v1.A2AService/SubscribeToTask", id(1, "tasks/t"), "a2a_unknown_method"),
        ("/a2a.v1.A2AService/ListTasks", vec![], "a2a_unknown_method"),
        ("/lf.a2a.v1.A2AService/TaskSubscription", vec![], "a2a_unknown_method"),
        ("/lf.a2a.v1.A2AService/getTask", id(2, "t"), "a2a_unknown_method"),
        ("/lf.a2a.v1.A2AService/GetTask/", id(2, "t"), "a2a_unknown_method"),
        ("/a2a.v1.A2aService/GetTask", id(1, "tasks/t"), "a2a_unrecognised"),
        ("/x/lf.a2a.v1.A2AService/GetTask", id(2, "t"), "a2a_unrecognised"),
    ];
    for (method, message, expected) in rows {
        assert_eq!(outcome(grpc(method, &message)), expected, "{method}");
    }
}

#[test]
fn what_a_message_says_is_one_shape() {
    let modern = rpc(&envelope(
        "SendMessage",
        r#"{"tenant":"acme","message":{"messageId":"m","contextId":"c","taskId":"t","role":1,"referenceTaskIds":["r"],
        "parts":[{"text":"hi","mediaType":"text/plain"},{"raw":"QUJD","filename":"f"},{"url":"https://x/"},{"data":{"skillId":"s"}}],
        "metadata":{"k":1},"extensions":["https://e/"]},
        "configuration":{"task_push_notification_config":{"url":"http://127.0.0.1:9/x","token":"s"}},"metadata":{"a":"b"}}"#,
    ))
    .unwrap();
    let mut out = Vec::new();
    json::write(&Value::Object(modern.message.clone().unwrap()), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        r#"{"id":"m","role":"ROLE_USER","parts":[{"size":2,"text":"hi","kind":"text","mediaType":"text/plain"},{"size":3,"kind":"raw","filename":"f"},{"url":"https://x/","kind":"url"},{"data":{"skillId":"s"},"kind":"data"}],"extensions":["https://e/"],"metadata":{"k":1}}"#
    );
    assert_eq!((modern.tenant.as_deref(), &modern.references), (Some("acme"), &vec![Named::new("r")]));
    let push = &modern.push[0];
    assert!(push.inline && push.has_credentials);
    assert_eq!(push.parts.as_ref().unwrap().host, UrlHost::Address("127.0.0.1".parse().unwrap()));

    let old = rpc03(&envelope(
        "message/send",
        r#"{"message":{"messageId":"m","contextId":"c","taskId":"t","role":"user","reference_task_ids":["r"],
        "parts":[{"kind":"text","text":"hi"},{"kind":"file","file":{"bytes":"QUJD","name":"f"}},{"file":{"uri":"https://x/"}},{"kind":"data","data":{"skillId":"s"}}]},
        "configuration":{"pushNotificationConfig":{"url":"http://127.0.0.1:9/x"}}}"#,
    ))
    .unwrap();
    let kinds = |call: &A2aCall| {
        let parts = call.message.as_ref().unwrap().get("parts").and_then(Value::as_array).unwrap().to_vec();
        parts.iter().map(|part| part.get("kind").and_then(Value::as_str).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&old), kinds(&modern));
    assert_eq!((old.push.len(), old.push[0].inline, old.references.len()), (1, true, 1));
}

#[test]
fn tenants_and_bases() {
    let tenant = |target: &str, bases: &[&str]| {
        let head = head("GET", target, &[V1]);
        let bases: Vec<std::sync::Arc<str>> = bases.iter().map(|base| (*base).into()).collect();
        let route = route(&head, &Mounts { rest: &bases, rpc: &[] }, false).ok()?;
        let call = crate::wire::a2a::decode(&route, &head, b"").ok()?.call;
        Some((call.operation, call.tenant.map(|tenant| tenant.to_string())))
    };
    let (get, none) = (Op::GetTask, None);
    assert_eq!(tenant("/tasks/t", &[]), Some((get, none.clone())));
    assert_eq!(tenant("/acme/tasks/t", &[]), Some((get, Some("acme".into()))));
    assert_eq!(tenant("/a/b/tasks/t", &[]), None);
    assert_eq!(tenant("/a/b/tasks/t", &["/a/b"]), Some((get, none)));
    assert_eq!(tenant("/acme/a/b/tasks/t", &["/a/b/"]), Some((get, Some("acme".into()))));
    assert_eq!(tenant("/a/b/acme/tasks/t", &["/a/b"]), Some((get, Some("acme".into()))));
    assert_eq!(tenant("/tasks/t", &["/a/b"]), None);
    assert_eq!(tenant("/a/tasks/t", &["/", "/a"]), None, "a tenant or a base");
    assert_eq!(tenant("/v1/tasks/t", &[]), None, "0.3's path under 1.0");
    assert_eq!(tenant("/tasks/tasks/t", &[]), None);
}

#[test]
fn answers_tell_whose_task_they_are_about() {
    let rows = [
        (Op::SendMessage, r#"{"task":{"id":"t","contextId":"c"}}"#, Some("t"), Some("c")),
        (Op::SendMessage, r#"{"message":{"messageId":"m","contextId":"c"}}"#, None, Some("c")),
        (Op::SendStreamingMessage, r#"{"statusUpdate":{"taskId":"t","contextId":"c"}}"#, Some("t"), Some("c")),
        (Op::SendStreamingMessage, r#"{"artifactUpdate":{"taskId":"t"}}"#, Some("t"), None),
        (Op::SendMessage, r#"{"kind":"task","id":"t","contextId":"c"}"#, Some("t"), Some("c")),
        (Op::SendStreamingMessage, r#"{"kind":"status-update","taskId":"t","contextId":"c"}"#, Some("t"), Some("c")),
        (Op::GetTask, r#"{"id":"t","contextId":"c"}"#, Some("t"), Some("c")),
        (Op::ListTasks, r#"{"tasks":[{"id":"t"}]}"#, None, None),
        (Op::SendMessage, r#"{"id":"t"}"#, None, None),
        (Op::SendMessage, r#"[]"#, None, None),
    ];
    for (operation, text, task, context) in rows {
        let expected = Subject { task: task.map(Into::into), context: context.map(Into::into), state: None };
        assert_eq!(learn_json(operation, &json::parse(text.as_bytes()).unwrap()), expected, "{text}");
    }
}

#[test]
fn states_have_one_name_whatever_the_binding_and_version() {
    use TaskState as State;
    let rows = [
        (r#"{"task":{"id":"t","status":{"state":"TASK_STATE_INPUT_REQUIRED"}}}"#, Some(State::InputRequired)),
        (r#"{"statusUpdate":{"taskId":"t","status":{"state":"TASK_STATE_WORKING"}}}"#, Some(State::Working)),
        (r#"{"kind":"task","id":"t","status":{"state":"auth-required"}}"#, Some(State::AuthRequired)),
        (r#"{"kind":"status-update","taskId":"t","status":{"state":"canceled"}}"#, Some(State::Canceled)),
        (r#"{"task":{"id":"t","status":{"state":"TASK_STATE_CANCELLED"}}}"#, Some(State::Canceled)),
        (r#"{"task":{"id":"t","status":{"state":3}}}"#, Some(State::Completed)),
        (r#"{"task":{"id":"t","status":{"state":0}}}"#, None),
        (r#"{"task":{"id":"t","status":{"state":9}}}"#, None),
        (r#"{"task":{"id":"t","status":{"state":"unknown"}}}"#, None),
        (r#"{"task":{"id":"t","status":{"state":"TASK_STATE_UNSPECIFIED"}}}"#, None),
        (r#"{"task":{"id":"t","status":"working"}}"#, None),
        (r#"{"task":{"id":"t"}}"#, None),
        (r#"{"artifactUpdate":{"taskId":"t"}}"#, None),
    ];
    for (text, state) in rows {
        assert_eq!(learn_json(Op::SendMessage, &json::parse(text.as_bytes()).unwrap()).state, state, "{text}");
    }
}

#[test]
fn json_rpc_stands_where_a_policy_says_and_nowhere_else() {
    let at = |path: &str, rpc: &[&str]| {
        let rpc: Vec<std::sync::Arc<str>> = rpc.iter().map(|path| (*path).into()).collect();
        let found = route(&head("POST", path, &[JSON, V1]), &Mounts { rest: &[], rpc: &rpc }, false);
        found.map_or_else(|fault| fault.reason(), |_| "call")
    };
    for (path, rpc, expected) in [
        ("/", &[][..], "call"),
        ("/a2a", &[], "a2a_rpc_path"),
        ("/a2a", &["/a2a"], "call"),
        ("/a2a/", &["/a2a"], "a2a_rpc_path"),
        ("/a2a/x", &["/a2a"], "a2a_rpc_path"),
        ("/A2A", &["/a2a"], "a2a_rpc_path"),
        ("/", &["/a2a"], "a2a_rpc_path"),
        ("/b", &["/a2a", "/b"], "call"),
        ("/tasks", &["/tasks"], "a2a_unrecognised"),
    ] {
        assert_eq!(at(path, rpc), expected, "{path} {rpc:?}");
    }
}

#[test]
fn cards_name_their_places() {
    let card = br#"{"url":"http://a.b/x","supportedInterfaces":[{"url":"https://c.d/"},{"url":"e.f:50051"},{"url":"nonsense"}],"additionalInterfaces":[{"url":"http://g.h:8080/"}],"provider":{"url":"https://p/"}}"#;
    let card = json::parse(card).unwrap();
    let urls = card_urls(card.as_object().unwrap());
    let places: Vec<_> = urls.iter().map(|url| url.place.as_ref().map(|(_, port)| *port)).collect();
    assert_eq!(places, [Some(80), Some(443), Some(50051), None, Some(8080)]);
}

#[test]
fn versions() {
    let get = envelope("GetTask", r#"{"id":"t"}"#);
    let old = envelope("tasks/get", r#"{"id":"t"}"#);
    let of = |version: &[&str], body: &str| {
        let mut fields = vec![JSON];
        fields.extend(version.iter().map(|version| ("a2a-version", *version)));
        outcome(read(&head("POST", "/", &fields), body.as_bytes()).map(|decoded| decoded.call))
    };
    for (version, new_name, old_name) in [
        (&["1.0"][..], "call", "a2a_version"),
        (&["1.0.1"], "call", "a2a_version"),
        (&["0.3"], "a2a_version", "call"),
        (&["0.3.0"], "a2a_version", "call"),
        (&["0.2.6"], "a2a_version", "call"),
        (&[], "a2a_version", "call"),
        (&[""], "a2a_version", "call"),
        (&["1.7"], "a2a_version", "a2a_version"),
        (&["2.0"], "a2a_version", "a2a_version"),
        (&["1"], "a2a_version", "a2a_version"),
        (&["1.0.0.0"], "a2a_version", "a2a_version"),
        (&["01.0"], "a2a_version", "a2a_version"),
        (&["1.0, 0.3"], "a2a_version", "a2a_version"),
        (&["1.0", "0.3"], "repeated_header", "repeated_header"),
        (&["1.0", "1.0"], "repeated_header", "repeated_header"),
    ] {
        assert_eq!((of(version, &get), of(version, &old)), (new_name, old_name), "{version:?}");
    }
    let grpc = |version: &str| {
        let fields = [("content-type", "application/grpc+proto"), ("a2a-version", version)];
        let head = head("POST", "/lf.a2a.v1.A2AService/ListTasks", &fields);
        outcome(read(&head, &super::framed(&[])).map(|decoded| decoded.call))
    };
    assert_eq!((grpc("1.0"), grpc("0.3"), grpc("9.9")), ("call", "a2a_version", "a2a_version"));
}

#[test]
fn extensions_of_both_names() {
    let of = |fields: &[(&'static str, &str)]| {
        let mut all = vec![JSON, V1];
        all.extend(fields);
        read(&head("POST", "/", &all), envelope("GetTask", r#"{"id":"t"}"#).as_bytes()).map(|d| d.call.extensions)
    };
    let two: Vec<std::sync::Arc<str>> = vec!["https://a/".into(), "https://b/".into()];
    assert_eq!(of(&[("a2a-extensions", "https://a/, https://b/")]).unwrap(), two);
    assert_eq!(of(&[("a2a-extensions", "https://a/"), ("a2a-extensions", "https://b/")]).unwrap(), two);
    assert_eq!(of(&[("x-a2a-extensions", "https://a/,https://b/")]).unwrap(), two);
    assert!(of(&[("x-a2a-extensions", "https://a/"), ("a2a-extensions", "https://b/")]).is_err());
}
