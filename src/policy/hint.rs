use super::facts::Facts;
use crate::call::Call;
use crate::document::agent_policy::Protocol;

/// The smallest AgentPolicy that would allow the call, as YAML: for whoever looks at a refusal for want of one.
///
/// Every text that came from outside is quoted as JSON, which YAML reads alike.
pub(super) fn smallest_policy(declared: Protocol, facts: &Facts<'_>) -> String {
    let id = facts.peer.id();
    let from = match id.istio() {
        Some(istio) => {
            format!("serviceAccounts: [{}]", quoted(&format!("{}/{}", istio.namespace, istio.service_account)))
        }
        None => format!("principals: [{}]", quoted(id.principal())),
    };
    let to = match (facts.call, facts.request) {
        (Call::Mcp(call), _) => match (&call.object, call.name()) {
            (crate::call::McpObject::Tool { .. }, Some(name)) => Some(format!("tools: [{}]", quoted(name))),
            (crate::call::McpObject::Prompt { .. }, Some(name)) => Some(format!("prompts: [{}]", quoted(name))),
            (crate::call::McpObject::Resource(_), Some(uri)) => Some(format!("resources: [{}]", quoted(uri))),
            (crate::call::McpObject::Other | crate::call::McpObject::Setting, _) => {
                Some(format!("methods: [{}]", quoted(&call.method)))
            }
            _ => None,
        },
        (Call::A2a(call), _) => Some(format!("operations: [{}]", quoted(call.operation.as_str()))),
        (Call::Http, Some(head)) => Some(format!("http: {{paths: [{}]}}", quoted(&head.path))),
        (Call::Http | Call::Tcp, _) => None,
    };
    let to = to.map_or_else(String::new, |to| format!("\n    to: [{{{to}}}]"));
    let protocol = match declared {
        Protocol::Mcp => "MCP",
        Protocol::A2a => "A2A",
    };
    let service = quoted(&facts.destination.service);
    let namespace = quoted(&facts.destination.namespace);
    let port = facts.destination.port;
    format!(
        "apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: {service}, namespace: {namespace}}}
spec:
  targetRefs:
  - {{kind: Service, name: {service}, sectionName: \"{port}\"}}
  protocol: {protocol}
  allow:
  - from: [{{{from}}}]{to}
"
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
