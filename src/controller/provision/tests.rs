//! Objects in, objects out.

use serde_json::json;
use tokio_util::task::TaskTracker;

use super::super::apply::{Part, holds};
use super::super::cluster::MeshConfigOf;
use super::super::fake::{Server, eventually};
use super::super::fixture::view;
use super::super::lead::Leading;
use super::*;

const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: infra, generation: 3}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
";
const OBJECTS: &str = "
---
apiVersion: v1
kind: Service
metadata:
  name: wp
  namespace: infra
  labels: {app.kubernetes.io/managed-by: agent-waypoint, gateway.networking.k8s.io/gateway-name: wp}
spec: {clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7, 'fd00::7']}
---
apiVersion: v1
kind: Pod
metadata: {name: wp-1, namespace: infra, labels: {gateway.networking.k8s.io/gateway-name: wp}}
status: {conditions: [{type: Ready, status: 'True'}]}
";

fn template() -> Template {
    Template {
        image: "registry/agent-waypoint:1".to_owned(),
        istiod: "istiod.istio-system.svc:15012".to_owned(),
        feed: "agent-waypoint.agent-waypoint-system.svc:15018".to_owned(),
        controller: WorkloadId::parse("spiffe://td/ns/agent-waypoint-system/sa/agent-waypoint").unwrap(),
        trust_domain: "td".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        jwks_hosts: Vec::new(),
    }
}

fn planned(yaml: &str) -> Vec<Wanted> {
    planned_with(yaml, &AllParams::new())
}

fn planned_with(yaml: &str, params: &AllParams) -> Vec<Wanted> {
    let wanted = plan(&view(yaml), &template(), params, "2026-11-25T00:00:00Z");
    wanted.into_iter().map(|(wanted, _)| wanted).filter(|wanted| wanted.resource.kind != "GatewayClass").collect()
}

fn find(wanted: &[Wanted], kind: &str) -> Value {
    let found = wanted.iter().find(|wanted| wanted.resource.kind == kind && wanted.part == Part::Object);
    found.unwrap_or_else(|| panic!("no {kind}")).body.clone()
}

fn status(wanted: &[Wanted]) -> Value {
    let found = wanted.iter().find(|wanted| wanted.resource.kind == "Gateway").unwrap();
    assert_eq!((found.part, found.namespace.as_deref(), found.name.as_str()), (Part::Status, Some("infra"), "wp"));
    found.body["status"].clone()
}

fn condition(status: &Value, kind: &str) -> (String, String, String) {
    let all = status["conditions"].as_array().unwrap();
    let one = all.iter().find(|one| one["type"] == kind).unwrap();
    let text = |field: &str| one[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[test]
fn a_gateway_gets_everything_that_a_waypoint_is() {
    let wanted = planned(GATEWAY);
    let kinds: Vec<&str> = wanted.iter().map(|wanted| wanted.resource.kind.as_str()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Service", "Deployment", "PodDisruptionBudget", "Gateway"]);
    let owner = json!([{"kind": "Gateway", "name": "wp", "uid": "uid-wp", "controller": true}]);
    for wanted in wanted.iter().filter(|wanted| wanted.part == Part::Object) {
        assert!(holds(&wanted.body["metadata"]["ownerReferences"], &owner), "{}", wanted.title());
        assert_eq!((wanted.namespace.as_deref(), wanted.name.as_str()), (Some("infra"), "wp"));
    }
    let service = find(&wanted, "Service");
    assert_eq!(service["metadata"]["labels"]["istio.io/use-waypoint"], "none");
    let ports: Vec<i64> =
        service["spec"]["ports"].as_array().unwrap().iter().map(|port| port["port"].as_i64().unwrap()).collect();
    assert_eq!(ports, [15_021, 15_008]);
    let deployment = find(&wanted, "Deployment");
    let expected = json!({"spec": {
        "replicas": 2,
        "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        "selector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "wp"}},
        "template": {
            "metadata": {"labels": {
                "gateway.networking.k8s.io/gateway-name": "wp",
                "gateway.networking.k8s.io/gateway-class-name": "agent-waypoint",
                "istio.io/dataplane-mode": "none",
            }},
            "spec": {"serviceAccountName": "wp", "terminationGracePeriodSeconds": 60, "automountServiceAccountToken": false},
        },
    }});
    assert!(holds(&deployment, &expected), "{deployment:#}");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["run", "--config", "{}"]));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let env = |name: &str| {
        let env = container["env"].as_array().unwrap();
        env.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    };
    assert_eq!(env("CA_ADDRESS"), "istiod.istio-system.svc:15012");
    assert_eq!(env("AGENT_WAYPOINT_FEED"), "agent-waypoint.agent-waypoint-system.svc:15018");
    assert_eq!(env("AGENT_WAYPOINT_CONTROLLER_ID"), "spiffe://td/ns/agent-waypoint-system/sa/agent-waypoint");
}

