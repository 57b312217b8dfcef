//! The mirror against an API server in memory.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::fake::{self, Server};
use super::*;

fn service(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "tools", "managedFields": [{"manager": "kubectl"}]}})
}

#[tokio::test]
async fn objects_come_change_and_go() {
    let server = Server::start();
    server.put("services", service("a"));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cluster = Cluster::watch(&server.client(), ("system", MeshConfigOf::default()), &tasks, &stop);
    fake::eventually(|| cluster.view().is_whole()).await;
    let before = cluster.view();
    assert_eq!(before.services.len(), 1);
    assert!(before.services.get("tools", "a").unwrap().managed_fields().is_empty());
    server.put("services", service("b"));
    fake::eventually(|| cluster.view().services.len() == 2).await;
    assert_eq!(before.services.len(), 1, "a view never changes");
    server.delete("services", "tools/a");
    fake::eventually(|| cluster.view().services.get("tools", "a").is_none()).await;
    let policy = json!({"apiVersion": "agent-waypoint.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": "p", "namespace": "tools"}, "spec": {"targetRefs": []}});
    server.put("agentpolicies", policy);
    fake::eventually(|| !cluster.view().documents(DocumentKind::AgentPolicy).is_empty()).await;
    let map = json!({"metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "trustDomainAliases: [old]", "meshNetworks": "large"}});
    server.put("configmaps", map);
    fake::eventually(|| !cluster.view().mesh_config.is_empty()).await;
    let view = cluster.view();
    let mesh = view.mesh_config.get("istio-system", "istio").unwrap();
    assert_eq!(mesh.data.as_ref().unwrap().keys().collect::<Vec<_>>(), ["mesh"]);
    let documents = cluster.view().documents(DocumentKind::AgentPolicy);
    assert_eq!(documents.get("tools", "p").unwrap().data["spec"], json!({"targetRefs": []}));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_kind_that_is_not_served_has_no_objects_and_one_that_may_not_be_read_is_not_known() {
    let server = Server::start();
    server.deny("tcproutes", 404);
    server.deny("authorizationpolicies", 403);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cluster = Cluster::watch(&server.client(), ("system", MeshConfigOf::default()), &tasks, &stop);
    fake::eventually(|| cluster.view().unknown().len() == 1).await;
    let view = cluster.view();
    assert_eq!(view.standing("TCPRoute"), Standing::Absent);
    assert_eq!(view.unknown(), [("AuthorizationPolicy", &Standing::Refused("forbidden".to_owned()))]);
    assert!(!view.is_whole());
    // Both are asked for again.
    server.deny("tcproutes", 0);
    server.deny("authorizationpolicies", 0);
    fake::eventually(|| cluster.view().is_whole()).await;
    fake::eventually(|| cluster.view().standing("TCPRoute") == Standing::Listed).await;
    // What was listed stays through an outage.
    server.deny("services", 404);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(cluster.view().standing("Service"), Standing::Listed);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_mesh_config_that_may_not_be_read_is_not_one_without_aliases() {
    let server = Server::start();
    server.deny("configmaps", 403);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cluster = Cluster::watch(&server.client(), ("system", MeshConfigOf::default()), &tasks, &stop);
    let refused = Standing::Refused("forbidden".to_owned());
    fake::eventually(|| cluster.view().standing("meshConfig") == refused).await;
    assert!(!cluster.view().is_whole(), "nothing is fed");
    let mesh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "istio-system", "name": "istio"}, "data": {"mesh": "trustDomainAliases: [old]"}});
    server.put("configmaps", mesh);
    server.deny("configmaps", 0);
    fake::eventually(|| !cluster.view().mesh_config.is_empty()).await;
    // What was read stays.
    server.deny("configmaps", 403);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(cluster.view().standing("meshConfig"), Standing::Listed);
    assert!(!cluster.view().mesh_config.is_empty());
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Two replicas, one of which hears nothing more: a state is older where it differs, however both came to know it.
#[tokio::test]
async fn two_replicas_know_which_of_them_is_behind() {
    let server = Server::start();
    for name in ["a", "b"] {
        server.put("services", service(name));
    }
    let tasks = TaskTracker::new();
    let (stop_one, stop_other) = (CancellationToken::new(), CancellationToken::new());
    let watched =
        |stop: &CancellationToken| Cluster::watch(&server.client(), ("system", MeshConfigOf::default()), &tasks, stop);
    let one = watched(&stop_one);
    fake::eventually(|| one.view().is_whole()).await;
    server.delete("services", "tools/b");
    fake::eventually(|| one.view().services.len() == 1).await;
    // A list, in which nothing says what went before it.
    let other = watched(&stop_other);
    fake::eventually(|| other.view().is_whole()).await;
    let is_older = |one: &Cluster, other: &Cluster| {
        let held = other.view().order();
        !one.view().order().older_than(&held).is_empty()
    };
    assert!(!is_older(&one, &other) && !is_older(&other, &one), "nothing has changed between the two");
    stop_one.cancel();
    // A bookmark, which is asked for, or any object says how far it is; what went is seen all the same.
    server.delete("services", "tools/a");
    fake::eventually(|| other.view().services.is_empty()).await;
    assert!(is_older(&one, &other) && !is_older(&other, &one));
    let third = watched(&stop_other);
    fake::eventually(|| third.view().is_whole()).await;
    assert!(is_older(&one, &third) && !is_older(&third, &other) && !is_older(&other, &third));
    stop_other.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_revisions_mesh_config_is_that_of_the_istiod_that_is_named() {
    let server = Server::start();
    let istiod = json!({"metadata": {"name": "istiod-new", "namespace": "istio-system", "labels": {"app": "istiod", "istio.io/rev": "new"}}});
    server.put("services", istiod);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let watch =
        |address: &str| Cluster::watch(&server.client(), ("system", MeshConfigOf::istiod(address)), &tasks, &stop);
    let nobodys = watch("istiod.istio-system.svc:15012");
    let of_new = watch("istiod-new.istio-system.svc:15012");
    let refused = |cluster: &Cluster| format!("{:?}", cluster.view().standing("meshConfig"));
    fake::eventually(|| refused(&nobodys).contains("of other revisions (new)")).await;
    fake::eventually(|| refused(&of_new).contains("no ConfigMap istio-system/istio-new")).await;
    assert!(!nobodys.view().is_whole() && !of_new.view().is_whole(), "nothing is fed");
    let map = json!({"metadata": {"name": "istio-new", "namespace": "istio-system"}, "data": {"mesh": "rootNamespace: root"}});
    server.put("configmaps", map);
    fake::eventually(|| of_new.view().is_whole()).await;
    assert_eq!(of_new.view().root_namespace(), "root");
    assert!(!nobodys.view().is_whole(), "it is still to be said whose it is");
    // Without a revision there may be none: waypoints are strict then.
    server.delete("services", "istio-system/istiod-new");
    fake::eventually(|| nobodys.view().is_whole()).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
