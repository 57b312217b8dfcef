//! Two protocols claimed for one port: the port is closed, and the younger claim is told so.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServicePort;
use kube::core::DynamicObject;
use serde_json::Value;

use super::super::cluster::{Listing, View, key};

/// Groups under which an `appProtocol` declares MCP or A2A.
const DECLARING: [&str; 3] = ["agent-waypoint.dev", "agentgateway.dev", "kgateway.dev"];

/// Policies that claim a port which an older claim has for another protocol.
#[derive(Debug, Default)]
pub(super) struct Conflicts(BTreeMap<(String, String), String>);

/// One claim on a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// `metadata.creationTimestamp`; the Service's own claim is older than any.
    created: String,
    namespace: String,
    name: String,
    protocol: String,
}

impl Conflicts {
    pub(super) fn of(view: &View, policies: &Listing<DynamicObject>) -> Self {
        let mut ports: BTreeMap<(String, String, i32), Vec<Claim>> = BTreeMap::new();
        for policy in policies.iter() {
            claims(view, policy, &mut ports);
        }
        let mut conflicts = Self::default();
        for ((namespace, service, port), mut claims) in ports {
            claims.extend(declared(view, &namespace, &service, port));
            claims.sort();
            let Some((first, rest)) = claims.split_first() else { continue };
            for claim in rest.iter().filter(|claim| claim.protocol != first.protocol) {
                let elder = match first.name.as_str() {
                    "" => "the port's appProtocol".to_owned(),
                    name => format!("AgentPolicy {}/{name}", first.namespace),
                };
                let why = format!(
                    "port {port} of Service {namespace}/{service} is claimed as {} here and as {} by {elder}, which is older: the port is closed until they agree",
                    claim.protocol, first.protocol
                );
                conflicts.0.insert((claim.namespace.clone(), claim.name.clone()), why);
            }
        }
        conflicts
    }

    /// Why a policy is in conflict, if it is.
    pub(super) fn of_policy(&self, namespace: &str, name: &str) -> Option<&str> {
        self.0.get(&(namespace.to_owned(), name.to_owned())).map(String::as_str)
    }
}

fn claims(view: &View, policy: &DynamicObject, ports: &mut BTreeMap<(String, String, i32), Vec<Claim>>) {
    let (namespace, name) = key(policy);
    let spec = policy.data.get("spec").unwrap_or(&Value::Null);
    let text = |field: &str| spec.get(field).and_then(Value::as_str);
    let Some(protocol) = text("protocol").filter(|_| text("mode") != Some("DryRun")) else { return };
    for target in spec.get("targetRefs").and_then(Value::as_array).into_iter().flatten() {
        let of = |field: &str| target.get(field).and_then(Value::as_str);
        let (Some("Service"), Some(service)) = (of("kind"), of("name")) else { continue };
        for port in ports_of(view, namespace, service).filter(|port| is_section(port, of("sectionName"))) {
            let created = policy.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
            let claim = Claim {
                created: created.unwrap_or_default(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                protocol: protocol.to_owned(),
            };
            ports.entry((namespace.to_owned(), service.to_owned(), port.port)).or_default().push(claim);
        }
    }
}

fn ports_of<'a>(view: &'a View, namespace: &str, service: &str) -> impl Iterator<Item = &'a ServicePort> {
    let spec = view.services.get(namespace, service).and_then(|service| service.spec.as_ref());
    spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default().iter()
}

fn is_section(port: &ServicePort, section: Option<&str>) -> bool {
    section.is_none_or(|section| port.name.as_deref() == Some(section) || port.port.to_string() == section)
}

/// What the port itself says.
fn declared(view: &View, namespace: &str, service: &str, number: i32) -> Option<Claim> {
    let port = ports_of(view, namespace, service).find(|port| port.port == number)?;
    let (group, protocol) = port.app_protocol.as_deref()?.split_once('/')?;
    let protocol = match protocol {
        "mcp" => "MCP",
        "a2a" => "A2A",
        _ => return None,
    };
    let nobody = String::new;
    DECLARING.contains(&group).then(|| Claim {
        created: nobody(),
        namespace: nobody(),
        name: nobody(),
        protocol: protocol.to_owned(),
    })
}