#[test]
fn a_service_account_of_before_the_gateway_is_nobodys_to_trust() {
    let account = |created: &str| {
        format!(
            "\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: wp, namespace: infra, creationTimestamp: '{created}', labels: {{app.kubernetes.io/managed-by: agent-waypoint, gateway.networking.k8s.io/gateway-name: wp}}}}"
        )
    };
    let gateway = GATEWAY.replace("generation: 3", "generation: 3, creationTimestamp: '2026-11-25T10:00:00Z'");
    for (created, accepted) in [("2026-11-25T09:59:59Z", "False"), ("2026-11-25T10:00:00Z", "True")] {
        let wanted = planned(&format!("{gateway}{}", account(created)));
        let (said, reason, message) = condition(&status(&wanted), "Accepted");
        assert_eq!(said, accepted, "{reason}: {message}");
        assert_eq!(message.contains("from before the Gateway"), accepted == "False", "{message}");
        assert_eq!(wanted.iter().any(|wanted| wanted.part == Part::Object), accepted == "True");
    }
}

#[test]
fn other_classes_are_left_alone_and_ours_is_by_its_controllers_name() {
    let of_class = |class: &str| GATEWAY.replace("agent-waypoint,", &format!("{class},"));
    assert!(planned(&of_class("istio-waypoint")).is_empty());
    let class = |controller: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: fast}}\nspec: {{controllerName: {controller}}}\n---\n"
        )
    };
    assert!(planned(&format!("{}{}", class("example.com/x"), of_class("fast"))).is_empty());
    assert_eq!(planned(&format!("{}{}", class(CONTROLLER_NAME), of_class("fast"))).len(), 5);
}

