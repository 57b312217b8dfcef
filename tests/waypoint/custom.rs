//! CUSTOM: a real provider on loopback is asked, over HTTP and over gRPC, before anything reaches the server.

mod failures;
mod grpc;
mod http;
mod provider;
mod tokens;

use std::net::SocketAddr;

use crate::lab::{Lab, Reply, service};
use crate::plain_ports::http::WEB;

/// `tools/web`, a provider `p` at `addr`, declared as `declared`, and a CUSTOM policy with these rules.
pub(crate) fn documents(web: SocketAddr, addr: SocketAddr, declared: &str, rules: &str) -> String {
    let services = [service("web", "127.0.9.2", web, "http"), service("authz", "127.0.9.20", addr, "")];
    format!("{}---\n{}---\n{}", services.join("---\n"), providers(declared), policy("web", rules))
}

/// meshConfig with the provider `p`: `envoyExtAuthzHttp: {..}` or `envoyExtAuthzGrpc: {..}`, service and port put in.
pub(crate) fn providers(declared: &str) -> String {
    let (kind, fields) = declared.split_once(' ').unwrap_or((declared, ""));
    let kind = if kind == "http" { "envoyExtAuthzHttp" } else { "envoyExtAuthzGrpc" };
    let more = if fields.is_empty() { String::new() } else { format!(", {fields}") };
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    extensionProviders:\n    - {{name: p, {kind}: {{service: authz.tools.svc.cluster.local, port: 80{more}}}}}\n"
    )
}

pub(crate) fn policy(target: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: ask-{target}, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, group: '', name: {target}}}]\n  action: CUSTOM\n  provider: {{name: p}}\n  rules: {rules}\n"
    )
}

/// A request as a reader; `lines` of headers, each with its end, and a body.
pub(crate) async fn ask(lab: &Lab, line: &str, lines: &str, body: &str) -> Reply {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{line} HTTP/1.1\r\nHost: shop.example:8080\r\n{lines}{length}\r\n{body}");
    lab.raw("agents/reader", WEB, request.as_bytes()).await
}

pub(crate) async fn get(lab: &Lab, path: &str, lines: &str) -> Reply {
    ask(lab, &format!("GET {path}"), lines, "").await
}
