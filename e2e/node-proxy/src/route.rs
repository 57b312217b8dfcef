//! Where a captured connection goes: ztunnel's choice, from the mesh's addresses alone.

use std::net::{IpAddr, SocketAddr};

use agent_waypoint::id::WorkloadId;

use crate::world::{GatewayAddress, Service, TunnelProtocol, Workload, World};

/// The port that takes HBONE.
pub(crate) const HBONE_PORT: u16 = 15008;

/// The way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// CONNECT `authority` through the HBONE port at `hbone`, where `expect` must answer.
    Tunnel { hbone: SocketAddr, expect: WorkloadId, authority: SocketAddr, host: Option<String>, to_waypoint: bool },
    /// Outside the mesh, or not captured.
    Plain(SocketAddr),
    /// Nowhere: what should carry it is not there. Never another way.
    Refused(&'static str),
}

/// Chooses for a connection to `to`; `turn` spreads connections over endpoints.
pub(crate) fn route(world: &World, to: SocketAddr, turn: usize) -> Route {
    if let Some(service) = world.service_at(to.ip()) {
        return match &service.waypoint {
            Some(waypoint) => through(world, waypoint, to, Some(service), turn),
            None => behind(world, service, to, turn),
        };
    }
    // Addressed to a pod: a waypoint of its Services is passed by, one of the workload itself is not.
    match world.workload_at(to.ip()) {
        Some(Workload { waypoint: Some(waypoint), .. }) => through(world, waypoint, to, None, turn),
        Some(workload) => direct(workload, to, None),
        None => Route::Plain(to),
    }
}

/// Through a waypoint: the authority is what was asked for, untranslated.
fn through(world: &World, waypoint: &GatewayAddress, to: SocketAddr, service: Option<&Service>, turn: usize) -> Route {
    let Some(gateway) = world.service(&waypoint.hostname) else { return Route::Refused("waypoint is unknown") };
    let Some((workload, hbone)) = pick(&world.endpoints(gateway, HBONE_PORT, to.ip()), turn) else {
        return Route::Refused("waypoint has no endpoint");
    };
    let Ok(expect) = workload.identity() else { return Route::Refused("waypoint has no identity") };
    let host = service.map(|service| service.hostname.clone());
    Route::Tunnel { hbone, expect, authority: to, host, to_waypoint: true }
}

/// A service without a waypoint: one of its pods.
fn behind(world: &World, service: &Service, to: SocketAddr, turn: usize) -> Route {
    match pick(&world.endpoints(service, to.port(), to.ip()), turn) {
        Some((workload, pod)) => direct(workload, pod, Some(&service.hostname)),
        None => Route::Refused("service has no endpoint for this port"),
    }
}

fn direct(workload: &Workload, pod: SocketAddr, host: Option<&str>) -> Route {
    match workload.tunnel_protocol {
        TunnelProtocol::None => Route::Plain(pod),
        TunnelProtocol::Hbone => match workload.identity() {
            Ok(expect) => Route::Tunnel {
                hbone: SocketAddr::new(pod.ip(), HBONE_PORT),
                expect,
                authority: pod,
                host: host.map(str::to_owned),
                to_waypoint: false,
            },
            Err(_) => Route::Refused("workload has no identity"),
        },
    }
}

fn pick<'w>(endpoints: &[(&'w Workload, SocketAddr)], turn: usize) -> Option<(&'w Workload, SocketAddr)> {
    endpoints.get(turn.checked_rem(endpoints.len())?).copied()
}

/// What ztunnel says beside a CONNECT: whose connection it is. Claims, for display.
pub(crate) fn claims(me: &Workload, source: SocketAddr, host: Option<&str>) -> http::HeaderMap {
    let Workload { name, namespace, .. } = me;
    let baggage = format!(
        "k8s.cluster.name=Kubernetes,k8s.namespace.name={namespace},k8s.pod.name={name},service.name={name},service.version=latest"
    );
    let host = host.map(|host| format!(";host={host}")).unwrap_or_default();
    let fields = [
        ("baggage", baggage),
        ("forwarded", format!("for=\"{source}\"{host}")),
        ("traceparent", format!("00-{:016x}{:016x}-{:016x}-00", random(), random(), random() | 1)),
    ];
    let parsed = fields.into_iter().filter_map(|(name, value)| {
        Some((http::HeaderName::from_static(name), http::HeaderValue::try_from(value).ok()?))
    });
    parsed.collect()
}

