//! Ways round a policy that others were found to have, by the number each was given.

use super::{expect, get};
use crate::lab::Lab;
use crate::plain_ports::http::{WEB, hello, istio, web};

/// A waypoint before a server, with one rule that denies.
macro_rules! denying {
    ($upstream:ident, $lab:ident, $rule:expr) => {
        let $upstream = hello().await;
        let $lab = Lab::start(&web($upstream.addr, &istio("DENY", $rule))).await;
    };
}

/// `//` and escaped slashes: Envoy decided on one path and the server served another.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_31920_and_29492_slashes() {
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]"#);
    let rows = [
        ("agents/reader", "/admin", "", 403),
        ("agents/reader", "/%61dmin", "", 403),
        ("agents/reader", "//admin", "", 400),
        ("agents/reader", "/x/%2e%2e/admin", "", 400),
        ("agents/reader", "/x/..%2fadmin", "", 400),
        ("agents/reader", "/x%5c..%5cadmin", "", 400),
        ("agents/reader", "/admin%2fusers", "", 400),
    ];
    expect(&lab, &upstream, &rows).await;
}

/// `/admin#x` is not `/admin` to a rule, and is to a server.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2021_39156_fragments() {
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin"]}}]}]"#);
    let rows = [("agents/reader", "/admin#x", "", 400), ("agents/reader", "/admin%23x", "", 200)];
    expect(&lab, &upstream, &rows).await;
}

/// Hosts are the same in any case, and with a dot at the end.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_21679_hosts() {
    denying!(upstream, lab, r#"[{to: [{operation: {hosts: ["Secret.Example", "secret.example:*"]}}]}]"#);
    for host in ["secret.example", "SECRET.example", "secret.example.", "secret.example:80", "Secret.Example.:8080"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(lab.raw("agents/reader", WEB, request.as_bytes()).await.status, 403, "{host}");
    }
    assert_eq!(upstream.bytes(), 0);
    assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 200);
}

/// A star in a path is a character like any other to `{*}`.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_46821_stars_in_paths() {
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin/{*}", "/all/{**}"]}}]}]"#);
    let rows = [
        ("agents/reader", "/admin/a*b", "", 403),
        ("agents/reader", "/admin/*", "", 403),
        ("agents/reader", "/admin/%2A", "", 403),
        ("agents/reader", "/all/*/x*", "", 403),
        ("agents/reader", "/admin", "", 200),
    ];
    expect(&lab, &upstream, &rows).await;
}

/// Each of several lines of one header is looked at, and all together.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_26308_repeated_headers() {
    denying!(upstream, lab, r#"[{when: [{key: "request.headers[x-role]", values: ["admin"]}]}]"#);
    let rows = [
        ("agents/reader", "/", "x-role: admin\r\n", 403),
        ("agents/reader", "/", "x-role: guest\r\nx-role: admin\r\n", 403),
        ("agents/reader", "/", "x-role: admin\r\nX-Role: guest\r\n", 403),
        ("agents/reader", "/", "x-role: guest\r\n", 200),
    ];
    expect(&lab, &upstream, &rows).await;
}

/// Bytes that are no text made a rule of Envoy's look away.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_73552_obs_text() {
    denying!(upstream, lab, r#"[{when: [{key: "request.headers[x-role]", values: ["admin*"]}]}]"#);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nx-role: admin\xff\r\n\r\n";
    assert_eq!(lab.raw("agents/reader", WEB, request).await.status, 400);
    assert_eq!(upstream.bytes(), 0);
}

/// `;` is part of the path that is decided on and of the one that is sent.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_73553_and_73511_path_parameters() {
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin*"]}}]}]"#);
    let rows = [
        ("agents/reader", "/admin;x=y", "", 403),
        ("agents/reader", "/x;/../admin", "", 400),
        ("agents/reader", "/x/..;/admin", "", 400),
        ("agents/reader", "/x;y=z", "", 200),
    ];
    expect(&lab, &upstream, &rows).await;
    assert!(upstream.seen().starts_with("GET /x;y=z HTTP/1.1\r\n"), "{}", upstream.seen());
    // A server that cuts parameters off serves `/admin`.
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]"#);
    let rows = [
        ("agents/reader", "/admin;x=y", "", 403),
        ("agents/reader", "/admin;x=y/users", "", 403),
        ("agents/reader", "/admin%3bx/users", "", 403),
        ("agents/reader", "/x;admin", "", 200),
    ];
    expect(&lab, &upstream, &rows).await;
}

/// A dot in a name is a dot.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_39350_names_are_no_expressions() {
    let upstream = hello().await;
    let rules = r#"[{from: [{source: {serviceAccounts: ["agents/cert-manager.io"]}}, {source: {namespaces: ["a.ents"]}}, {source: {principals: ["cluster.local/ns/agents/sa/reade."]}}]}]"#;
    let lab = Lab::start(&web(upstream.addr, &istio("ALLOW", rules))).await;
    let rows = [
        ("agents/cert-manager.io", "/", "", 200),
        ("agents/cert-managerxio", "/", "", 403),
        ("agents/reader", "/", "", 403),
    ];
    expect(&lab, &upstream, &rows).await;
}

/// CONNECT inside the tunnel is no request that any rule could read.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_47204_connect_inside_the_tunnel() {
    denying!(upstream, lab, r#"[{to: [{operation: {paths: ["/admin"]}}]}]"#);
    let request = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n";
    assert_eq!(lab.raw("agents/reader", WEB, request).await.status, 501);
    assert_eq!(upstream.bytes(), 0);
}

/// Keys are never fetched because a document names a URL, and missing keys are never replaced by others.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_41413_jwks_uri_and_missing_keys() {
    let upstream = hello().await;
    for rule in [
        format!("{{issuer: i, jwksUri: 'http://{}/keys'}}", upstream.addr),
        "{issuer: i}".to_owned(),
        "{issuer: i, jwks: '{\"keys\": []}'}".to_owned(),
    ] {
        let tokens = format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: t, namespace: tools}}\nspec: {{targetRefs: [{{kind: Service, group: '', name: web}}], jwtRules: [{rule}]}}\n"
        );
        let lab = Lab::start(&web(upstream.addr, &tokens)).await;
        assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 403, "{rule}");
        assert_eq!(upstream.bytes(), 0, "{rule}");
    }
}
