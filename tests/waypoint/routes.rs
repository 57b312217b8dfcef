//! HTTPRoutes on a Service: where its requests go, and what becomes of them.

mod auth;
mod begun;
mod bytes;
mod copies;
mod declared;
mod retries;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::lab::{Lab, PATIENCE, Reply, Upstream, service, with};
use crate::live::Live;
use crate::mcp_hostile::sessions::Tokens;
use crate::plain_ports::http::{WEB, istio, until};
use crate::tokens::{idp, inline};

/// `tools/web`, `tools/v2` and `tools/v3`, and an HTTPRoute `r` of `web` with these rules.
fn documents(web: SocketAddr, v2: SocketAddr, rules: &str, more: &str) -> String {
    let services = [
        service("web", "127.0.9.2", web, "http"),
        service("v2", "127.0.9.12", v2, "http"),
        service("tool", "127.0.9.13", v2, "agent-waypoint.dev/mcp"),
    ];
    format!("{}---\n{}---\n{more}", services.join("---\n"), route("r", rules))
}

fn route(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: tools}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: web, port: 80}}]\n  rules:\n{rules}\n"
    )
}

async fn named(name: &'static str) -> Upstream {
    Upstream::start(move |_, _| with("x-from: server\r\n", name)).await
}

async fn ask(lab: &Lab, request: &str) -> Reply {
    lab.raw("agents/reader", WEB, format!("{request}\r\nHost: web.tools:80\r\n\r\n").as_bytes()).await
}

async fn get(lab: &Lab, path: &str) -> (u16, String) {
    let reply = ask(lab, &format!("GET {path} HTTP/1.1")).await;
    (reply.status, reply.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_match_holds() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rules = r#"
  - matches: [{path: {type: PathPrefix, value: /a}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /a/b}}, {path: {value: /a/long/}}, {path: {value: /h}, headers: [{name: X-V, value: "2"}]}, {path: {value: /q}, queryParams: [{name: v, value: "2"}]}, {path: {value: /m}, method: PUT}, {path: {type: RegularExpression, value: "/r/[0-9]+"}}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {value: /h}}, {path: {value: /q}}, {path: {value: /m}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /zero}}]
    backendRefs: [{name: v2, port: 80, weight: 0}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
  - matches: [{path: {value: /other}}]
    backendRefs: [{name: x, namespace: elsewhere, port: 80}]
  - matches: [{path: {value: /tool}}]
    backendRefs: [{name: tool, port: 80}]"#;
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, "")).await;
    for (path, status, body) in [
        ("/a", 200, "web"),
        ("/a/c", 200, "web"),
        ("/ab", 404, ""),
        ("/a/b", 200, "v2"),
        ("/a/b/", 200, "web"),
        ("/a/long", 200, "v2"),
        ("/a/longer", 200, "web"),
        ("/h", 200, "web"),
        ("/q?v=1&v=2", 200, "web"),
        ("/q?a=b&v=2", 200, "v2"),
        ("/r/12", 200, "v2"),
        ("/r/12x", 404, ""),
        ("/zero", 500, ""),
        ("/gone", 500, ""),
        ("/other", 500, ""),
        ("/tool", 500, ""),
    ] {
        let (got, said) = get(&lab, path).await;
        assert_eq!(got, status, "{path}");
        assert!(status != 200 || said == body, "{path}: {said}");
    }
    assert_eq!(ask(&lab, "GET /h HTTP/1.1\r\nx-v: 2").await.body, "v2");
    assert_eq!(ask(&lab, "PUT /m HTTP/1.1\r\nContent-Length: 0").await.body, "v2");
    assert!(!v2.seen().contains("/tool"), "a route does not go round the rules of an MCP port");
}

