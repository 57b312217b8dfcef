//! `ExternalAuth`: whom a route has asked about what rules permit.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ask, documents, named};
use crate::lab::{Lab, Nobody, PATIENCE, Upstream, service};
use crate::plain_ports::http::{WEB, istio};

/// Lets through what says `x-key: good`, as `alice`.
async fn doorman() -> Upstream {
    Upstream::start(|head, _| {
        if head.to_ascii_lowercase().contains("x-key: good") {
            return "HTTP/1.1 200 OK\r\nX-User: alice\r\nX-Other: o\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        "HTTP/1.1 401 Unauthorized\r\nX-Why: because\r\nContent-Length: 7\r\n\r\nno key!".to_owned()
    })
    .await
}

const TERMS: &str = "protocol: HTTP, backendRef: {name: door, port: 80}, http: {path: /check, allowedHeaders: [x-key], allowedResponseHeaders: [x-user]}";

fn rules(terms: &str) -> String {
    format!(
        "  - filters: [{{type: ExternalAuth, externalAuth: {{{terms}}}}}]\n    backendRefs: [{{name: web, port: 80}}]"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_refuses_or_changes_headers() {
    let (web, door) = (named("web").await, doorman().await);
    let more = service("door", "127.0.9.16", door.addr, "http");
    let lab = Lab::start(&documents(web.addr, web.addr, &rules(TERMS), &more)).await;
    let reply = ask(&lab, "GET /a?b=c HTTP/1.1\r\nx-private: p\r\nx-user: mallory").await;
    assert_eq!((reply.status, reply.body.as_str()), (401, "no key!"), "{reply:?}");
    assert_eq!(web.bytes(), 0);
    let asked = door.seen().to_ascii_lowercase();
    assert!(asked.starts_with("get /check/a?b=c http/1.1\r\n") && !asked.contains("x-private"), "{asked}");
    let reply = ask(&lab, "GET /a HTTP/1.1\r\nx-key: good\r\nx-user: mallory").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "web"), "{reply:?}");
    let seen = web.seen().to_ascii_lowercase();
    assert!(seen.contains("x-user: alice\r\n") && !seen.contains("mallory") && !seen.contains("x-other"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_what_rules_refuse_and_nothing_passes_without_an_answer() {
    let (web, door) = (named("web").await, doorman().await);
    let gone = Nobody::at("127.0.0.1");
    let mine = istio("DENY", r#"[{to: [{operation: {paths: ["/no"]}}]}]"#);
    let services =
        [service("door", "127.0.9.16", door.addr, "http"), service("dead", "127.0.9.17", gone.addr, "http"), mine];
    for (terms, path, status) in [
        (TERMS.to_owned(), "/no", 403),
        (TERMS.replace("name: door", "name: dead"), "/a", 403),
        (TERMS.replace("name: door", "name: none"), "/a", 500),
        (TERMS.replace("name: door", "name: tool"), "/a", 500),
        (TERMS.replace("name: door", "name: door, namespace: elsewhere"), "/a", 500),
        (TERMS.replace("HTTP", "GRPC"), "/a", 403),
        (TERMS.replace("/check", "check"), "/a", 403),
    ] {
        let lab = Lab::start(&documents(web.addr, web.addr, &rules(&terms), &services.join("---\n"))).await;
        let reply = ask(&lab, &format!("GET {path} HTTP/1.1\r\nx-key: good")).await;
        assert_eq!(reply.status, status, "{terms}: {reply:?}");
    }
    assert_eq!((web.bytes(), door.bytes()), (0, 0));
}

/// What is asked is reached by the caller's own request, and answers it in its own words: it is no way round its rules.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_whose_own_rules_refuse_the_caller() {
    let (web, door) = (named("web").await, doorman().await);
    let of_door = |action: &str, rules: &str| {
        let policy = istio(action, rules);
        let of_door = policy.replace("name: web", "name: door");
        assert_ne!(policy, of_door);
        format!("{}---\n{of_door}", service("door", "127.0.9.16", door.addr, "http"))
    };
    for (terms, action, of) in [
        (TERMS.to_owned(), "DENY", r#"[{to: [{operation: {paths: ["/check/secret"]}}]}]"#),
        (TERMS.to_owned(), "ALLOW", r#"[{from: [{source: {principals: ["cluster.local/ns/agents/sa/other"]}}]}]"#),
        (
            TERMS
                .replace("HTTP", "GRPC")
                .replace(", http: {path: /check, allowedHeaders: [x-key], allowedResponseHeaders: [x-user]}", ""),
            "DENY",
            "[{to: [{operation: {methods: [POST]}}]}]",
        ),
    ] {
        let lab = Lab::start(&documents(web.addr, web.addr, &rules(&terms), &of_door(action, of))).await;
        let reply = ask(&lab, "GET /secret HTTP/1.1").await;
        assert_eq!(reply.status, 403, "{terms} {action}: {reply:?}");
        assert!(!reply.body.contains("no key"), "{reply:?}");
        assert_eq!((web.bytes(), door.bytes()), (0, 0), "{terms} {action}");
    }
    let lets = r#"[{to: [{operation: {paths: ["/check/*"]}}]}]"#;
    let lab = Lab::start(&documents(web.addr, web.addr, &rules(TERMS), &of_door("ALLOW", lets))).await;
    assert_eq!(ask(&lab, "GET /a HTTP/1.1\r\nx-key: good").await.status, 200);
}

/// A port of which nothing is declared takes bytes too, which a server may read a request out of: nobody could be asked.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_nowhere_where_somebody_is_asked_about_requests() {
    let (web, door) = (named("web").await, doorman().await);
    let more = service("door", "127.0.9.16", door.addr, "http");
    let declared = documents(web.addr, web.addr, &rules(TERMS), &more);
    let lab = Lab::start(&declared.replacen(", appProtocol: http}", "}", 1)).await;
    for bytes in ["\r\nGET /a HTTP/1.1\r\nHost: web.tools:80\r\n\r\n", "get /a HTTP/1.1\r\nHost: web.tools:80\r\n\r\n"]
    {
        let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok() && said.is_empty(), "{bytes:?}: {}", String::from_utf8_lossy(&said));
    }
    assert_eq!((web.bytes(), door.bytes()), (0, 0));
    assert_eq!(ask(&lab, "GET /a HTTP/1.1").await.status, 401);
    assert_eq!(ask(&lab, "GET /a HTTP/1.1\r\nx-key: good").await.status, 200);
}
