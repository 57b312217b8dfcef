//! Agent cards: signed by whom a policy believes or approved by digest, unchanged; and what rules on other calls see of them.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{documents, envelope, message, rpc};
use crate::a2a::{V1, ask};
use crate::lab::{Lab, Upstream, json as answered};

/// A card that the Python SDK (a2a-sdk 1.3.0) signed, as its server answers it, and its key.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "7jobCXBdBwMSfg1VlFb9mQqvZzg9KFJiZ3ajDP414I8", "y": "ej8KxHm5zdcWKoHCxuAZaF1bt04y8oaH979wYS0HN-U", "kid": "k1", "alg": "ES256"}]}"#;
pub(super) const CARD: &str = r#"{"name": "reckoner €", "description": "adds", "supportedInterfaces": [{"url": "http://127.0.9.7:80", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}], "version": "1", "capabilities": {"streaming": true, "pushNotifications": false}, "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"], "skills": [{"id": "add", "name": "add", "description": "adds", "tags": ["x"]}], "signatures": [{"protected": "eyJhbGciOiJFUzI1NiIsImprdSI6Imh0dHBzOi8vZXZpbC5leGFtcGxlL2tleXMiLCJraWQiOiJrMSIsInR5cCI6IkpPU0UifQ", "signature": "HQsSyrxcINFZaCQAmJWOqy72e87AoIum60hiEvYWWYgSWojkNHoTrbtNVNMFvpjD8QhVVShRXneIPAyBv2ZmDQ", "header": {"note": "unprotected"}}]}"#;

