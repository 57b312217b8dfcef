//! The guard on an API server in memory: what is read from objects, and what is written in which order.

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::controller::apply::Applier;
use crate::controller::cluster::{Cluster, MeshConfigOf};
use crate::controller::fake::{Server, eventually};
use crate::controller::guard::*;
use crate::controller::lead::Leading;
use crate::id::TrustDomain;
use crate::telemetry::Telemetry;

const GUARD: &str = "tools/agent-waypoint-guard-2db27b3d3b";

struct Lab {
    server: Server,
    cluster: Cluster,
    telemetry: Telemetry,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn gateway(addresses: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "waypoints", "name": "waypoint"},
        "spec": {"gatewayClassName": "agent-waypoint", "listeners": [{
            "name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": {"namespaces": {"from": "All"}},
        }]},
        "status": {"addresses": addresses},
    })
}

fn namespace(labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tools", "labels": labels}})
}

fn service(annotations: &Value, bound: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "tools", "name": "repo", "annotations": annotations},
        "spec": {
            "clusterIP": "10.96.0.9", "selector": {"app": "repo"},
            "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        },
        "status": {"conditions": [{
            "type": "istio.io/WaypointBound", "status": bound, "reason": "x", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    })
}

fn pod(namespace: &str, name: &str, account: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "labels": labels,
            "annotations": {"ambient.istio.io/redirection": "enabled"},
        },
        "spec": {"serviceAccountName": account, "containers": [
            {"name": "main", "ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
        ]},
        "status": {"phase": "Running", "podIP": "10.1.0.7"},
    })
}

