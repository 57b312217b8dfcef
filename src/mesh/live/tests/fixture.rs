use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::document::{Documents, Problem, Source, load};
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::build::Settings;
use crate::mesh::live::Live;
use crate::mesh::world::{
    AppProtocol, Change, Here, Interner, Member, PortPair, PortRow, Preference, Reach, Row, ServiceParts, ServiceRow,
    Vip, WorkloadParts, WorkloadRow,
};
use crate::mesh::{Snapshot, Target};
use crate::policy::{Decision, Facts, Reason, fixture as policy};
use crate::wire::authority::Authority;

/// The Service `tools/repo`, of which port 80 is MCP.
pub(super) const MCP: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools}
spec: {ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}]}
";

/// Everyone may do everything there.
pub(super) const MESH_POLICY: &str = "
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: p, namespace: tools}
spec: {targetRefs: [{kind: Service, name: repo}], allow: [{}]}
";

/// A mesh in which we are the Gateway `mesh/waypoint`.
pub(super) struct Lab {
    live: Live,
    documents: Option<Documents>,
    pub(super) edition: Snapshot,
    pub(super) problems: Vec<Problem>,
    /// Whether the last change made any target another.
    pub(super) targets_changed: bool,
}

pub(super) fn parsed(text: &str) -> Documents {
    load([Source { file: Arc::new(PathBuf::from("f.yaml")), text: text.to_owned() }])
}

impl Lab {
    pub(super) fn new(text: Option<&str>) -> Self {
        let settings = Settings {
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            gateway: Some(("mesh".to_owned(), "waypoint".to_owned())),
            keys: crate::policy::token::Keyring::default(),
        };
        let here = Here {
            namespace: "mesh".into(),
            gateway: "waypoint".into(),
            cluster_domain: "cluster.local".into(),
            network: "net".into(),
            cluster: "Kubernetes".into(),
            ips: ["10.0.0.99".parse().unwrap()].into(),
        };
        let (live, edition) = (Live::new(settings, here), Snapshot::default());
        let documents = text.map(parsed);
        let mut lab = Self { live, documents, edition, problems: Vec::new(), targets_changed: false };
        lab.change(Change { synced: true, enforced: true, ..Change::default() });
        lab
    }

    pub(super) fn documents(&mut self, text: &str) {
        self.documents = Some(parsed(text));
        self.change(Change::default());
    }

    pub(super) fn put(&mut self, rows: &[Build]) {
        self.change(change(rows.iter().map(Build::row).collect()));
    }

    pub(super) fn drop(&mut self, keys: &[&str]) {
        let rows = keys.iter().map(|key| (Arc::from(*key), None)).collect();
        self.change(Change { rows, ..Change::default() });
    }

    /// The documents in force, then the change over them.
    pub(super) fn change(&mut self, change: Change) {
        self.changes(vec![change]);
    }

    /// The documents in force, then one change after the other.
    pub(super) fn changes(&mut self, changes: Vec<Change>) {
        let Self { live, documents, edition, problems, targets_changed } = self;
        let mut left = changes.into_iter();
        live.under(documents.as_ref(), |new| {
            *edition = new.snapshot.clone();
            *targets_changed = new.targets_changed;
            if let Some(new) = new.problems {
                *problems = new;
            }
            left.next()
        });
    }

    pub(super) fn find(&self, authority: &str) -> Option<Arc<Target>> {
        self.edition.find(&Authority::parse(authority).unwrap())
    }

    /// Why a tool call to `authority` is refused; none where it is not.
    pub(super) fn refused(&self, authority: &str) -> Option<Reason> {
        let target = self.find(authority).unwrap();
        let asked = policy::World::calling(policy::tool("get_note", serde_json::json!({})));
        match target.rules.decide(&Facts { destination: &target.destination, ..asked.facts() }) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.reason),
        }
    }
}

pub(super) fn change(rows: Vec<Row>) -> Change {
    let rows: HashMap<_, _> = rows.into_iter().map(|row| (Arc::clone(row.key()), Some(row))).collect();
    Change { rows, ..Change::default() }
}

/// A row in the making.
#[derive(Clone)]
pub(super) enum Build {
    Service(ServiceParts),
    Workload(WorkloadParts),
}

/// A Service `namespace/name` with port 80 to 8080 that nobody fronts.
pub(super) fn service(name: &str) -> Build {
    let (namespace, name) = name.split_once('/').unwrap();
    let hostname = format!("{name}.{namespace}.svc.cluster.local");
    Build::Service(ServiceParts {
        key: format!("{namespace}/{hostname}").into(),
        namespace: namespace.into(),
        name: name.into(),
        hostname: hostname.into(),
        vips: [].into(),
        ports: [PortRow { port: 80, target: 8080, speaks: AppProtocol::Unknown }].into(),
        more_ids: [].into(),
        waypoints: [].into(),
        any_health: false,
        preference: Preference::default(),
        v6_only: false,
        canonical: true,
        of_kubernetes: true,
    })
}

