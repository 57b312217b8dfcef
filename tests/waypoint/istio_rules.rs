//! AuthorizationPolicies on the wire: what they refuse reaches nobody, what they allow arrives as it was decided on.

mod cves;
mod origins;
mod paths;

use crate::lab::{Lab, Reply, Upstream, service};
use crate::plain_ports::http::{WEB, hello, istio, web};

/// A GET of `target` with these headers, each with its line end.
async fn get(lab: &Lab, who: &str, target: &str, headers: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: shop.example:8080\r\n{headers}\r\n");
    lab.raw(who, WEB, request.as_bytes()).await
}

/// Asks and holds the status; a refusal must not have reached the server.
async fn expect(lab: &Lab, upstream: &Upstream, rows: &[(&str, &str, &str, u16)]) {
    for (who, target, headers, status) in rows {
        let before = upstream.bytes();
        let reply = get(lab, who, target, headers).await;
        assert_eq!(reply.status, *status, "{who} {target} {headers}: {reply:?}");
        assert_eq!(upstream.bytes() > before, *status == 200, "{who} {target} {headers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_field_decides_on_an_http_port() {
    let upstream = hello().await;
    let deny = istio(
        "DENY",
        r#"
  - to: [{operation: {paths: ["/a/{*}/secret", "/private*"], notPaths: ["/private/open"]}}]
  - when: [{key: "request.headers[x-role]", values: ["guest*"]}]
  - from: [{source: {notPrincipals: ["cluster.local/ns/agents/*"], notNamespaces: ["tools"]}}]
  - to: [{operation: {hosts: ["*.evil.example"]}}]"#,
    );
    let allow = istio(
        "ALLOW",
        r#"
  - from: [{source: {serviceAccounts: ["agents/reader"]}}]
    to: [{operation: {methods: ["GET"], hosts: ["SHOP.example:*"], ports: ["80"]}}]
    when: [{key: destination.ip, values: ["127.0.9.0/24"]}, {key: connection.sni, notValues: ["*"]}]
  - from: [{source: {requestPrincipals: ["*"]}}]"#,
    );
    let lab = Lab::start(&web(upstream.addr, &format!("{deny}---\n{allow}"))).await;
    let rows = [
        ("agents/reader", "/x", "", 200),
        ("agents/reader", "/x?q=/private", "", 200),
        ("agents/other", "/x", "", 403),
        ("elsewhere/reader", "/x", "", 403),
        ("agents/reader", "/a/b/secret", "", 403),
        ("agents/reader", "/a/b/c/secret", "", 200),
        ("agents/reader", "/private/x", "", 403),
        ("agents/reader", "/private/open", "", 200),
        ("agents/reader", "/priv%61te/x", "", 403),
        ("agents/reader", "/x", "X-Role: guest-1\r\n", 403),
        ("agents/reader", "/x", "X-Role: member\r\nX-ROLE: guest-1\r\n", 403),
        ("agents/reader", "/x", "X-Role: member\r\n", 200),
    ];
    expect(&lab, &upstream, &rows).await;
    let evil = "GET /x HTTP/1.1\r\nHost: A.Evil.Example\r\n\r\n";
    assert_eq!(lab.raw("agents/reader", WEB, evil.as_bytes()).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_of_the_mesh_are_read_from_its_config() {
    let upstream = hello().await;
    let config = |aliases: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    trustDomain: cluster.local\n    trustDomainAliases: {aliases}\n"
        )
    };
    let policy = istio("ALLOW", "[{from: [{source: {principals: [\"old.example/ns/agents/sa/reader\"]}}]}]");
    let documents = |aliases: &str| web(upstream.addr, &format!("{policy}{}", config(aliases)));
    for (aliases, status) in [("[old.example]", 200), ("[other.example]", 403), ("old.example", 403)] {
        let lab = Lab::start(&documents(aliases)).await;
        assert_eq!(get(&lab, "agents/reader", "/x", "").await.status, status, "{aliases}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_is_targeted_from_the_root_namespace_alone() {
    let upstream = hello().await;
    let policy = |namespace: &str, class: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: c, namespace: {namespace}}}\nspec:\n  targetRefs: [{{kind: GatewayClass, group: gateway.networking.k8s.io, name: {class}}}]\n  action: DENY\n  rules: [{{}}]\n"
        )
    };
    for (namespace, class, status) in [
        ("istio-system", "agent-waypoint", 403),
        ("istio-system", "istio-agentgateway-waypoint", 403),
        ("istio-system", "istio-waypoint", 200),
        ("tools", "agent-waypoint", 200),
    ] {
        let lab = Lab::start(&web(upstream.addr, &policy(namespace, class))).await;
        assert_eq!(get(&lab, "agents/reader", "/x", "").await.status, status, "{namespace} {class}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_lets_through_and_a_rule_of_http_denies_a_tcp_port() {
    let upstream = hello().await;
    let dry = istio("DENY", "[{}]")
        .replace("namespace: tools}", "namespace: tools, annotations: {istio.io/dry-run: 'true'}}");
    let database = service("database", "127.0.9.5", upstream.addr, "tcp");
    let http =
        istio("DENY", "[{to: [{operation: {paths: [\"/x\"]}}]}]").replace("web}", "database}").replace("deny,", "h,");
    let lab = Lab::start(&web(upstream.addr, &format!("{dry}---\n{database}---\n{http}"))).await;
    assert_eq!(get(&lab, "agents/reader", "/x", "").await.status, 200);
    let line = lab.log.line(|_| true).await;
    assert_eq!(line["shadow"]["decision"], "deny", "{line}");
    let before = upstream.bytes();
    assert!(lab.tunnel("agents/reader", "127.0.9.5:80").await.is_err());
    assert_eq!(upstream.bytes(), before);
}
