//! Messages to rows. Nothing of istiod's is believed for its shape: what does not parse is refused with the reason.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message as _;

use super::workload::gateway_address::Destination;
use super::workload::load_balancing::{self, HealthPolicy, Mode};
use super::workload::{self as wire, Address, IpFamilies, NetworkAddress, NetworkMode, TunnelProtocol, WorkloadStatus};
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::world::{
    AppProtocol, Gateway, Interner, Member, Place, PortPair, PortRow, Preference, Reach, Row, Scope, ServiceParts,
    ServiceRow, Vip, WorkloadParts, WorkloadRow,
};

/// What istiod leaves out where it is this (Istio, `workload.proto`).
const TRUST_DOMAIN: &str = "cluster.local";
const SERVICE_ACCOUNT: &str = "default";

/// The row that a resource of that name is, or why it is none.
pub(super) fn row(name: &str, body: &[u8], interner: &mut Interner) -> Result<Row, String> {
    let address = Address::decode(body).map_err(|error| format!("does not decode: {error}"))?;
    let row = match address.r#type {
        Some(wire::address::Type::Service(service)) => Row::Service(self::service(service, interner)?),
        Some(wire::address::Type::Workload(workload)) => Row::Workload(self::workload(workload, interner)?),
        None => return Err("is neither a service nor a workload".to_owned()),
    };
    if **row.key() != *name {
        return Err(format!("calls itself {}", row.key()));
    }
    Ok(row)
}

fn service(service: wire::Service, interner: &mut Interner) -> Result<Arc<ServiceRow>, String> {
    let wire::Service { name, namespace, hostname, addresses, ports, subject_alt_names, .. } = &service;
    let hostname = hostname.to_ascii_lowercase();
    if namespace.is_empty() || hostname.is_empty() {
        return Err("has no namespace or no host name".to_owned());
    }
    let mut vips = Vec::new();
    for address in addresses {
        // A range is no address that a call could be found by here.
        if let Some(ip) = single(address)? {
            vips.push(Vip { network: interner.text(&address.network), ip });
        }
    }
    let ports = ports.iter().map(port).collect::<Result<_, _>>()?;
    let weighted = service.weighted_waypoints.iter().filter_map(|one| one.destination.as_ref());
    let waypoints = service.waypoint.iter().chain(weighted).map(|one| gateway(one, interner));
    let waypoints = waypoints.collect::<Result<_, _>>()?;
    // Those that are no SPIFFE IDs are names for TLS of the application's own. Those of other namespaces are not its to
    // name: guards let us in everywhere, so that whoever wrote a pod of another namespace, and its identity, into a
    // ServiceEntry would be led past the rules of that pod's own Services.
    let own = |id: &WorkloadId| id.istio().is_some_and(|istio| *istio.namespace == **namespace);
    let more_ids = subject_alt_names.iter().filter_map(|text| WorkloadId::parse(text).ok()).filter(own);
    let more_ids = more_ids.map(|id| interner.id(id)).collect();
    let policy = service.load_balancing.as_ref().map(|lb| lb.health_policy());
    Ok(ServiceRow::new(ServiceParts {
        key: interner.text(&format!("{namespace}/{hostname}")),
        namespace: interner.text(namespace),
        name: name.as_str().into(),
        hostname: hostname.into(),
        vips: vips.into(),
        ports,
        more_ids,
        waypoints,
        any_health: policy == Some(HealthPolicy::AllowAll),
        preference: service.load_balancing.as_ref().map(preference).unwrap_or_default(),
        v6_only: service.ip_families() == IpFamilies::Ipv6Only,
        canonical: service.canonical,
        of_kubernetes: service.ip_families() != IpFamilies::Automatic,
    }))
}

/// Other modes – none, and `PASSTHROUGH`, which is about addresses that are no service's – prefer nobody.
fn preference(balancing: &wire::LoadBalancing) -> Preference {
    let strict = match balancing.mode() {
        Mode::Strict => true,
        Mode::Failover => false,
        Mode::UnspecifiedMode | Mode::Passthrough => return Preference::default(),
    };
    let scopes = balancing.routing_preference.iter().map(|number| match load_balancing::Scope::try_from(*number) {
        Ok(load_balancing::Scope::Network) => Scope::Network,
        Ok(load_balancing::Scope::Region) => Scope::Region,
        Ok(load_balancing::Scope::Zone) => Scope::Zone,
        Ok(load_balancing::Scope::Subzone) => Scope::Subzone,
        Ok(load_balancing::Scope::Node) => Scope::Node,
        Ok(load_balancing::Scope::Cluster) => Scope::Cluster,
        Ok(load_balancing::Scope::UnspecifiedScope) | Err(_) => Scope::Unknown,
    });
    Preference { scopes: scopes.collect(), strict }
}

