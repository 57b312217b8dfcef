//! What the API server holds, mirrored: one watch per kind, and now and then an immutable [`View`] of all of them.
//!
//! A kind that is not served (its CRD is missing) or that we may not list is a line in the log with the remedy, and is
//! asked for again; it never ends anything. What was listed once stays in the view through an outage of the API server.

mod kinds;
mod listing;
mod mesh_config;
mod roots;
mod shelf;
mod tail;
mod view;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use gateway_api::apis::standard::gatewayclasses::GatewayClass;
use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use kinds::DocumentKind;
pub use listing::{Listing, key};
pub use mesh_config::MeshConfigOf;
pub use shelf::Standing;
pub use view::View;

use kinds::{WORKLOAD_ENTRY, workload_entries};
use shelf::Shelf;
use watch::Watching;

/// Changes that come within this time of each other are one change of the view.
const GATHER: Duration = Duration::from_millis(50);

/// Views of the cluster. A cheap handle.
#[derive(Debug, Clone)]
pub struct Cluster {
    views: channel::Receiver<Arc<View>>,
}

/// A shelf for each kind.
#[derive(Debug)]
struct Shelves {
    gateways: Arc<Shelf<Gateway>>,
    classes: Arc<Shelf<GatewayClass>>,
    namespaces: Arc<Shelf<Namespace>>,
    services: Arc<Shelf<Service>>,
    pods: Arc<Shelf<Pod>>,
    accounts: Arc<Shelf<ServiceAccount>>,
    deployments: Arc<Shelf<Deployment>>,
    workload_entries: Arc<Shelf<DynamicObject>>,
    config_maps: Arc<Shelf<ConfigMap>>,
    mesh_config: Arc<Shelf<ConfigMap>>,
    roots: Arc<Shelf<ConfigMap>>,
    documents: Documents,
}

type Documents = Vec<(DocumentKind, Arc<Shelf<DynamicObject>>)>;

impl Cluster {
    /// Watches everything until `stop`; ConfigMaps in `own_namespace` only, and the meshConfig.
    pub fn watch(
        client: &Client,
        (own_namespace, mesh): (&str, MeshConfigOf),
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let starter = Starter { client, tasks, stop, changed: &changed };
        let documents: Documents = DocumentKind::ALL.iter().map(|kind| (*kind, starter.documents(*kind))).collect();
        let shelves = Shelves {
            gateways: starter.typed("install the Gateway API's CRDs"),
            classes: starter.typed("install the Gateway API's CRDs"),
            namespaces: starter.typed(""),
            services: starter.typed(""),
            pods: starter.typed(""),
            accounts: starter.typed(""),
            deployments: starter.typed(""),
            workload_entries: starter.workload_entries(),
            config_maps: starter.config_maps(own_namespace),
            mesh_config: starter.mesh_config(own_namespace, mesh),
            roots: starter.roots(own_namespace, &documents),
            documents,
        };
        let (publish, views) = channel::channel(Arc::new(View::default()));
        tasks.spawn(gather(shelves, changed, publish, stop.clone()));
        Self { views }
    }

    /// A cluster that stands still, for tests and dry runs.
    pub fn still(view: View) -> Self {
        Self { views: channel::channel(Arc::new(view)).1 }
    }

    /// A cluster that shows what it is sent, for tests and measurements.
    pub fn driven(view: View) -> (Self, channel::Sender<Arc<View>>) {
        let (show, views) = channel::channel(Arc::new(view));
        (Self { views }, show)
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Tells of each new view; several may have passed since the last look.
    pub fn subscribe(&self) -> channel::Receiver<Arc<View>> {
        self.views.clone()
    }
}

/// What every watch is started with.
struct Starter<'a> {
    client: &'a Client,
    tasks: &'a TaskTracker,
    stop: &'a CancellationToken,
    changed: &'a Arc<Notify>,
}

