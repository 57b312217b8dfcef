//! `guard`: the controller's own planner over a cluster given as JSON, so that what the node proxies enforce is what the
//! product would write; and what istiod would make of it for ztunnel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;

use agent_waypoint::controller::guard::{
    Capture, ContainerPort, External, GuardScope, Mesh, Name, Plan, Pod, Sent, SentWorkload, Service, ServiceKind,
    ServicePort, TargetPort, Waypoint, plan,
};
use agent_waypoint::id::TrustDomain;
use agent_waypoint::mesh::l4::Authorization;
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;

use crate::events;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    trust_domain: String,
    waypoints: Vec<GivenWaypoint>,
    services: Vec<GivenService>,
    pods: Vec<GivenPod>,
    externals: Vec<GivenExternal>,
    /// What ztunnel is sent; left out: not seen yet.
    sent: Option<GivenSent>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenWaypoint {
    namespace: String,
    name: String,
    accounts: BTreeSet<Arc<str>>,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenService {
    namespace: String,
    name: String,
    kind: GivenKind,
    selector: BTreeMap<String, String>,
    ports: Vec<GivenPort>,
    /// `namespace/name`
    waypoints: Vec<String>,
    whole_workload: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum GivenKind {
    ClusterIp,
    Headless,
    Published,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPort {
    port: u16,
    target: GivenTarget,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum GivenTarget {
    Number(u16),
    Name(Arc<str>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenPod {
    namespace: Arc<str>,
    name: Arc<str>,
    labels: BTreeMap<String, String>,
    ports: BTreeMap<Arc<str>, u16>,
    capture: GivenCapture,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum GivenCapture {
    Captured,
    Uncaptured,
    HostNetwork,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenExternal {
    namespace: String,
    name: String,
    endpoints: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSent {
    authorizations: Vec<Authorization>,
    workloads: Vec<GivenWorkload>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenWorkload {
    namespace: String,
    name: String,
    addresses: Vec<IpAddr>,
    listed: Vec<Arc<str>>,
}

/// Reads a cluster from standard input; prints the plan, and its policies as istiod would send them.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let cluster: Cluster = serde_json::from_str(&text).context("not a cluster")?;
    let plan: Plan = plan(&cluster.mesh()?);
    let policies: Vec<_> =
        plan.apply.iter().map(|policy| json!({"selector": policy.selector, "sent": policy.sent()})).collect();
    events::print(&json!({"policies": policies, "plan": plan, "unguarded": plan.unguarded()}));
    Ok(())
}

impl Cluster {
    fn mesh(self) -> anyhow::Result<Mesh> {
        let waypoint = |given: GivenWaypoint| {
            let known = Waypoint { ours: true, was_ready: true, accounts: given.accounts, addresses: given.addresses };
            (Name::new(&given.namespace, &given.name), known)
        };
        let external = |given: GivenExternal| External {
            name: Name::new(&given.namespace, &given.name),
            endpoints: given.endpoints,
        };
        Ok(Mesh {
            trust_domain: TrustDomain::parse(&self.trust_domain)?,
            root_namespace: "istio-system".into(),
            waypoints: self.waypoints.into_iter().map(waypoint).collect(),
            services: self.services.into_iter().map(GivenService::known).collect(),
            pods: self.pods.into_iter().map(GivenPod::known).collect(),
            externals: self.externals.into_iter().map(external).collect(),
            ingresses: Vec::new(),
            found: Vec::new(),
            off: false,
            sent: self.sent.map(|sent| Arc::new(sent.known())),
        })
    }
}

impl GivenService {
    fn known(self) -> Service {
        let port = |given: GivenPort| ServicePort {
            port: given.port,
            target: match given.target {
                GivenTarget::Number(number) => TargetPort::Number(number),
                GivenTarget::Name(name) => TargetPort::Named(name),
            },
        };
        let waypoint = |name: &String| name.split_once('/').map(|(namespace, name)| Name::new(namespace, name));
        Service {
            name: Name::new(&self.namespace, &self.name),
            kind: match self.kind {
                GivenKind::ClusterIp => ServiceKind::ClusterIp,
                GivenKind::Headless => ServiceKind::Headless,
                GivenKind::Published => ServiceKind::Published,
            },
            selector: self.selector,
            ports: self.ports.into_iter().map(port).collect(),
            waypoints: self.waypoints.iter().filter_map(waypoint).collect(),
            bound: true,
            ingress_uses_waypoint: false,
            mode: agent_waypoint::controller::guard::Mode::Enforce,
            scope: if self.whole_workload { GuardScope::Workload } else { GuardScope::Ports },
        }
    }
}

impl GivenPod {
    fn known(self) -> Pod {
        let port = |(name, number)| ContainerPort { name, number };
        Pod {
            name: self.name,
            namespace: self.namespace,
            labels: self.labels,
            ports: self.ports.into_iter().map(port).collect(),
            capture: match self.capture {
                GivenCapture::Captured => Capture::Captured,
                GivenCapture::Uncaptured => Capture::Uncaptured,
                GivenCapture::HostNetwork => Capture::HostNetwork,
            },
            sidecar: false,
            waypoint: None,
            scraped: None,
        }
    }
}

impl GivenSent {
    fn known(self) -> Sent {
        let workload = |given: GivenWorkload| {
            let known = SentWorkload { addresses: given.addresses, listed: given.listed };
            (Name::new(&given.namespace, &given.name), Arc::new(known))
        };
        let authorizations: HashMap<Arc<str>, Arc<Authorization>> =
            self.authorizations.into_iter().map(|one| (Arc::from(one.key()), Arc::new(one))).collect();
        let workloads = self.workloads.into_iter().map(workload).collect();
        Sent { authorizations, workloads, far: HashMap::new() }
    }
}
