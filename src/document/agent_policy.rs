//! `agent-waypoint.dev/v1alpha1` `AgentPolicy`: who may call which tool, with which arguments.
//!
//! Only the shape stands here; what the fields mean is compiled in `policy`.

mod external;
mod label;
mod limit;
mod pins;

use serde::{Deserialize, Deserializer, Serialize};

pub use external::External;
pub use label::Label;
pub use limit::Limit;
pub use pins::{Pin, PinMode, Pins};

/// `spec` of an `AgentPolicy`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentPolicySpec {
    /// What the policy protects; required, in its own namespace.
    pub target_refs: Vec<TargetRef>,
    /// Declares the protocol of the targeted ports.
    pub protocol: Option<Protocol>,
    /// Whether the policy takes part in decisions.
    #[serde(default)]
    pub mode: Mode,
    /// How refusals are worded.
    #[serde(default)]
    pub denial: DenialForm,
    /// A match refuses, whatever else allows.
    #[serde(default)]
    pub deny: Vec<Rule>,
    /// For the calls that `from` and `to` are about, `that` must hold.
    #[serde(default)]
    pub require: Vec<Requirement>,
    /// A match permits, unless denied or short of a requirement.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// What A2A has beside rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aSpec>,
    /// What becomes of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Results>,
    /// How many calls may be made in a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Which definitions of tools were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pins: Option<Pins>,
    /// Calls about which an outside provider is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
}

/// `spec.a2a`: whose tasks are whose, and what an agent is made to do beyond the call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct A2aSpec {
    /// Whether tasks and contexts are only for whom they were begun.
    pub ownership: Ownership,
    /// Who else may act on tasks.
    pub co_owners: Vec<CoOwner>,
    /// Where a message says which skill it wants: `message.metadata.KEY`, `metadata.KEY`, `data.KEY`. What it says is the
    /// caller's word, not the agent's.
    pub skills: Vec<String>,
    /// Where the agent may be asked to call back. Absent: nowhere.
    pub push: Option<Push>,
    /// Paths under which the agent serves the HTTP+JSON binding; `/` where none is named.
    pub base_paths: Vec<String>,
    /// Paths at which the agent takes JSON-RPC; `/` where none is named.
    pub rpc_paths: Vec<String>,
    /// What becomes of a card that names a place which this waypoint does not front.
    pub cards: Cards,
    /// Whose cards are passed on. Absent: whoever's.
    pub card_trust: Option<CardTrust>,
}

/// Whose agent cards are passed on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CardTrust {
    /// A JWK set (RFC 7517), as JSON text: one of its keys must have signed a card. `jku` in a card is never fetched.
    pub jwks: Option<String>,
    /// `sha256:HEX` of cards that were approved; no other is passed on.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
}

/// Whether tasks and contexts are only for whom they were begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum Ownership {
    /// Owners are learnt and rules can ask for them.
    #[default]
    Learn,
    /// What is not the caller's, or nobody's that is known, is answered as if it did not exist.
    Enforce,
}

/// Accounts that may act on other owners' tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CoOwner {
    /// Whose tasks: `namespace/name`. Absent: everybody's.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Who may: `namespace/name`, or `name` in the policy's own namespace.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
}

/// Where an agent may be asked to call back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Push {
    /// Host names, with patterns. Never addresses; http only for names of the mesh.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What becomes of a card that names a place which this waypoint does not front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum Cards {
    /// It passes, and is logged.
    #[default]
    Report,
    /// It is not passed on.
    Refuse,
}

/// What becomes of what a server answers to permitted calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Results {
    /// Strings that are replaced.
    #[serde(default)]
    pub redact: Vec<Redaction>,
    /// What is noted of a session when an answer shows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

/// An entry of `results.redact`: in the answers to the calls that it is about, strings are replaced in their place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redaction {
    /// `redact[0]` where absent.
    pub name: Option<String>,
    /// Entries OR. Absent: every caller.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: every call.
    pub to: Option<Vec<To>>,
    /// CEL, which may read the answer. Where it cannot be evaluated, strings are replaced.
    pub when: Option<String>,
    /// Paths from `result` or `error`, members with dots between them; `*` is any member, `**` any number of levels; lists
    /// are looked through. All strings below are replaced.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Regular expressions; what they match in any string is replaced.
    #[serde(default)]
    pub matching: Vec<String>,
    /// What is put in place; `[redacted]` where absent.
    pub with: Option<String>,
}

