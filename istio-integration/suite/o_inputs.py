"""What is wrong around a waypoint, each told with its remedy, and nothing opens; and documents that the API server must take."""

from __future__ import annotations

import time

from harness.api import Object, condition, eventually
from harness.lab import Lab
from harness.tests import test

from .a_identity import waypoint
from .i_waypoint import mesh
from .mesh import events, gateway

ROLES = "rbac.authorization.k8s.io/v1", "ClusterRole"


def said(one: Object, kind: str, status: str) -> Object | None:
    found = condition(one, f"agent-waypoint.dev/{kind}")
    return found if found and found["status"] == status else None


def events_of(lab: Lab, ns: str, reason: str, name: str) -> list[Object]:
    return [one for one in events(lab, ns, reason) if one["involvedObject"]["name"] == name]


@test
def right_taken_away_is_said_and_given_back(lab: Lab) -> None:
    """A rule goes from the controller's ClusterRole: Fed=False and an event, calls as before; and True with the rule back."""
    this = mesh(lab)
    role = next(one for one in lab.api.list(*ROLES) if one["metadata"]["name"] == "agent-waypoint-controller")
    rules = role["rules"]
    fewer = [rule for rule in rules if rule["resources"] != ["authorizationpolicies", "requestauthentications"] or "list" not in rule["verbs"]]
    assert len(fewer) == len(rules) - 1, rules
    began = time.time()
    lab.api.patch(role, {"rules": fewer})
    # A watch that runs is not asked again before it ends, within five minutes: here at once.
    lab.cluster.kill("kube-apiserver")
    lab.cluster.start_apiserver()
    try:
        told = eventually("the Gateway says Fed=False", 60, lambda: said(gateway(lab, this.ns), "Fed", "False"))
        assert told["reason"] == "NotPermitted" and "AuthorizationPolicy" in told["message"] and "ClusterRole" in told["message"], told
        eventually("an event says it", 10, lambda: events_of(lab, this.ns, "NotPermitted", "waypoint"))
        for _ in range(5):
            assert this.allowed() and this.refused("delete_note")
    finally:
        lab.api.patch(role, {"rules": rules})
    eventually("the Gateway says Fed=True", 60, lambda: said(gateway(lab, this.ns), "Fed", "True"))
    lab.without_rights.append((began, time.time()))
    this.policy("search_*")
    eventually("an edit is in force again", 20, this.refused)


@test
def service_entry_says_what_of_it_gets_no_calls(lab: Lab) -> None:
    """An endpoint that is another namespace's pod, a wildcard host: Served=False with the remedy, and an event."""
    this = mesh(lab)
    other = lab.namespace("other")
    lab.tool_server(other, captured=False)
    pod = lab.ready_pod(other, "notes")
    lab.apply("""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: claims, namespace: {ns}}
spec:
  hosts: [claims.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: [{address: {ip}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: {ns}}
spec:
  hosts: ["*.example.com"]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP}]
""", ns=this.ns, ip=pod["status"]["podIP"])
    for name, reason, word in (("claims", "AddressOfOthers", f"pod {other}/notes"), ("wild", "NotSupported", "name each host")):
        def entry(name: str = name) -> Object:
            return lab.api.get("networking.istio.io/v1", "ServiceEntry", this.ns, name)

        told = eventually(f"{name} says Served=False", 20, lambda: said(entry(), "Served", "False"))
        assert told["reason"] == reason and word in told["message"], told
        eventually("an event says it", 10, lambda name=name, reason=reason: events_of(lab, this.ns, reason, name))
    assert this.allowed()


@test
def claims_keep_no_calls_from_a_pod(lab: Lab) -> None:
    """A tenant's WorkloadEntry and a ServiceEntry with a Service's host name claim a pod's and a Service's address: calls go on."""
    this = mesh(lab)
    ip = lab.ready_pod(this.ns, "notes")["status"]["podIP"]
    tenant = lab.namespace("tenant")
    lab.apply("""\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: claim, namespace: {ns}}
spec: {address: {ip}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: claim, namespace: {ns}}
spec:
  hosts: [claim.{ns}.svc.cluster.local]
  addresses: [{vip}, {ip}]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: {ip}}]
""", ns=tenant, ip=ip, vip=this.server)
    # A document of our own that comes after: by then the claims were told.
    this.policy("search_*")
    eventually("the edit is in force", 20, this.refused)
    this.policy("get_*")
    eventually("calls are allowed", 20, this.allowed)


@test
def network_policies_are_taken(lab: Lab) -> None:
    """The NetworkPolicies of manifests/network are what the API server stores, unchanged in meaning."""
    documents = lab.parse((lab.root / "manifests/network/policies.yaml").read_text())
    for one in documents:
        namespace = one["metadata"]["namespace"]
        if lab.api.find("v1", "Namespace", None, namespace) is None:
            lab.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        stored = lab.api.apply(one)
        try:
            assert stored["spec"]["policyTypes"] == one["spec"]["policyTypes"], stored
            assert stored["spec"]["ingress"] == one["spec"]["ingress"] and stored["spec"].get("egress") == one["spec"].get("egress"), stored
        finally:
            lab.api.delete(stored)
    assert len(documents) == 3


@test
def wrong_cluster_id_is_told(lab: Lab) -> None:
    """istiod takes the token of another cluster for nobody's: the pod stays unready and says what to check."""
    namespace = lab.namespace()
    waypoint(lab, namespace, env=[{"name": "CLUSTER_ID", "value": "elsewhere"}])
    eventually("the log names the remedy", 20, lambda: "the cluster id" in lab.logged(namespace, "files"))
    assert not lab.api.get("v1", "Pod", namespace, "files")["status"]["containerStatuses"][0]["ready"]


@test
def wrong_root_is_told(lab: Lab) -> None:
    """istiod's certificate is not of the root that is given: no token is sent, and the log says what to check."""
    namespace = lab.namespace()
    root = lab.api.get("v1", "ConfigMap", namespace, "kube-root-ca.crt")["data"]["ca.crt"]
    waypoint(lab, namespace, env=[{"name": "CA_ROOT_CA", "value": "/documents/root.pem"}], **{"root.pem": root})
    eventually("the log names the remedy", 20, lambda: "of the roots in --ca-root-ca" in lab.logged(namespace, "files"))
    assert not lab.api.get("v1", "Pod", namespace, "files")["status"]["containerStatuses"][0]["ready"]


@test
def no_istiod_is_told(lab: Lab) -> None:
    """Nobody listens where istiod should be: the pod stays unready and says what to check; nothing crashes."""
    namespace = lab.namespace()
    waypoint(lab, namespace, env=[{"name": "CA_ADDRESS", "value": "127.0.0.1:15012"}])
    eventually("the log names the remedy", 20, lambda: "check that istiod runs there" in lab.logged(namespace, "files"))
    status = lab.api.get("v1", "Pod", namespace, "files")["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0 and not status["ready"], status