/// The Service that the documents here are about, fronted by us.
pub(super) fn repo() -> Build {
    service("tools/repo").vip("10.96.0.7").ours()
}

/// A pod of `tools` with an identity `tools/repo`, by HBONE.
pub(super) fn pod(name: &str, ip: &str) -> Build {
    Build::Workload(WorkloadParts {
        uid: format!("Kubernetes//Pod/tools/{name}").into(),
        other_name: None,
        namespace: "tools".into(),
        id: Arc::new(WorkloadId::parse("spiffe://cluster.local/ns/tools/sa/repo").unwrap()),
        ips: ip.split(',').filter(|ip| !ip.is_empty()).map(|ip| ip.parse().unwrap()).collect(),
        hostname: None,
        network: "".into(),
        place: Arc::default(),
        reach: Reach::Hbone,
        healthy: true,
        own_ips: true,
        is_waypoint: false,
        weight: 1,
        services: [].into(),
        waypoint: None,
        policies: [].into(),
    })
}

impl Build {
    pub(super) fn row(&self) -> Row {
        match self.clone() {
            Self::Service(parts) => Row::Service(ServiceRow::new(parts)),
            Self::Workload(parts) => Row::Workload(WorkloadRow::new(parts)),
        }
    }

    pub(super) fn service(mut self, edit: impl FnOnce(&mut ServiceParts)) -> Self {
        match &mut self {
            Self::Service(parts) => edit(parts),
            Self::Workload(_) => panic!("no service"),
        }
        self
    }

    pub(super) fn workload(mut self, edit: impl FnOnce(&mut WorkloadParts)) -> Self {
        match &mut self {
            Self::Workload(parts) => edit(parts),
            Self::Service(_) => panic!("no workload"),
        }
        self
    }

    /// Without addresses and waypoints.
    pub(super) fn bare(self) -> Self {
        self.service(|parts| (parts.vips, parts.waypoints) = ([].into(), [].into()))
    }

    pub(super) fn vip(self, ip: &str) -> Self {
        let vip = Vip { network: "net".into(), ip: ip.parse().unwrap() };
        self.service(|parts| parts.vips = parts.vips.iter().cloned().chain([vip]).collect())
    }

    pub(super) fn host(self, host: &str) -> Self {
        self.service(|parts| {
            parts.key = format!("{}/{host}", parts.namespace).into();
            (parts.hostname, parts.canonical, parts.of_kubernetes) = (host.into(), false, false);
        })
    }

    pub(super) fn port(self, port: PortRow) -> Self {
        self.service(|parts| {
            parts.ports = parts.ports.iter().filter(|old| old.port != port.port).copied().chain([port]).collect();
        })
    }

    pub(super) fn ours(self) -> Self {
        self.waypoint("mesh", "waypoint.mesh.svc.cluster.local")
    }

    pub(super) fn waypoint(mut self, namespace: &str, host: &str) -> Self {
        let gateway = Interner::default().gateway_host(namespace, host);
        match &mut self {
            Self::Service(parts) => parts.waypoints = parts.waypoints.iter().cloned().chain([gateway]).collect(),
            Self::Workload(parts) => parts.waypoint = Some(gateway),
        }
        self
    }

    pub(super) fn waypoint_ip(self, ip: &str) -> Self {
        let gateway = Interner::default().gateway_ip("net", ip.parse().unwrap());
        self.service(|parts| parts.waypoints = [gateway].into())
    }

    /// Behind a Service of Kubernetes, at its own target ports.
    pub(super) fn of(self, service: &str) -> Self {
        let (namespace, name) = service.split_once('/').unwrap();
        self.behind(&format!("{namespace}/{name}.{namespace}.svc.cluster.local"), &[])
    }

    pub(super) fn behind(self, key: &str, ports: &[(u16, u16)]) -> Self {
        let ports = ports.iter().map(|(port, target)| PortPair { port: *port, target: *target }).collect();
        let member = Member { service: key.into(), ports };
        self.workload(|parts| parts.services = parts.services.iter().cloned().chain([member]).collect())
    }

    pub(super) fn plain(self) -> Self {
        self.workload(|parts| parts.reach = Reach::Plain)
    }

    pub(super) fn hostname(self, host: &str) -> Self {
        self.workload(|parts| parts.hostname = Some(host.into()))
    }

    pub(super) fn account(self, account: &str) -> Self {
        let id = WorkloadId::parse(&format!("spiffe://cluster.local/ns/tools/sa/{account}")).unwrap();
        self.workload(|parts| parts.id = Arc::new(id))
    }
}
