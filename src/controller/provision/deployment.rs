use gateway_api::apis::standard::gatewayclasses::GatewayClass;
use gateway_api::apis::standard::gateways::Gateway;
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::objects::{GATEWAY_NAME, annotations, labels, metadata};
use super::{Params, Template};

/// Uid and gid of the container: any that is not root would do; Istio's templates use this one.
const USER: i64 = 1_337;
/// Time of a pod to end: the drain of `run` and some seconds.
const GRACE_SECONDS: u64 = 60;
const DEFAULT_REPLICAS: u16 = 2;
/// Where a waypoint keeps what its next container should know.
const STATE: &str = "/var/lib/agent-waypoint";

/// Whoever installs us may say it for all; else it is for who writes a Gateway's parameters.
const JWKS_HOSTS: &str = "AGENT_WAYPOINT_JWKS_HOSTS";
/// Whether servers are told who calls.
const TELLS_CALLER: &str = "AGENT_WAYPOINT_XFCC_INCLUDE_CLIENT_IDENTITY";
/// The same on a Gateway or its class, as Istio has it: `true`.
const TELLS_CALLER_BY: &str = "ambient.istio.io/xfcc-include-client-identity";

/// Variables that a user of parameters may not set.
const OURS: [&str; 17] = [
    "POD_NAME",
    "POD_NAMESPACE",
    "NAMESPACE",
    "INSTANCE_IP",
    "SERVICE_ACCOUNT",
    "GATEWAY",
    "CLUSTER_ID",
    "TRUST_DOMAIN",
    "XDS_ADDRESS",
    "CA_ADDRESS",
    "AGENT_WAYPOINT_FEED",
    "AGENT_WAYPOINT_CONTROLLER_ID",
    "AGENT_WAYPOINT_TRUST_DOMAIN",
    "AGENT_WAYPOINT_FILE",
    "AGENT_WAYPOINT_STATE_DIR",
    "AGENT_WAYPOINT_DEV",
    TELLS_CALLER,
];

/// The Deployment of a waypoint: two pods that replace each other one by one and never all at once.
pub(super) fn body(gateway: &Gateway, class: Option<&GatewayClass>, template: &Template, params: &Params) -> Value {
    json!({
        "metadata": metadata(gateway, &[]),
        "spec": {
            "replicas": params.replicas.unwrap_or(DEFAULT_REPLICAS),
            "selector": {"matchLabels": {GATEWAY_NAME: gateway.name_any()}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": pod_metadata(gateway),
                "spec": pod(gateway, class, template, params),
            },
        },
    })
}

fn pod_metadata(gateway: &Gateway) -> Value {
    // Its own traffic is not captured: it takes HBONE by itself, and dials by itself.
    let labels = labels(gateway, &[("istio.io/dataplane-mode", "none"), ("sidecar.istio.io/inject", "false")]);
    let mut annotations = annotations(gateway);
    for (key, value) in [("scrape", "true"), ("port", "15020"), ("path", "/stats/prometheus")] {
        annotations.entry(format!("prometheus.io/{key}")).or_insert_with(|| value.to_owned());
    }
    json!({"labels": labels, "annotations": annotations})
}

fn pod(gateway: &Gateway, class: Option<&GatewayClass>, template: &Template, params: &Params) -> Value {
    let mut pod = json!({
        "serviceAccountName": gateway.name_any(),
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": spread(gateway, params),
        "containers": [container(gateway, class, template, params)],
        "volumes": [
            {"name": "istio-token", "projected": {"sources": [
                {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43_200, "path": "istio-token"}},
            ]}},
            {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
            // It outlives the container, not the pod: a new pod is told by the other ones.
            {"name": "state", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    });
    let given = [
        ("nodeSelector", params.node_selector.as_ref().map(|given| json!(given))),
        ("tolerations", params.tolerations.as_ref().map(|given| json!(given))),
        ("affinity", params.affinity.clone()),
        ("priorityClassName", params.priority_class_name.as_ref().map(|given| json!(given))),
        ("imagePullSecrets", params.image_pull_secrets.as_ref().map(|given| json!(given))),
    ];
    if let Value::Object(fields) = &mut pod {
        fields.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    pod
}

/// Not all pods on one node or in one zone, where there are several.
fn spread(gateway: &Gateway, params: &Params) -> Vec<Value> {
    if let Some(given) = &params.topology_spread_constraints {
        return given.clone();
    }
    let over = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {GATEWAY_NAME: gateway.name_any()}},
        })
    };
    vec![over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")]
}

fn container(gateway: &Gateway, class: Option<&GatewayClass>, template: &Template, params: &Params) -> Value {
    let resources = params.resources.clone().unwrap_or_else(|| json!({"requests": {"cpu": "100m", "memory": "128Mi"}}));
    let probe = |path: &str, period: u16, failures: u16| {
        let get = json!({"path": path, "port": 15_021, "scheme": "HTTP"});
        json!({"httpGet": get, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": 2})
    };
    json!({
        "name": "waypoint",
        "image": template.image,
        "args": ["run", "--config", "{}"],
        "env": environment(gateway, class, template, params),
        "ports": [
            {"name": "mesh", "containerPort": 15_008, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 15_020, "protocol": "TCP"},
            {"name": "status-port", "containerPort": 15_021, "protocol": "TCP"},
        ],
        "resources": resources,
        "readinessProbe": probe("/healthz/ready", 2, 3),
        "livenessProbe": probe("/healthz/live", 10, 6),
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": true,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio", "readOnly": true},
            {"name": "state", "mountPath": STATE},
        ],
    })
}

/// Whether the Gateway says that servers are told who calls, or its class where the Gateway says nothing.
fn tells_caller(gateway: &Gateway, class: Option<&GatewayClass>) -> bool {
    let of_class = || class.and_then(|class| class.annotations().get(TELLS_CALLER_BY));
    gateway.annotations().get(TELLS_CALLER_BY).or_else(of_class).is_some_and(|said| said == "true")
}

/// The variables that istiod's own templates set, and the feed.
fn environment(gateway: &Gateway, class: Option<&GatewayClass>, template: &Template, params: &Params) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let name = gateway.name_any();
    let values = [
        ("GATEWAY", name.as_str()),
        ("CLUSTER_ID", &template.cluster_id),
        ("TRUST_DOMAIN", &template.trust_domain),
        ("AGENT_WAYPOINT_TRUST_DOMAIN", &template.trust_domain),
        ("XDS_ADDRESS", &template.istiod),
        ("CA_ADDRESS", &template.istiod),
        ("AGENT_WAYPOINT_FEED", &template.feed),
        ("AGENT_WAYPOINT_CONTROLLER_ID", template.controller.uri()),
        ("AGENT_WAYPOINT_STATE_DIR", STATE),
    ];
    let mut env = vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    ];
    env.extend(values.iter().map(|(name, value)| variable(name, value)));
    env.extend(tells_caller(gateway, class).then(|| variable(TELLS_CALLER, "true")));
    let hosts = !template.jwks_hosts.is_empty();
    if hosts {
        env.push(variable(JWKS_HOSTS, &template.jwks_hosts.join(",")));
    }
    let ours = |name: &str| OURS.contains(&name) || (hosts && name == JWKS_HOSTS);
    let given = params.env.iter().filter(|(name, _)| !ours(name));
    env.extend(given.map(|(name, value)| variable(name, value)));
    env
}

fn variable(name: &str, value: &str) -> Value {
    let mut variable = Map::new();
    variable.insert("name".to_owned(), name.into());
    variable.insert("value".to_owned(), value.into());
    Value::Object(variable)
}
