//! What istiod sends to ztunnel, watched: the policies that are enforced, and which pod lists which.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::input::{Name, Sent, SentWorkload};
use crate::control::istiod::Istiod;
use crate::control::istiod::xds::{self, Authorizations, Myself};
use crate::mesh::world::{Change, Reach, Row, is_of_pod};

/// Changes that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(100);

/// Pods by their row's key.
#[derive(Debug, Default)]
struct Pods {
    rows: HashMap<Arc<str>, (Name, Arc<SentWorkload>)>,
    /// Pods of other clusters, and what is no pod and has no ztunnel, with the Services that they are behind.
    far: HashMap<Arc<str>, Vec<Name>>,
    synced: bool,
}

/// Watches istiod until `stop`. None is published before policies and pods were both told once; then what is known stays
/// through an outage.
pub fn watch(
    istiod: Istiod,
    myself: &Myself,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> watch::Receiver<Option<Arc<Sent>>> {
    let (pods, changed) = (Arc::new(Mutex::new(Pods::default())), Arc::new(Notify::new()));
    let authorizations = Authorizations::default();
    // Pods of other clusters may have the names of ours.
    let prefix = format!("{}//Pod/", myself.cluster_id);
    let (taken, tell) = (Arc::clone(&pods), Arc::clone(&changed));
    let take = move |change: Change| {
        taken.lock().unwrap_or_else(PoisonError::into_inner).take(change, &prefix);
        tell.notify_one();
    };
    let keep = authorizations.clone();
    let enforced = move |policies| keep.change(policies);
    tasks.spawn(xds::client(istiod, myself, take, enforced).run(stop.clone()));
    let (publish, sent) = watch::channel(None);
    tasks.spawn(gather(pods, changed, authorizations, publish, stop.clone()));
    sent
}

impl Pods {
    fn take(&mut self, change: Change, prefix: &str) {
        self.synced |= change.synced;
        for (key, row) in change.rows {
            match row {
                Some(Row::Workload(row)) if key.starts_with(prefix) => {
                    let parts = row.parts();
                    let name = Name { namespace: Arc::clone(&parts.namespace), name: Arc::from(parts.name()) };
                    let workload = SentWorkload { addresses: parts.ips.to_vec(), listed: parts.policies.to_vec() };
                    self.rows.insert(key, (name, Arc::new(workload)));
                }
                Some(Row::Workload(row)) => {
                    self.far.remove(&key);
                    let services: Vec<Name> =
                        row.parts().services.iter().filter_map(|one| of_key(&one.service)).collect();
                    // A machine, or an address written by hand, that speaks no HBONE has no ztunnel to be told anything.
                    let none = is_of_pod(&key) || row.parts().reach == Reach::Plain;
                    if none && !services.is_empty() {
                        self.far.insert(key, services);
                    }
                }
                Some(Row::Service(_)) => {}
                None => {
                    self.rows.remove(&key);
                    self.far.remove(&key);
                }
            }
        }
    }
}

/// The Kubernetes Service of a key, `NAMESPACE/NAME.NAMESPACE.svc.DOMAIN`.
fn of_key(key: &str) -> Option<Name> {
    let (namespace, host) = key.split_once('/')?;
    let (name, rest) = host.split_once('.')?;
    rest.strip_prefix(namespace)?.starts_with(".svc.").then(|| Name::new(namespace, name))
}

async fn gather(
    pods: Arc<Mutex<Pods>>,
    changed: Arc<Notify>,
    authorizations: Authorizations,
    publish: watch::Sender<Option<Arc<Sent>>>,
    stop: CancellationToken,
) {
    let mut policies = authorizations.changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            _ = policies.changed() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
        policies.mark_unchanged();
        if let Some(sent) = sent(&pods, &authorizations) {
            publish.send_replace(Some(Arc::new(sent)));
        }
    }
}

