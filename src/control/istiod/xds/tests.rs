use std::sync::{Arc, Mutex};

use prost::Message as _;
use prost_types::value::Kind;

use super::workload::{self as wire, Address, Service, Workload};
use super::*;
use crate::control::delta::{Keeper as _, Push, Resource};
use crate::mesh::world::{
    AppProtocol, Gateway, Interner, Place, Preference, Reach, Row, Scope, ServiceParts, WorkloadParts,
};

fn of_service(service: Service) -> Vec<u8> {
    Address { r#type: Some(wire::address::Type::Service(service)) }.encode_to_vec()
}

fn of_workload(workload: Workload) -> Vec<u8> {
    Address { r#type: Some(wire::address::Type::Workload(workload)) }.encode_to_vec()
}

/// As istiod sends a Service in namespace `app` with a waypoint of that namespace.
fn echo() -> Service {
    let port = |service_port, target_port, app_protocol: wire::AppProtocol| wire::Port {
        service_port,
        target_port,
        app_protocol: app_protocol.into(),
    };
    Service {
        name: "echo".to_owned(),
        namespace: "app".to_owned(),
        hostname: "echo.app.svc.cluster.local".to_owned(),
        addresses: vec![wire::NetworkAddress { address: vec![10, 96, 69, 108], ..Default::default() }],
        ports: vec![port(80, 8080, wire::AppProtocol::Http11), port(9000, 0, wire::AppProtocol::Tcp)],
        waypoint: Some(by_host("app", "waypoint.app.svc.cluster.local")),
        canonical: true,
        ip_families: wire::IpFamilies::Ipv4Only.into(),
        ..Service::default()
    }
}

fn by_host(namespace: &str, hostname: &str) -> wire::GatewayAddress {
    let name = wire::NamespacedHostname { namespace: namespace.to_owned(), hostname: hostname.to_owned() };
    wire::GatewayAddress {
        destination: Some(wire::gateway_address::Destination::Hostname(name)),
        hbone_mtls_port: 15008,
    }
}

fn echo_1() -> Workload {
    let ports = vec![wire::Port { service_port: 80, target_port: 8080, ..Default::default() }];
    Workload {
        uid: "Kubernetes//Pod/app/echo-1".to_owned(),
        name: "echo-1".to_owned(),
        namespace: "app".to_owned(),
        addresses: vec![vec![10, 1, 0, 1]],
        tunnel_protocol: wire::TunnelProtocol::Hbone.into(),
        service_account: "echo".to_owned(),
        services: [("app/echo.app.svc.cluster.local".to_owned(), wire::PortList { ports })].into(),
        ..Workload::default()
    }
}

fn row(name: &str, body: &[u8]) -> Result<Row, String> {
    decode::row(name, body, &mut Interner::default())
}

fn service_parts(service: Service) -> ServiceParts {
    let name = format!("{}/{}", service.namespace, service.hostname.to_ascii_lowercase());
    let Row::Service(row) = row(&name, &of_service(service)).unwrap() else { panic!("no service") };
    row.parts().clone()
}

fn workload_parts(workload: Workload) -> WorkloadParts {
    let Row::Workload(row) = row(&workload.uid.clone(), &of_workload(workload)).unwrap() else { panic!("no workload") };
    row.parts().clone()
}

#[test]
fn a_service_is_read_as_istiod_sends_it() {
    let parts = service_parts(echo());
    assert_eq!((&*parts.key, &*parts.name), ("app/echo.app.svc.cluster.local", "echo"));
    assert_eq!(parts.vips[0].ip.to_string(), "10.96.69.108");
    let ports: Vec<_> = parts.ports.iter().map(|port| (port.port, port.target, port.speaks)).collect();
    assert_eq!(ports, [(80, 8080, AppProtocol::Http), (9000, 0, AppProtocol::Tcp)]);
    let host = "waypoint.app.svc.cluster.local".into();
    assert_eq!(*parts.waypoints[0], Gateway::Host { namespace: "app".into(), host });
    assert!(parts.canonical && !parts.any_health && !parts.v6_only && parts.of_kubernetes);
    let entry = Service { ip_families: wire::IpFamilies::Automatic.into(), ..echo() };
    assert!(!service_parts(entry).of_kubernetes, "a ServiceEntry has no IP families, whatever its host name");
}

#[test]
fn less_usual_services_are_read_too() {
    let mut service = echo();
    service.hostname = "Echo.App.svc.cluster.local".to_owned();
    service.addresses = vec![
        wire::NetworkAddress { network: "n".to_owned(), address: vec![0xfd; 16], length: Some(128) },
        wire::NetworkAddress { address: vec![10, 0, 0, 0], length: Some(8), ..Default::default() },
    ];
    let names = [
        "spiffe://td/ns/app/sa/b",
        "api.example.com",
        // Another namespace's, or nobody can say whose: a tenant would be led to a guarded pod of that namespace.
        "spiffe://td/ns/tools/sa/repo",
        "spiffe://td/app",
    ];
    service.subject_alt_names = names.map(str::to_owned).into();
    service.load_balancing = Some(wire::LoadBalancing { health_policy: 1, ..Default::default() });
    service.ip_families = wire::IpFamilies::Ipv6Only.into();
    service.weighted_waypoints =
        vec![wire::WeightedWaypoint { destination: Some(by_host("app", "canary.app.svc.cluster.local")), weight: 10 }];
    service.ports[0].app_protocol = 99;
    let parts = service_parts(service);
    assert_eq!(&*parts.hostname, "echo.app.svc.cluster.local");
    assert_eq!(parts.vips.len(), 1, "a range is no address to be found by");
    assert_eq!(parts.more_ids.iter().map(|id| id.uri()).collect::<Vec<_>>(), ["spiffe://td/ns/app/sa/b"]);
    assert!(parts.any_health && parts.v6_only);
    assert_eq!(parts.waypoints.len(), 2);
    assert_eq!(parts.ports[0].speaks, AppProtocol::Unknown, "a protocol of a later Istio");
    let mut service = echo();
    let address = wire::NetworkAddress { network: "n".to_owned(), address: vec![10, 96, 0, 1], length: None };
    service.waypoint = Some(wire::GatewayAddress {
        destination: Some(wire::gateway_address::Destination::Address(address)),
        hbone_mtls_port: 15008,
    });
    let ip = "10.96.0.1".parse().unwrap();
    assert_eq!(*service_parts(service).waypoints[0], Gateway::Ip { network: "n".into(), ip });
}

#[test]
fn what_a_service_prefers_is_read_by_mode() {
    let preference = |mode, scopes: &[i32]| {
        let mut service = echo();
        let routing_preference = scopes.to_vec();
        service.load_balancing = Some(wire::LoadBalancing { routing_preference, mode, health_policy: 0 });
        service_parts(service).preference
    };
    // `PreferClose`: NETWORK, REGION, ZONE; FAILOVER.
    let close = Preference { scopes: [Scope::Network, Scope::Region, Scope::Zone].into(), strict: false };
    assert_eq!(preference(2, &[6, 1, 2]), close);
    // `internalTrafficPolicy: Local`: NODE; STRICT.
    assert_eq!(preference(1, &[4]), Preference { scopes: [Scope::Node].into(), strict: true });
    let others = Preference { scopes: [Scope::Subzone, Scope::Cluster, Scope::Unknown].into(), strict: true };
    assert_eq!(preference(1, &[3, 5, 77]), others);
    for mode in [0, 3, 9] {
        assert_eq!(preference(mode, &[4]), Preference::default(), "mode {mode}");
    }
    assert_eq!(service_parts(echo()).preference, Preference::default());
}

#[test]
fn where_a_workload_runs_is_read() {
    let mut workload = echo_1();
    (workload.node, workload.cluster_id) = ("n1".to_owned(), "c".to_owned());
    workload.locality = Some(wire::Locality { region: "r".to_owned(), zone: "z".to_owned(), subzone: "s".to_owned() });
    let [region, zone, subzone, node, cluster] = ["r", "z", "s", "n1", "c"].map(Into::into);
    assert_eq!(*workload_parts(workload).place, Place { region, zone, subzone, node, cluster });
    assert_eq!(*workload_parts(echo_1()).place, Place::default());
}

#[test]
fn a_workload_is_read_as_istiod_sends_it() {
    let parts = workload_parts(echo_1());
    assert_eq!(parts.id.uri(), "spiffe://cluster.local/ns/app/sa/echo", "what is left out is cluster.local");
    assert_eq!((parts.reach, parts.weight), (Reach::Hbone, 1));
    assert!(parts.healthy && parts.own_ips && !parts.is_waypoint && parts.waypoint.is_none());
    assert_eq!(parts.services[0].ports.iter().map(|pair| (pair.port, pair.target)).collect::<Vec<_>>(), [(80, 8080)]);
    let mut workload = echo_1();
    (workload.trust_domain, workload.service_account) = ("other.td".to_owned(), String::new());
    (workload.tunnel_protocol, workload.status, workload.network_mode, workload.capacity) = (7, 9, 9, Some(0));
    workload.waypoint = Some(by_host("app", "waypoint.app.svc.cluster.local"));
    let parts = workload_parts(workload);
    assert_eq!(parts.id.uri(), "spiffe://other.td/ns/app/sa/default");
    assert_eq!((parts.reach, parts.weight), (Reach::Not, 0), "a way that nobody here knows is not taken");
    assert!(!parts.healthy && !parts.own_ips, "nor is anything else that is not known");
    assert!(parts.waypoint.is_some());
}

#[test]
fn what_is_malformed_is_refused_with_the_reason() {
    let service = |edit: fn(&mut Service)| {
        let mut service = echo();
        edit(&mut service);
        row("app/echo.app.svc.cluster.local", &of_service(service))
    };
    let workload = |edit: fn(&mut Workload)| {
        let mut workload = echo_1();
        edit(&mut workload);
        row("Kubernetes//Pod/app/echo-1", &of_workload(workload))
    };
    let rows = [
        (row("x", b"\xff"), "does not decode"),
        (row("x", &[]), "is neither a service nor a workload"),
        (service(|s| s.hostname.clear()), "no host name"),
        (service(|s| s.namespace = "other".to_owned()), "calls itself other/echo.app.svc.cluster.local"),
        (service(|s| s.addresses[0].address = vec![1, 2, 3]), "3 bytes are no IP address"),
        (service(|s| s.ports[0].service_port = 0), "0 is no port of a service"),
        (service(|s| s.ports[0].target_port = 70_000), "70000 is no port"),
        (service(|s| s.waypoint = Some(wire::GatewayAddress::default())), "neither name nor address"),
        (workload(|w| w.uid = "other".to_owned()), "calls itself other"),
        (workload(|w| w.uid.clear()), "has no uid"),
        (workload(|w| w.addresses = vec![vec![0; 5]]), "5 bytes are no IP address"),
        (workload(|w| w.trust_domain = "Upper".to_owned()), "trust domain"),
        (workload(|w| w.service_account = "a/b".to_owned()), "makes no SPIFFE ID"),
        (workload(|w| drop(w.services.insert("nokey".to_owned(), wire::PortList::default()))), "is no NAMESPACE/HOST"),
    ];
    for (outcome, expected) in rows {
        let reason = outcome.unwrap_err();
        assert!(reason.contains(expected), "{reason:?} should say {expected:?}");
    }
}

#[tokio::test]
async fn a_push_is_one_change_without_what_is_bad_in_it() {
    let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
    let kept = Arc::clone(&changes);
    let mut keeper = Addresses::new(move |change| kept.lock().unwrap().push(change));
    let resource = |name: &str, body: Vec<u8>| Resource { name: name.to_owned(), version: "1".to_owned(), body };
    let push = Push {
        resources: vec![
            resource("app/echo.app.svc.cluster.local", of_service(echo())),
            resource("bad", of_service(echo())),
            resource("Kubernetes//Pod/app/echo-1", of_workload(echo_1())),
        ],
        removed: vec!["gone".to_owned()],
        ..Push::default()
    };
    let rejected = keeper.apply(push).await;
    assert_eq!(rejected.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["bad"]);
    let changes = changes.lock().unwrap();
    let mut told: Vec<_> = changes[0].rows.iter().map(|(key, row)| (key.to_string(), row.is_some())).collect();
    told.sort();
    let expected = [("Kubernetes//Pod/app/echo-1", true), ("app/echo.app.svc.cluster.local", true), ("gone", false)];
    assert_eq!(told, expected.map(|(key, there)| (key.to_owned(), there)));
    assert!(changes[0].synced);
}

#[tokio::test]
async fn what_ztunnel_enforces_is_kept_by_name() {
    let authorizations = Authorizations::default();
    assert!(!authorizations.is_synced());
    let keep = authorizations.clone();
    let mut keeper = Enforced::new(move |policies| keep.change(policies));
    let policy = |name: &str, action: security::Action| {
        let (name, namespace) = (name.to_owned(), "app".to_owned());
        security::Authorization { name, namespace, action: action.into(), ..Default::default() }
    };
    let resource = |name: &str, policy: security::Authorization| Resource {
        name: name.to_owned(),
        version: String::new(),
        body: policy.encode_to_vec(),
    };
    let resources = vec![
        resource("app/a", policy("a", security::Action::Deny)),
        resource("app/b", policy("b", security::Action::Allow)),
        resource("app/c", policy("d", security::Action::Allow)),
    ];
    let rejected = keeper.apply(Push { resources, ..Push::default() }).await;
    assert_eq!(rejected[0].reason, "calls itself app/d");
    assert!(authorizations.is_synced());
    assert_eq!(authorizations.get("app/a").unwrap().action, crate::mesh::l4::Action::Deny);
    keeper.apply(Push { removed: vec!["app/a".to_owned()], ..Push::default() }).await;
    assert_eq!(authorizations.all().iter().map(|one| &*one.name).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn we_call_ourselves_as_ztunnel_does() {
    let myself = Myself {
        ip: "10.1.0.9".parse().unwrap(),
        pod: "waypoint-1".to_owned(),
        namespace: "app".to_owned(),
        service_account: "waypoint".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        network: String::new(),
        cluster_domain: "cluster.local".to_owned(),
    };
    let node = myself.node();
    assert_eq!(node.id, "ztunnel~10.1.0.9~waypoint-1.app~app.svc.cluster.local");
    let fields = node.metadata.unwrap().fields;
    let text = |name: &str| match &fields.get(name).unwrap().kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    };
    for (name, value) in [
        ("NAME", "waypoint-1"),
        ("NAMESPACE", "app"),
        ("SERVICE_ACCOUNT", "waypoint"),
        ("CLUSTER_ID", "Kubernetes"),
        ("INSTANCE_IPS", "10.1.0.9"),
    ] {
        assert_eq!(text(name), value);
    }
    assert!(
        fields.contains_key("ISTIO_VERSION") && fields.contains_key("INSTANCE_IPS") && !fields.contains_key("NETWORK")
    );
}

#[test]
fn a_policy_of_ztunnels_is_read_whole_or_refused() {
    use security::string_match::MatchType;
    let deny = |edit: fn(&mut security::Match)| {
        let text = security::StringMatch { match_type: Some(MatchType::Exact("cluster.local/ns/a/sa/b".to_owned())) };
        let mut one = security::Match {
            not_principals: vec![text],
            destination_ports: vec![8080],
            source_ips: vec![security::Address { address: vec![10, 0, 0, 0], length: 8 }],
            ..Default::default()
        };
        edit(&mut one);
        let group = security::Group { rules: vec![security::Rules { matches: vec![one] }] };
        let (name, namespace) = ("guard".to_owned(), "tools".to_owned());
        let (action, scope) = (security::Action::Deny.into(), security::Scope::WorkloadSelector.into());
        let policy = security::Authorization { name, namespace, scope, action, groups: vec![group], dry_run: false };
        policies::policy("tools/guard", &policy.encode_to_vec())
    };
    let read = deny(|_| {}).unwrap();
    let json = serde_json::to_value(&read.groups[0].rules[0].matches[0]).unwrap();
    let expected = serde_json::json!({
        "notPrincipals": [{"exact": "cluster.local/ns/a/sa/b"}],
        "destinationPorts": [8080],
        "sourceIps": [{"address": "CgAAAA==", "length": 8}],
    });
    assert_eq!(json, expected);
    assert_eq!(read.scope, crate::mesh::l4::Scope::WorkloadSelector);
    type Edit = fn(&mut security::Match);
    let bad: [(Edit, &str); 4] = [
        (|one| one.destination_ports = vec![70_000], "70000 is no port"),
        (|one| one.source_ips[0].length = 33, "33 is no prefix length"),
        (|one| one.source_ips[0].address = vec![1], "1 bytes are no IP address"),
        (|one| one.not_principals[0].match_type = None, "says nothing"),
    ];
    for (edit, expected) in bad {
        let reason = deny(edit).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
}
