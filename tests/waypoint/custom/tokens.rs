//! A provider beside a token rule: what it is told of the caller's token is what was verified, whatever the caller says.

use serde_json::json as value;

use super::provider::{Provider, allow, allow_with, header};
use super::{policy, providers};
use crate::lab::{Lab, Upstream, json, notes, service};
use crate::mcp_hostile::sessions::Tokens;
use crate::tokens::{idp, inline};

const NOTES: &str = "127.0.9.1:80";
const OUTPUTS: &str = ", outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-team, claim: org.team}]";
const FORGED: &str = "X-Sub: root\r\nX_Sub: root\r\nX-Team: root\r\nX-Payload: cm9vdA\r\n";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_note","arguments":{"id":1}}}"#;

fn documents(upstream: &Upstream, provider: &Provider, tokens: &Tokens, more: &str) -> String {
    [
        notes(upstream.addr),
        service("authz", "127.0.9.20", provider.addr, ""),
        providers("grpc"),
        policy("notes", "[{}]"),
        idp("notes", &inline(tokens, &format!("{OUTPUTS}{more}"))),
    ]
    .join("---\n")
}

async fn tools() -> Upstream {
    Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#)).await
}

fn token(tokens: &Tokens, subject: &str) -> String {
    tokens.sign_claims(&value!({"iss": "https://idp", "sub": subject, "org": {"team": "red"}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_the_claims_that_were_verified_and_no_others() {
    let (upstream, provider, tokens) = (tools().await, Provider::start(|_| allow()).await, Tokens::new());
    let lab = Lab::start(&documents(&upstream, &provider, &tokens, "")).await;
    let fields = format!("Authorization: Bearer {}\r\n{FORGED}", token(&tokens, "alice"));
    let reply = lab.post("agents/reader", NOTES, &fields, CALL).await;
    assert!(reply.json()["result"].is_object(), "{reply:?}");
    let seen = provider.seen().pop().unwrap().attributes.unwrap();
    assert_eq!(seen.source.unwrap().principal, "spiffe://cluster.local/ns/agents/sa/reader");
    let headers = seen.request.unwrap().http.unwrap().headers;
    assert_eq!((headers["x-sub"].as_str(), headers["x-team"].as_str()), ("alice", "red"), "{headers:?}");
    assert!(headers["x-payload"].starts_with("eyJ") && !headers.contains_key("x_sub"), "{headers:?}");
    assert!(!format!("{headers:?}").contains("root"), "{headers:?}");
    // What it is told is what the server gets, but for the token, which ends here.
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.contains("x-sub: alice\r\n") && seen.contains("x-team: red\r\n"), "{seen}");
    assert!(!seen.contains("root") && !seen.contains("authorization"), "{seen}");
    // Without a token nothing says anything of one.
    assert!(lab.post("agents/reader", NOTES, FORGED, CALL).await.json()["result"].is_object());
    let headers = provider.seen().pop().unwrap().attributes.unwrap().request.unwrap().http.unwrap().headers;
    assert!(headers.keys().all(|name| !name.contains("sub") && !name.contains("team") && name != "x-payload"));
    assert!(!upstream.seen().contains("root"), "{}", upstream.seen());
}

/// Who brings a token that is not good gets no permission by a provider, which never hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_asked_about_a_token_that_is_not_good() {
    let (upstream, provider, tokens) = (tools().await, Provider::start(|_| allow()).await, Tokens::new());
    let lab = Lab::start(&documents(&upstream, &provider, &tokens, "")).await;
    let other = Tokens::new();
    let late = tokens.sign("https://idp", "alice", "tools", -3600);
    for bad in [late, token(&other, "alice"), "x.y.z".to_owned()] {
        let reply = lab.post("agents/reader", NOTES, &format!("Authorization: Bearer {bad}\r\n"), CALL).await;
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    assert_eq!((provider.seen().len(), upstream.bytes()), (0, 0));
}

/// What a token alone may say a provider does not say either: rules and the server go on with the verified claims.
#[tokio::test(flavor = "multi_thread")]
async fn it_changes_no_claim() {
    let provider = Provider::start(|_| {
        let headers = [("x-sub", "root"), ("x_sub", "root"), ("x-team", "root"), ("x-own", "1")];
        allow_with(agent_waypoint::wire::ext_authz::OkHttpResponse {
            headers: headers.iter().map(|(name, value)| header(name, value)).collect(),
            headers_to_remove: vec!["x-payload".into()],
            ..Default::default()
        })
    })
    .await;
    let (upstream, tokens) = (tools().await, Tokens::new());
    let lab = Lab::start(&documents(&upstream, &provider, &tokens, ", forwardOriginalToken: true")).await;
    let good = token(&tokens, "alice");
    let reply = lab.post("agents/reader", NOTES, &format!("Authorization: Bearer {good}\r\n"), CALL).await;
    assert!(reply.json()["result"].is_object(), "{reply:?}");
    let seen = upstream.seen().to_ascii_lowercase();
    assert!(seen.contains("x-sub: alice\r\n") && seen.contains("x-own: 1\r\n"), "{seen}");
    assert!(seen.contains("x-payload: eyj") && !seen.contains("root"), "{seen}");
    assert!(seen.contains(&format!("authorization: bearer {}\r\n", good.to_ascii_lowercase())), "{seen}");
}