fn place(workload: &wire::Workload, interner: &mut Interner) -> Arc<Place> {
    let wire::Locality { region, zone, subzone } = workload.locality.clone().unwrap_or_default();
    let place = Place {
        region: interner.text(&region),
        zone: interner.text(&zone),
        subzone: interner.text(&subzone),
        node: interner.text(&workload.node),
        cluster: interner.text(&workload.cluster_id),
    };
    interner.place(place)
}

fn workload(workload: wire::Workload, interner: &mut Interner) -> Result<Arc<WorkloadRow>, String> {
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let trust_domain = TrustDomain::parse(&or(&workload.trust_domain, TRUST_DOMAIN))
        .map_err(|fault| format!("trust domain: {fault}"))?;
    let account = or(&workload.service_account, SERVICE_ACCOUNT);
    let id = WorkloadId::of_istio(&trust_domain, &workload.namespace, &account)
        .map_err(|fault| format!("makes no SPIFFE ID: {fault}"))?;
    let mut services = Vec::with_capacity(workload.services.len());
    for (key, list) in &workload.services {
        let (namespace, host) = key.split_once('/').ok_or_else(|| format!("{key:?} is no NAMESPACE/HOST"))?;
        let ports = list.ports.iter().map(pair).collect::<Result<_, _>>()?;
        services.push(Member { service: interner.text(&format!("{namespace}/{}", host.to_ascii_lowercase())), ports });
    }
    services.sort_by(|a, b| a.service.cmp(&b.service));
    let reach = match TunnelProtocol::try_from(workload.tunnel_protocol) {
        Ok(TunnelProtocol::None) => Reach::Plain,
        Ok(TunnelProtocol::Hbone) => Reach::Hbone,
        Ok(TunnelProtocol::LegacyIstioMtls) | Err(_) => Reach::Not,
    };
    let waypoint = workload.waypoint.as_ref().map(|one| gateway(one, interner)).transpose()?;
    let hostname = Some(workload.hostname.to_ascii_lowercase()).filter(|name| !name.is_empty());
    if workload.uid.is_empty() {
        return Err("has no uid".to_owned());
    }
    Ok(WorkloadRow::new(WorkloadParts {
        // Nobody else names it: there is nothing to keep once.
        uid: workload.uid.as_str().into(),
        other_name: WorkloadParts::other_name(&workload.uid, &workload.name),
        namespace: interner.text(&workload.namespace),
        id: interner.id(id),
        ips: workload.addresses.iter().map(|bytes| ip(bytes)).collect::<Result<_, _>>()?,
        hostname: hostname.map(Into::into),
        network: interner.text(&workload.network),
        place: place(&workload, interner),
        reach,
        healthy: WorkloadStatus::try_from(workload.status) == Ok(WorkloadStatus::Healthy),
        own_ips: NetworkMode::try_from(workload.network_mode) == Ok(NetworkMode::Standard),
        is_waypoint: workload.native_tunnel,
        weight: workload.capacity.unwrap_or(1),
        services: services.into(),
        waypoint,
        policies: workload.authorization_policies.iter().map(|name| interner.text(name)).collect(),
    }))
}

fn gateway(address: &wire::GatewayAddress, interner: &mut Interner) -> Result<Arc<Gateway>, String> {
    match &address.destination {
        Some(Destination::Hostname(name)) => {
            Ok(interner.gateway_host(&name.namespace, &name.hostname.to_ascii_lowercase()))
        }
        Some(Destination::Address(address)) => Ok(interner.gateway_ip(&address.network, ip(&address.address)?)),
        None => Err("a waypoint has neither name nor address".to_owned()),
    }
}

/// The address, unless it is a range.
fn single(address: &NetworkAddress) -> Result<Option<IpAddr>, String> {
    let ip = ip(&address.address)?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    Ok(address.length.is_none_or(|length| length == whole).then_some(ip))
}

fn ip(bytes: &[u8]) -> Result<IpAddr, String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(bytes).map(Into::into).map_err(|_length| format!("{} bytes are no IP address", bytes.len()))
}

fn port(port: &wire::Port) -> Result<PortRow, String> {
    let PortPair { port: number, target } = pair(port)?;
    let speaks = match wire::AppProtocol::try_from(port.app_protocol) {
        Ok(wire::AppProtocol::Http11) => AppProtocol::Http,
        Ok(wire::AppProtocol::Http2 | wire::AppProtocol::Grpc) => AppProtocol::Http2,
        Ok(wire::AppProtocol::Tcp | wire::AppProtocol::Tls) => AppProtocol::Tcp,
        Ok(wire::AppProtocol::Unknown) | Err(_) => AppProtocol::Unknown,
    };
    Ok(PortRow { port: number, target, speaks })
}

fn pair(port: &wire::Port) -> Result<PortPair, String> {
    let number = |number: u32| u16::try_from(number).map_err(|_large| format!("{number} is no port"));
    match (number(port.service_port)?, number(port.target_port)?) {
        (0, _) => Err("0 is no port of a service".to_owned()),
        (port, target) => Ok(PortPair { port, target }),
    }
}