fn sent(pods: &Mutex<Pods>, authorizations: &Authorizations) -> Option<Sent> {
    let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
    if !pods.synced || !authorizations.is_synced() {
        return None;
    }
    let policies = authorizations.all().into_iter().map(|policy| (Arc::from(policy.key()), policy));
    let mut far: HashMap<Name, Vec<Arc<str>>> = HashMap::new();
    for (uid, services) in &pods.far {
        services.iter().for_each(|service| far.entry(service.clone()).or_default().push(Arc::clone(uid)));
    }
    Some(Sent { authorizations: policies.collect(), workloads: pods.rows.values().cloned().collect(), far })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::WorkloadId;
    use crate::mesh::world::{WorkloadParts, WorkloadRow};

    fn row(uid: &str) -> (Arc<str>, Option<Row>) {
        let row = WorkloadRow::new(WorkloadParts {
            uid: uid.into(),
            other_name: WorkloadParts::other_name(uid, "repo-1"),
            namespace: "tools".into(),
            id: Arc::new(WorkloadId::parse("spiffe://td/ns/tools/sa/repo").unwrap()),
            ips: [[10, 1, 0, 7].into()].into(),
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
            policies: ["tools/guard".into()].into(),
        });
        (uid.into(), Some(Row::Workload(row)))
    }

    #[test]
    fn pods_of_our_cluster_are_kept_until_they_are_gone() {
        let mut pods = Pods::default();
        let ours = "here//Pod/tools/repo-1";
        let others = ["there//Pod/tools/repo-1", "here/networking.istio.io/WorkloadEntry/tools/vm"];
        let rows = others.iter().chain([&ours]).map(|uid| row(uid)).collect();
        pods.take(Change { rows, synced: true, ..Change::default() }, "here//Pod/");
        let name = Name::new("tools", "repo-1");
        assert_eq!(pods.rows.len(), 1);
        assert_eq!(pods.rows[ours].0, name);
        assert_eq!(pods.rows[ours].1.listed, [Arc::from("tools/guard")]);
        assert!(pods.far.is_empty(), "behind no Service");
        let (uid, Some(Row::Workload(far))) = row(others[0]) else { panic!("a pod") };
        let member = |service: &str| crate::mesh::world::Member { service: service.into(), ports: [].into() };
        let services = [member("tools/repo.tools.svc.cluster.local"), member("tools/ext.example.com")].into();
        let far = WorkloadRow::new(WorkloadParts { services, ..far.parts().clone() });
        pods.take(
            Change { rows: [(Arc::clone(&uid), Some(Row::Workload(far)))].into(), ..Change::default() },
            "here//Pod/",
        );
        assert_eq!(pods.far[&uid], [Name::new("tools", "repo")]);
        pods.take(Change { rows: [(uid, None)].into(), ..Change::default() }, "here//Pod/");
        assert!(pods.far.is_empty());
        // A machine that a Service selects: one with a ztunnel is told its policies, one without is open.
        for (reach, open) in [(Reach::Hbone, 0), (Reach::Plain, 1)] {
            let (uid, Some(Row::Workload(vm))) = row(others[1]) else { panic!("a machine") };
            let services = [member("tools/repo.tools.svc.cluster.local")].into();
            let vm = WorkloadRow::new(WorkloadParts { services, reach, ..vm.parts().clone() });
            pods.take(Change { rows: [(uid, Some(Row::Workload(vm)))].into(), ..Change::default() }, "here//Pod/");
            assert_eq!(pods.far.len(), open, "{reach:?}");
        }
        pods.take(Change { rows: [(Arc::from(others[1]), None)].into(), ..Change::default() }, "here//Pod/");
        assert!(pods.far.is_empty());
        // Nothing is said before the policies are known too: a pod without one would look open.
        let pods = Mutex::new(pods);
        assert!(sent(&pods, &Authorizations::default()).is_none());
        let rows = [(Arc::from(ours), None)].into();
        pods.lock().unwrap().take(Change { rows, ..Change::default() }, "here//Pod/");
        assert!(pods.lock().unwrap().rows.is_empty() && pods.lock().unwrap().synced);
    }
}
