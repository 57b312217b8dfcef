//! Facts and documents for tests.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::token::Claims;
use super::{Decision, Destination, Facts, RuleSet, Rules, compile};
use crate::call::{Call, HttpHead, Knowable, McpCall, McpObject, Object, ResourceUri};
use crate::document::Meta;
use crate::document::agent_policy::{AgentPolicySpec, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::id::{Peer, WorkloadId};

/// Facts that can be changed one by one.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) peer: Peer,
    pub(crate) destination: Destination,
    pub(crate) request: Option<HttpHead>,
    pub(crate) claims: Option<Claims>,
    pub(crate) call: Call,
}

/// A peer by the URI of its identity.
pub(crate) fn peer(uri: &str) -> Peer {
    let addr = "10.1.2.3:4444".parse().unwrap();
    Peer::verified(WorkloadId::parse(uri).unwrap(), addr, SystemTime::UNIX_EPOCH)
}

pub(crate) fn head(method: &str, path: &str) -> HttpHead {
    HttpHead {
        method: method.parse().unwrap(),
        path: path.into(),
        query: None,
        host: "repo-mcp.tools:8080".into(),
        headers: http::HeaderMap::new(),
    }
}

/// A JSON object as the decoder makes it.
pub(crate) fn object(json: Json) -> Object {
    Claims::assumed(&json.to_string()).unwrap().object().clone()
}

pub(crate) fn mcp(method: &str, object: McpObject) -> Call {
    Call::Mcp(McpCall { method: method.into(), object, version: None, session: None })
}

pub(crate) fn tool(name: &str, arguments: Json) -> Call {
    let object =
        McpObject::Tool { name: Knowable::Known(name.into()), arguments: Knowable::Known(Arc::new(object(arguments))) };
    mcp("tools/call", object)
}

pub(crate) fn tool_entry(name: &str) -> Call {
    mcp("tools/list", McpObject::Tool { name: Knowable::Known(name.into()), arguments: Knowable::Unknown })
}

pub(crate) fn tools_list() -> Call {
    mcp("tools/list", McpObject::Tool { name: Knowable::Unknown, arguments: Knowable::Unknown })
}

pub(crate) fn prompt(name: &str) -> Call {
    let object =
        McpObject::Prompt { name: Knowable::Known(name.into()), arguments: Knowable::Known(Arc::new(Object::new())) };
    mcp("prompts/get", object)
}

pub(crate) fn resource(raw: &str, normal: &str) -> Call {
    let uri = ResourceUri { raw: raw.into(), normal: normal.into() };
    mcp("resources/read", McpObject::Resource(Knowable::Known(uri)))
}

pub(crate) fn base(method: &str) -> Call {
    mcp(method, McpObject::Base)
}

pub(crate) fn other(method: &str) -> Call {
    mcp(method, McpObject::Other)
}

impl World {
    /// `agents/researcher` calls the tool `get_issue` of `tools/repo-mcp`.
    pub(crate) fn new() -> Self {
        Self {
            peer: peer("spiffe://cluster.local/ns/agents/sa/researcher"),
            destination: Destination {
                service: "repo-mcp".into(),
                namespace: "tools".into(),
                port: 8080,
                addresses: ["10.96.0.7".parse().unwrap()].into(),
            },
            request: Some(head("POST", "/mcp")),
            claims: None,
            call: tool("get_issue", json!({})),
        }
    }

    pub(crate) fn calling(call: Call) -> Self {
        let request = match &call {
            Call::Tcp => None,
            Call::Mcp(call) if call.method.as_ref() == "DELETE" => Some(head("DELETE", "/mcp")),
            Call::Mcp(_) => Some(head("POST", "/mcp")),
            Call::A2a(_) => Some(head("POST", "/")),
            Call::Http => Some(head("GET", "/x")),
        };
        Self { call, request, ..Self::new() }
    }

    pub(crate) fn from(self, uri: &str) -> Self {
        Self { peer: peer(uri), ..self }
    }

    pub(crate) fn claiming(self, claims: Json) -> Self {
        Self { claims: Claims::assumed(&claims.to_string()), ..self }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            peer: &self.peer,
            destination: &self.destination,
            request: self.request.as_ref(),
            claims: self.claims.as_ref(),
            call: &self.call,
            led: None,
            labels: None,
        }
    }
}

pub(crate) fn meta(name: &str) -> Meta {
    Meta { name: name.into(), namespace: "tools".into(), generation: 3, ..Meta::default() }
}

/// An AgentPolicy's spec from YAML, its `targetRefs` added.
pub(crate) fn agent_spec(yaml: &str) -> AgentPolicySpec {
    let text = format!("targetRefs: [{{kind: Service, name: repo-mcp}}]\n{yaml}");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// An AuthorizationPolicy's spec from YAML, its `targetRefs` added.
pub(crate) fn istio_spec(yaml: &str) -> AuthorizationPolicySpec {
    let text = format!("targetRefs: [{{kind: Service, name: repo-mcp}}]\n{yaml}");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn rules(declared: Option<Protocol>, agent: &[&str], istio: &[&str]) -> Rules {
    let agent: Vec<_> =
        agent.iter().enumerate().map(|(at, yaml)| (meta(&format!("a{at}")), agent_spec(yaml))).collect();
    let istio: Vec<_> =
        istio.iter().enumerate().map(|(at, yaml)| (meta(&format!("i{at}")), istio_spec(yaml))).collect();
    let set = RuleSet {
        declared,
        agent: agent.iter().map(|(meta, spec)| (meta, spec)).collect(),
        istio: istio.iter().map(|(meta, spec)| (meta, spec)).collect(),
        ..RuleSet::default()
    };
    compile(&set).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Rules of a port declared MCP.
pub(crate) fn mcp_rules(agent: &[&str]) -> Rules {
    rules(Some(Protocol::Mcp), agent, &[])
}

/// `allow`, or the reason of the refusal.
pub(crate) fn verdict(rules: &Rules, world: &World) -> &'static str {
    match rules.decide(&world.facts()) {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.reason.as_str(),
    }
}
