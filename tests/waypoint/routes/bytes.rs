//! TCPRoutes: connections by weight, to where rules permit them.

use tokio::io::AsyncWriteExt;

use super::named;
use crate::lab::{Lab, PATIENCE, Upstream, service};
use crate::plain_ports::http::until;

const DATABASE: &str = "127.0.9.31:80";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn tcp_route(parent: &str, backends: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {{name: r, namespace: tools}}\nspec:\n  parentRefs: [{{group: '', kind: Service, {parent}}}]\n  rules: [{{backendRefs: [{backends}]}}]\n"
    )
}

fn services([database, one, two]: [&Upstream; 3], protocol: &str) -> String {
    [
        service("database", "127.0.9.31", database.addr, protocol),
        service("one", "127.0.9.32", one.addr, "tcp"),
        service("two", "127.0.9.33", two.addr, "tcp"),
        service("tool", "127.0.9.34", two.addr, "agent-waypoint.dev/mcp"),
        service("web", "127.0.9.35", two.addr, "http"),
    ]
    .join("---\n")
}

fn deny(name: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: deny, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, group: '', name: {name}}}]\n  action: DENY\n  rules: [{{from: [{{source: {{namespaces: [evil]}}}}]}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_by_weight() {
    let (database, one, two) = (named("database").await, named("one").await, named("two").await);
    for protocol in ["tcp", ""] {
        let route = tcp_route("name: database, port: 80", "{name: one, port: 80}, {name: two, port: 80, weight: 3}");
        let lab = Lab::start(&format!("{}---\n{route}", services([&database, &one, &two], protocol))).await;
        let mut shares = [0; 2];
        // What is undeclared and turns out to be HTTP is led to ports of requests alone.
        for _ in 0..if protocol == "tcp" { 60 } else { 1 } {
            let reply = lab.raw("agents/reader", DATABASE, GET).await;
            match reply.body.as_str() {
                "one" => shares[0] += 1,
                "two" => shares[1] += 1,
                _ => assert_eq!((protocol, reply.status), ("", 500), "{reply:?}"),
            }
        }
        assert!(protocol.is_empty() || (4..=30).contains(&shares[0]), "{shares:?} of 60 at 1 and 3");
        assert_eq!(database.bytes(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_both_ends_decide_on_connections() {
    let (database, one, two) = (named("database").await, named("one").await, named("two").await);
    let all = [&database, &one, &two];
    for (backends, rules, who, status) in [
        ("{name: one, port: 80}", deny("database"), "evil/reader", 403),
        ("{name: one, port: 80}", deny("one"), "evil/reader", 403),
        ("{name: none, port: 80}", String::new(), "agents/reader", 503),
        ("{name: one, port: 80, weight: 0}", String::new(), "agents/reader", 503),
        ("{name: tool, port: 80}", String::new(), "agents/reader", 503),
        ("{name: web, port: 80}", String::new(), "agents/reader", 503),
        ("{name: one, namespace: elsewhere, port: 80}", String::new(), "agents/reader", 503),
    ] {
        let route = tcp_route("name: database", backends);
        let lab = Lab::start(&format!("{}---\n{route}{rules}", services(all, "tcp"))).await;
        let fault = lab.tunnel(who, DATABASE).await.expect_err(backends).to_string();
        assert!(fault.contains(&status.to_string()), "{backends}: {fault}");
        assert_eq!(all.map(Upstream::bytes), [0; 3], "{backends}");
    }
    let route = tcp_route("name: database", "{name: one, port: 80}");
    let documents = format!("{}---\n{route}{}", services(all, "tcp"), deny("one"));
    let lab = Lab::start(&documents).await;
    let mut stream = lab.tunnel("agents/reader", DATABASE).await.unwrap();
    stream.write_all(GET).await.unwrap();
    assert!(until(&mut stream, b"one").await.ends_with("one"));
    lab.edit(&documents.replace("[evil]", "[agents]")).await;
    let ended = async {
        let mut rest = [0; 64];
        while !matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await, Ok(0) | Err(_)) {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("refused where it was led to, it ends");
}

/// A route of connections on a port of requests is no route of it, and does not leave a port open that it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_of_the_wrong_kind_is_told() {
    let (database, one, two) = (named("database").await, named("one").await, named("two").await);
    let all = [&database, &one, &two];
    for (parent, status) in [("name: database", 200), ("name: database, port: 80", 403)] {
        let route = tcp_route(parent, "{name: one, port: 80}");
        let lab = Lab::start(&format!("{}---\n{route}", services(all, "http"))).await;
        let reply = lab.raw("agents/reader", DATABASE, GET).await;
        assert_eq!(reply.status, status, "{parent}: {reply:?}");
    }
    let route = tcp_route("name: database", "{name: one, port: 80}")
        .replace("]}]\n", "]}, {backendRefs: [{name: two, port: 80}]}]\n");
    let lab = Lab::start(&format!("{}---\n{route}", services(all, "tcp"))).await;
    assert!(lab.tunnel("agents/reader", DATABASE).await.is_err(), "two rules: closed");
    assert_eq!([&one, &two].map(|one| one.bytes()), [0; 2]);
}