/// Whoever asks for another protocol gets no more of an answer than whoever does not.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_changed_also_where_a_switch_was_asked_for() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rules = r#"
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-new, value: "1"}], remove: [x-from]}}]
    backendRefs: [{name: v2, port: 80}]"#;
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, "")).await;
    let upgrade = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    for request in ["GET / HTTP/1.1", upgrade] {
        let reply = ask(&lab, request).await;
        assert_eq!((reply.status, reply.header("x-new"), reply.header("x-from")), (200, Some("1"), None), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_change_what_goes_out_and_what_comes_back() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rules = r#"
  - matches: [{path: {value: /old}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: set}], add: [{name: x-b, value: more}], remove: [x-c]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-from, value: route}], add: [{name: x-new, value: "1"}]}}
    backendRefs: [{name: v2, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-backend, value: v2}]}}]}]
  - matches: [{path: {value: /go}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: there.example, statusCode: 301, path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
  - matches: [{path: {value: /here}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]"#;
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, "")).await;
    let reply = ask(&lab, "GET /old/x?y=z HTTP/1.1\r\nx-a: caller\r\nx-b: one\r\nx-c: gone").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "v2"));
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("x-from: route") && head.contains("x-new: 1") && !head.contains("server"), "{head}");
    let seen = v2.seen().to_ascii_lowercase();
    assert!(seen.starts_with("get /new/x?y=z http/1.1\r\n"), "{seen}");
    for line in ["host: new.example\r\n", "x-a: set\r\n", "x-b: one\r\n", "x-b: more\r\n", "x-backend: v2\r\n"] {
        assert!(seen.contains(line), "{line} {seen}");
    }
    assert!(!seen.contains("x-c") && !seen.contains("x-a: caller"), "{seen}");
    for (path, status, location) in [
        ("/go/a?b", 301, "location: https://there.example/x?b"),
        ("/here/a", 302, "location: http://web.tools:80/a"),
        ("/here", 302, "location: http://web.tools:80/"),
    ] {
        let reply = ask(&lab, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.head.to_ascii_lowercase().contains(&format!("{location}\r\n")), "{path} {}", reply.head);
    }
    assert_eq!(web.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_before_routes_lead_and_again_where_they_lead() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rules = r#"
  - matches: [{path: {value: /a}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /secret}}}]
    backendRefs: [{name: v2, port: 80}]
  - backendRefs: [{name: v2, port: 80}]"#;
    let mine = istio("DENY", r#"[{to: [{operation: {paths: ["/b"]}}]}]"#);
    let theirs =
        istio("DENY", r#"[{to: [{operation: {paths: ["/secret"]}}]}]"#).replace("web}", "v2}").replace("deny,", "d2,");
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, &format!("{mine}---\n{theirs}"))).await;
    for (path, status) in [("/b", 403), ("/a", 403), ("/secret", 403), ("/c", 200)] {
        let before = v2.bytes();
        assert_eq!(get(&lab, path).await.0, status, "{path}");
        assert_eq!(v2.bytes() > before, status == 200, "{path}");
    }
}

/// A stream that was led to another Service ends when that one's rules no longer permit it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_watched_where_it_was_led_to() {
    let web = named("web").await;
    let mut v2 = Live::start().await;
    let rules = "  - backendRefs: [{name: v2, port: 80}]";
    let theirs = istio("DENY", r#"[{to: [{operation: {paths: ["/other"]}}]}]"#).replace("web}", "v2}");
    let before = documents(web.addr, v2.addr, rules, &theirs);
    let lab = Lab::start(&before).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
    let mut held = v2.next().await;
    held.begin_events().await;
    held.message("1").await;
    assert!(until(&mut stream, b"data: 1").await.starts_with("HTTP/1.1 200"));
    assert!(!held.closed(Duration::from_millis(300)).await, "permitted, it goes on");
    lab.edit(&before.replace("/other", "/events")).await;
    assert!(held.closed(PATIENCE).await, "refused where it was led to, it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_timeouts_and_references() {
    let (web, v2) = (named("web").await, named("v2").await);
    let slow = Upstream::start(|_, _| {
        std::thread::park_timeout(Duration::from_secs(2));
        with("", "late")
    })
    .await;
    let rules = r#"
  - matches: [{path: {value: /slow}}]
    timeouts: {request: 10s, backendRequest: 100ms}
    backendRefs: [{name: slow, port: 80}]
  - matches: [{path: {value: /far}}]
    backendRefs: [{name: far, namespace: elsewhere, port: 80}]
  - backendRefs: [{name: web, port: 80, weight: 1}, {name: v2, port: 80, weight: 3}]"#;
    let far = service("far", "127.0.9.14", v2.addr, "http").replace("namespace: tools", "namespace: elsewhere");
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: elsewhere}\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: tools}], to: [{group: '', kind: Service}]}\n";
    let more = format!("{}---\n{far}---\n{grant}", service("slow", "127.0.9.15", slow.addr, "http"));
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, &more)).await;
    assert_eq!(get(&lab, "/slow").await.0, 504);
    assert_eq!(get(&lab, "/far").await, (200, "v2".to_owned()));
    let mut shares = [0; 2];
    for _ in 0..100 {
        shares[usize::from(get(&lab, "/").await.1 == "v2")] += 1;
    }
    assert!((8..=45).contains(&shares[0]), "{shares:?} of 100 at 1 and 3");
    let other = grant.replace("namespace: tools", "namespace: others");
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, &more.replace(grant, &other))).await;
    assert_eq!(get(&lab, "/far").await.0, 500, "not granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_equal_routes_holds() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rule = |name: &str| format!("  - backendRefs: [{{name: {name}, port: 80}}]");
    let younger = route("a", &rule("v2"))
        .replace("namespace: tools}", "namespace: tools, creationTimestamp: '2026-02-01T00:00:00Z'}");
    let older = documents(web.addr, v2.addr, &rule("web"), &younger)
        .replace("name: r, namespace: tools}", "name: r, namespace: tools, creationTimestamp: '2026-01-01T00:00:00Z'}");
    let lab = Lab::start(&older).await;
    assert_eq!(get(&lab, "/").await, (200, "web".to_owned()));
}

