//! The documents that every benchmark runs under, and messages as agents send them.

use std::net::SocketAddr;

/// Who calls.
pub(crate) const CALLER: (&str, &str) = ("agents", "writer");

/// Ten rules, four of them with CEL: of the size that a team's policy for one server has.
pub(crate) const POLICY: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: tools, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: mcp-plain}, {kind: Service, name: mcp-hbone}]
  protocol: MCP
  deny:
  - name: no-delete
    to: [{tools: ["delete_*", "drop_*"]}]
  - name: not-from-outside
    from: [{notNamespaces: ["agents", "tools"]}]
  - name: no-root
    when: has(mcp.tool.arguments.path) && mcp.tool.arguments.path.startsWith("/etc/")
  require:
  - name: own-org-only
    to: [{tools: ["create_*", "update_*"]}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  - name: small-batches
    to: [{tools: ["create_*"]}]
    that: "!has(mcp.tool.arguments.items) || size(mcp.tool.arguments.items) <= 20000"
  allow:
  - name: readers
    from: [{serviceAccounts: ["agents/reader"]}]
    to: [{tools: ["get_*", "list_*", "search_*"]}]
  - name: auditors
    from: [{serviceAccounts: ["agents/auditor"]}]
    to: [{tools: ["audit_*"]}, {resources: ["file:///var/audit/*"]}]
  - name: tickets
    from: [{serviceAccounts: ["agents/triage", "agents/support"]}]
    to: [{tools: ["close_issue", "comment_issue"]}]
  - name: alice
    to: [{tools: ["export_all"]}]
    when: jwt.sub == "alice"
  - name: writers
    from: [{serviceAccounts: ["agents/writer"]}]
    to: [{tools: ["get_*", "create_*", "update_*"]}]
"#;

/// What stands behind the waypoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// HTTP/1.1 in plaintext.
    pub(crate) plain: SocketAddr,
    /// The same HTTP/1.1 inside HBONE, as `tools/server`.
    pub(crate) hbone: SocketAddr,
}

/// The virtual address of one of the services below, port 80.
pub(crate) fn vip(protocol: &str, way: &str) -> String {
    let last = ["mcp-plain", "http-plain", "tcp-plain", "mcp-hbone", "http-hbone", "tcp-hbone"]
        .iter()
        .position(|name| *name == format!("{protocol}-{way}"))
        .unwrap();
    format!("127.0.99.{}:80", last + 1)
}

/// Six services: each protocol, plaintext and by HBONE behind the waypoint.
pub(crate) fn documents(place: Place) -> String {
    let mut text = POLICY.to_owned();
    for protocol in ["mcp", "http", "tcp"] {
        for (way, at) in [("plain", place.plain), ("hbone", place.hbone)] {
            let app = if protocol == "mcp" { String::new() } else { format!(", appProtocol: {protocol}") };
            let (vip, _) =
                vip(protocol, way).split_once(':').map(|(ip, port)| (ip.to_owned(), port.to_owned())).unwrap();
            text.push_str(&format!(
                r#"
---
apiVersion: v1
kind: Service
metadata: {{name: {protocol}-{way}, namespace: tools}}
spec:
  clusterIP: {vip}
  selector: {{app: {protocol}-{way}}}
  ports: [{{name: main, port: 80, targetPort: {port}{app}}}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {protocol}-{way}, namespace: tools}}
spec:
  address: {ip}
  serviceAccount: server
  labels: {{app: {protocol}-{way}{tunnel}}}
"#,
                ip = at.ip(),
                port = at.port(),
                tunnel = if way == "hbone" {
                    format!(r#", networking.istio.io/tunnel: http, agent-waypoint.dev/hbone-port: "{}""#, at.port())
                } else {
                    String::new()
                },
            ));
        }
    }
    text
}

/// A `tools/call` of about `size` bytes, as agents send them: short members, some text, some numbers.
pub(crate) fn call(size: usize) -> Vec<u8> {
    let mut body = String::from(
        r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"create_issue","arguments":{"owner":"acme","items":["#,
    );
    let mut n = 0;
    while body.len() < size - 120 {
        let comma = if n == 0 { "" } else { "," };
        body.push_str(&format!(
            r#"{comma}{{"id":{n},"title":"Printer on floor {n} says \"PC LOAD LETTER\"","done":false,"hours":1.25}}"#
        ));
        n += 1;
    }
    body.push_str(r#"]},"_meta":{"progressToken":17}}}"#);
    body.into_bytes()
}