impl Starter<'_> {
    fn typed<K>(&self, remedy: &'static str) -> Arc<Shelf<K>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        self.start(K::kind(&()).into_owned(), vec![Api::all(self.client.clone())], remedy)
    }

    fn config_maps(&self, namespace: &str) -> Arc<Shelf<ConfigMap>> {
        self.start("ConfigMap".to_owned(), vec![Api::namespaced(self.client.clone(), namespace)], "")
    }

    fn mesh_config(&self, own_namespace: &str, of: MeshConfigOf) -> Arc<Shelf<ConfigMap>> {
        let shelf = Arc::new(Shelf::new(Arc::clone(self.changed)));
        let from = (self.client.clone(), own_namespace.to_owned());
        self.tasks.spawn(mesh_config::look(from, of, Arc::clone(&shelf), self.stop.clone()));
        shelf
    }

    fn roots(&self, own_namespace: &str, documents: &Documents) -> Arc<Shelf<ConfigMap>> {
        let shelf = Arc::new(Shelf::new(Arc::clone(self.changed)));
        let policies = documents.iter().find(|(kind, _)| *kind == DocumentKind::BackendTlsPolicy);
        if let Some((_, policies)) = policies {
            let (own_namespace, policies) = (own_namespace.to_owned(), Arc::clone(policies));
            let roots = roots::Roots { own_namespace, policies, shelf: Arc::clone(&shelf) };
            self.tasks.spawn(roots.look(self.client.clone(), self.stop.clone()));
        }
        shelf
    }

    fn documents(&self, kind: DocumentKind) -> Arc<Shelf<DynamicObject>> {
        self.dynamic(kind.as_str(), kind.resources(), kind.remedy())
    }

    fn workload_entries(&self) -> Arc<Shelf<DynamicObject>> {
        self.dynamic(WORKLOAD_ENTRY, workload_entries(), DocumentKind::ServiceEntry.remedy())
    }

    fn dynamic(
        &self,
        kind: &str,
        versions: impl Iterator<Item = ApiResource>,
        remedy: &'static str,
    ) -> Arc<Shelf<DynamicObject>> {
        let apis = versions.map(|resource| Api::all_with(self.client.clone(), &resource)).collect();
        self.start(kind.to_owned(), apis, remedy)
    }

    fn start<K>(&self, kind: String, apis: Vec<Api<K>>, remedy: &'static str) -> Arc<Shelf<K>>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
        K::DynamicType: Send + Sync,
    {
        let shelf = Arc::new(Shelf::new(Arc::clone(self.changed)));
        let watching = Watching { kind, apis, remedy, shelf: Arc::clone(&shelf) };
        self.tasks.spawn(watching.run(self.stop.clone()));
        shelf
    }
}

/// Publishes a view when shelves have changed, at most once per [`GATHER`].
async fn gather(shelves: Shelves, changed: Arc<Notify>, publish: channel::Sender<Arc<View>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
        publish.send_replace(Arc::new(shelves.view()));
    }
}

impl Shelves {
    fn view(&self) -> View {
        let mut view = View::default();
        let Self {
            gateways,
            classes,
            namespaces,
            services,
            pods,
            accounts,
            deployments,
            workload_entries,
            config_maps,
            mesh_config,
            roots,
            documents,
        } = self;
        view.gateways = view.take(Gateway::kind(&()).as_ref(), gateways);
        view.gateway_classes = view.take(GatewayClass::kind(&()).as_ref(), classes);
        view.namespaces = view.take("Namespace", namespaces);
        view.services = view.take("Service", services);
        view.pods = view.take("Pod", pods);
        view.service_accounts = view.take("ServiceAccount", accounts);
        view.deployments = view.take("Deployment", deployments);
        view.workload_entries = view.take(WORKLOAD_ENTRY, workload_entries);
        view.config_maps = view.take("ConfigMap", config_maps);
        view.mesh_config = view.take("meshConfig", mesh_config);
        view.roots = view.take("ConfigMap of a BackendTLSPolicy", roots);
        for (kind, shelf) in documents {
            let listing = view.take(kind.as_str(), shelf);
            view.set_documents(*kind, listing);
        }
        view
    }
}

#[cfg(test)]
mod tests;
