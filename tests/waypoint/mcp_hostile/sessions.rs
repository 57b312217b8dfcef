//! Sessions, ids and tokens: nobody uses another's, and none is used in two ways.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json as value};
use tokio::io::AsyncWriteExt;

use super::{CALL, HELLO, LIST, NOTES, VERSION, server, session};
use crate::lab::{self, Lab, json, notes, with};
use crate::live::Live;

const DONE: &str = "Mcp-Session-Id: s-1\r\nConnection: close\r\n";
const HELLO_ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_the_callers_is_unknown_in_every_method() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let session = session(&lab, "agents/reader").await;
    assert!(!session.contains("s-1"), "{session}");
    let before = upstream.bytes();
    let unknown = lab.post("agents/writer", NOTES, "Mcp-Session-Id: s-1\r\n", CALL).await;
    let theirs = lab.post("agents/writer", NOTES, &session, CALL).await;
    let shape = |reply: &lab::Reply| (reply.status, reply.body.clone());
    assert_eq!(shape(&unknown), shape(&theirs));
    assert_eq!(theirs.status, 404);
    for method in ["GET", "DELETE"] {
        let request = format!("{method} /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{session}\r\n");
        assert_eq!(lab.raw("agents/writer", NOTES, request.as_bytes()).await.status, 404, "{method}");
    }
    let event = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(lab.post("agents/writer", NOTES, &session, event).await.status, 404);
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
    // Its owner still has it, until it ends it.
    assert_eq!(lab.post("agents/reader", NOTES, &session, CALL).await.status, 200);
    assert!(upstream.seen().contains("mcp-session-id: s-1") && !upstream.seen().contains(&session));
    let end = format!("DELETE /mcp HTTP/1.1\r\nHost: t\r\n{session}\r\n");
    assert_eq!(lab.raw("agents/reader", NOTES, end.as_bytes()).await.status, 202);
    let before = upstream.bytes();
    let ended = lab.post("agents/reader", NOTES, &session, CALL).await;
    assert_eq!(shape(&unknown), shape(&ended));
    assert_eq!(upstream.bytes(), before);
}

/// A second server behind the same address that hands out an id in use must not take the session from its owner.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_use_stays_its_owners() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let session = session(&lab, "agents/reader").await;
    let theirs = lab.post("agents/writer", NOTES, "", HELLO).await;
    assert!(theirs.status == 200 && theirs.header("mcp-session-id").is_none(), "{theirs:?}");
    assert_eq!(lab.post("agents/reader", NOTES, &session, CALL).await.status, 200);
    assert_eq!(lab.post("agents/writer", NOTES, &session, CALL).await.status, 404);
}

