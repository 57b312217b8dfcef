//! Over HTTP: the request again, and the status decides.

use super::{ask, documents, get, providers};
use crate::lab::{Lab, Upstream, json, notes, service};
use crate::plain_ports::http::hello;

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_what_is_declared_and_says_what_is_declared() {
    let upstream = hello().await;
    let provider = Upstream::start(|head, _| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/check/ok?a=b" => {
                answer("200 OK", "X-User: alice\r\nX-Other: 1\r\nX-Cookie: c\r\nHost: evil\r\n", "ignored")
            }
            _ => {
                answer("302 Found", "Location: https://login.example/\r\nX-Why: because\r\nX-Hidden: h\r\n", "go there")
            }
        }
    })
    .await;
    let declared = "http pathPrefix: /check, includeRequestHeadersInCheck: [cookie, x-forwarded-client-cert, x_*], \
                    includeAdditionalHeadersInCheck: {x-key: k, cookie: fixed}, headersToUpstreamOnAllow: [x-user, host], \
                    headersToDownstreamOnDeny: [x-why], headersToDownstreamOnAllow: [x-cookie]";
    let lab = Lab::start(&documents(upstream.addr, provider.addr, declared, "[{}]")).await;
    let lines = "Cookie: mine\r\nX-Private: p\r\nAuthorization: Bearer t\r\nX-Agent-Waypoint-Source-Principal: me\r\nX_Agent_Waypoint_Source_Principal: me\r\nX-User: mallory\r\n";
    let reply = ask(&lab, "POST /ok?a=b", lines, "body").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{reply:?}");
    let asked = provider.seen().to_ascii_lowercase();
    assert!(asked.starts_with("post /check/ok?a=b http/1.1\r\n") && asked.ends_with("\r\n\r\n"), "{asked}");
    for line in [
        "host: shop.example:8080\r\n",
        "cookie: fixed\r\n",
        "authorization: bearer t\r\n",
        "x-key: k\r\n",
        "content-length: 0\r\n",
        "x-forwarded-client-cert: uri=spiffe://cluster.local/ns/agents/sa/reader\r\n",
        "x-agent-waypoint-source-principal: spiffe://cluster.local/ns/agents/sa/reader\r\n",
    ] {
        assert!(asked.contains(line), "{line} in {asked}");
    }
    assert!(
        !asked.contains("x-private")
            && !asked.contains("mine")
            && !asked.contains("x-user")
            && !asked.contains(": me\r"),
        "{asked}"
    );
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(
        seen.contains("x-user: alice\r\n") && seen.contains("cookie: mine\r\n") && seen.ends_with("body"),
        "{seen}"
    );
    assert!(!seen.contains("mallory") && !seen.contains("x-other") && !seen.contains("evil"), "{seen}");
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("x-cookie: c\r\n") && !head.contains("x-user"), "{head}");

    let before = upstream.bytes();
    let reply = get(&lab, "/no", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (302, "go there"), "{reply:?}");
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("location: https://login.example/\r\n") && head.contains("x-why: because\r\n"), "{head}");
    assert!(!head.contains("x-hidden"), "{head}");
    assert_eq!(upstream.bytes(), before, "what was denied reached nobody");
}

/// An AgentPolicy asks by the decoded call, and words the refusal.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_policy_asks_about_a_tool_by_its_arguments() {
    let upstream = Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let provider = Upstream::start(|head, _| match head.to_ascii_lowercase().contains("mcp-name: create_%c3%a4") {
        true => answer("200 OK", "", ""),
        false => answer("403 Forbidden", "", "no"),
    })
    .await;
    let external = "  denial: ToolError\n  external:\n  - {name: big, to: [{tools: ['create_*']}], when: mcp.tool.arguments.n > 5, provider: p}\n";
    let notes = notes(upstream.addr).replace("  deny:\n", &format!("{external}  deny:\n"));
    let authz = service("authz", "127.0.9.20", provider.addr, "");
    let lab = Lab::start(&format!("{notes}---\n{authz}---\n{}", providers("http"))).await;
    let call = |tool: &str, n: u32| {
        let params = format!(r#"{{"name":"{tool}","arguments":{{"owner":"acme","n":{n}}}}}"#);
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    for (tool, n, asked, passes) in
        [("create_x", 1, false, true), ("create_x", 6, true, false), ("create_\u{e4}", 6, true, true)]
    {
        let before = (provider.bytes(), upstream.bytes());
        let reply = lab.post("agents/writer", "127.0.9.1:80", "", &call(tool, n)).await;
        assert_eq!((provider.bytes() > before.0, upstream.bytes() > before.1), (asked, passes), "{tool} {n} {reply:?}");
        assert_eq!(reply.json()["result"]["isError"] == true, !passes, "{tool} {n} {reply:?}");
    }
    let seen = provider.seen().to_ascii_lowercase();
    assert!(seen.contains("x-agent-waypoint-mcp-method: tools/call\r\n"), "{seen}");
    assert!(
        seen.contains("x-agent-waypoint-source-principal: spiffe://cluster.local/ns/agents/sa/writer\r\n"),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_taken_away_where_it_says_so_and_all_of_a_refusal_is_told_where_nothing_is_listed() {
    let upstream = hello().await;
    let provider = Upstream::start(|head, _| match head.contains("/ok") {
        true => answer("200 OK", "x-envoy-auth-headers-to-remove: authorization, x-secret, host\r\n", ""),
        false => answer("403 Forbidden", "X-Why: because\r\nConnection: x-hop\r\nX-Hop: 1\r\n", "no"),
    })
    .await;
    let lab = Lab::start(&documents(upstream.addr, provider.addr, "http", "[{}]")).await;
    assert_eq!(get(&lab, "/ok", "Authorization: Bearer t\r\nX-Secret: s\r\n").await.status, 200);
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(!seen.contains("bearer") && !seen.contains("x-secret") && seen.contains("host: shop.example"), "{seen}");
    let reply = get(&lab, "/no", "").await;
    let head = reply.head.to_ascii_lowercase();
    assert_eq!((reply.status, reply.body.as_str()), (403, "no"));
    assert!(head.contains("x-why: because\r\n") && !head.contains("x-hop"), "{head}");
}
