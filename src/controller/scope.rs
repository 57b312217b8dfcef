//! Whose documents are whose: which Gateway fronts which Service, and which documents a Gateway's pods are sent.
//!
//! Pure. It reads Istio's labels as istiod does (`istio.io/use-waypoint[-namespace]` on a Service or ServiceEntry, else on
//! its Namespace; on a pod or WorkloadEntry, else on its Namespace, for calls to workloads' own addresses; a canary beside it; the `allowedRoutes` of the Gateway's HBONE listener). What a document selects is read
//! leniently: where that cannot be told, every waypoint of its namespace gets it, so that a document that is wrong closes
//! what it was meant for rather than nothing.

mod fronting;
mod selected;

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;

use super::cluster::{DocumentKind, View, key};

pub use fronting::{
    DROP_IN_CLASS, Fronting, GatewayKey, HBONE, Object, USE_CANARY, USE_WAYPOINT, WAYPOINT_BOUND, admits, is_for, used,
    workloads,
};
pub use selected::Selected;

/// What documents of the cluster go to which Gateways.
#[derive(Debug, Default)]
pub struct Scopes {
    /// Gateways by kind, namespace and name of a document.
    pub documents: BTreeMap<(DocumentKind, String, String), BTreeSet<GatewayKey>>,
    /// Who fronts what.
    pub fronting: Fronting,
}

impl Scopes {
    /// Reads a view.
    pub fn of(view: &View) -> Self {
        let fronting = Fronting::of(view);
        let root = view.root_namespace();
        let mut documents = BTreeMap::new();
        for kind in DocumentKind::ALL {
            for document in view.documents(kind).iter() {
                let gateways = gateways(kind, document, (&fronting, &root));
                if !gateways.is_empty() {
                    let (namespace, name) = key(&**document);
                    documents.insert((kind, namespace.to_owned(), name.to_owned()), gateways);
                }
            }
        }
        Self { documents, fronting }
    }
}

fn gateways(kind: DocumentKind, document: &DynamicObject, (fronting, root): (&Fronting, &str)) -> BTreeSet<GatewayKey> {
    let (namespace, name) = key(document);
    if kind == DocumentKind::ServiceEntry {
        return fronting.of_object(Object::ServiceEntry, namespace, name).clone();
    }
    if kind == DocumentKind::DestinationRule && namespace == root {
        return fronting.gateways().map(|(key, _)| key.clone()).collect();
    }
    let mut gateways = BTreeSet::new();
    for selected in Selected::by(kind, document) {
        match selected {
            Selected::Object(kind, namespace, name) => {
                gateways.extend(fronting.of_object(kind, &namespace, &name).iter().cloned());
            }
            Selected::Gateway(there, name) => gateways.extend(
                fronting
                    .gateway(&there, &name)
                    .filter(|gateway| there == namespace || fronting.is_in(gateway, namespace)),
            ),
            // One tenant's policy is no other's business: a whole class is for the mesh's own namespace to name.
            Selected::Class(name) if namespace == root => gateways.extend(fronting.of_class(&name)),
            Selected::Class(_) => {}
            Selected::Namespace(namespace) => gateways.extend(fronting.within(&namespace)),
        }
    }
    gateways
}

#[cfg(test)]
mod tests;
