//! What ztunnel enforces at a pod: istiod's `istio.security.Authorization` resources, and what they come to for one
//! connection.
//!
//! Istio's documented L4 semantics (istio.io/latest/docs/ambient/usage/l4-policy): any DENY that matches refuses; then,
//! where there is any ALLOW at all, one must match. A resource's `groups` are OR, the `rules` of a group AND, the `matches`
//! of a rule OR, the fields of a match AND, the values of a field OR. Names are those of istiod's
//! `workload/security/authorization.proto`, so that its JSON form is read as it stands.
//!
//! Two questions are answered: [`judge`], for one connection; and [`only`], for everyone at once: who can reach a port at
//! all. Pure; nothing here enforces.

mod matching;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::id::WorkloadId;

/// `istio.security.Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// Name of the policy it was made from.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Which workloads it is about.
    #[serde(default)]
    pub scope: Scope,
    /// What a match does.
    #[serde(default)]
    pub action: Action,
    /// OR; none: matches nothing.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Counted by ztunnel, not enforced.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which workloads an [`Authorization`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scope {
    /// All of the mesh.
    #[default]
    Global,
    /// All of its namespace.
    Namespace,
    /// Those that list it.
    WorkloadSelector,
}

/// What an [`Authorization`] does with a connection that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// Lets it through, unless a DENY matches; what no ALLOW matches is refused.
    #[default]
    Allow,
    /// Refuses it.
    Deny,
}

/// Rules, AND. Without any it matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// AND.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Matches, OR. Without any it matches everything; a match without fields is skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// OR.
    #[serde(default)]
    pub matches: Vec<Match>,
}

/// Fields AND, values OR; of a `not` field no value may match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[doc = "Fields are those of istiod's `security.Match`; addresses and ports of the destination are the pod's own."]
pub struct Match {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_namespaces: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<Account>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_service_accounts: Vec<Account>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_principals: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty", with = "wire")]
    pub source_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty", with = "wire")]
    pub not_source_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty", with = "wire")]
    pub destination_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty", with = "wire")]
    pub not_destination_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_ports: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_destination_ports: Vec<u16>,
}

/// `StringMatch`. Principals are compared without `spiffe://`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// All of it.
    Exact(Arc<str>),
    /// Its beginning.
    Prefix(Arc<str>),
    /// Its end.
    Suffix(Arc<str>),
    /// Anything but nothing.
    Presence(Anything),
}

/// `google.protobuf.Empty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
pub struct Anything {}

/// `ServiceAccountMatch`: of any trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// Namespace.
    pub namespace: Arc<str>,
    /// ServiceAccount.
    pub service_account: Arc<str>,
}

/// A connection as the destination's ztunnel sees it.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// Address that it comes from.
    pub source: IpAddr,
    /// Whose certificate it came with; none: plaintext.
    pub identity: Option<&'a WorkloadId>,
    /// Pod address and port that it wants, after translation of Services.
    pub destination: SocketAddr,
}

/// What the policies of a workload come to for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It passes.
    Permitted,
    /// This DENY matches.
    Denied(&'a Authorization),
    /// There are ALLOWs, as this one, and none matches.
    NotAllowed(&'a Authorization),
}

impl Verdict<'_> {
    /// Whether the connection passes.
    pub fn is_permitted(&self) -> bool {
        matches!(self, Self::Permitted)
    }
}

impl Authorization {
    /// `namespace/name`, as workloads list it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it is about a workload of `namespace` that lists `listed` (`authorization_policies` of its Address): a
    /// selector policy that the workload does not list does nothing.
    pub fn applies<S: AsRef<str>>(&self, namespace: &str, listed: &[S]) -> bool {
        match self.scope {
            Scope::Global => true,
            Scope::Namespace => *self.namespace == *namespace,
            Scope::WorkloadSelector => listed.iter().any(|key| {
                key.as_ref().split_once('/').is_some_and(|(ns, name)| ns == &*self.namespace && name == &*self.name)
            }),
        }
    }
}

/// What `policies`, all of which apply to the destination, come to for one connection.
pub fn judge<'a>(
    policies: impl IntoIterator<Item = &'a Authorization> + Clone,
    connection: &Connection<'_>,
) -> Verdict<'a> {
    let enforced = |action: Action| {
        let all = policies.clone().into_iter();
        all.filter(move |policy| policy.action == action && !policy.dry_run)
    };
    if let Some(deny) = enforced(Action::Deny).find(|policy| policy.matches(connection)) {
        return Verdict::Denied(deny);
    }
    match enforced(Action::Allow).next() {
        None => Verdict::Permitted,
        Some(_) if enforced(Action::Allow).any(|policy| policy.matches(connection)) => Verdict::Permitted,
        Some(first) => Verdict::NotAllowed(first),
    }
}

/// Who at most can reach `port`, whatever their address and identity: where `policies`, all of which apply to the
/// destination, refuse everyone but a finite list of principals. None where they do not, or not in a way that holds for
/// everyone: a policy with any other condition is not counted.
///
/// Principals are without `spiffe://`. Only DENY counts: an ALLOW can be widened by the next one.
pub fn only<'a, P: IntoIterator<Item = &'a Authorization>>(policies: P, port: u16) -> Option<BTreeSet<Arc<str>>> {
    let denies = policies.into_iter().filter(|policy| policy.action == Action::Deny && !policy.dry_run);
    let exempt = denies.flat_map(|policy| policy.groups.iter().filter_map(|group| group.exempt(port)));
    exempt.reduce(|one, other| one.intersection(&other).cloned().collect())
}