#[test]
fn wrong_gateways_get_a_reason_and_no_objects() {
    let long = "x".repeat(64);
    let rows: [(String, &str, &str); 5] = [
        (GATEWAY.replace("15008", "80"), "ListenersNotValid", "port: 15008"),
        (GATEWAY.replace("HBONE", "HTTP"), "ListenersNotValid", "protocol: HBONE"),
        (GATEWAY.replace("name: wp", &format!("name: {long}")), "Invalid", "name"),
        (
            format!("{GATEWAY}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: wp, namespace: infra}}"),
            "Invalid",
            "ServiceAccount",
        ),
        (
            format!(
                "{GATEWAY}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: wp, namespace: infra, labels: {{app: x}}}}"
            ),
            "Invalid",
            "Deployment",
        ),
    ];
    for (yaml, reason, part) in rows {
        let wanted = planned(&yaml);
        assert_eq!(wanted.len(), 1, "{yaml}");
        let (holds, found, message) = condition(&wanted[0].body["status"], "Accepted");
        assert_eq!((holds.as_str(), found.as_str()), ("False", reason), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_wrong_listener_beside_a_right_one_is_told_by_itself() {
    let wanted =
        planned(&GATEWAY.replace("protocol: HBONE}", "protocol: HBONE}, {name: web, port: 80, protocol: HTTP}"));
    let status = status(&wanted);
    assert_eq!(condition(&status, "Accepted").0, "True");
    assert_eq!(condition(&status["listeners"][0], "Accepted").0, "True");
    assert_eq!(condition(&status["listeners"][1], "Accepted").1, "UnsupportedProtocol");
    assert_eq!(condition(&status["listeners"][1], "Programmed").0, "False");
}

#[test]
fn addresses_come_with_the_first_ready_pod_and_stay() {
    let none = status(&planned(&format!("{GATEWAY}{}", OBJECTS.replace("'True'", "'False'"))));
    assert!(none.get("addresses").is_none());
    assert_eq!(condition(&none, "Programmed").1, "AddressNotAssigned");
    let ready = status(&planned(&format!("{GATEWAY}{OBJECTS}")));
    let addresses = json!([
        {"type": "Hostname", "value": "wp.infra.svc.cluster.local"},
        {"type": "IPAddress", "value": "10.0.0.7"},
        {"type": "IPAddress", "value": "fd00::7"},
    ]);
    assert_eq!(ready["addresses"], addresses);
    assert_eq!(condition(&ready, "Programmed").0, "True");
    // From now on they stay: without pods, without Service, with a listener that was broken since.
    let announced = format!("{GATEWAY}status: {}\n", json!({"addresses": addresses}));
    for yaml in [
        format!("{announced}{}", OBJECTS.replace("'True'", "'False'")),
        announced.clone(),
        announced.replace("15008", "80"),
    ] {
        let status = status(&planned(&yaml));
        assert_eq!(status["addresses"], addresses, "{yaml}");
        assert_eq!(condition(&status, "Programmed").0, "False");
    }
    let gone = status(&planned(&format!("{announced}{}", OBJECTS.replace("'True'", "'False'"))));
    assert_eq!(condition(&gone, "Programmed").1, "NoResources");
}

#[test]
fn infrastructure_labels_go_everywhere_and_ours_win() {
    let wanted = planned(&GATEWAY.replace(
        "spec: {",
        "spec: {infrastructure: {labels: {team: a, istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp}, annotations: {note: x}}, ",
    ));
    let deployment = find(&wanted, "Deployment");
    assert_eq!(deployment["metadata"]["labels"]["team"], "a");
    assert_eq!(deployment["metadata"]["annotations"]["note"], "x");
    let pod = &deployment["spec"]["template"]["metadata"];
    assert_eq!((&pod["labels"]["team"], &pod["labels"]["istio.io/dataplane-mode"]), (&json!("a"), &json!("none")));
    assert_eq!(pod["annotations"]["note"], "x");
    assert_eq!(find(&wanted, "Service")["metadata"]["labels"]["istio.io/use-waypoint"], "none");
}

#[test]
fn parameters_shape_the_pods_and_wrong_ones_are_told() {
    let key = ("infra".to_owned(), "wp".to_owned());
    let text = "replicas: 5\nnodeSelector: {disk: fast}\nenv: {RUST_LOG: debug, CA_ADDRESS: evil}";
    let params = AllParams::from([(key.clone(), Params::parse("m", text))]);
    let deployment = find(&planned_with(GATEWAY, &params), "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 5);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["disk"], "fast");
    let env = pod["containers"][0]["env"].to_string();
    assert!(env.contains("RUST_LOG") && !env.contains("evil"), "{env}");
    let params = AllParams::from([(key, Params::parse("m", "replicas: many"))]);
    let wanted = planned_with(GATEWAY, &params);
    assert_eq!(wanted.len(), 1);
    assert_eq!(condition(&status(&wanted), "Accepted").1, "InvalidParameters");
}

#[test]
fn hosts_of_keys_are_the_installers_to_name_or_else_the_gateways() {
    let own = "env: {AGENT_WAYPOINT_JWKS_HOSTS: own.example}";
    let params = AllParams::from([(("infra".to_owned(), "wp".to_owned()), Params::parse("m", own))]);
    let hosts = |template: &Template| {
        let wanted = plan(&view(GATEWAY), template, &params, "now");
        let wanted: Vec<Wanted> = wanted.into_iter().map(|(wanted, _)| wanted).collect();
        let env = find(&wanted, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let env = env.as_array().unwrap().iter().filter(|one| one["name"] == "AGENT_WAYPOINT_JWKS_HOSTS");
        env.map(|one| one["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&template()), ["own.example"]);
    let named = ["idp.example".to_owned(), "idp.corp=10.0.0.0/8".to_owned()];
    assert_eq!(hosts(&Template { jwks_hosts: named.into(), ..template() }), ["idp.example,idp.corp=10.0.0.0/8"]);
}

#[test]
fn servers_are_told_who_calls_where_the_gateway_or_its_class_says_so_and_nowhere_else() {
    let class = |said: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: agent-waypoint{said}}}\nspec: {{controllerName: {CONTROLLER_NAME}}}\n---\n"
        )
    };
    let said = |word: &str| format!(", annotations: {{ambient.istio.io/xfcc-include-client-identity: '{word}'}}");
    let gateway = |word: &str| GATEWAY.replace("metadata: {name: wp", &format!("metadata: {{name: wp{}", said(word)));
    let rows = [
        (GATEWAY.to_owned(), false),
        (gateway("true"), true),
        (gateway("false"), false),
        (gateway("True"), false),
        (format!("{}{GATEWAY}", class(&said("true"))), true),
        (format!("{}{}", class(&said("true")), gateway("false")), false),
    ];
    // A parameter does not say it.
    let params = Params::parse("m", "env: {AGENT_WAYPOINT_XFCC_INCLUDE_CLIENT_IDENTITY: 'true'}");
    let params = AllParams::from([(("infra".to_owned(), "wp".to_owned()), params)]);
    for (yaml, told) in rows {
        let deployment = find(&planned_with(&yaml, &params), "Deployment");
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
        assert_eq!(env.contains("XFCC_INCLUDE_CLIENT_IDENTITY"), told, "{yaml}");
    }
}

#[test]
fn the_class_is_made_and_accepted() {
    let planned = |yaml: &str| plan(&view(yaml), &template(), &AllParams::new(), "now");
    let made = planned("");
    assert_eq!(made[0].0.title(), "GatewayClass agent-waypoint");
    assert_eq!(made[0].0.body["spec"]["controllerName"], CONTROLLER_NAME);
    let there = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: agent-waypoint}}\nspec: {{controllerName: {CONTROLLER_NAME}}}"
    );
    let accepted = planned(&there);
    assert_eq!((accepted.len(), accepted[0].0.part), (1, Part::Status));
}

#[tokio::test]
async fn an_account_is_made_after_admission_policies_know_whose_it_is() {
    let server = Server::start();
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"namespace": "infra", "name": "wp"},
        "spec": {"gatewayClassName": "agent-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]},
    });
    server.put("gateways", gateway);
    let told = |accounts: Value| {
        let metadata = json!({"namespace": "infra", "name": WAYPOINTS});
        server.put(
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": accounts}),
        );
    };
    told(json!({"other": "other"}));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let cluster = Cluster::watch(&server.client(), ("system", MeshConfigOf::default()), &tasks, &stop);
    let applier = Applier::new(server.client(), Leading::always());
    tokio::spawn(keep(cluster, server.client(), template(), applier, stop.clone()));
    // Nothing that could run as it, and no account to ask for a token of.
    eventually(|| server.writes().iter().any(|write| write.starts_with("apply gateways/status infra/wp"))).await;
    tokio::time::sleep(2 * accounts::LOOK).await;
    let made = || server.writes().into_iter().filter(|write| write.contains(" infra/wp") && !write.contains("/status"));
    assert_eq!(made().collect::<Vec<_>>(), [""; 0]);
    told(json!({"other": "other", "wp": "wp"}));
    eventually(|| made().any(|write| write.starts_with("apply deployments"))).await;
    let first = made().next().unwrap();
    assert!(first.starts_with("apply serviceaccounts infra/wp"), "{first}");
    stop.cancel();
}
