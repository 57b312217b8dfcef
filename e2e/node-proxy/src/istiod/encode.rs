//! The world as istiod's messages.

use std::net::IpAddr;

use agent_waypoint::control::istiod::xds::{security, workload};
use prost::Message as _;

use crate::authz::{Action, Authorization, Group, Match, Prefix, Rules, Scope, ServiceAccount, StringMatch};
use crate::world::{Address, GatewayAddress, Health, NetworkMode, Port, Service, TunnelProtocol, Workload, World};

/// Name and message of every Address.
pub(super) fn addresses(world: &World) -> impl Iterator<Item = (String, Vec<u8>)> {
    world.addresses.iter().map(|address| {
        let (name, one) = match address {
            Address::Workload(given) => (given.uid.clone(), workload::address::Type::Workload(workload(given))),
            Address::Service(given) => {
                (format!("{}/{}", given.namespace, given.hostname), workload::address::Type::Service(service(given)))
            }
        };
        (name, workload::Address { r#type: Some(one) }.encode_to_vec())
    })
}

/// Name and message of every Authorization.
pub(super) fn authorizations(world: &World) -> impl Iterator<Item = (String, Vec<u8>)> {
    world.authorizations.iter().map(|policy| (policy.key(), authorization(policy).encode_to_vec()))
}

fn service(given: &Service) -> workload::Service {
    let network = |ip: IpAddr| workload::NetworkAddress { address: bytes(ip), ..Default::default() };
    let is_service = given.hostname.starts_with(&format!("{}.{}.svc.", given.name, given.namespace));
    workload::Service {
        name: given.name.clone(),
        namespace: given.namespace.clone(),
        hostname: given.hostname.clone(),
        addresses: given.addresses.iter().map(|at| network(at.address)).collect(),
        ports: given.ports.iter().map(port).collect(),
        waypoint: given.waypoint.as_ref().map(gateway),
        canonical: true,
        // A ServiceEntry has none.
        ip_families: if is_service { workload::IpFamilies::Dual } else { workload::IpFamilies::Automatic }.into(),
        ..Default::default()
    }
}

fn workload(given: &Workload) -> workload::Workload {
    let ports = |list: &[Port]| workload::PortList { ports: list.iter().map(port).collect() };
    workload::Workload {
        uid: given.uid.clone(),
        name: given.name.clone(),
        namespace: given.namespace.clone(),
        addresses: given.addresses.iter().map(|ip| bytes(*ip)).collect(),
        hostname: given.hostname.clone(),
        tunnel_protocol: match given.tunnel_protocol {
            TunnelProtocol::None => workload::TunnelProtocol::None,
            TunnelProtocol::Hbone => workload::TunnelProtocol::Hbone,
        }
        .into(),
        trust_domain: given.trust_domain.clone(),
        service_account: given.service_account.clone(),
        waypoint: given.waypoint.as_ref().map(gateway),
        services: given.services.iter().map(|(name, list)| (name.clone(), ports(&list.ports))).collect(),
        authorization_policies: given.authorization_policies.clone(),
        status: match given.status {
            Health::Healthy => workload::WorkloadStatus::Healthy,
            Health::Unhealthy => workload::WorkloadStatus::Unhealthy,
        }
        .into(),
        cluster_id: "Kubernetes".to_owned(),
        network_mode: match given.network_mode {
            NetworkMode::Standard => workload::NetworkMode::Standard,
            NetworkMode::HostNetwork => workload::NetworkMode::HostNetwork,
        }
        .into(),
        ..Default::default()
    }
}

fn port(given: &Port) -> workload::Port {
    workload::Port {
        service_port: given.service_port.into(),
        target_port: given.target_port.into(),
        ..Default::default()
    }
}

fn gateway(given: &GatewayAddress) -> workload::GatewayAddress {
    let name = workload::NamespacedHostname {
        namespace: given.hostname.namespace.clone(),
        hostname: given.hostname.hostname.clone(),
    };
    workload::GatewayAddress {
        destination: Some(workload::gateway_address::Destination::Hostname(name)),
        hbone_mtls_port: 15008,
    }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn authorization(given: &Authorization) -> security::Authorization {
    security::Authorization {
        name: given.name.clone(),
        namespace: given.namespace.clone(),
        scope: match given.scope {
            Scope::Global => security::Scope::Global,
            Scope::Namespace => security::Scope::Namespace,
            Scope::WorkloadSelector => security::Scope::WorkloadSelector,
        }
        .into(),
        action: match given.action {
            Action::Allow => security::Action::Allow,
            Action::Deny => security::Action::Deny,
        }
        .into(),
        groups: given.groups.iter().map(group).collect(),
        dry_run: given.dry_run,
    }
}

fn group(given: &Group) -> security::Group {
    let rules = |rules: &Rules| security::Rules { matches: rules.matches.iter().map(one).collect() };
    security::Group { rules: given.rules.iter().map(rules).collect() }
}

fn one(given: &Match) -> security::Match {
    let texts = |list: &[StringMatch]| list.iter().map(text).collect();
    let nets = |list: &[Prefix]| list.iter().map(net).collect();
    let ports = |list: &[u16]| list.iter().map(|port| u32::from(*port)).collect();
    let accounts = |list: &[ServiceAccount]| list.iter().map(account).collect();
    security::Match {
        namespaces: texts(&given.namespaces),
        not_namespaces: texts(&given.not_namespaces),
        principals: texts(&given.principals),
        not_principals: texts(&given.not_principals),
        source_ips: nets(&given.source_ips),
        not_source_ips: nets(&given.not_source_ips),
        destination_ips: nets(&given.destination_ips),
        not_destination_ips: nets(&given.not_destination_ips),
        destination_ports: ports(&given.destination_ports),
        not_destination_ports: ports(&given.not_destination_ports),
        service_accounts: accounts(&given.service_accounts),
        not_service_accounts: accounts(&given.not_service_accounts),
    }
}

fn text(given: &StringMatch) -> security::StringMatch {
    use security::string_match::MatchType;
    security::StringMatch {
        match_type: Some(match given {
            StringMatch::Exact(text) => MatchType::Exact(text.clone()),
            StringMatch::Prefix(text) => MatchType::Prefix(text.clone()),
            StringMatch::Suffix(text) => MatchType::Suffix(text.clone()),
            StringMatch::Presence {} => MatchType::Presence(()),
        }),
    }
}

fn net(given: &Prefix) -> security::Address {
    security::Address { address: bytes(given.address), length: given.length.into() }
}

fn account(given: &ServiceAccount) -> security::ServiceAccountMatch {
    security::ServiceAccountMatch { namespace: given.namespace.clone(), service_account: given.service_account.clone() }
}
