//! Small meshes to plan for, and an istiod that sends what was planned.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::controller::guard::enforced::Enforced;
use crate::controller::guard::*;
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::l4::{Connection, judge};

pub(super) const WAYPOINT: &str = "cluster.local/ns/waypoints/sa/waypoint";

pub(super) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn waypoint(ours: bool, accounts: &[&str]) -> Waypoint {
    let accounts = accounts.iter().map(|account| Arc::from(*account)).collect();
    Waypoint { ours, was_ready: true, accounts, addresses: vec![[10, 0, 0, 1].into()] }
}

/// Service `tools/NAME` of port 80 before `target`, by our waypoint.
pub(super) fn service(name: &str, selector: &[(&str, &str)], target: TargetPort) -> Service {
    Service {
        name: Name::new("tools", name),
        kind: ServiceKind::ClusterIp,
        selector: labels(selector),
        ports: vec![ServicePort { port: 80, target }],
        waypoints: vec![Name::new("waypoints", "waypoint")],
        bound: true,
        ingress_uses_waypoint: true,
        mode: Mode::Enforce,
        scope: GuardScope::Ports,
    }
}

pub(super) fn pod(name: &str, own: &[(&str, &str)], ports: &[(&str, u16)]) -> Pod {
    let ports = ports.iter().map(|(name, number)| ContainerPort { name: (*name).into(), number: *number });
    Pod { name: name.into(), namespace: "tools".into(), labels: labels(own), ports: ports.collect(), ..Pod::default() }
}

pub(super) fn mesh(services: Vec<Service>, pods: Vec<Pod>) -> Mesh {
    Mesh {
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        root_namespace: "istio-system".into(),
        waypoints: BTreeMap::from([(Name::new("waypoints", "waypoint"), waypoint(true, &["waypoint"]))]),
        services,
        pods,
        externals: Vec::new(),
        ingresses: Vec::new(),
        found: Vec::new(),
        off: false,
        sent: None,
    }
}

/// One Service `tools/repo`, one pod, port 8080.
pub(super) fn simple() -> Mesh {
    let selector = &[("app", "repo")];
    mesh(vec![service("repo", selector, TargetPort::Number(8080))], vec![pod("repo-1", selector, &[("http", 8080)])])
}

/// What stands in the cluster after a plan was carried out.
pub(super) fn found(policies: &[GuardPolicy]) -> Vec<Found> {
    let one = |policy: &GuardPolicy| Found {
        name: policy.name.clone(),
        ours: true,
        ports: policy.rules.iter().filter_map(|rule| rule.port).collect(),
        services: policy.services.clone(),
    };
    policies.iter().map(one).collect()
}

/// What ztunnel is sent of it.
pub(super) fn sent(mesh: &Mesh, policies: &[GuardPolicy]) -> Arc<Sent> {
    let authorizations = policies
        .iter()
        .map(|policy| (Arc::from(policy.name.to_string()), Arc::new(policy.sent())))
        .collect::<HashMap<_, _>>();
    let workload = |(at, pod): (usize, &Pod)| {
        let selects = |policy: &&GuardPolicy| {
            policy.name.namespace == pod.namespace
                && policy.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        };
        let listed = policies.iter().filter(selects).map(|policy| Arc::from(policy.name.to_string())).collect();
        let addresses = vec![[10, 1, 0, u8::try_from(at).unwrap()].into()];
        (
            Name { namespace: Arc::clone(&pod.namespace), name: Arc::clone(&pod.name) },
            Arc::new(SentWorkload { addresses, listed }),
        )
    };
    let workloads = mesh.pods.iter().enumerate().map(workload).collect();
    Arc::new(Sent { authorizations, workloads, far: HashMap::new() })
}

/// The mesh after a plan was carried out and has reached ztunnel.
pub(super) fn carried_out(mesh: &Mesh) -> Mesh {
    let plan = plan(mesh);
    Mesh { found: found(&plan.apply), sent: Some(sent(mesh, &plan.apply)), ..mesh.clone() }
}

/// Whether a connection reaches a pod, judged by what ztunnel is sent.
pub(super) fn reaches(mesh: &Mesh, who: Option<&str>, pod: &str, port: u16) -> bool {
    let pod = mesh.pods.iter().find(|one| &*one.name == pod).unwrap();
    let sent = Enforced::of(mesh.sent.as_ref().unwrap());
    let (workload, enforced) = sent.at(pod).unwrap();
    let id = who.map(|who| WorkloadId::parse(&format!("spiffe://{who}")).unwrap());
    let destination = (workload.addresses[0], port).into();
    let connection = Connection { source: [10, 7, 7, 7].into(), identity: id.as_ref(), destination };
    judge(enforced, &connection).is_permitted()
}

pub(super) fn principals(texts: &[&str]) -> BTreeSet<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}
