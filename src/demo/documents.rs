//! The documents of the demo: the same YAML that a cluster would hold.

use std::net::SocketAddr;

use super::issuer::ISSUER;

/// Where the guarded server is, for the documents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where the application seems to listen.
    pub(super) app: SocketAddr,
    /// Where its end of the mesh takes HBONE.
    pub(super) hbone_port: u16,
}

/// Who and where: the service and its one workload.
pub(super) fn mesh(place: Place) -> String {
    let Place { app, hbone_port } = place;
    format!(
        r#"apiVersion: v1
kind: Service
metadata: {{name: notes, namespace: tools}}
spec:
  selector: {{app: notes}}
  ports:
  - {{name: mcp, port: 80, targetPort: {port}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: notes-1, namespace: tools}}
spec:
  address: {ip}
  serviceAccount: notes
  labels:
    app: notes
    networking.istio.io/tunnel: http
    agent-waypoint.dev/hbone-port: "{hbone_port}"
"#,
        port = app.port(),
        ip = app.ip(),
    )
}

/// The agent: where it is, who may ask it, and whose its tasks are.
pub(super) fn agent(addr: SocketAddr) -> String {
    format!(
        r#"apiVersion: v1
kind: Service
metadata: {{name: reckoner, namespace: tools}}
spec:
  selector: {{app: reckoner}}
  ports:
  - {{name: a2a, port: 80, targetPort: {port}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reckoner-1, namespace: tools}}
spec:
  address: {ip}
  labels: {{app: reckoner}}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: reckoner, namespace: tools}}
spec:
  targetRefs:
  - {{kind: Service, name: reckoner}}
  protocol: A2A
  a2a:
    ownership: Enforce
    push: {{hosts: ["*.agents.svc.cluster.local"]}}
  allow:
  - name: agents-ask
    from: [{{serviceAccounts: ["agents/researcher", "agents/assistant"]}}]
    to: [{{operations: [SendMessage, GetTask]}}]
"#,
        port = addr.port(),
        ip = addr.ip(),
    )
}

/// What is intended: whose tokens are believed, and who may call what.
pub(super) fn policy(jwks: &str) -> String {
    format!(
        r#"apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: idp, namespace: tools}}
spec:
  targetRefs:
  - {{kind: Service, group: "", name: notes}}
  jwtRules:
  - issuer: {ISSUER}
    jwks: '{jwks}'
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: notes, namespace: tools}}
spec:
  targetRefs:
  - {{kind: Service, name: notes, sectionName: mcp}}
  protocol: MCP
  deny:
  - name: nobody-deletes
    to: [{{tools: ["delete_*"]}}]
  require:
  - name: own-org-only
    to: [{{tools: ["create_*", "update_*"]}}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  allow:
  - name: agents-read
    from: [{{serviceAccounts: ["agents/researcher", "agents/assistant"]}}]
    to: [{{tools: ["get_*", "search_*"]}}]
  - name: researchers-create
    from: [{{serviceAccounts: ["agents/researcher"]}}]
    to: [{{tools: ["create_*"]}}]
  - name: alice-updates
    from: [{{serviceAccounts: ["agents/assistant"]}}]
    when: jwt.sub == "alice" && mcp.tool.name == "update_note"
"#
    )
}
