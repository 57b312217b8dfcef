//! Over gRPC: what the provider is told, and what its word does.

use agent_waypoint::wire::ext_authz::OkHttpResponse;

use super::provider::{Provider, allow, allow_with, deny, header, path};
use super::{ask, documents, get, policy, providers};
use crate::lab::{Lab, json, service};
use crate::plain_ports::http::{WEB, hello, istio, web};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_about_what_its_rules_match_and_its_word_holds() {
    let upstream = hello().await;
    let provider = Provider::start(|request| match path(request) {
        "/ok?q=1" => allow(),
        _ => deny(401, &[("www-authenticate", "Basic"), ("content-length", "99"), ("x-agent-waypoint-x", "1")], "who?"),
    })
    .await;
    let rules = r#"[{to: [{operation: {notPaths: ["/free"]}}]}]"#;
    let lab = Lab::start(&documents(upstream.addr, provider.addr, "grpc", rules)).await;
    assert_eq!(get(&lab, "/free", "").await.status, 200);
    assert!(provider.seen().is_empty(), "it is asked about nothing else");
    assert_eq!(get(&lab, "/ok?q=1", "X-A: 1\r\nX-A: 2\r\nAuthorization: Bearer t\r\n").await.status, 200);
    let before = upstream.bytes();
    let reply = get(&lab, "/no", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (401, "who?"), "{reply:?}");
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("www-authenticate: basic\r\n") && head.contains("x-agent-waypoint-request-id: "), "{head}");
    assert!(!head.contains("x-agent-waypoint-x:") && head.contains("content-length: 4"), "{head}");
    assert_eq!(upstream.bytes(), before, "what was denied reached nobody");
    let seen = provider.seen();
    let attributes = seen[0].attributes.as_ref().unwrap();
    let source = attributes.source.as_ref().unwrap();
    assert_eq!(source.principal, "spiffe://cluster.local/ns/agents/sa/reader");
    let at =
        |peer: &agent_waypoint::wire::ext_authz::Peer| peer.address.as_ref().unwrap().socket_address.clone().unwrap();
    assert_eq!(at(source).address, "127.0.0.1");
    let to = at(attributes.destination.as_ref().unwrap());
    assert_eq!((to.address.as_str(), to.port_value), ("127.0.9.2", 80));
    assert_eq!(attributes.context_extensions["agent-waypoint.dev/destination"], "tools/web:80");
    let http = attributes.request.as_ref().unwrap().http.as_ref().unwrap();
    assert_eq!((http.method.as_str(), http.host.as_str()), ("GET", "shop.example:8080"));
    assert_eq!((http.protocol.as_str(), http.size), ("HTTP/1.1", -1));
    for (name, value) in [("x-a", "1,2"), ("authorization", "Bearer t"), (":path", "/ok?q=1"), (":method", "GET")] {
        assert_eq!(http.headers[name], value, "{name}");
    }
    let line = lab.log.line(|line| line["path"] == "/no").await;
    assert_eq!((&line["reason"], &line["status"]), (&"denied_by_provider".into(), &401.into()), "{line}");
    assert_eq!((&line["rule"], &line["detail"]), (&"rules[0]".into(), &"provider p answered 401".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_before_every_other_rule_which_see_what_it_made_of_the_request() {
    let upstream = hello().await;
    let provider = Provider::start(|_| {
        let headers = [("x-user", "alice"), ("host", "evil"), (":path", "/evil"), ("x-forwarded-for", "9.9.9.9")];
        let response = vec![header("set-cookie", "s=1"), header("transfer-encoding", "chunked")];
        allow_with(OkHttpResponse {
            headers: headers.iter().map(|(name, value)| header(name, value)).collect(),
            headers_to_remove: vec!["x-secret".into(), ":authority".into(), "host".into()],
            response_headers_to_add: response,
            ..OkHttpResponse::default()
        })
    })
    .await;
    let allow = istio("ALLOW", r#"[{when: [{key: "request.headers[x-user]", values: [alice]}]}]"#);
    let refuse = istio("DENY", r#"[{to: [{operation: {paths: ["/secret"]}}]}]"#);
    let all = format!("{}---\n{allow}---\n{refuse}", documents(upstream.addr, provider.addr, "grpc", "[{}]"));
    let lab = Lab::start(&all).await;
    let reply = get(&lab, "/a?b", "X-User: mallory\r\nX-Secret: s\r\nX-Forwarded-For: 1.1.1.1\r\n").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{reply:?}");
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("set-cookie: s=1\r\n") && !head.contains("transfer-encoding"), "{head}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.starts_with("get /a?b http/1.1\r\n"), "{seen}");
    for line in ["x-user: alice\r\n", "host: shop.example:8080\r\n", "x-forwarded-for: 1.1.1.1\r\n"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains("mallory") && !seen.contains("x-secret") && !seen.contains("evil"), "{seen}");
    let before = upstream.bytes();
    assert_eq!(get(&lab, "/secret", "").await.status, 403, "its permission is no permit");
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_sees_as_much_of_a_body_as_is_declared_and_the_server_sees_all() {
    let upstream = hello().await;
    let provider = Provider::start(|_| allow()).await;
    for (body, sent, status, shown) in [
        ("includeRequestBodyInCheck: {maxRequestBytes: 8}", "12345678", 200, Some(("12345678", "false"))),
        ("includeRequestBodyInCheck: {maxRequestBytes: 8}, failOpen: true", "123456789", 413, None),
        (
            "includeRequestBodyInCheck: {maxRequestBytes: 4, allowPartialMessage: true}",
            "123456789",
            200,
            Some(("1234", "true")),
        ),
        ("includeRequestBodyInCheck: {maxRequestBytes: 99, packAsBytes: true}", "12345", 200, Some(("12345", "false"))),
    ] {
        let lab = Lab::start(&documents(upstream.addr, provider.addr, &format!("grpc {body}"), "[{}]")).await;
        let before = (provider.seen().len(), upstream.bytes());
        assert_eq!(ask(&lab, "POST /x", "", sent).await.status, status, "{body}");
        let Some((shown, partial)) = shown else {
            assert_eq!((provider.seen().len(), upstream.bytes()), before, "{body}");
            continue;
        };
        let seen = provider.seen().pop().unwrap();
        let http = seen.attributes.unwrap().request.unwrap().http.unwrap();
        let raw = body.contains("packAsBytes");
        let (text, bytes) = if raw { ("", shown) } else { (shown, "") };
        assert_eq!((http.body.as_str(), http.raw_body.as_slice()), (text, bytes.as_bytes()), "{body}");
        assert_eq!(http.headers["x-envoy-auth-partial-body"], partial, "{body}");
        assert!(upstream.seen().ends_with(&format!("\r\n\r\n{sent}")), "{body}: {}", upstream.seen());
    }
}

/// A CONNECT has no path, and is asked about all the same.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_73547_bytes_are_asked_about_over_grpc_and_refused_over_http() {
    let upstream = hello().await;
    let provider = Provider::start(|request| {
        let source = request.attributes.as_ref().unwrap().source.as_ref().unwrap();
        if source.principal.ends_with("/reader") { allow() } else { deny(403, &[], "") }
    })
    .await;
    let database = service("database", "127.0.9.5", upstream.addr, "tcp");
    let authz = service("authz", "127.0.9.20", provider.addr, "");
    // A field of HTTP is left out on a TCP port, as of a rule that denies: the provider is asked about more.
    let policy = policy("database", r#"[{to: [{operation: {paths: ["/x"]}}]}]"#);
    for (kind, reader) in [("grpc", true), ("http", false), ("http failOpen: true", false)] {
        let lab = Lab::start(&format!("{database}---\n{authz}---\n{}---\n{policy}", providers(kind))).await;
        assert_eq!(lab.tunnel("agents/reader", "127.0.9.5:80").await.is_ok(), reader, "{kind}");
        let before = upstream.bytes();
        assert!(lab.tunnel("agents/other", "127.0.9.5:80").await.is_err(), "{kind}");
        assert_eq!(upstream.bytes(), before, "{kind}");
    }
    let seen = provider.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|one| one.attributes.as_ref().unwrap().request.as_ref().unwrap().http.is_none()));
}

/// On an MCP port a provider decides beside the rules: it sees the call, and a refusal is a JSON-RPC error.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_is_shown_decoded_and_refused_in_its_own_words() {
    let upstream =
        crate::lab::Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let provider = Provider::start(|request| {
        let extensions = &request.attributes.as_ref().unwrap().context_extensions;
        match extensions.get("agent-waypoint.dev/mcp-name").map(String::as_str) {
            Some("get_note") => allow(),
            _ => deny(402, &[], "pay"),
        }
    })
    .await;
    let notes = crate::lab::notes(upstream.addr);
    let authz = service("authz", "127.0.9.20", provider.addr, "");
    let config = providers("grpc includeRequestBodyInCheck: {maxRequestBytes: 1000}");
    let policy = policy("notes", r#"[{to: [{operation: {methods: [POST]}}]}]"#);
    let lab = Lab::start(&format!("{notes}---\n{authz}---\n{config}---\n{policy}")).await;
    let call = |tool: &str| {
        format!(
            r#"{{"jsonrpc":"2.0", "id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"a":1}}}}}}"#
        )
    };
    let reply = lab.post("agents/reader", "127.0.9.1:80", "", &call("get_note")).await;
    assert!(reply.json()["result"].is_object(), "{reply:?}");
    let before = upstream.bytes();
    let reply = lab.post("agents/reader", "127.0.9.1:80", "", &call("get_other")).await;
    assert_eq!((reply.status, &reply.json()["id"]), (200, &1.into()), "{reply:?}");
    assert!(reply.json()["error"].to_string().contains("denied_by_provider"), "{reply:?}");
    assert_eq!(upstream.bytes(), before, "what was denied reached nobody");
    let seen = provider.seen();
    let attributes = seen[0].attributes.as_ref().unwrap();
    assert_eq!(attributes.context_extensions["agent-waypoint.dev/mcp-method"], "tools/call");
    let http = attributes.request.as_ref().unwrap().http.as_ref().unwrap();
    assert_eq!(http.body, call("get_note").replace(": ", ":").replace(", ", ","), "the bytes that go out");
}

/// A provider whose service is labelled to be kept from waypoints is asked all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_nobody_fronts_is_found() {
    let upstream = hello().await;
    let provider = Provider::start(|_| allow()).await;
    let authz = service("authz", "127.0.9.20", provider.addr, "").replacen(
        "namespace: tools}",
        "namespace: tools, labels: {istio.io/use-waypoint: none}}",
        1,
    );
    let all = format!("{authz}---\n{}---\n{}", providers("grpc"), policy("web", "[{}]"));
    let lab = Lab::start(&web(upstream.addr, &all)).await;
    assert_eq!(lab.raw("agents/reader", WEB, b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n").await.status, 200);
    assert_eq!(provider.seen().len(), 1);
}

/// Where a route leads on, the provider of the other Service is told of that one; and by whom it is told, nobody else says.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_of_the_service_whose_rule_asks_and_by_us_alone() {
    let (web, v2) = (hello().await, hello().await);
    let provider = Provider::start(|request| {
        let attributes = request.attributes.as_ref().unwrap();
        match attributes.context_extensions["agent-waypoint.dev/destination"].as_str() {
            "tools/web:80" => allow(),
            _ => deny(403, &[], ""),
        }
    })
    .await;
    let services = [
        service("web", "127.0.9.2", web.addr, "http"),
        service("v2", "127.0.9.12", v2.addr, "http"),
        service("authz", "127.0.9.20", provider.addr, ""),
    ];
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: tools}\nspec:\n  parentRefs: [{group: '', kind: Service, name: web, port: 80}]\n  rules:\n  - backendRefs: [{name: v2, port: 80}]\n";
    let all = [providers("grpc"), policy("v2", "[{}]"), route.to_owned()].join("---\n");
    let lab = Lab::start(&format!("{}---\n{all}", services.join("---\n"))).await;
    let forged =
        "X-Agent-Waypoint-Destination: tools/web:80\r\nX_Agent_Waypoint_Destination: tools/web:80\r\nX-Other: 1\r\n";
    assert_eq!(get(&lab, "/x", forged).await.status, 403, "what may be done at one may not be done at the other");
    assert_eq!(v2.bytes(), 0);
    let seen = provider.seen().pop().unwrap();
    let headers = seen.attributes.unwrap().request.unwrap().http.unwrap().headers;
    assert!(headers.contains_key("x-other") && headers.keys().all(|name| !name.contains("agent")), "{headers:?}");
}