/// Servers route an answer by its id to the stream that asked last: the answer to a list would come where a call is
/// awaited, and pass unfiltered.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_flight_is_not_asked_twice() {
    let mut live = Live::start().await;
    let lab = Lab::start(&notes(live.addr)).await;
    let begin = async { live.next().await.write(with(DONE, HELLO_ANSWER).as_bytes()).await };
    let (hello, ()) = tokio::join!(lab.post("agents/reader", NOTES, "", HELLO), begin);
    let session = hello.session(VERSION);
    let mut listing = lab.tunnel("agents/reader", NOTES).await.unwrap();
    listing.write_all(lab::post(&session, LIST).as_bytes()).await.unwrap();
    let mut list = live.next().await;
    for id in ["1", "\"1\""] {
        let call = CALL.replace("\"id\":7", &format!("\"id\":{id}"));
        let reply = lab.post("agents/reader", NOTES, &session, &call).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (200, &value!(-32600)), "{reply:?}");
        assert_eq!(reply.json()["id"], serde_json::from_str::<Value>(id).unwrap());
    }
    assert!(live.is_quiet().await);
    let listed = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_note"}]}}"#;
    let listed = listed.replace('1', &list.id());
    list.write(with("Connection: close\r\n", &listed).as_bytes()).await;
    assert!(lab::Reply::read(&mut listing).await.body.contains("get_note"));
    // It was answered: whoever counts from one again may.
    let call = CALL.replace("\"id\":7", "\"id\":1");
    let answer = async {
        let mut held = live.next().await;
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.replace('1', &held.id());
        held.write(json(&answer).as_bytes()).await;
    };
    let (reply, ()) = tokio::join!(lab.post("agents/reader", NOTES, &session, &call), answer);
    assert!(reply.body.contains("content"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_endpoint_is_gone_is_gone() {
    let (one, other) = (server().await, server().await);
    let lab = Lab::start(&notes(one.addr)).await;
    let session = session(&lab, "agents/reader").await;
    lab.edit(&notes(other.addr)).await;
    assert_eq!(lab.post("agents/reader", NOTES, &session, CALL).await.status, 404);
    assert_eq!(other.bytes(), 0, "{}", other.seen());
    assert_eq!(lab.post("agents/reader", NOTES, "", HELLO).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_session_goes_to_another_endpoint_if_one_cannot_be_reached() {
    let upstream = server().await;
    let text = notes(upstream.addr).replace(
        "{addresses: ['127.0.0.1']",
        "{addresses: ['127.0.0.2'], conditions: {ready: true}}, {addresses: ['127.0.0.1']",
    );
    let lab = Lab::start(&text).await;
    for _ in 0..12 {
        assert_eq!(lab.post("agents/reader", NOTES, "", CALL).await.status, 200);
    }
    assert_eq!(upstream.seen().matches("tools/call").count(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_reached_is_said_with_the_exact_id() {
    let dead = lab::Nobody::at("127.0.0.1");
    let lab = Lab::start(&notes(dead.addr)).await;
    let reply = lab.post("agents/reader", NOTES, "", &CALL.replace("\"id\":7", "\"id\":\"x\\u0041\"")).await;
    assert_eq!((reply.status, &reply.json()["id"]), (503, &value!("xA")), "{reply:?}");
    assert_eq!(reply.json()["error"]["code"], -32603);
    assert!(!reply.body.contains("127.0.0.1"), "{reply:?}");
}

pub(crate) struct Tokens {
    key: jsonwebtoken::EncodingKey,
    kid: &'static str,
    pub(crate) jwks: String,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self::named("k")
    }

    /// With a key of that id.
    pub(crate) fn named(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = value!({"kty":"EC","crv":"P-256","alg":"ES256","kid":kid,"x":encode(&point[1..33]),"y":encode(&point[33..65])});
        let key = jsonwebtoken::EncodingKey::from_ec_der(&pair.serialize_der());
        Self { key, kid, jwks: value!({"keys":[jwk]}).to_string() }
    }

    pub(crate) fn sign(&self, issuer: &str, subject: &str, audience: &str, life: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        self.sign_claims(&value!({"iss":issuer,"sub":subject,"aud":audience,"exp":now+life}))
    }

    /// A token that says this.
    pub(crate) fn sign_claims(&self, claims: &Value) -> String {
        let header = jsonwebtoken::Header {
            kid: Some(self.kid.into()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    fn documents(&self, upstream: std::net::SocketAddr, more: &str) -> String {
        let rules: String = ["https://idp", "https://idp/x"]
            .map(|issuer| format!("  - {{issuer: '{issuer}', audiences: [tools], jwks: '{}'{more}}}\n", self.jwks))
            .concat();
        format!(
            "{}---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: idp, namespace: tools}}\nspec:\n  targetRefs: [{{group: '', kind: Service, name: notes}}]\n  jwtRules:\n{rules}",
            notes(upstream)
        )
    }
}

const HOUR: i64 = 3600;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_hold_are_refused_and_those_that_do_stay_here() {
    let upstream = server().await;
    let tokens = Tokens::new();
    let lab = Lab::start(&tokens.documents(upstream.addr, "")).await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let good = tokens.sign("https://idp", "alice", "tools", HOUR);
    let body = good.split('.').nth(1).unwrap();
    let none = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    let bad = [
        bearer(&tokens.sign("https://idp", "alice", "tools", -HOUR)),
        bearer(&tokens.sign("https://idp", "alice", "other", HOUR)),
        bearer(&tokens.sign("https://evil", "alice", "tools", HOUR)),
        bearer(&Tokens::new().sign("https://idp", "alice", "tools", HOUR)),
        bearer(&none),
        bearer("x"),
        bearer(""),
    ];
    for headers in bad {
        let reply = lab.post("agents/reader", NOTES, &headers, CALL).await;
        assert_eq!(reply.status, 401, "{headers}: {reply:?}");
        assert!(reply.head.to_ascii_lowercase().contains("www-authenticate: bearer"), "{reply:?}");
        let get = format!("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{headers}\r\n");
        assert_eq!(lab.raw("agents/reader", NOTES, get.as_bytes()).await.status, 401, "{headers}");
    }
    // Two of them are no request at all.
    for headers in [format!("{0}{0}", bearer(&good)), format!("{}Authorization: Basic eDp5\r\n", bearer(&good))] {
        assert_eq!(lab.post("agents/reader", NOTES, &headers, CALL).await.status, 400, "{headers}");
    }
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
    assert_eq!(lab.post("agents/reader", NOTES, &bearer(&good), CALL).await.status, 200);
    assert!(!upstream.seen().to_ascii_lowercase().contains("authorization"), "{}", upstream.seen());

    let lab = Lab::start(&tokens.documents(upstream.addr, ", forwardOriginalToken: true")).await;
    assert_eq!(lab.post("agents/reader", NOTES, &bearer(&good), CALL).await.status, 200);
    assert!(upstream.seen().contains(&good), "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_subjects_alone() {
    let upstream = server().await;
    let tokens = Tokens::new();
    let lab = Lab::start(&tokens.documents(upstream.addr, "")).await;
    let bearer = |issuer: &str, subject: &str| {
        format!("Authorization: Bearer {}\r\n", tokens.sign(issuer, subject, "tools", HOUR))
    };
    let alice = bearer("https://idp", "x/alice");
    let begun = lab.post("agents/reader", NOTES, &alice, HELLO).await.session(VERSION);
    let session = |who: &str| format!("{who}{begun}");
    assert_eq!(lab.post("agents/reader", NOTES, &session(&alice), CALL).await.status, 200);
    let again = bearer("https://idp", "x/alice");
    assert_eq!(lab.post("agents/reader", NOTES, &session(&again), CALL).await.status, 200);
    let before = upstream.bytes();
    for other in [bearer("https://idp", "bob"), String::new(), bearer("https://idp/x", "alice")] {
        assert_eq!(lab.post("agents/reader", NOTES, &session(&other), CALL).await.status, 404, "{other}");
    }
    assert_eq!(upstream.bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_for_whoever_is_known_and_nothing_else_is() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: t\r\n{more}\r\n");
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"] {
        let reply = lab.raw("agents/stranger", NOTES, get(path, "").as_bytes()).await;
        assert_eq!(reply.status, 202, "{path}: {reply:?}");
    }
    let before = upstream.bytes();
    for (path, status) in [
        ("/.well-known/oauth-protected-resourceful", 403),
        ("/.well-known/other", 403),
        ("/.well-known/oauth-protected-resource/%2e%2e/%2e%2e/admin", 400),
        ("/.well-known/oauth-protected-resource/..;/admin", 403),
    ] {
        let reply = lab.raw("agents/stranger", NOTES, get(path, "").as_bytes()).await;
        assert!(reply.status == status || reply.status == 400, "{path}: {reply:?}");
    }
    assert_eq!(upstream.bytes(), before, "{}", upstream.seen());
}

/// Clients take any other 4xx on the stream that they open in passing for the end of everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_answered_405_where_there_is_no_stream() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let session = session(&lab, "agents/reader").await;
    let rows = [
        ("agents/reader", ""),
        ("agents/stranger", ""),
        ("agents/reader", "MCP-Protocol-Version: 1999-01-01\r\n"),
        ("agents/reader", &*session.replace(VERSION, "2025-11-25")),
    ];
    for (who, headers) in rows {
        let get = format!("GET /mcp HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n{headers}\r\n");
        let reply = lab.raw(who, NOTES, get.as_bytes()).await;
        assert_eq!(reply.status, 405, "{headers}: {reply:?}");
        assert!(reply.head.to_ascii_lowercase().contains("allow: "), "{reply:?}");
    }
}