/// One entry of `targetRefs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// API group; empty (core) for Service and Namespace.
    #[serde(default)]
    pub group: String,
    /// `Service`, `ServiceEntry`, `Gateway` or `Namespace`; Istio's policies know `GatewayClass` and no `Namespace`.
    pub kind: TargetKind,
    /// Name of the target.
    pub name: String,
    /// Port name (or number as text) of a Service or ServiceEntry; all ports where absent.
    pub section_name: Option<String>,
}

/// Kinds that a policy can target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum TargetKind {
    /// core/v1 Service
    Service,
    /// networking.istio.io ServiceEntry
    ServiceEntry,
    /// gateway.networking.k8s.io Gateway
    Gateway,
    /// gateway.networking.k8s.io GatewayClass, for Istio's policies alone
    GatewayClass,
    /// The policy's own namespace
    Namespace,
}

/// Protocols that a port can be declared to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Protocol {
    /// Model Context Protocol
    #[serde(rename = "MCP")]
    Mcp,
    /// Agent2Agent
    #[serde(rename = "A2A")]
    A2a,
}

/// Whether a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum Mode {
    /// Decides.
    #[default]
    Enforce,
    /// Takes no part in the decision; what it would have decided is recorded.
    DryRun,
}

/// How a refusal is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
pub enum DenialForm {
    /// Hidden for what the caller cannot see in lists, disclosed for a visible tool refused by argument.
    #[default]
    Auto,
    /// The server's own unknown-name error.
    Hidden,
    /// Own error code with rule and request id.
    Disclosed,
    /// A tool result with `isError: true`, for models to read.
    ToolError,
}

/// An entry of `allow` or `deny`: `from`, `to` and `when` must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// For logs and denials; `allow[0]` where absent.
    pub name: Option<String>,
    /// Entries OR. Absent: every caller. An empty list is an error.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: every call (deny), every call known to the protocol (allow).
    pub to: Option<Vec<To>>,
    /// CEL
    pub when: Option<String>,
}

/// An entry of `require`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// For logs and denials; `require[0]` where absent.
    pub name: Option<String>,
    /// Entries OR. Absent: every caller.
    pub from: Option<Vec<From>>,
    /// Entries OR. Absent: every call whatever.
    pub to: Option<Vec<To>>,
    /// CEL that must hold.
    pub that: String,
}

/// Who calls: fields AND, values of a field OR, `not` fields: none may match. Patterns: exact, `pre*`, `*suf`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct From {
    /// Identity without `spiffe://`.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_principals: Vec<String>,
    /// `namespace/name`, or `name` in the policy's own namespace.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_service_accounts: Vec<String>,
    /// Namespace of the identity.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_namespaces: Vec<String>,
    /// Trust domain of the identity.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_trust_domains: Vec<String>,
    /// `iss/sub` of a verified token.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub request_principals: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_request_principals: Vec<String>,
    /// Address or CIDR of the TLS peer.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub ip_blocks: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_ip_blocks: Vec<String>,
}

/// What is called: fields of one kind of call AND, values OR. Two kinds in one entry can never match: refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct To {
    /// Tool names.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// None of these tool names.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_tools: Vec<String>,
    /// Prompt names.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// None of these prompt names.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_prompts: Vec<String>,
    /// Normalised resource URIs.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_resources: Vec<String>,
    /// MCP method names.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_methods: Vec<String>,
    /// A2A operations.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_operations: Vec<String>,
    /// A2A skills.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_skills: Vec<String>,
    /// Plain HTTP requests.
    pub http: Option<HttpMatch>,
}

/// A plain HTTP request: fields AND, values OR.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpMatch {
    /// Methods.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_methods: Vec<String>,
    /// Paths, normalised.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_paths: Vec<String>,
    /// Hosts, case-insensitive, with or without port.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// None of these.
    #[serde(deserialize_with = "filled", skip_serializing_if = "Vec::is_empty")]
    pub not_hosts: Vec<String>,
}

/// A list with something in it: an empty one reads like "nobody", and would mean "everybody".
fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(serde::de::Error::custom("an empty list is ambiguous: leave the field out, or name something"));
    }
    Ok(list)
}
