//! Tokens in every place that a RequestAuthentication can name, keys that are fetched, and what servers see of either:
//! of what is refused not one byte.

mod keys;
mod streams;

use std::net::SocketAddr;

use serde_json::json as value;

use crate::lab::{Lab, Reply, Upstream, json, notes, with};
use crate::mcp_hostile::sessions::Tokens;
use crate::plain_ports::http::{WEB, hello, istio, web};

const NOTES: &str = "127.0.9.1:80";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note","arguments":{"id":1}}}"#;
const HOUR: i64 = 3600;

/// A RequestAuthentication of `service` with one rule of issuer `https://idp`.
pub(crate) fn idp(service: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: idp, namespace: tools}}\nspec:\n  targetRefs: [{{group: '', kind: Service, name: {service}}}]\n  jwtRules: [{{issuer: 'https://idp', {rule}}}]\n"
    )
}

/// The keys of `tokens`, in a rule that says `more`.
pub(crate) fn inline(tokens: &Tokens, more: &str) -> String {
    format!("jwks: '{}'{more}", tokens.jwks)
}

async fn tools() -> Upstream {
    Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#)).await
}

async fn get(lab: &Lab, path: &str, fields: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\n{fields}\r\n");
    lab.raw("agents/reader", WEB, request.as_bytes()).await
}

fn plain(upstream: SocketAddr, rule: &str, policies: &str) -> String {
    web(upstream, &format!("{}---\n{policies}", idp("web", rule)))
}