fn with_use_waypoint() -> Value {
    json!({"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "waypoints"})
}

impl Lab {
    fn start() -> Self {
        let server = Server::start();
        server.put("gateways", gateway(&json!([{"type": "IPAddress", "value": "10.96.0.1"}])));
        server.put("namespaces", namespace(&with_use_waypoint()));
        server.put("services", service(&json!({}), "True"));
        server.put("pods", pod("tools", "repo-1", "repo", &json!({"app": "repo"})));
        // Those that we make run as the waypoint's own account: this one somebody labelled as its pod.
        let label = json!({"gateway.networking.k8s.io/gateway-name": "waypoint"});
        server.put("pods", pod("waypoints", "waypoint-1", "somebody-elses", &label));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let cluster =
            Cluster::watch(&server.client(), ("agent-waypoint-system", MeshConfigOf::default()), &tasks, &stop);
        let telemetry = Telemetry::quiet();
        Self { server, cluster, telemetry, stop }
    }

    fn keep(&self) {
        let (publish, sent) = watch::channel(None);
        let keep = Keep {
            cluster: self.cluster.clone(),
            client: self.server.client(),
            namespace: "agent-waypoint-system".to_owned(),
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            applier: Applier::new(self.server.client(), Leading::always()),
            sent,
            telemetry: self.telemetry.clone(),
        };
        let stop = self.stop.clone();
        tokio::spawn(async move {
            keep.run(stop).await;
            drop(publish);
        });
    }

    async fn guarded(&self) -> Value {
        eventually(|| self.server.get("authorizationpolicies", GUARD).is_some()).await;
        self.server.get("authorizationpolicies", GUARD).unwrap()
    }
}

#[tokio::test]
async fn a_guard_is_written_after_the_list_of_whom_it_cuts_off() {
    let lab = Lab::start();
    lab.keep();
    let guard = lab.guarded().await;
    let rules = json!([{
        "to": [{"operation": {"ports": ["8080"]}}],
        "from": [{"source": {"notPrincipals": ["cluster.local/ns/waypoints/sa/waypoint"]}}],
    }]);
    assert_eq!(guard["spec"]["rules"], rules);
    eventually(|| {
        lab.server.get("services", "tools/repo").unwrap()["status"]["conditions"].to_string().contains("Guarded")
    })
    .await;
    let writes = lab.server.writes();
    let at = |start: &str| {
        writes.iter().position(|write| write.starts_with(start)).unwrap_or_else(|| panic!("{start}: {writes:#?}"))
    };
    let written = at(&format!("apply authorizationpolicies {GUARD} {MANAGER}"));
    assert!(at("apply configmaps tools/agent-waypoint-cut-off-repo") < written, "{writes:#?}");
    assert!(at("apply configmaps waypoints/agent-waypoint-waypoints") < written, "{writes:#?}");
    assert!(at("create events tools/repo-guard-") < written, "{writes:#?}");
    assert!(
        at("apply services/status tools/repo") > written && at("apply gateways/status waypoints/waypoint") > written
    );

    let exempt = lab.server.get("configmaps", "waypoints/agent-waypoint-waypoints").unwrap();
    assert_eq!(exempt["data"], json!({"waypoint": "waypoint"}));
    let list = lab.server.get("configmaps", "tools/agent-waypoint-cut-off-repo").unwrap();
    assert!(list["data"]["cut-off"].as_str().unwrap().contains("outside the mesh"), "{list}");
    assert_eq!(list["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert!(lab.telemetry.metrics().encode().contains("agent_waypoint_unguarded_endpoints{reason=\"pending\"} 0"));
}

#[tokio::test]
async fn it_goes_when_the_service_leaves_and_not_before() {
    let lab = Lab::start();
    lab.keep();
    lab.guarded().await;
    lab.server.put("gateways", gateway(&json!([])));
    lab.server.put("services", service(&json!({}), "False"));
    lab.server.delete("pods", "waypoints/waypoint-1");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert!(lab.server.get("authorizationpolicies", GUARD).is_some());
    lab.server.put("namespaces", namespace(&json!({"istio.io/use-waypoint": "none"})));
    eventually(|| lab.server.get("authorizationpolicies", GUARD).is_none()).await;
    assert!(lab.server.writes().contains(&format!("delete authorizationpolicies {GUARD}")));
}

#[tokio::test]
async fn a_namespace_that_takes_no_list_holds_back_no_guard_of_others() {
    let lab = Lab::start();
    // Its quota of ConfigMaps may be full, or it may be on its way out.
    let in_full = |mut object: Value, name: &str| {
        object["metadata"]["namespace"] = "full".into();
        object["metadata"]["name"] = name.into();
        object
    };
    let mut full = namespace(&with_use_waypoint());
    full["metadata"]["name"] = "full".into();
    lab.server.put("namespaces", full);
    lab.server.put("services", in_full(service(&json!({}), "True"), "repo"));
    lab.server.put("pods", in_full(pod("full", "repo-1", "repo", &json!({"app": "repo"})), "repo-1"));
    lab.server.deny("full/configmaps", 403);
    lab.keep();
    lab.guarded().await;
    let full = GUARD.replace("tools/", "full/");
    assert!(lab.server.get("authorizationpolicies", &full).is_none());
    // Nor does it keep others' from going.
    lab.server.put("namespaces", namespace(&json!({"istio.io/use-waypoint": "none"})));
    eventually(|| lab.server.get("authorizationpolicies", GUARD).is_none()).await;
    lab.server.deny("full/configmaps", 0);
    lab.server.put("namespaces", namespace(&with_use_waypoint()));
    eventually(|| lab.server.get("authorizationpolicies", &full).is_some()).await;
}

#[tokio::test]
async fn nothing_is_written_for_report_nor_before_the_view_is_whole() {
    let lab = Lab::start();
    lab.server.put("services", service(&json!({"agent-waypoint.dev/guard": "Report"}), "True"));
    lab.server.deny("serviceentries", 403);
    lab.keep();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(lab.server.writes().is_empty(), "{:?}", lab.server.writes());

    let lab = Lab::start();
    lab.server.put("services", service(&json!({"agent-waypoint.dev/guard": "Report"}), "True"));
    lab.keep();
    eventually(|| lab.server.get("configmaps", "tools/agent-waypoint-cut-off-repo").is_some()).await;
    eventually(|| lab.telemetry.metrics().encode().contains("agent_waypoint_unguarded_endpoints{reason=\"report\"} 1"))
        .await;
    assert!(lab.server.get("authorizationpolicies", GUARD).is_none());
}

#[tokio::test]
async fn all_guards_go_when_they_are_switched_off() {
    let lab = Lab::start();
    lab.keep();
    lab.guarded().await;
    let switch = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "agent-waypoint-system", "name": SWITCH}, "data": {SWITCH_KEY: OFF},
    });
    lab.server.put("configmaps", switch);
    eventually(|| lab.server.get("authorizationpolicies", GUARD).is_none()).await;
    lab.server.delete("configmaps", &format!("agent-waypoint-system/{SWITCH}"));
    lab.guarded().await;
}

