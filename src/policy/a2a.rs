//! What a policy says of A2A beside rules: whose tasks are whose, where agents may call back, where a skill is said.
//!
//! Ownership and push URLs are decided here, after every deny rule and before requirements: no allow rule opens them.

use std::sync::Arc;

use super::card::{CardFault, Trust};
use super::decision::Reason;
use super::facts::Facts;
use super::pattern::Pattern;
use super::problems::Problems;
use super::source::service_account;
use super::token::Claims;
use crate::call::{A2aCall, Call, Card, Object, Owner, UrlHost, Value};
use crate::document::agent_policy::{A2aSpec, Cards, Ownership};
use crate::id::{Peer, WorkloadId};
use crate::wire::a2a::Mounts;

/// For whom a call acts: the workload, and the subject of its token where one was verified.
pub fn caller(peer: &Peer, claims: Option<&Claims>) -> Owner {
    let subject = claims.map(|claims| {
        let issuer = claims.issuer();
        Arc::from(format!("{}:{issuer}{}", issuer.len(), claims.subject().unwrap_or_default()))
    });
    Owner { id: peer.id().clone(), subject }
}

/// `spec.a2a` of every policy in force for a port.
#[derive(Debug, Default)]
pub struct A2aSettings {
    enforce: bool,
    co_owners: Vec<CoOwners>,
    skills: Vec<SkillPath>,
    push_hosts: Vec<Pattern>,
    base_paths: Vec<Arc<str>>,
    rpc_paths: Vec<Arc<str>>,
    refuse_cards: bool,
    trust: Trust,
}

/// Who may act on whose tasks.
#[derive(Debug)]
struct CoOwners {
    owners: Vec<Pattern>,
    accounts: Vec<Pattern>,
}

/// Where a caller says which skill it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SkillPath {
    /// `message.metadata.KEY`
    Message(Box<str>),
    /// `metadata.KEY`
    Request(Box<str>),
    /// `data.KEY`, of a part that is data.
    Data(Box<str>),
}

impl A2aSettings {
    /// Adds what one policy of `namespace` says.
    pub(super) fn add(&mut self, namespace: &str, spec: &A2aSpec, problems: &mut Problems) {
        self.enforce |= spec.ownership == Ownership::Enforce;
        self.refuse_cards |= spec.cards == Cards::Refuse;
        if let Some(trust) = &spec.card_trust {
            self.trust.add(trust, problems);
        }
        let account = |text: &str| service_account(namespace, text);
        for (at, written) in spec.co_owners.iter().enumerate() {
            let path = format!("spec.a2a.coOwners[{at}]");
            if written.service_accounts.is_empty() {
                problems.error(format_args!("{path}.serviceAccounts"), "is empty: name who else may act");
            }
            self.co_owners.push(CoOwners {
                owners: problems.patterns(&format!("{path}.owners"), &written.owners, account),
                accounts: problems.patterns(&format!("{path}.serviceAccounts"), &written.service_accounts, account),
            });
        }
        for (at, text) in spec.skills.iter().enumerate() {
            match skill_path(text) {
                Some(path) if self.skills.contains(&path) => {}
                Some(path) => self.skills.push(path),
                None => problems.error(
                    format_args!("spec.a2a.skills[{at}]"),
                    format_args!("`{text}` says no place: write message.metadata.KEY, metadata.KEY or data.KEY"),
                ),
            }
        }
        let hosts = spec.push.as_ref().map(|push| push.hosts.as_slice()).unwrap_or_default();
        let host = |text: &str| Pattern::parse(text).map(|pattern| pattern.to_lower_case());
        self.push_hosts.extend(problems.patterns("spec.a2a.push.hosts", hosts, host));
        self.base_paths.extend(paths("basePaths", &spec.base_paths, problems));
        self.rpc_paths.extend(paths("rpcPaths", &spec.rpc_paths, problems));
    }

    /// Whether an agent card is refused that names a place which this waypoint does not front.
    pub fn refuses_foreign_cards(&self) -> bool {
        self.refuse_cards
    }

    /// Whether cards that cannot be looked at whole may pass.
    pub(super) fn trusts_any_card(&self) -> bool {
        self.trust.is_anybodys()
    }

    /// What is to be known of an agent's card, and why it is not passed on, if it is not.
    pub(super) fn look_at_card(&self, card: &Object) -> (Card, Option<CardFault>) {
        let card = self.trust.look(card);
        let fault = self.trust.refuses(&card);
        (card, fault)
    }

