//! Which pods get calls, by what istiod says of a Service and its pods: ready, of some weight, and as near as it prefers.

use std::collections::BTreeMap;

use agent_waypoint::control::istiod::xds::workload::{
    Address, LoadBalancing, Locality, Service, Workload, WorkloadStatus, address, load_balancing,
};
use prost::Message as _;

use crate::istiod::{pod, service};
use crate::lab::{Nobody, PATIENCE, Upstream, with};
use crate::mesh::{Mesh, VIP};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: tools}
spec: {ports: [{name: main, port: 80, appProtocol: http}]}
";

type Row = (String, Vec<u8>);

fn of_service(row: Row, edit: impl FnOnce(&mut Service)) -> Row {
    let Some(address::Type::Service(mut service)) = Address::decode(&*row.1).unwrap().r#type else {
        panic!("a service")
    };
    edit(&mut service);
    (row.0, Address { r#type: Some(address::Type::Service(service)) }.encode_to_vec())
}

fn of_pod(row: Row, edit: impl FnOnce(&mut Workload)) -> Row {
    let Some(address::Type::Workload(mut pod)) = Address::decode(&*row.1).unwrap().r#type else { panic!("a pod") };
    edit(&mut pod);
    (row.0, Address { r#type: Some(address::Type::Workload(pod)) }.encode_to_vec())
}

/// `region/zone/node`
fn at(row: Row, place: &str) -> Row {
    let [region, zone, node] = place.split('/').map(ToOwned::to_owned).collect::<Vec<_>>().try_into().unwrap();
    of_pod(row, |pod| {
        pod.locality = Some(Locality { region, zone, subzone: String::new() });
        pod.node = node;
    })
}

/// Three pods of `tools/notes`, each answering with its name, and our own pod in region r, zone a, on node 1.
struct World {
    mesh: Mesh,
    pods: Vec<(&'static str, Upstream)>,
}

impl World {
    async fn start() -> Self {
        let mesh = Mesh::of(SERVICE).await;
        let mut pods = Vec::new();
        for (name, ip) in [("one", [127, 0, 0, 11]), ("two", [127, 0, 0, 12]), ("three", [127, 0, 0, 13])] {
            pods.push((name, Upstream::start_at(ip.into(), move |_, _| with("", name)).await));
        }
        let own = at(pod("waypoint-1", "127.0.0.99:15008".parse().unwrap(), "mesh/waypoint", false), "r/a/1");
        mesh.serve(&[own, service("mesh/waypoint", [10, 96, 0, 1], 15008, Some("mesh/waypoint"))]);
        Self { mesh, pods }
    }

    fn pod(&self, name: &str) -> Row {
        let (name, server) = self.pods.iter().find(|(one, _)| *one == name).unwrap();
        pod(name, server.addr, "tools/notes", false)
    }

    fn serve(&self, edit: impl FnOnce(&mut LoadBalancing), pods: &[Row]) {
        let mut said = LoadBalancing::default();
        edit(&mut said);
        let notes = service("tools/notes", [10, 96, 0, 7], 8080, Some("mesh/waypoint"));
        let notes = of_service(notes, |service| service.load_balancing = Some(said));
        self.mesh.serve(&[&[notes], pods].concat());
    }

    /// How often each pod answers; 0 for one that does not.
    async fn answers(&self, calls: usize) -> BTreeMap<String, usize> {
        let mut by = BTreeMap::new();
        for _ in 0..calls {
            let get = b"GET / HTTP/1.1\r\nHost: notes.tools:80\r\n\r\n";
            let reply = self.mesh.lab.raw("agents/reader", VIP, get).await;
            *by.entry(if reply.status == 200 { reply.body } else { reply.status.to_string() }).or_default() += 1;
        }
        by
    }

    /// Waits until these answer, and no others.
    async fn until(&self, expected: &[&str]) {
        self.mesh.until(VIP, 200).await;
        let mut last = BTreeMap::new();
        let waiting = async {
            loop {
                last = self.answers(40).await;
                if last.keys().eq(expected.iter()) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(in_time.is_ok(), "{expected:?}: {last:?}");
        // Not for a moment only.
        let last = self.answers(40).await;
        assert!(last.keys().eq(expected.iter()), "{expected:?}: {last:?}");
    }
}

/// As istiod puts `trafficDistribution`: `PreferClose` or `PreferSameZone`, and `PreferSameNode`.
fn prefers(scopes: &[load_balancing::Scope]) -> impl Fn(&mut LoadBalancing) {
    let scopes: Vec<i32> = scopes.iter().map(|scope| (*scope).into()).collect();
    move |said| {
        said.routing_preference.clone_from(&scopes);
        said.mode = load_balancing::Mode::Failover.into();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_are_called_and_the_next_where_those_are_not_ready() {
    use load_balancing::Scope::{Network, Node, Region, Subzone, Zone};
    let world = World::start().await;
    let pods = |zone: &str, node: &str| {
        [
            at(world.pod("one"), &format!("r/{zone}/{node}")),
            at(world.pod("two"), "r/a/2"),
            at(world.pod("three"), "s/c/3"),
        ]
    };
    world.serve(|_| {}, &pods("a", "1"));
    world.until(&["one", "three", "two"]).await;
    let (same_zone, same_node) = (prefers(&[Network, Region, Zone]), prefers(&[Network, Region, Zone, Subzone, Node]));
    world.serve(&same_zone, &pods("a", "1"));
    world.until(&["one", "two"]).await;
    world.serve(&same_node, &pods("a", "1"));
    world.until(&["one"]).await;
    // It moves to another zone of the region.
    world.serve(&same_zone, &pods("b", "4"));
    world.until(&["two"]).await;
    let sick = |row: Row| of_pod(row, |pod| pod.status = WorkloadStatus::Unhealthy.into());
    let [one, two, three] = pods("b", "4");
    world.serve(&same_zone, &[one.clone(), sick(two.clone()), three.clone()]);
    world.until(&["one"]).await;
    world.serve(&same_zone, &[sick(one), sick(two), three]);
    world.until(&["three"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_cannot_be_reached_has_the_next_called() {
    use load_balancing::Scope::{Network, Region, Zone};
    let world = World::start().await;
    let nobody = Nobody::at("127.0.0.14");
    let near = at(pod("one", nobody.addr, "tools/notes", false), "r/a/1");
    world.serve(
        prefers(&[Network, Region, Zone]),
        &[near, at(world.pod("two"), "r/b/2"), at(world.pod("three"), "s/c/3")],
    );
    // Not one call is lost meanwhile, once it is known at all.
    world.mesh.until(VIP, 200).await;
    let answers = world.answers(20).await;
    assert!(!answers.contains_key("503"), "each goes elsewhere, once: {answers:?}");
    world.until(&["two"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_gets_calls_where_its_service_publishes_it() {
    let world = World::start().await;
    let sick = |name: &str| of_pod(world.pod(name), |pod| pod.status = WorkloadStatus::Unhealthy.into());
    let pods = [world.pod("one"), sick("two")];
    world.serve(|_| {}, &pods);
    world.until(&["one"]).await;
    world.serve(|said| said.health_policy = load_balancing::HealthPolicy::AllowAll.into(), &pods);
    world.until(&["one", "two"]).await;
    world.serve(|_| {}, &pods);
    world.until(&["one"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_shared_by_capacity() {
    let world = World::start().await;
    let weighs = |name: &str, weight: u32| of_pod(world.pod(name), |pod| pod.capacity = Some(weight));
    world.serve(|_| {}, &[weighs("one", 1), weighs("two", 9), weighs("three", 0)]);
    world.until(&["one", "two"]).await;
    let answers = world.answers(400).await;
    let (one, two) = (answers["one"], answers["two"]);
    // 40 of 400 on average; 6 standard deviations are 36.
    assert!((4..=76).contains(&one) && one + two == 400, "{answers:?}");
}