#[tokio::test]
async fn a_guard_that_was_deleted_or_changed_is_there_again_at_once() {
    let lab = Lab::start();
    lab.keep();
    let good = lab.guarded().await["spec"].clone();
    lab.server.delete("authorizationpolicies", GUARD);
    lab.guarded().await;
    let mut changed = lab.guarded().await;
    changed["spec"]["rules"] = json!([]);
    lab.server.put("authorizationpolicies", changed);
    eventually(|| lab.server.get("authorizationpolicies", GUARD).is_some_and(|one| one["spec"] == good)).await;
    // What is only added makes it keep fewer out too, and no apply takes it away: it is somebody else's field.
    let mut more = lab.guarded().await;
    more["metadata"]["annotations"]["istio.io/dry-run"] = "true".into();
    more["spec"]["selector"]["matchLabels"]["nothing"] = "has this".into();
    more["spec"]["rules"][0]["from"][0]["source"]["namespaces"] = json!(["nowhere"]);
    lab.server.put("authorizationpolicies", more);
    let as_it_was = |one: Value| one["spec"] == good && one["metadata"]["annotations"]["istio.io/dry-run"].is_null();
    eventually(|| lab.server.get("authorizationpolicies", GUARD).is_some_and(as_it_was)).await;
}

#[tokio::test]
async fn a_policy_of_that_name_that_is_not_ours_stays() {
    let lab = Lab::start();
    let theirs = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"namespace": "tools", "name": GUARD.split('/').nth(1).unwrap()}, "spec": {"action": "ALLOW"},
    });
    lab.server.put("authorizationpolicies", theirs);
    lab.keep();
    let conflict =
        || lab.server.get("services", "tools/repo").unwrap()["status"]["conditions"].to_string().contains("Conflict");
    eventually(conflict).await;
    assert_eq!(lab.guarded().await["spec"], json!({"action": "ALLOW"}));
    assert!(!lab.server.writes().iter().any(|write| write.contains("authorizationpolicies")));
}

#[tokio::test]
async fn objects_are_read_as_istiod_reads_them() {
    let lab = Lab::start();
    eventually(|| is_whole(&lab.cluster.view())).await;
    let mesh = || read(&lab.cluster.view(), "agent-waypoint-system", &TrustDomain::parse("td").unwrap(), None);
    let first = mesh();
    assert_eq!(first.services[0].ports, [ServicePort { port: 80, target: TargetPort::Named("http".into()) }]);
    assert_eq!(first.services[0].waypoints, [Name::new("waypoints", "waypoint")]);
    assert!(first.services[0].bound && !first.services[0].ingress_uses_waypoint);
    let repo = first.pods.iter().find(|pod| &*pod.name == "repo-1").unwrap();
    assert_eq!(repo.ports, [ContainerPort { name: "http".into(), number: 8080 }]);
    assert_eq!(repo.capture, Capture::Captured);

    // A Gateway that does not admit the namespace is none of its waypoints; its own namespace it always admits.
    let mut closed = gateway(&json!([]));
    closed["spec"]["listeners"][0]["allowedRoutes"]["namespaces"]["from"] = "Same".into();
    lab.server.put("gateways", closed.clone());
    eventually(|| mesh().services[0].waypoints.is_empty()).await;
    closed["spec"]["listeners"][0]["allowedRoutes"]["namespaces"] =
        json!({"from": "Selector", "selector": {"matchLabels": {"istio.io/use-waypoint": "waypoint"}}});
    lab.server.put("gateways", closed);
    eventually(|| !mesh().services[0].waypoints.is_empty()).await;

    let mut changed = pod("tools", "repo-1", "repo", &json!({"app": "repo"}));
    changed["metadata"]["annotations"] =
        json!({"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "sidecar.istio.io/status": "{}"});
    lab.server.put("pods", changed);
    let look = || mesh().pods.into_iter().find(|pod| &*pod.name == "repo-1").unwrap();
    eventually(|| look().capture == Capture::Uncaptured).await;
    assert_eq!((look().scraped, look().sidecar), (Some(8080), true));

    // A Gateway with other listeners lets traffic in; its routes say to where.
    let mut ingress = gateway(&json!([]));
    (ingress["metadata"]["name"], ingress["spec"]["listeners"][0]["protocol"]) = ("in".into(), "HTTP".into());
    lab.server.put("gateways", ingress);
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"namespace": "tools", "name": "r"},
        "spec": {"parentRefs": [{"name": "in", "namespace": "waypoints"}], "rules": [{"backendRefs": [{"name": "repo", "port": 80}]}]},
    });
    lab.server.put("httproutes", route);
    eventually(|| {
        mesh()
            .ingresses
            .iter()
            .any(|one| one.services.as_ref().is_some_and(|to| to.contains(&Name::new("tools", "repo"))))
    })
    .await;
}