/// The mesh's mode leaves `//` to the first Service's server; where the second one has an AgentPolicy, paths are strict.
const BASE: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'pathNormalization: {normalization: BASE}'}\n";
const STRICT: &str = "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: p, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: v2}]\n  deny: [{to: [{http: {paths: [\"/private\", \"/private/*\"]}}]}]\n  allow: [{to: [{http: {paths: [\"/*\"]}}]}]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_normalised_for_the_service_that_it_is_led_to() {
    let (web, v2) = (named("web").await, named("v2").await);
    let rules = "  - matches: [{path: {value: /own}}]\n    backendRefs: [{name: web, port: 80}]\n  - backendRefs: [{name: v2, port: 80}]";
    let lab = Lab::start(&documents(web.addr, v2.addr, rules, &format!("{STRICT}{BASE}"))).await;
    for (path, status) in
        [("/private", 403), ("//private", 400), ("/x//private", 400), ("/%3aprivate", 200), ("/own//x", 200)]
    {
        let before = v2.bytes();
        assert_eq!(get(&lab, path).await.0, status, "{path}");
        assert_eq!(v2.bytes() > before, path == "/%3aprivate", "{path}");
    }
    assert!(v2.seen().starts_with("GET /:private HTTP/1.1\r\n"), "what is decided on is sent: {}", v2.seen());
}

/// A stream whose path rules would have had in another spelling is none of theirs to judge: it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_where_paths_are_spelt_otherwise_from_now_on() {
    let mut web = Live::start().await;
    let before = format!("{}{BASE}", service("web", "127.0.9.2", web.addr, "http"));
    let lab = Lab::start(&before).await;
    let mut stream = lab.tunnel("agents/reader", WEB).await.unwrap();
    stream.write_all(b"GET //private HTTP/1.1\r\nHost: web\r\n\r\n").await.unwrap();
    let mut held = web.next().await;
    held.begin_events().await;
    held.message("1").await;
    assert!(until(&mut stream, b"data: 1").await.starts_with("HTTP/1.1 200"));
    assert!(!held.closed(Duration::from_millis(300)).await, "permitted, it goes on");
    lab.edit(&format!("{before}---\n{}", STRICT.replace("v2", "web"))).await;
    assert!(held.closed(PATIENCE).await, "no rule on `/private` is about `//private`");
}

/// A token that the Service which a route leads to verifies goes no further, as where it is called by its own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_verified_where_a_route_leads_stays_here() {
    let (web, v2) = (named("web").await, named("v2").await);
    let tokens = Tokens::new();
    let rules = "  - matches: [{path: {value: /own}}]\n    backendRefs: [{name: web, port: 80}]\n  - backendRefs: [{name: v2, port: 80}]";
    let of = |more: &str| documents(web.addr, v2.addr, rules, &idp("v2", &inline(&tokens, more)));
    let token = tokens.sign("https://idp", "alice", "tools", 3600);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}");
    let lab = Lab::start(&of("")).await;
    assert_eq!(ask(&lab, &request("/x")).await.status, 200);
    assert!(v2.bytes() > 0 && !v2.seen().contains(&token), "{}", v2.seen());
    assert_eq!(ask(&lab, &request("/own")).await.status, 200);
    assert!(web.seen().contains(&token), "nobody verified it there");
    let lab = Lab::start(&of(", forwardOriginalToken: true")).await;
    assert_eq!(ask(&lab, &request("/x")).await.status, 200);
    assert!(v2.seen().contains(&token), "{}", v2.seen());
}
