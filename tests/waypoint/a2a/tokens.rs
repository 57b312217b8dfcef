//! Tokens in query and cookie, and a provider beside them: whose a task is, in every binding, and nothing of a token goes on.

use serde_json::json;

use super::{V1, agent, ask, authenticated, documents, envelope, message};
use crate::custom::{policy, providers};
use crate::lab::{Lab, Upstream, service};
use crate::mcp_hostile::sessions::Tokens;

const HOUR: i64 = 3600;
const RULES: &str = "  a2a: {ownership: Enforce}\n  allow: [{when: has(jwt.sub)}]\n";

/// The documents with tokens in the parameter `tok` and the cookie `sid`.
pub(super) fn placed(documents: &str, tokens: &Tokens) -> String {
    let places = "issuer: 'https://idp', fromParams: [tok], fromCookies: [sid]";
    authenticated(documents, tokens).replace("issuer: 'https://idp'", places)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_query_or_cookie_says_whose_a_task_is() {
    let upstream = agent().await;
    let tokens = Tokens::new();
    let lab = Lab::start(&placed(&documents(upstream.addr, RULES), &tokens)).await;
    let sign = |who: &str, life: i64| tokens.sign("https://idp", who, "", life);
    let (alice, bob, late) = (sign("alice", HOUR), sign("bob", HOUR), sign("alice", -HOUR));
    let cookie = |token: &str| format!("{V1}Cookie: a=b; sid={token}\r\n");
    let call = |id: &str| envelope("GetTask", &json!({"id": id}));
    let (begin, rest) = (envelope("SendMessage", &message("t")), message("r").to_string());

    // One workload, two users: the second one finds nothing.
    let reply = ask(&lab, "agents/caller", &format!("POST /?tok={alice}"), V1, &begin).await;
    assert!(reply.json()["result"].is_object(), "{reply:?}");
    let reply = ask(&lab, "agents/caller", &format!("POST /message:send?tok={alice}"), V1, &rest).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let before = upstream.bytes();
    for (line, fields, body, status, code) in [
        (format!("POST /?tok={bob}"), V1.to_owned(), call("t"), 200, json!(-32001)),
        ("POST /".into(), cookie(&bob), call("t"), 200, json!(-32001)),
        (format!("GET /tasks/r?tok={bob}"), V1.to_owned(), String::new(), 404, json!(404)),
        ("GET /tasks/r".into(), cookie(&bob), String::new(), 404, json!(404)),
        // None, one that has ended, and two.
        ("POST /".into(), V1.to_owned(), call("t"), 200, json!(-32001)),
        ("GET /tasks/r".into(), V1.to_owned(), String::new(), 404, json!(404)),
        ("POST /message:send".into(), V1.to_owned(), message("x").to_string(), 403, json!(403)),
        (format!("POST /?tok={late}"), V1.to_owned(), call("t"), 401, json!(null)),
        (format!("GET /tasks/r?tok={late}"), V1.to_owned(), String::new(), 401, json!(null)),
        (format!("GET /tasks/r?tok={alice}&tok={alice}"), V1.to_owned(), String::new(), 401, json!(null)),
        (format!("POST /?tok={alice}"), cookie(&alice), call("t"), 400, json!(null)),
        // A parameter that is no token's is none of the operation's either.
        (format!("GET /tasks/r?tok={alice}&tik=1"), V1.to_owned(), String::new(), 400, json!(400)),
    ] {
        let reply = ask(&lab, "agents/caller", &line, &fields, &body).await;
        assert_eq!(reply.status, status, "{line}: {reply:?}");
        if !code.is_null() {
            assert_eq!(reply.json()["error"]["code"], code, "{line}: {reply:?}");
        }
        assert!(status != 200 || reply.json()["error"].is_object(), "{line}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    for (line, fields, body) in [
        ("POST /".to_owned(), cookie(&alice), call("t")),
        (format!("POST /?tok={alice}"), V1.to_owned(), call("t")),
        ("GET /tasks/r".into(), cookie(&alice), String::new()),
        (format!("GET /tasks/r?tok={alice}&historyLength=1"), V1.to_owned(), String::new()),
    ] {
        let reply = ask(&lab, "agents/caller", &line, &fields, &body).await;
        assert!(reply.status == 200 && !reply.body.contains("error"), "{line}: {reply:?}");
    }
    let seen = upstream.seen();
    assert!(seen.contains("GET /tasks/r?historyLength=1 HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.contains("tok=") && !seen.contains("sid=") && !seen.contains(&alice), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_of_proven_tokens_alone_and_opens_nothing_by_itself() {
    let upstream = agent().await;
    let provider = Upstream::start(|head, _| {
        let status = if head.contains("x-refuse") || head.contains("X-Refuse") { "403 Forbidden" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    let tokens = Tokens::new();
    let rules = "  allow: [{when: jwt.sub == \"alice\"}]\n";
    let lab = Lab::start(&format!(
        "{}---\n{}---\n{}---\n{}",
        placed(&documents(upstream.addr, rules), &tokens),
        service("authz", "127.0.9.20", provider.addr, ""),
        providers("http includeRequestHeadersInCheck: [x-refuse]"),
        policy("agent", "[{}]"),
    ))
    .await;
    let sign = |who: &str, life: i64| tokens.sign("https://idp", who, "", life);
    let (alice, bob, late) = (sign("alice", HOUR), sign("bob", HOUR), sign("alice", -HOUR));
    let get = async |query: &str, fields: &str| {
        ask(&lab, "agents/caller", &format!("GET /tasks/t{query}"), &format!("A2A-Version: 1.0\r\n{fields}"), "").await
    };
    assert_eq!(get(&format!("?tok={late}"), "").await.status, 401);
    assert_eq!(provider.bytes(), 0, "nobody is asked about a token that does not hold: {}", provider.seen());
    assert_eq!(get(&format!("?tok={bob}"), "").await.status, 403, "the provider allows, the policy does not");
    assert_eq!(get("", "").await.status, 403);
    assert_eq!(get(&format!("?tok={alice}"), "X-Refuse: 1\r\n").await.status, 403, "the other way round");
    let body = envelope("GetTask", &json!({"id": "t"}));
    let refused =
        ask(&lab, "agents/caller", &format!("POST /?tok={alice}"), &format!("{V1}X-Refuse: 1\r\n"), &body).await;
    assert!(refused.status == 403 || refused.json()["error"].is_object(), "{refused:?}");
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    assert_eq!(get(&format!("?tok={alice}"), "").await.status, 200);
    assert_eq!(get("", &format!("Cookie: sid={alice}\r\n")).await.status, 200);
    let asked = provider.seen();
    assert!(asked.contains(&format!("GET /tasks/t?tok={alice} HTTP/1.1\r\n")), "it is shown what was sent: {asked}");
    assert!(!upstream.seen().contains(&alice), "the agent is not: {}", upstream.seen());
}
