//! Views from the YAML that a person would write.

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster::{DocumentKind, Listing, Standing, View};

/// A namespace that uses a waypoint, which is there; more documents may follow.
pub(crate) const TOOLS: &str = "
kind: Namespace
apiVersion: v1
metadata: {name: tools, labels: {istio.io/use-waypoint: wp}}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: wp, namespace: tools}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
";

/// A view in which every kind is known, from documents separated by `---`. Objects without a resourceVersion get one that
/// says what they say, so that a changed text is a changed object.
pub(crate) fn view(yaml: &str) -> View {
    let mut objects: Vec<Value> = yaml
        .split("\n---\n")
        .filter(|text| !text.trim().is_empty())
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}")))
        .collect();
    for object in &mut objects {
        let version = object.to_string();
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.entry("resourceVersion").or_insert_with(|| version.into());
        let uid = format!("uid-{}", meta["name"].as_str().unwrap());
        meta.entry("uid").or_insert_with(|| uid.into());
    }
    let mut view = View::default();
    view.gateways = of(&objects, "Gateway");
    view.gateway_classes = of(&objects, "GatewayClass");
    view.namespaces = of(&objects, "Namespace");
    view.services = of(&objects, "Service");
    view.pods = of(&objects, "Pod");
    view.service_accounts = of(&objects, "ServiceAccount");
    view.deployments = of(&objects, "Deployment");
    view.workload_entries = of(&objects, "WorkloadEntry");
    let (mesh, own): (Vec<Value>, Vec<Value>) =
        objects.iter().cloned().partition(|object| object["metadata"]["namespace"] == "istio-system");
    view.config_maps = of(&own, "ConfigMap");
    view.roots = of(&own, "ConfigMap");
    view.mesh_config = of(&mesh, "ConfigMap");
    for kind in DocumentKind::ALL {
        view.set_documents(kind, of::<DynamicObject>(&objects, kind.as_str()));
        view.set_standing(kind.as_str(), Standing::Listed);
    }
    view
}

fn of<K: DeserializeOwned + kube::Resource>(objects: &[Value], kind: &str) -> Listing<K> {
    let of_kind = objects.iter().filter(|object| object["kind"] == kind);
    of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}