/// An agent whose public card and extended card are `card`.
pub(super) async fn agent(card: String) -> Upstream {
    Upstream::start(move |head, body| {
        if body.contains("GetExtendedAgentCard") {
            return answered(&format!(r#"{{"jsonrpc":"2.0","id":"q1","result":{card}}}"#));
        }
        if head.starts_with("GET") {
            return answered(&card);
        }
        answered(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#)
    })
    .await
}

pub(super) fn trusting(rules: &str) -> String {
    format!("  a2a:\n    cardTrust:\n      jwks: '{JWKS}'\n{rules}")
}

pub(super) const PUBLIC: &str = "GET /.well-known/agent-card.json";

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_card_passes_as_it_was_and_no_other() {
    for (card, status, reason) in [
        (CARD.to_owned(), 200, ""),
        (CARD.replace("adds", "takes"), 502, "card_not_signed"),
        (CARD.replacen('{', r#"{"url": "http://127.0.9.7:80/", "#, 1), 502, "card_not_signed"),
        (CARD.split(", \"signatures\"").next().unwrap().to_owned() + "}", 502, "card_not_signed"),
    ] {
        let upstream = agent(card.clone()).await;
        let lab = Lab::start(&documents(upstream.addr, &trusting("  allow: [{}]\n"))).await;
        let reply = ask(&lab, "agents/caller", PUBLIC, "", "").await;
        assert_eq!(reply.status, status, "{reply:?}");
        let extended = ask(&lab, "agents/caller", "POST /", V1, &envelope("GetExtendedAgentCard", &json!({}))).await;
        if status == 200 {
            assert_eq!(reply.body, card);
            assert!(extended.body.contains(&card), "{extended:?}");
        } else {
            assert!(!reply.body.contains("reckoner") && !extended.body.contains("reckoner"), "{reply:?} {extended:?}");
            assert_eq!(extended.json()["error"]["code"], -32603, "{extended:?}");
        }
        let text = serde_json::to_string(&super::logged(lab).await).unwrap();
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_card_passes_until_it_changes() {
    let (first, second) = (agent(CARD.to_owned()).await, agent(CARD.replace("adds", "takes")).await);
    // The digest that `what_rules_see` below tells is that of the card without signatures.
    let rules = |digest: &str| format!("  a2a: {{cardTrust: {{digests: [{digest}]}}}}\n  allow: [{{}}]\n");
    let digest = digest_of(CARD);
    for (upstream, status) in [(&first, 200), (&second, 502)] {
        let lab = Lab::start(&documents(upstream.addr, &rules(&digest))).await;
        let reply = ask(&lab, "agents/caller", PUBLIC, "", "").await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

fn digest_of(card: &str) -> String {
    let tree = agent_waypoint::wire::json::parse(card.as_bytes()).unwrap();
    let text = agent_waypoint::wire::a2a::card_text(tree.as_object().unwrap());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_see_of_a_card_is_of_the_last_one_under_these_rules() {
    let upstream = agent(CARD.to_owned()).await;
    let digest = digest_of(CARD);
    let rules = format!(
        r#"    skills: [message.metadata.skill]
  require:
  - name: known-agent
    to: [{{operations: ["Send*"]}}]
    that: a2a.card.verified && a2a.card.keyId == "k1" && a2a.card.digest == "{digest}"
  - name: known-skill
    to: [{{operations: ["Send*"]}}]
    that: has(a2a.skill) && a2a.skill in a2a.card.skills
  allow: [{{}}]
"#
    );
    let lab = Lab::start(&documents(upstream.addr, &trusting(&rules))).await;
    let of = |skill: &str| {
        let mut params = message("m");
        params["message"]["metadata"] = json!({"skill": skill});
        params
    };
    let before = upstream.bytes();
    let unseen = rpc(&lab, "agents/caller", "SendMessage", &of("add")).await;
    assert_eq!(unseen["error"]["data"]["rule"], "known-agent", "no card was seen: {unseen}");
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    assert_eq!(ask(&lab, "agents/other", PUBLIC, "", "").await.status, 200);
    assert!(rpc(&lab, "agents/caller", "SendMessage", &of("add")).await["result"].is_object());
    let refused = rpc(&lab, "agents/caller", "SendMessage", &of("subtract")).await;
    assert_eq!(refused["error"]["data"]["rule"], "known-skill", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_takes_away_what_rules_knew() {
    let card = Arc::new(Mutex::new(CARD.to_owned()));
    let shown = Arc::clone(&card);
    let upstream = Upstream::start(move |head, _| {
        if !head.starts_with("GET") {
            return answered(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"t","contextId":"c"}}}"#);
        }
        let card = shown.lock().unwrap().clone();
        if card == "text" {
            return format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{CARD}",
                CARD.len()
            );
        }
        answered(&card)
    })
    .await;
    let rules = "  require: [{name: known, to: [{operations: [\"Send*\"]}], that: a2a.card.verified}]\n  allow: [{}]\n";
    let lab = Lab::start(&documents(upstream.addr, &trusting(rules))).await;
    let leads_out = CARD.replace("127.0.9.7:80", "127.0.9.8:80");
    for refused in [&CARD.replace("adds", "takes"), "{\"name\": ", "text", &leads_out] {
        CARD.clone_into(&mut card.lock().unwrap());
        assert_eq!(ask(&lab, "agents/caller", PUBLIC, "", "").await.status, 200);
        assert!(rpc(&lab, "agents/caller", "SendMessage", &message("m")).await["result"].is_object());
        refused.clone_into(&mut card.lock().unwrap());
        let forms = "Accept: text/html\r\nAccept-Encoding: gzip\r\nRange: bytes=0-1\r\n";
        assert_eq!(ask(&lab, "agents/other", PUBLIC, forms, "").await.status, 502, "{refused}");
        let before = upstream.bytes();
        let answer = rpc(&lab, "agents/caller", "SendMessage", &message("m")).await;
        assert_eq!(answer["error"]["data"]["rule"], "known", "{refused}: {answer}");
        assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    }
    let seen = upstream.seen().to_ascii_lowercase();
    for form in ["text/html", "gzip", "range:"] {
        assert!(!seen.contains(form), "nobody has a card made unfit for others: {seen}");
    }
}

/// Two agents of one Service: neither's card speaks for the other, and neither's tasks are the other's by their ids.
#[tokio::test(flavor = "multi_thread")]
async fn agents_at_paths_of_their_own_are_told_apart() {
    let upstream = Upstream::start(|head, body| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            _ if path.starts_with("/b/.well-known/") => answered(&CARD.replace("adds", "takes")),
            _ if path.contains("/.well-known/") => answered(CARD),
            _ if body.contains("GetTask") => {
                answered(r#"{"jsonrpc":"2.0","id":"q1","result":{"id":"1","contextId":"c"}}"#)
            }
            _ => answered(r#"{"jsonrpc":"2.0","id":"q1","result":{"task":{"id":"1","contextId":"c"}}}"#),
        }
    })
    .await;
    let rules = "    ownership: Enforce\n    rpcPaths: [/a, /b]\n    basePaths: [/a, /b]\n  require: [{name: known, to: [{operations: [\"Send*\"]}], that: a2a.card.verified}]\n  allow: [{}]\n";
    let lab = Lab::start(&documents(upstream.addr, &trusting(rules))).await;
    let send = async |who: &str, path: &str| {
        let body = envelope("SendMessage", &message("m"));
        ask(&lab, who, &format!("POST {path}"), V1, &body).await.json()
    };
    for (place, status) in [("", 200), ("/a", 200), ("/b", 502)] {
        let reply = ask(&lab, "agents/caller", &format!("GET {place}/.well-known/agent-card.json"), "", "").await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
    assert!(send("agents/caller", "/a").await["result"].is_object());
    let refused = send("agents/other", "/b").await;
    assert_eq!(refused["error"]["data"]["rule"], "known", "{refused}");

    let rules = rules.replace("that: a2a.card.verified", "that: 1 == 1");
    let lab = Lab::start(&documents(upstream.addr, &trusting(&rules))).await;
    let send = async |who: &str, path: &str, body: &str| {
        let answer = ask(&lab, who, &format!("POST {path}"), V1, body).await.json();
        answer["error"]["code"].as_i64()
    };
    let (begin, get) = (envelope("SendMessage", &message("m")), envelope("GetTask", &json!({"id": "1"})));
    assert_eq!(send("agents/caller", "/a", &begin).await, None);
    assert_eq!(send("agents/other", "/b", &begin).await, None);
    for (who, own, others) in [("agents/caller", "/a", "/b"), ("agents/other", "/b", "/a")] {
        assert_eq!(send(who, own, &get).await, None, "{who}");
        assert_eq!(send(who, others, &get).await, Some(-32001), "{who}");
        let rest = ask(&lab, who, &format!("GET {others}/tasks/1"), "A2A-Version: 1.0\r\n", "").await;
        assert_eq!(rest.status, 404, "{who}: {rest:?}");
    }
}

/// A route leads to an agent of another Service: that one's own card is what its rules see, and its tasks are not the
/// tasks of the agent that was called.
#[tokio::test(flavor = "multi_thread")]
async fn agents_that_a_route_leads_to_are_told_apart() {
    let of = |name: &str, ip: &str, upstream: &Upstream| {
        let rules = "    ownership: Enforce\n  require: [{name: known, to: [{operations: [\"Send*\"]}], that: a2a.card.verified}]\n  allow: [{}]\n";
        documents(upstream.addr, &trusting(rules))
            .replace("agent,", &format!("{name},"))
            .replace("name: agent}", &format!("name: {name}}}"))
            .replace("name: agent-1", &format!("name: {name}-1"))
            .replace("service-name: agent}", &format!("service-name: {name}}}"))
            .replace("127.0.9.7", ip)
    };
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: tools}\nspec:\n  parentRefs: [{group: '', kind: Service, name: agent}]\n  rules:\n  - matches: [{headers: [{name: x-own, value: '1'}]}]\n    backendRefs: [{name: agent, port: 80}]\n  - backendRefs: [{name: next, port: 80}]\n";
    let all = |own: &Upstream, next: &Upstream| {
        format!("{}---\n{}---\n{route}", of("agent", "127.0.9.7", own), of("next", "127.0.9.27", next))
    };
    let own = "X-Own: 1\r\n";
    let send = async |lab: &Lab, who: &str, more: &str, body: &str| {
        ask(lab, who, "POST /", &format!("{V1}{more}"), body).await.json()
    };
    let (begin, get) = (envelope("SendMessage", &message("m")), envelope("GetTask", &json!({"id": "t"})));

    let (called, next) = (agent(CARD.to_owned()).await, agent(CARD.replace("adds", "takes")).await);
    let lab = Lab::start(&all(&called, &next)).await;
    assert_eq!(ask(&lab, "agents/caller", PUBLIC, own, "").await.status, 200);
    assert!(send(&lab, "agents/caller", own, &begin).await["result"].is_object());
    let refused = send(&lab, "agents/caller", "", &begin).await;
    assert_eq!(refused["error"]["data"]["rule"], "known", "another's card: {refused}");
    assert_eq!(next.bytes(), 0);

    let (called, next) = (agent(CARD.to_owned()).await, agent(CARD.to_owned()).await);
    let lab = Lab::start(&all(&called, &next)).await;
    for more in ["", own] {
        assert_eq!(ask(&lab, "agents/caller", PUBLIC, more, "").await.status, 200);
    }
    for (who, more, others) in [("agents/caller", "", own), ("agents/other", own, "")] {
        assert!(send(&lab, who, more, &begin).await["result"].is_object(), "{who}");
        assert!(send(&lab, who, more, &get).await["error"].is_null(), "{who}");
        let refused = send(&lab, who, others, &get).await;
        assert_eq!(refused["error"]["code"], -32001, "{who}: another agent's task of the same id: {refused}");
    }

    // What is an operation at a path by the policy of one alone is none at the other's server.
    let next = agent(CARD.to_owned()).await;
    let open = all(&called, &next).replace("that: a2a.card.verified", "that: 1 == 1");
    let lab = Lab::start(&open).await;
    assert!(send(&lab, "agents/caller", "", &begin).await["result"].is_object());
    let before = next.bytes();
    let lab =
        Lab::start(&open.replacen("ownership: Enforce\n", "ownership: Enforce\n    rpcPaths: [/internal]\n", 1)).await;
    let reply = ask(&lab, "agents/caller", "POST /internal", V1, &begin).await;
    assert!(reply.json()["result"].is_null(), "{reply:?}");
    assert_eq!(next.bytes(), before);
}