/// Random enough for a trace's id.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Whether an address is one of the workload's own.
pub(crate) fn is_own(workload: &Workload, ip: IpAddr) -> bool {
    workload.addresses.contains(&ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn world(waypoint_status: &str) -> World {
        let waypoint = json!({"hostname": {"namespace": "mesh", "hostname": "waypoint.mesh.svc.cluster.local"}, "hboneMtlsPort": 15008});
        let world = json!({"addresses": [
            {"service": {"name": "waypoint", "namespace": "mesh", "hostname": "waypoint.mesh.svc.cluster.local",
                "addresses": [{"address": "10.96.0.1"}], "ports": [{"servicePort": 15008, "targetPort": 15008}]}},
            {"service": {"name": "notes", "namespace": "tools", "hostname": "notes.tools.svc.cluster.local",
                "addresses": [{"address": "10.96.0.2"}], "ports": [{"servicePort": 80, "targetPort": 8080}],
                "waypoint": waypoint}},
            {"service": {"name": "bare", "namespace": "tools", "hostname": "bare.tools.svc.cluster.local",
                "addresses": [{"address": "10.96.0.3"}], "ports": [{"servicePort": 80, "targetPort": 0}]}},
            {"workload": {"uid": "w", "name": "waypoint", "namespace": "mesh", "serviceAccount": "waypoint",
                "addresses": ["10.0.0.1"], "status": waypoint_status,
                "services": {"mesh/waypoint.mesh.svc.cluster.local": {"ports": [{"servicePort": 15008, "targetPort": 15008}]}}}},
            {"workload": {"uid": "s", "name": "server", "namespace": "tools", "serviceAccount": "notes",
                "addresses": ["10.0.0.2"], "tunnelProtocol": "HBONE",
                "services": {"tools/bare.tools.svc.cluster.local": {"ports": [{"servicePort": 80, "targetPort": 9090}]}}}},
            {"workload": {"uid": "x", "name": "outside", "namespace": "else", "addresses": ["10.0.0.3"]}},
        ]});
        World::parse(&world.to_string()).unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_service_with_a_waypoint_goes_there_under_its_own_address() {
        let Route::Tunnel { hbone, expect, authority, host, to_waypoint } =
            route(&world("HEALTHY"), at("10.96.0.2:80"), 7)
        else {
            panic!("no tunnel");
        };
        assert_eq!((hbone, authority, to_waypoint), (at("10.0.0.1:15008"), at("10.96.0.2:80"), true));
        assert_eq!(expect.principal(), "cluster.local/ns/mesh/sa/waypoint");
        assert_eq!(host.as_deref(), Some("notes.tools.svc.cluster.local"));
    }

    #[test]
    fn without_a_waypoint_that_is_there_it_is_refused_and_never_direct() {
        let refused = Route::Refused("waypoint has no endpoint");
        assert_eq!(route(&world("UNHEALTHY"), at("10.96.0.2:80"), 0), refused);
    }

    #[test]
    fn other_destinations_go_to_the_pod_or_out() {
        let world = world("HEALTHY");
        for (to, pod) in [("10.96.0.3:80", "10.0.0.2:9090"), ("10.0.0.2:8080", "10.0.0.2:8080")] {
            let Route::Tunnel { hbone, authority, to_waypoint, .. } = route(&world, at(to), 0) else { panic!("{to}") };
            assert_eq!((hbone, authority, to_waypoint), (at("10.0.0.2:15008"), at(pod), false), "{to}");
        }
        assert_eq!(route(&world, at("10.0.0.3:80"), 0), Route::Plain(at("10.0.0.3:80")));
        assert_eq!(route(&world, at("192.0.2.1:80"), 0), Route::Plain(at("192.0.2.1:80")));
        assert!(matches!(route(&world, at("10.96.0.3:81"), 0), Route::Refused(_)));
    }
}