const NEEDS_ALICE: &str = r#"[{from: [{source: {requestPrincipals: ["https://idp/alice"]}}]}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_where_the_rule_says_and_stays_here() {
    let upstream = hello().await;
    let tokens = Tokens::new();
    let token = tokens.sign("https://idp", "alice", "tools", HOUR);
    let places = ", fromHeaders: [{name: x-jwt, prefix: 'JWT '}], fromParams: [tok], fromCookies: [sid]";
    let lab = Lab::start(&plain(upstream.addr, &inline(&tokens, places), &istio("ALLOW", NEEDS_ALICE))).await;
    let bad = tokens.sign("https://idp", "alice", "tools", -HOUR);
    let rows = [
        ("/".to_owned(), String::new(), 403),
        ("/".to_owned(), format!("Authorization: Bearer {token}\r\n"), 403),
        (format!("/?access_token={token}"), String::new(), 403),
        ("/".to_owned(), format!("X-Jwt: JWT {bad}\r\n"), 401),
        (format!("/?tok={bad}"), String::new(), 401),
        (format!("/?tok={token}&tok={token}"), String::new(), 401),
        ("/".to_owned(), format!("Cookie: sid={bad}\r\n"), 401),
        ("/".to_owned(), format!("X-Jwt: JWT {token}\r\nCookie: sid={token}\r\n"), 400),
        (format!("/?tok={token}"), format!("X-Jwt: JWT {token}\r\n"), 400),
    ];
    for (path, fields, status) in rows {
        assert_eq!(get(&lab, &path, &fields).await.status, status, "{path} {fields}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    let rows = [
        ("/a?b=c".to_owned(), format!("X-Jwt: JWT {token}\r\n"), "GET /a?b=c HTTP/1.1\r\n"),
        (format!("/a?x=1&tok={token}&y=2"), String::new(), "GET /a?x=1&y=2 HTTP/1.1\r\n"),
        (format!("/a?tok={token}"), String::new(), "GET /a HTTP/1.1\r\n"),
        ("/a".to_owned(), format!("Cookie: a=b; sid={token}\r\n"), "cookie: a=b\r\n"),
    ];
    for (path, fields, seen) in rows {
        let before = upstream.seen().len();
        assert_eq!(get(&lab, &path, &fields).await.status, 200, "{path} {fields}");
        let all = upstream.seen();
        assert!(all.get(before..).unwrap().contains(seen) && !all.contains(&token), "{seen}: {all}");
    }
    let log = format!("{:?}", lab.log.lines());
    assert!(!log.contains(&token) && !log.contains("tok="), "{log}");
    let text = plain(upstream.addr, &inline(&tokens, &format!("{places}, forwardOriginalToken: true")), "");
    let lab = Lab::start(&text).await;
    assert_eq!(get(&lab, &format!("/a?tok={token}"), "").await.status, 200);
    assert!(upstream.seen().contains(&format!("GET /a?tok={token} HTTP/1.1\r\n")), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_become_fields_that_rules_and_servers_see_and_callers_cannot_forge() {
    let upstream = hello().await;
    let tokens = Tokens::new();
    let outputs = ", outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-team, claim: org.team}]";
    let rules = r#"[{when: [{key: "request.headers[x-team]", values: ["red"]}]}]"#;
    let lab = Lab::start(&plain(upstream.addr, &inline(&tokens, outputs), &istio("ALLOW", rules))).await;
    let sign = |team: &str| {
        let token = tokens.sign_claims(&value!({"iss": "https://idp", "sub": "alice", "org": {"team": team}}));
        format!("Authorization: Bearer {token}\r\n")
    };
    let forged = "X-Team: red\r\nx_team: red\r\nX-Sub: root\r\nX-Payload: e30\r\nX_SUB: root\r\n";
    for fields in [forged.to_owned(), format!("{}{forged}", sign("blue"))] {
        assert_eq!(get(&lab, "/", &fields).await.status, 403, "{fields}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    assert_eq!(get(&lab, "/", &format!("{}{forged}", sign("red"))).await.status, 200);
    let seen = upstream.seen().to_ascii_lowercase();
    for line in ["x-team: red\r\n", "x-sub: alice\r\n", "x-payload: eyj"] {
        assert_eq!(seen.matches(line).count(), 1, "{line} {seen}");
    }
    assert!(!seen.contains("root") && !seen.contains("x_") && !seen.contains("authorization"), "{seen}");
}

/// Who is asked about a call, and what chooses its way, are readers of its head as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_provider_is_shown_a_forged_claim_and_no_route_goes_by_one() {
    let upstream = hello().await;
    let provider = Upstream::start(|_, _| with("x-from: provider\r\n", "")).await;
    let tokens = Tokens::new();
    let rule = inline(&tokens, ", outputClaimToHeaders: [{header: x-team, claim: team}]");
    let declared = "http includeRequestHeadersInCheck: [x-team], headersToUpstreamOnAllow: [x-from]";
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: tools}\nspec:\n  parentRefs: [{group: '', kind: Service, name: web, port: 80}]\n  rules:\n  - matches: [{headers: [{name: x-team, value: red}]}]\n    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302, path: {type: ReplaceFullPath, replaceFullPath: /red}}}]\n  - backendRefs: [{name: web, port: 80}]\n";
    let documents = crate::custom::documents(upstream.addr, provider.addr, declared, "[{}]");
    let lab = Lab::start(&format!("{documents}---\n{}---\n{route}", idp("web", &rule))).await;
    let sign = |team: &str| {
        let token = tokens.sign_claims(&value!({"iss": "https://idp", "sub": "alice", "team": team}));
        format!("Authorization: Bearer {token}\r\n")
    };
    let forged = "X-Team: red\r\n";
    for (fields, status, told) in [
        (forged.to_owned(), 200, None),
        (format!("{}{forged}", sign("blue")), 200, Some("x-team: blue\r\n")),
        (format!("{}X-Team: blue\r\n", sign("red")), 302, Some("x-team: red\r\n")),
    ] {
        let before = provider.seen().len();
        assert_eq!(get(&lab, "/", &fields).await.status, status, "{fields}");
        let asked = provider.seen().get(before..).unwrap().to_ascii_lowercase();
        assert_eq!(asked.matches("x-team").count(), usize::from(told.is_some()), "{asked}");
        assert!(told.is_none_or(|told| asked.contains(told)), "{asked}");
        assert_eq!(asked.contains("authorization: bearer"), told.is_some(), "the token itself is shown: {asked}");
    }
    assert!(!upstream.seen().to_ascii_lowercase().contains("x-team: red"), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_calls_carry_tokens_in_every_place_too() {
    let upstream = tools().await;
    let tokens = Tokens::new();
    let rule = inline(&tokens, ", outputClaimToHeaders: [{header: x-sub, claim: sub}]");
    let documents = notes(upstream.addr).replace(
        "    to: [{tools: [\"get_*\", \"delete_*\"]}]",
        "    to: [{tools: [\"get_*\"]}]\n    when: jwt.sub == \"alice\"",
    );
    let lab = Lab::start(&format!("{documents}---\n{}", idp("notes", &rule))).await;
    let token = tokens.sign("https://idp", "alice", "tools", HOUR);
    let bob = tokens.sign("https://idp", "bob", "tools", HOUR);
    let post = |query: String, fields: String| {
        format!(
            "POST /mcp{query} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nX-Sub: root\r\n{fields}Content-Length: {}\r\n\r\n{CALL}",
            CALL.len()
        )
    };
    let refused = [
        post(String::new(), String::new()),
        post(String::new(), format!("Authorization: Bearer {bob}\r\n")),
        post(format!("?access_token={bob}"), String::new()),
    ];
    for request in refused {
        let reply = lab.raw("agents/reader", NOTES, request.as_bytes()).await;
        assert!(reply.body.contains("error"), "{request} {reply:?}");
    }
    for (query, fields) in [
        (format!("?access_token={token}x"), String::new()),
        (format!("?access_token={token}"), format!("Authorization: Bearer {token}\r\n")),
    ] {
        let reply = lab.raw("agents/reader", NOTES, post(query, fields).as_bytes()).await;
        assert!(matches!(reply.status, 400 | 401), "{reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    for (query, fields) in [
        (String::new(), format!("Authorization: Bearer {token}\r\n")),
        (format!("?access_token={token}"), String::new()),
        (format!("?a=b&access_token={token}"), String::new()),
    ] {
        let reply = lab.raw("agents/reader", NOTES, post(query, fields).as_bytes()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.json().get("result").is_some(), "{reply:?}");
    }
    let seen = upstream.seen();
    assert!(!seen.contains(&token) && !seen.contains("root") && seen.matches("x-sub: alice").count() == 3, "{seen}");
    assert!(seen.contains("POST /mcp?a=b HTTP/1.1\r\n"), "{seen}");
}

/// OAuth begins with a 401; a client that has begun without a token keeps its session whatever it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_even_begin_without_a_token_is_asked_for_one() {
    let upstream = tools().await;
    let tokens = Tokens::new();
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let needs = |documents: &str| {
        documents.replace("    to: [{tools: [\"get_*\", \"delete_*\"]}]", "    when: jwt.sub == \"alice\"")
    };
    let text = |documents: String| format!("{documents}---\n{}", idp("notes", &inline(&tokens, "")));
    let lab = Lab::start(&text(needs(&notes(upstream.addr)))).await;
    let reply = lab.post("agents/reader", NOTES, "", hello).await;
    assert_eq!((reply.status, &reply.json()["id"]), (401, &value!(0)), "{reply:?}");
    assert!(reply.head.to_ascii_lowercase().contains("www-authenticate: bearer\r\n"), "{reply:?}");
    let rows = [
        ("agents/stranger", String::new(), hello, 403),
        (
            "agents/reader",
            format!("Authorization: Bearer {}\r\n", tokens.sign("https://idp", "bob", "t", HOUR)),
            hello,
            200,
        ),
        ("agents/reader", String::new(), CALL, 200),
    ];
    for (who, fields, body, status) in rows {
        let reply = lab.post(who, NOTES, &fields, body).await;
        assert_eq!(reply.status, status, "{who} {fields} {reply:?}");
        assert!(reply.json().get("error").is_some(), "{reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    // Where no token is verified none is asked for.
    let lab = Lab::start(&needs(&notes(upstream.addr))).await;
    assert_eq!(lab.post("agents/reader", NOTES, "", hello).await.status, 200);
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_answered_as_oauth_clients_read_it_and_the_servers_own_challenge_passes() {
    let challenge =
        "WWW-Authenticate: Bearer resource_metadata=\"http://t/.well-known/oauth-protected-resource/mcp\"\r\n";
    let upstream = Upstream::start(move |head, _| match head.contains("oauth-protected-resource") {
        true => with("", r#"{"resource":"http://t/mcp"}"#),
        false => format!("HTTP/1.1 401 Unauthorized\r\n{challenge}Content-Length: 0\r\n\r\n"),
    })
    .await;
    let tokens = Tokens::new();
    let lab = Lab::start(&format!("{}---\n{}", notes(upstream.addr), idp("notes", &inline(&tokens, "")))).await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (token, told) in [
        (tokens.sign("https://idp", "a", "t", -HOUR), "the token is expired"),
        (tokens.sign("https://evil", "a", "t", HOUR), "the token's issuer is not accepted"),
        (Tokens::new().sign("https://idp", "a", "t", HOUR), "the token's signature is not valid"),
    ] {
        let reply = lab.post("agents/reader", NOTES, &bearer(&token), CALL).await;
        let want = format!("www-authenticate: bearer error=\"invalid_token\", error_description=\"{told}\"");
        assert_eq!(reply.status, 401, "{reply:?}");
        assert!(reply.head.to_ascii_lowercase().contains(&want), "{reply:?}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    let reply = lab.post("agents/reader", NOTES, "", CALL).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert!(reply.head.to_ascii_lowercase().contains(&challenge.trim_end().to_ascii_lowercase()), "{reply:?}");
    let get = "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\nHost: t\r\n\r\n";
    let reply = lab.raw("agents/reader", NOTES, get.as_bytes()).await;
    assert_eq!((reply.status, reply.body.contains("http://t/mcp")), (200, true), "{reply:?}");
}
