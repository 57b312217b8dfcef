//! L4 authorization as ztunnel does it: `istio.security.Authorization`, and what it says to one connection.
//!
//! Groups are OR, the rules of a group AND, the matches of a rule OR; within a match the fields are AND and the values
//! of one field OR, and none of a `not` field may match. A policy without groups matches nothing, a group without rules
//! and a rule without matches everything, and a match without fields is passed over. Without an identity every positive comparison of identities fails and every `not` passes:
//! that is how DENY with `notPrincipals` keeps out plaintext too.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use agent_waypoint::id::WorkloadId;
use serde::Deserialize;

use crate::world::{Workload, World};

/// `istio.security.Authorization`. A field that is not known is an error: passing it over would change what is meant.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Authorization {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) scope: Scope,
    pub(crate) action: Action,
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Scope {
    Global,
    Namespace,
    WorkloadSelector,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Action {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    #[serde(default)]
    pub(crate) rules: Vec<Rules>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    #[serde(default)]
    pub(crate) matches: Vec<Match>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Match {
    pub(crate) namespaces: Vec<StringMatch>,
    pub(crate) not_namespaces: Vec<StringMatch>,
    pub(crate) service_accounts: Vec<ServiceAccount>,
    pub(crate) not_service_accounts: Vec<ServiceAccount>,
    pub(crate) principals: Vec<StringMatch>,
    pub(crate) not_principals: Vec<StringMatch>,
    pub(crate) source_ips: Vec<Prefix>,
    pub(crate) not_source_ips: Vec<Prefix>,
    pub(crate) destination_ips: Vec<Prefix>,
    pub(crate) not_destination_ips: Vec<Prefix>,
    pub(crate) destination_ports: Vec<u16>,
    pub(crate) not_destination_ports: Vec<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StringMatch {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Presence {},
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ServiceAccount {
    pub(crate) namespace: String,
    pub(crate) service_account: String,
}

/// `istio.security.Address`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prefix {
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
}

/// What is decided about.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// What the certificate proved; none in plaintext.
    pub(crate) identity: Option<WorkloadId>,
    pub(crate) source: IpAddr,
    /// The pod's own address and port.
    pub(crate) destination: SocketAddr,
}

/// The policy that refuses, as `namespace/name`, or what else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) String);

/// Holds a connection against the policies that concern a workload: those of its namespace, the global ones, and those
/// that it lists.
pub(crate) fn check(world: &World, workload: &Workload, connection: &Connection) -> Result<(), Refused> {
    let concerns = |policy: &&Authorization| {
        !policy.dry_run
            && match policy.scope {
                Scope::Global => true,
                Scope::Namespace => policy.namespace == workload.namespace,
                Scope::WorkloadSelector => workload.authorization_policies.contains(&policy.key()),
            }
    };
    let (deny, allow): (Vec<_>, Vec<_>) =
        world.authorizations.iter().filter(concerns).partition(|policy| policy.action == Action::Deny);
    if let Some(policy) = deny.iter().find(|policy| policy.matches(connection)) {
        return Err(Refused(policy.key()));
    }
    if allow.is_empty() || allow.iter().any(|policy| policy.matches(connection)) {
        return Ok(());
    }
    Err(Refused("no ALLOW policy matches".to_owned()))
}

impl Authorization {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn matches(&self, connection: &Connection) -> bool {
        self.groups.iter().any(|group| group.rules.iter().all(|rules| rules.matches(connection)))
    }
}

impl Rules {
    fn matches(&self, connection: &Connection) -> bool {
        let mut said = self.matches.iter().filter(|one| **one != Match::default());
        self.matches.is_empty() || said.any(|one| one.matches(connection))
    }
}

impl Match {
    fn matches(&self, connection: &Connection) -> bool {
        let istio = connection.identity.as_ref().and_then(|id| id.istio());
        let namespace = |wanted: &StringMatch| wanted.admits(istio.map_or("", |id| &id.namespace));
        let account = |wanted: &ServiceAccount| {
            istio.is_some_and(|id| *id.namespace == *wanted.namespace && *id.service_account == *wanted.service_account)
        };
        let principal =
            |wanted: &StringMatch| connection.identity.as_ref().is_some_and(|id| wanted.admits(id.principal()));
        let source = |prefix: &Prefix| prefix.contains(connection.source);
        let destination = |prefix: &Prefix| prefix.contains(connection.destination.ip());
        let port = |port: &u16| *port == connection.destination.port();
        both(&self.namespaces, &self.not_namespaces, namespace)
            && both(&self.service_accounts, &self.not_service_accounts, account)
            && both(&self.principals, &self.not_principals, principal)
            && both(&self.source_ips, &self.not_source_ips, source)
            && both(&self.destination_ips, &self.not_destination_ips, destination)
            && both(&self.destination_ports, &self.not_destination_ports, port)
    }
}

/// A field and its `not` form: left out it holds.
fn both<T>(positive: &[T], negative: &[T], is: impl Fn(&T) -> bool) -> bool {
    (positive.is_empty() || positive.iter().any(&is)) && !negative.iter().any(&is)
}

impl StringMatch {
    fn admits(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => text == wanted,
            Self::Prefix(wanted) => text.starts_with(wanted.as_str()),
            Self::Suffix(wanted) => text.ends_with(wanted.as_str()),
            Self::Presence {} => !text.is_empty(),
        }
    }
}

impl Prefix {
    fn contains(self, ip: IpAddr) -> bool {
        ipnet::IpNet::new(self.address, self.length).is_ok_and(|net| net.contains(&ip))
    }
}
