//! The objects of one waypoint, and what stands in the way of making them.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::apply::Wanted;
use super::super::cluster::{Listing, View, key};
use super::params::ParamsFault;
use super::{Params, Template, deployment};

/// Says which Gateway a pod is of; Istio reads it too.
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const US: &str = "agent-waypoint";
/// Where HBONE is taken.
pub(super) const HBONE_PORT: i32 = 15_008;
/// Protocol of a waypoint's listener (Istio).
pub(super) const HBONE: &str = "HBONE";
/// Longest name of a Service.
const MAX_NAME: usize = 63;

/// Why a Gateway gets no waypoint: reason and message of its `Accepted` condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What is wrong with a Gateway, most basic first.
pub(super) fn fault(view: &View, gateway: &Gateway, params: Option<&ParamsFault>) -> Option<Fault> {
    let (namespace, name) = key(gateway);
    let fault = |reason: &'static str, message: String| Some(Fault { reason, message });
    if !gateway.spec.listeners.iter().any(|listener| listener.port == HBONE_PORT && listener.protocol == HBONE) {
        let message = "a waypoint has a listener {name: mesh, port: 15008, protocol: HBONE}; there is none";
        return fault("ListenersNotValid", message.to_owned());
    }
    if name.len() > MAX_NAME || name.contains('.') {
        let message = format!("its name becomes that of a Service: at most {MAX_NAME} of a-z 0-9 -");
        return fault("Invalid", message);
    }
    if let Some(params) = params {
        return fault("InvalidParameters", params.to_string());
    }
    let foreign = [
        foreign("ServiceAccount", &view.service_accounts, gateway),
        foreign("Service", &view.services, gateway),
        foreign("Deployment", &view.deployments, gateway),
    ];
    if let Some(kind) = foreign.into_iter().flatten().next() {
        let message =
            format!("there is a {kind} of this name that is not ours; rename the Gateway, or delete the {kind}");
        return fault("Invalid", message);
    }
    let account = view.service_accounts.get(namespace, name)?;
    is_older(&**account, gateway).then(|| Fault {
        reason: "Invalid",
        message: "there is a ServiceAccount of this name from before the Gateway: whoever made it may have tokens of it, and would be the waypoint by them; delete it".to_owned(),
    })
}

/// Whether an object was there before the Gateway, so that it was not made for it, whatever its labels say.
fn is_older<K: Resource>(object: &K, gateway: &Gateway) -> bool {
    let created = object.meta().creation_timestamp.as_ref().zip(gateway.metadata.creation_timestamp.as_ref());
    created.is_some_and(|(object, gateway)| object.0 < gateway.0)
}

/// The kind, if there is an object of the Gateway's name that we did not make for it.
fn foreign<K: Resource>(kind: &'static str, listing: &Listing<K>, gateway: &Gateway) -> Option<&'static str> {
    let (namespace, name) = key(gateway);
    let labels = listing.get(namespace, name)?.labels();
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by == US)
        && labels.get(GATEWAY_NAME).is_some_and(|gateway| gateway == name);
    (!ours).then_some(kind)
}

/// The objects, each with its live form.
pub(super) fn plan(
    view: &View,
    gateway: &Gateway,
    template: &Template,
    params: &Params,
) -> Vec<(Wanted, Option<Value>)> {
    let (namespace, name) = key(gateway);
    let metadata = metadata(gateway, &[]);
    let account = json!({"metadata": metadata, "automountServiceAccountToken": false});
    let service = json!({
        // A waypoint in front of a waypoint would be a circle.
        "metadata": self::metadata(gateway, &[("istio.io/use-waypoint", "none")]),
        "spec": {
            "type": "ClusterIP",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {GATEWAY_NAME: name},
            "ports": [
                {"name": "status-port", "port": 15_021, "targetPort": 15_021, "protocol": "TCP", "appProtocol": "tcp"},
                {"name": "mesh", "port": HBONE_PORT, "targetPort": HBONE_PORT, "protocol": "TCP", "appProtocol": "hbone"},
            ],
        },
    });
    let budget = json!({
        "metadata": metadata,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {GATEWAY_NAME: name}}},
    });
    let class = view.gateway_classes.get("", &gateway.spec.gateway_class_name);
    let deployment = deployment::body(gateway, class.map(|class| &**class), template, params);
    let namespace = Some(namespace);
    vec![
        (Wanted::object::<ServiceAccount>(namespace, name, account), live(&view.service_accounts, gateway)),
        (Wanted::object::<Service>(namespace, name, service), live(&view.services, gateway)),
        (Wanted::object::<Deployment>(namespace, name, deployment), live(&view.deployments, gateway)),
        // Not watched: taken to be as it was applied.
        (Wanted::object::<PodDisruptionBudget>(namespace, name, budget.clone()), Some(budget)),
    ]
}

fn live<K: Serialize>(listing: &Listing<K>, gateway: &Gateway) -> Option<Value> {
    let (namespace, name) = key(gateway);
    serde_json::to_value(&**listing.get(namespace, name)?).ok()
}

/// Labels, annotations and the owner of an object of the Gateway's; `more` labels win over the Gateway's own.
pub(super) fn metadata(gateway: &Gateway, more: &[(&str, &str)]) -> Value {
    let mut metadata = json!({
        "labels": labels(gateway, more),
        "ownerReferences": [{
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "name": gateway.name_any(),
            "uid": gateway.uid().unwrap_or_default(),
            "controller": true,
        }],
    });
    let annotations = annotations(gateway);
    if let (false, Value::Object(fields)) = (annotations.is_empty(), &mut metadata) {
        fields.insert("annotations".to_owned(), json!(annotations));
    }
    metadata
}

/// `infrastructure.labels`, and ours over them.
pub(super) fn labels(gateway: &Gateway, more: &[(&str, &str)]) -> Map<String, Value> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let given = infrastructure.and_then(|infrastructure| infrastructure.labels.clone()).unwrap_or_default();
    let (name, class) = (gateway.name_any(), &gateway.spec.gateway_class_name);
    let ours = [(GATEWAY_NAME, name.as_str()), (GATEWAY_CLASS_NAME, class), (MANAGED_BY, US)];
    let mut labels: Map<String, Value> = given.into_iter().map(|(key, value)| (key, value.into())).collect();
    labels.extend(ours.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).into())));
    labels
}

/// `infrastructure.annotations`
pub(super) fn annotations(gateway: &Gateway) -> BTreeMap<String, String> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    infrastructure.and_then(|infrastructure| infrastructure.annotations.clone()).unwrap_or_default()
}
