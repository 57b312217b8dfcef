//! The mesh at scale: 10,000 services and 50,000 workloads read from the wire as istiod sends them, how much memory they
//! take, and what one change costs. Numbers only; `cargo bench --bench mesh`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints numbers, and ends where it cannot"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_waypoint::control::delta::{Keeper as _, Push, Resource};
use agent_waypoint::control::istiod::xds::Addresses;
use agent_waypoint::control::istiod::xds::workload::{
    Address, GatewayAddress, NamespacedHostname, NetworkAddress, Port, PortList, Service, TunnelProtocol, Workload,
    address, gateway_address,
};
use agent_waypoint::id::TrustDomain;
use agent_waypoint::mesh::world::{Change, Here};
use agent_waypoint::mesh::{Live, Settings};
use agent_waypoint::policy::on_compile_thread;
use agent_waypoint::policy::token::Keyring;
use prost::Message as _;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: u32 = 10_000;
const PODS: u32 = 5;
const PUSH: u32 = 500;
const CHANGES: u32 = 200;

/// Says which of the measurements a process of its own is to make: what one leaves behind is no part of another's.
const FRONTED: &str = "MESH_FRONTED";

fn main() {
    if let Some(fronted) = std::env::var(FRONTED).ok().and_then(|text| text.parse().ok()) {
        return on_compile_thread(|| measure(fronted));
    }
    for fronted in [0, 100, SERVICES] {
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        assert!(own.env(FRONTED, fronted.to_string()).status().unwrap().success());
    }
}

/// With so many of the services fronted by us.
fn measure(fronted: u32) {
    let before = resident();
    let start = Instant::now();
    let told: Arc<Mutex<Option<Change>>> = Arc::default();
    let into = Arc::clone(&told);
    let mut keeper = Addresses::new(move |change| *into.lock().unwrap() = Some(change));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut apply = move |resources: Vec<Resource>| {
        let rejected = runtime.block_on(keeper.apply(Push { resources, ..Push::default() }));
        assert!(rejected.is_empty(), "{rejected:?}");
        told.lock().unwrap().take()
    };
    let here = Here {
        namespace: "mesh".into(),
        gateway: "waypoint".into(),
        cluster_domain: "cluster.local".into(),
        network: "".into(),
        cluster: "Kubernetes".into(),
        ips: [].into(),
    };
    let gateway = Some(("mesh".to_owned(), "waypoint".to_owned()));
    let settings =
        Settings { trust_domain: TrustDomain::parse("cluster.local").unwrap(), gateway, keys: Keyring::default() };
    let (mut pushes, mut changes, mut loaded) = ((0..SERVICES).step_by(PUSH as usize), 0..CHANGES, None);
    let (mut asked, mut slowest, mut all) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    Live::new(settings, here).under(None, |edition| {
        if let Some(first) = pushes.next() {
            return apply((first..first + PUSH).flat_map(|n| service(n, n < fronted)).collect());
        }
        if loaded.is_none() {
            let rows = (edition.world.services().len(), edition.world.workloads().len());
            loaded = Some((rows, start.elapsed(), resident().saturating_sub(before)));
        } else {
            let took = asked.elapsed();
            (slowest, all) = (slowest.max(took), all + took);
        }
        let next = apply(vec![pod(changes.next()?, 0, 9)]);
        asked = Instant::now();
        next
    });
    let ((services, workloads), took, kib) = loaded.unwrap();
    println!(
        "{services} services, {workloads} workloads, {fronted} fronted: loaded in {took:?}, {} MiB; one change: mean {:?}, slowest {slowest:?}",
        kib / 1024,
        all / CHANGES,
    );
}

fn service(n: u32, fronted: bool) -> Vec<Resource> {
    let (namespace, name) = (format!("ns-{}", n % 100), format!("service-{n}"));
    let hostname = format!("{name}.{namespace}.svc.cluster.local");
    let host =
        NamespacedHostname { namespace: "mesh".to_owned(), hostname: "waypoint.mesh.svc.cluster.local".to_owned() };
    let gateway =
        GatewayAddress { destination: Some(gateway_address::Destination::Hostname(host)), hbone_mtls_port: 15008 };
    let key = format!("{namespace}/{hostname}");
    let service = Service {
        name,
        namespace,
        hostname,
        addresses: vec![NetworkAddress { address: (0x0a60_0000 + n).to_be_bytes().to_vec(), ..Default::default() }],
        ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 1 }],
        waypoint: fronted.then_some(gateway),
        canonical: true,
        ip_families: agent_waypoint::control::istiod::xds::workload::IpFamilies::Ipv4Only.into(),
        ..Default::default()
    };
    let pods = (0..PODS).map(|index| pod(n, index, 0));
    std::iter::once(resource(key, address::Type::Service(service))).chain(pods).collect()
}

fn pod(n: u32, index: u32, generation: u32) -> Resource {
    let (namespace, service) = (format!("ns-{}", n % 100), format!("service-{n}"));
    let name = format!("{service}-7d4b9c6f5-{index:05}");
    let uid = format!("Kubernetes//Pod/{namespace}/{name}");
    let ports = vec![Port { service_port: 80, target_port: 8080, app_protocol: 0 }];
    let workload = Workload {
        uid: uid.clone(),
        name,
        namespace: namespace.clone(),
        addresses: vec![(0x0a00_0000 + generation * 0x0010_0000 + n * PODS + index).to_be_bytes().to_vec()],
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        service_account: service.clone(),
        services: [(format!("{namespace}/{service}.{namespace}.svc.cluster.local"), PortList { ports })].into(),
        ..Default::default()
    };
    resource(uid, address::Type::Workload(workload))
}

fn resource(name: String, of: address::Type) -> Resource {
    Resource { name, version: "0123456789abcdef".to_owned(), body: Address { r#type: Some(of) }.encode_to_vec() }
}

/// Resident memory, KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4)
}
