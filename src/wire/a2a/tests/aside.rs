//! What is said beside the place that is read: other spellings of names, other paths, more than anybody needs.

use super::{JSON, V1, envelope, head, outcome, read, rpc};
use crate::call::{A2aBinding, UrlHost};
use crate::config::limits::MAX_REFERENCES;
use crate::wire::a2a::{card_urls, cards, forward_headers};
use crate::wire::json;

fn get_with(target: &str, fields: &[(&'static str, &str)]) -> &'static str {
    let mut all = vec![JSON, V1];
    all.extend(fields);
    let get = envelope("GetTask", r#"{"id":"t"}"#);
    outcome(read(&head("POST", target, &all), get.as_bytes()).map(|decoded| decoded.call))
}

#[test]
fn an_underscore_is_no_way_to_ask_for_an_extension() {
    // CGI and WSGI servers hand both spellings of a field to the agent under one name.
    for name in ["a2a_extensions", "a2a_Extensions", "x_a2a_extensions", "x-a2a_extensions", "x_a2a-extensions"] {
        let name: &'static str = Box::leak(name.to_ascii_lowercase().into_boxed_str());
        assert_eq!(get_with("/", &[(name, "https://forbidden.example/")]), "a2a_extensions", "{name}");
    }
    assert_eq!(get_with("/", &[("x_other", "1")]), "call");
}

#[test]
fn a_path_that_another_server_reads_as_an_operation_is_no_json_rpc() {
    for (target, expected) in [
        ("/", "call"),
        ("/a2a/x", "a2a_rpc_path"),
        ("/skills", "a2a_rpc_path"),
        ("/skills/x", "a2a_rpc_path"),
        // JSON instead of protobuf at the service's own path (Connect, transcoders), mounted wherever, in whatever case.
        ("/api/lf.a2a.v1.A2AService/CancelTask", "a2a_unrecognised"),
        ("/api/a2a.v1.A2AService/CancelTask", "a2a_unrecognised"),
        ("/a2a.v1.A2aService/CancelTask", "a2a_unrecognised"),
        ("/A2AService/CancelTask", "a2a_unrecognised"),
        // Servlet containers cut off what stands behind a semicolon.
        ("/tasks;x/t/pushNotificationConfigs;y", "a2a_unrecognised"),
        ("/rpc;x", "a2a_unrecognised"),
        // An operation of a version to come.
        ("/skills/refund/query", "a2a_unrecognised"),
        ("/acme/skills/refund/query", "a2a_unrecognised"),
    ] {
        assert_eq!(get_with(target, &[]), expected, "{target}");
    }
}

#[test]
fn a_version_in_the_query_is_refused_in_every_spelling() {
    for target in ["/?A2A-%56ersion=1.0", "/?A2A-V%65rsion=1.0", "/?x=1&a2a%2D%76ersion=0.3", "/?a=%zz"] {
        assert_eq!(get_with(target, &[]), "a2a_query", "{target}");
    }
    assert_eq!(get_with("/?token=a%3Db", &[]), "call");
}

#[test]
fn a_message_refers_to_no_more_tasks_than_anybody_needs() {
    let refers = |many: usize| {
        let ids = vec![r#""t""#; many].join(",");
        let params = format!(
            r#"{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"hi"}}],"referenceTaskIds":[{ids}]}}}}"#
        );
        outcome(rpc(&envelope("SendMessage", &params)))
    };
    assert_eq!((refers(MAX_REFERENCES), refers(MAX_REFERENCES + 1)), ("call", "a2a_too_many"));
}

#[test]
fn no_field_that_goes_out_says_another_path_or_method() {
    let fields = [
        ("x-original-url", "/tasks/victim"),
        ("x-rewrite-url", "/tasks/victim"),
        ("x_original_url", "/tasks/victim"),
        ("x-http-method-override", "DELETE"),
        ("x-own", "1"),
    ];
    let mut headers = head("POST", "/", &fields).headers;
    forward_headers(&mut headers);
    assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-own"]);
}

#[test]
fn a_card_names_its_places_in_every_spelling_that_a_client_takes() {
    let places = |text: &str| {
        let answer = json::parse(text.as_bytes()).unwrap();
        let urls: Vec<_> = cards(A2aBinding::JsonRpc, &answer).flat_map(card_urls).collect();
        urls.into_iter().map(|url| url.place.map(|(host, _)| host)).collect::<Vec<_>>()
    };
    let evil = [Some(UrlHost::Name("evil.example".into()))];
    for card in [
        r#"{"supportedInterfaces":[{"url":"https://evil.example/"}]}"#,
        r#"{"supported_interfaces":[{"url":"https://evil.example/"}]}"#,
        r#"{"SupportedInterfaces":[{"URL":"https://evil.example/"}]}"#,
        r#"{"additional_interfaces":[{"Url":"https://evil.example/"}]}"#,
        r#"{"URL":"https://evil.example/"}"#,
    ] {
        assert_eq!(places(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{card}}}"#)), evil, "{card}");
        assert_eq!(places(&format!(r#"{{"jsonrpc":"2.0","id":1,"Result":{card}}}"#)), evil, "{card}");
    }
    assert_eq!(places(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#), []);
}
