//! `istio.security.Authorization` as it is judged: what is not understood is refused, as a policy that is read as less than
//! it says would be a wrong answer to who is kept out.

use std::net::IpAddr;

use ipnet::IpNet;
use prost::Message as _;

use super::security as wire;
use super::security::string_match::MatchType;
use crate::mesh::l4::{Account, Action, Anything, Authorization, Group, Match, Rule, Scope, Text};

/// The policy that a resource of that name is, or why it is none.
pub(super) fn policy(name: &str, body: &[u8]) -> Result<Authorization, String> {
    let policy = wire::Authorization::decode(body).map_err(|error| format!("does not decode: {error}"))?;
    let scope = match wire::Scope::try_from(policy.scope) {
        Ok(wire::Scope::Global) => Scope::Global,
        Ok(wire::Scope::Namespace) => Scope::Namespace,
        Ok(wire::Scope::WorkloadSelector) => Scope::WorkloadSelector,
        Err(_) => return Err(format!("scope {} is not known", policy.scope)),
    };
    let action = match wire::Action::try_from(policy.action) {
        Ok(wire::Action::Allow) => Action::Allow,
        Ok(wire::Action::Deny) => Action::Deny,
        Err(_) => return Err(format!("action {} is not known", policy.action)),
    };
    let groups = policy.groups.iter().map(group).collect::<Result<_, _>>()?;
    let (own, namespace) = (policy.name.as_str().into(), policy.namespace.as_str().into());
    let policy = Authorization { name: own, namespace, scope, action, groups, dry_run: policy.dry_run };
    if policy.key() != name {
        return Err(format!("calls itself {}", policy.key()));
    }
    Ok(policy)
}

fn group(group: &wire::Group) -> Result<Group, String> {
    let rule = |rules: &wire::Rules| {
        let matches = rules.matches.iter().map(one_match).collect::<Result<_, _>>()?;
        Ok::<_, String>(Rule { matches })
    };
    Ok(Group { rules: group.rules.iter().map(rule).collect::<Result<_, _>>()? })
}

fn one_match(from: &wire::Match) -> Result<Match, String> {
    Ok(Match {
        namespaces: all(&from.namespaces, text)?,
        not_namespaces: all(&from.not_namespaces, text)?,
        service_accounts: all(&from.service_accounts, account)?,
        not_service_accounts: all(&from.not_service_accounts, account)?,
        principals: all(&from.principals, text)?,
        not_principals: all(&from.not_principals, text)?,
        source_ips: all(&from.source_ips, net)?,
        not_source_ips: all(&from.not_source_ips, net)?,
        destination_ips: all(&from.destination_ips, net)?,
        not_destination_ips: all(&from.not_destination_ips, net)?,
        destination_ports: all(&from.destination_ports, port)?,
        not_destination_ports: all(&from.not_destination_ports, port)?,
    })
}

fn all<A, B>(from: &[A], read: impl Fn(&A) -> Result<B, String>) -> Result<Vec<B>, String> {
    from.iter().map(read).collect()
}

fn text(from: &wire::StringMatch) -> Result<Text, String> {
    match &from.match_type {
        Some(MatchType::Exact(text)) => Ok(Text::Exact(text.as_str().into())),
        Some(MatchType::Prefix(text)) => Ok(Text::Prefix(text.as_str().into())),
        Some(MatchType::Suffix(text)) => Ok(Text::Suffix(text.as_str().into())),
        Some(MatchType::Presence(())) => Ok(Text::Presence(Anything {})),
        None => Err("has a text match that says nothing".to_owned()),
    }
}

fn account(from: &wire::ServiceAccountMatch) -> Result<Account, String> {
    let (namespace, service_account) = (from.namespace.as_str().into(), from.service_account.as_str().into());
    Ok(Account { namespace, service_account })
}

fn net(from: &wire::Address) -> Result<IpNet, String> {
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(from.address.as_slice()) {
        IpAddr::from(v4)
    } else {
        let v6 = <[u8; 16]>::try_from(from.address.as_slice());
        v6.map(IpAddr::from).map_err(|_length| format!("{} bytes are no IP address", from.address.len()))?
    };
    let length = u8::try_from(from.length).map_err(|_long| format!("{} is no prefix length", from.length))?;
    IpNet::new(ip, length).map_err(|_long| format!("{length} is no prefix length of {ip}"))
}

fn port(from: &u32) -> Result<u16, String> {
    u16::try_from(*from).map_err(|_large| format!("{from} is no port"))
}