    /// Where the agent serves which binding; at the root where nobody says.
    pub fn mounts(&self) -> Mounts<'_> {
        Mounts { rest: &self.base_paths, rpc: &self.rpc_paths }
    }

    /// The skill that the caller says it wants: none where it says none, or two, or anywhere what is no text.
    pub(super) fn skill<'a>(&self, call: &'a A2aCall) -> Option<&'a str> {
        let mut said = self.skills.iter().flat_map(|path| path.values(call));
        let first = said.next()??;
        said.all(|other| other == Some(first)).then_some(first)
    }

    /// Why the call is refused, whatever allow rules say.
    pub(super) fn refusal(&self, facts: &Facts<'_>) -> Option<Reason> {
        let Call::A2a(call) = facts.call else { return None };
        if !call.push.iter().all(|push| self.may_push(push.parts.as_ref())) {
            return Some(Reason::PushUrl);
        }
        if !self.enforce {
            return None;
        }
        let caller = caller(facts.peer, facts.claims);
        // Without a context a list is of everybody's tasks: agents in a mesh see one caller only, the waypoint.
        let unscoped = call.operation == crate::call::A2aOperation::ListTasks && call.context.is_none();
        let owned = |owner: Option<&Arc<Owner>>| owner.is_some_and(|owner| self.owns(&caller, owner));
        let foreign = call.named().any(|named| !owned(named.owner.as_ref()));
        (unscoped || foreign).then_some(Reason::NotOwner)
    }

    fn owns(&self, caller: &Owner, owner: &Owner) -> bool {
        caller == owner || self.co_owners.iter().any(|co| co.covers(&caller.id, &owner.id))
    }

    /// Only names that a policy lists, never an address; over http only inside of the mesh, which encrypts.
    fn may_push(&self, parts: Option<&crate::call::UrlParts>) -> bool {
        let Some(parts) = parts else { return false };
        let UrlHost::Name(host) = &parts.host else { return false };
        let encrypted = match &*parts.scheme {
            "https" => true,
            "http" => host.ends_with(".svc.cluster.local"),
            _ => false,
        };
        encrypted && self.push_hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl CoOwners {
    fn covers(&self, caller: &WorkloadId, owner: &WorkloadId) -> bool {
        // Another trust domain's account of the same name is another account.
        let same = caller.trust_domain() == owner.trust_domain();
        let matches = |patterns: &[Pattern], id: &WorkloadId| {
            let name = id.istio().map(|id| format!("{}/{}", id.namespace, id.service_account));
            name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
        };
        same && matches(&self.accounts, caller) && (self.owners.is_empty() || matches(&self.owners, owner))
    }
}

impl SkillPath {
    /// What stands in each of its places; none for what is no text, which an agent may understand all the same.
    fn values<'a>(&self, call: &'a A2aCall) -> Vec<Option<&'a str>> {
        let text = |object: Option<&'a Object>, key: &str| object?.get(key).map(Value::as_str);
        let member = |key: &str| call.message.as_ref()?.get(key);
        match self {
            Self::Message(key) => text(member("metadata").and_then(Value::as_object), key).into_iter().collect(),
            Self::Request(key) => text(call.metadata.as_ref(), key).into_iter().collect(),
            Self::Data(key) => {
                let parts = member("parts").and_then(Value::as_array).unwrap_or_default();
                parts.iter().filter_map(|part| text(part.get("data").and_then(Value::as_object), key)).collect()
            }
        }
    }
}

fn paths(field: &str, written: &[String], problems: &mut Problems) -> Vec<Arc<str>> {
    let mut found = Vec::with_capacity(written.len());
    for (at, text) in written.iter().enumerate() {
        match crate::wire::path::canonical(text) {
            Ok(path) => found.push(path.into()),
            Err(fault) => problems.error(format_args!("spec.a2a.{field}[{at}]"), format_args!("`{text}`: {fault}")),
        }
    }
    found
}

/// Everything behind the root is one key: extensions write URIs there.
fn skill_path(text: &str) -> Option<SkillPath> {
    let after = |root: &str| text.strip_prefix(root).filter(|key| !key.is_empty()).map(Box::from);
    let message = after("message.metadata.").map(SkillPath::Message);
    message.or_else(|| after("metadata.").map(SkillPath::Request)).or_else(|| after("data.").map(SkillPath::Data))
}
