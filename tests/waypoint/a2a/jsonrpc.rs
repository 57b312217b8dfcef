//! JSON-RPC and HTTP with JSON: what passes goes out as it came, what does not never arrives.

use serde_json::json;

use super::{RULES, V1, V03, agent, ask, documents, envelope, logged, message, rpc};
use crate::lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn a_permitted_call_goes_out_byte_by_byte_in_every_binding() {
    let upstream = agent().await;
    let rules = format!("  a2a: {{rpcPaths: [\"/\", \"/a2a/x\"]}}\n{RULES}");
    let lab = Lab::start(&documents(upstream.addr, &rules)).await;
    // White space, key order, unknown members and escapes are the caller's.
    let odd = r#"{ "jsonrpc":"2.0", "id" : "q\u0031", "method":"SendMessage", "params" : {"x-new":[1.50],"message":{"role":"ROLE_USER","messageId":"m1","parts":[{"text":"h\u0069"}]}} }"#;
    let rest = r#"{"message": {"parts":[{"text":"hi"}],"role":1,"message_id":"m2"}}"#;
    let old = r#"{"jsonrpc":"2.0","id":7,"method":"message/send","params":{"message":{"kind":"message","messageId":"m3","role":"user","parts":[{"kind":"text","text":"x"}]}}}"#;
    for (verb, path, headers, body) in [
        ("POST", "/", V1, odd),
        ("POST", "/a2a/x", V1, odd),
        ("POST", "/message:send", V1, rest),
        ("POST", "/acme/message:send", V1, rest),
        ("POST", "/", V03, old),
        ("GET", "/tasks/m1", "A2A-Version: 1.0\r\n", ""),
        ("GET", "/v1/tasks/m1", "", ""),
        ("GET", "/.well-known/agent-card.json", "", ""),
    ] {
        let before = upstream.bytes();
        let reply = ask(&lab, "agents/caller", &format!("{verb} {path}"), headers, body).await;
        assert_eq!(reply.status, 200, "{verb} {path}\n{reply:?}");
        let seen = upstream.seen().split_off(before);
        assert!(seen.starts_with(&format!("{verb} {path} HTTP/1.1\r\n")), "{seen}");
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
    }
    let lines = logged(lab).await;
    let first = lines.iter().find(|line| line["method"] == "SendMessage").unwrap();
    assert_eq!((first["protocol"].as_str(), first["decision"].as_str()), (Some("a2a"), Some("allow")));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_the_bindings_words_and_nothing_arrives() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr, RULES)).await;
    let cancel = json!({"id": "t"});
    for (method, headers) in [("CancelTask", V1), ("tasks/cancel", V03)] {
        let reply = ask(&lab, "agents/caller", "POST /", headers, &envelope(method, &cancel)).await;
        let json = reply.json();
        assert_eq!(
            (reply.status, &json["id"], &json["error"]["code"]),
            (200, &json!("q1"), &json!(40301)),
            "{reply:?}"
        );
        assert_eq!(json["error"]["data"]["reason"], "not_allowed");
    }
    for (verb, path, headers) in
        [("POST", "/tasks/t:cancel", V1), ("POST", "/v1/tasks/t:cancel", V03), ("POST", "/acme/tasks/t%3acancel", V1)]
    {
        let reply = ask(&lab, "agents/caller", &format!("{verb} {path}"), headers, "{}").await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["status"]), (403, &json!("PERMISSION_DENIED")), "{reply:?}");
        assert_eq!(error["details"][0]["domain"], "a2a-protocol.org", "{reply:?}");
    }
    // Whoever may do nothing may not read the card either.
    let reply = ask(&lab, "agents/nobody", "GET /.well-known/agent-card.json", "", "").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (403, &json!(403)), "{reply:?}");
    let reply = ask(&lab, "agents/nobody", "POST /", V1, &envelope("SendMessage", &message("m"))).await;
    assert_eq!(reply.json()["error"]["code"], 40301);
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decode_never_arrives() {
    let upstream = agent().await;
    let lab = Lab::start(&documents(upstream.addr, "  allow: [{}, {to: [{http: {paths: [\"*\"]}}]}]\n")).await;
    let get = envelope("GetTask", &json!({"id": "t"}));
    let rows: Vec<(&str, &str, &str, String, u16, i64)> = vec![
        ("POST", "/", V1, get.replace("GetTask", "tasks/get"), 200, -32009),
        ("POST", "/", V03, get.clone(), 200, -32009),
        ("POST", "/", V1, get.replace("GetTask", "DropTask"), 200, -32601),
        ("POST", "/", V1, get.replace(r#""id":"q1","#, ""), 400, -32600),
        ("POST", "/", V1, format!("[{get}]"), 400, -32600),
        ("POST", "/", V1, get.replace("{\"id\":\"t\"}", "{\"id\":\"t\",\"Id\":\"u\"}"), 200, -32602),
        ("POST", "/", V1, format!("{get}x"), 400, -32700),
        ("POST", "/", "A2A-Version: 1.0\r\n", get.clone(), 415, -32600),
        ("POST", "/", "Content-Type: text/plain\r\nA2A-Version: 1.0\r\n", get.clone(), 415, -32600),
        ("POST", "/x/y/tasks/t:cancel", V1, get.clone(), 404, 404),
        ("GET", "/healthz", "", String::new(), 404, 404),
        ("GET", "/tasks?context_id=c", "A2A-Version: 1.0\r\n", String::new(), 400, 400),
        ("GET", "/tasks/t", "", String::new(), 400, 400),
        ("DELETE", "/", "", String::new(), 404, 404),
    ];
    for (verb, path, headers, body, status, code) in rows {
        let reply = ask(&lab, "agents/caller", &format!("{verb} {path}"), headers, &body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (status, &json!(code)),
            "{verb} {path} {body}\n{reply:?}"
        );
        assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    }
    let lines = logged(lab).await;
    assert!(lines.len() > 10 && lines.iter().all(|line| line["decision"] == "error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_go_only_where_a_policy_says() {
    let upstream = agent().await;
    let rules = "  a2a: {push: {hosts: [\"hooks.example.com\"]}}\n  allow: [{}]\n";
    let lab = Lab::start(&documents(upstream.addr, rules)).await;
    let with = |url: &str| {
        let mut params = message("m");
        params["configuration"] = json!({"taskPushNotificationConfig": {"url": url, "token": "hunter2"}});
        params
    };
    for url in [
        "http://127.0.0.1:9/x",
        "https://[::ffff:169.254.169.254]/",
        "https://2130706433/",
        "https://hooks.example.com@evil/",
        "https://evil.example.com/",
    ] {
        let refused = rpc(&lab, "agents/caller", "SendMessage", &with(url)).await;
        assert_eq!(refused["error"]["data"]["reason"], "push_url", "{url} {refused}");
        let refused =
            rpc(&lab, "agents/caller", "CreateTaskPushNotificationConfig", &json!({"taskId": "t", "url": url})).await;
        assert_eq!(refused["error"]["data"]["reason"], "push_url", "{url} {refused}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    let passed = rpc(&lab, "agents/caller", "SendMessage", &with("https://hooks.example.com/x")).await;
    assert_eq!(passed["result"]["task"]["id"], "m");
    let log = serde_json::to_string(&logged(lab).await).unwrap();
    assert!(!log.contains("hunter2") && !log.contains("hooks.example.com"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_card_and_no_stream_hides_where_it_leads() {
    let card = r#"{"name":"a","supported_interfaces":[{"url":"https://elsewhere.example.com/"}]}"#;
    let whole = format!(r#"{{"jsonrpc":"2.0","id":"q1","result":{card}}}"#);
    let event = format!("data: {whole}\n\n");
    let streamed =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    for answer in [crate::lab::json(&whole), streamed] {
        let upstream = crate::lab::Upstream::start(move |_, _| answer.clone()).await;
        let lab = Lab::start(&documents(upstream.addr, "  a2a: {cards: Refuse}\n  allow: [{}]\n")).await;
        let reply = ask(&lab, "agents/caller", "POST /", V1, &envelope("GetExtendedAgentCard", &json!({}))).await;
        assert!(reply.json()["error"].is_object() && !reply.body.contains("elsewhere"), "{reply:?}");
        assert!(upstream.bytes() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_that_lead_out_are_refused_where_a_policy_says() {
    let upstream = crate::lab::Upstream::start(|_, _| {
        crate::lab::json(r#"{"name":"a","supportedInterfaces":[{"url":"http://127.0.9.7:80/"},{"url":"https://elsewhere.example.com/"}]}"#)
    })
    .await;
    for (rules, status) in [("  allow: [{}]\n", 200), ("  a2a: {cards: Refuse}\n  allow: [{}]\n", 502)] {
        let lab = Lab::start(&documents(upstream.addr, rules)).await;
        let reply = ask(&lab, "agents/caller", "GET /.well-known/agent-card.json", "", "").await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.body.contains("elsewhere"), status == 200, "{reply:?}");
    }
}
