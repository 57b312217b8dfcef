"""Who and where from a stock istiod, with a Gateway made by hand and policies in a file: the data plane without our controller."""

from __future__ import annotations

import json
import time

from harness.api import condition, eventually
from harness.lab import Lab
from harness.tests import test

from .mesh import POLICY, Mesh, gateway

POD = "gateway.networking.k8s.io/gateway-name=waypoint"
HOST = "waypoint.{ns}.svc.cluster.local"
# A class of nobody's: the test says in its status what a controller would.
OBJECTS = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: {ns}}
spec:
  gatewayClassName: by-hand
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: v1
kind: Service
metadata: {name: waypoint, namespace: {ns}, labels: {istio.io/use-waypoint: none}}
spec:
  selector: {gateway.networking.k8s.io/gateway-name: waypoint}
  ports: [{name: mesh, port: 15008, appProtocol: hbone}, {name: status-port, port: 15021}]
"""


class ByHand(Mesh):
    """Policies come from a ConfigMap that the kubelet mounts."""

    def policy(self, tools: str) -> None:
        text = POLICY.replace("{ns}", self.ns).replace("{tools}", tools)
        # The Service too: what a port speaks is intent, which istiod does not know.
        service = json.dumps(self.lab.api.get("v1", "Service", self.ns, "notes"))
        documents = {"policy.yaml": text, "service.yaml": service}
        self.lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "documents", "namespace": self.ns}, "data": documents})


def by_hand(lab: Lab, captured: bool = True) -> ByHand:
    ns = lab.namespace("hand", labels={"istio.io/use-waypoint": "waypoint"})
    server = lab.tool_server(ns, captured=captured)
    lab.apply(OBJECTS, ns=ns)
    address = lab.api.get("v1", "Service", ns, "waypoint")["spec"]["clusterIP"]
    addresses = [{"type": "Hostname", "value": HOST.replace("{ns}", ns)}, {"type": "IPAddress", "value": address}]
    lab.api.patch(gateway(lab, ns), {"status": {"addresses": addresses}}, "/status")
    this = ByHand(lab, ns, address, server, lab.client(ns, "reader"))
    this.policy("get_*")
    start(lab, ns, "waypoint-1")
    lab.ready_pod(ns, "waypoint-1")
    eventually("the first call is allowed", 20, this.allowed)
    return this


def start(lab: Lab, ns: str, name: str) -> None:
    env = {"XDS_ADDRESS": "istiod.istio-system.svc:15012", "CA_ADDRESS": "istiod.istio-system.svc:15012", "GATEWAY": "waypoint", "CLUSTER_ID": "Kubernetes"}
    lab.pod(
        ns, name, "agent-waypoint", ["run", "--config", "{}", "-f", "/documents"], account="waypoint",
        labels={"gateway.networking.k8s.io/gateway-name": "waypoint", "istio.io/dataplane-mode": "none"},
        env=[{"name": key, "value": value} for key, value in env.items()],
        volumes=[{"name": "documents", "configMap": {"name": "documents"}}], mounts=[{"name": "documents", "mountPath": "/documents"}],
        probe={"httpGet": {"path": "/healthz/ready", "port": 15021}},
    )


def bound(lab: Lab, ns: str) -> bool:
    """istiod's word in the Service's status that it is sent through a waypoint."""
    said = condition(lab.api.get("v1", "Service", ns, "notes"), "istio.io/WaypointBound")
    return bool(said) and said["status"] == "True"


@test
def labelled_service_is_decided(lab: Lab) -> None:
    """A label sends the Service's calls to the waypoint, which learns of it from istiod: allowed by tool and caller only."""
    this = by_hand(lab)
    eventually("istiod says that the Service is bound", 15, lambda: bound(lab, this.ns))
    assert this.reader.session(this.waypoint, f"{this.server}:80").tools() == ["get_note"]
    assert this.refused("delete_note")
    stranger = lab.client(this.ns, "stranger")
    assert not this.opens(stranger)
    assert [one["tool"] for one in lab.seen(this.ns) if one["method"] == "tools/call"] == ["get_note"]
    # By HBONE, and as the waypoint: the server's end says who came.
    assert f"spiffe://cluster.local/ns/{this.ns}/sa/waypoint" in lab.logged(this.ns, "notes", "ztunnel")


@test
def uncaptured_server_in_plaintext(lab: Lab) -> None:
    """A pod that istiod reports without HBONE is called in plaintext, and decided on alike."""
    this = by_hand(lab, captured=False)
    assert this.refused("delete_note")


@test
def label_taken_away(lab: Lab) -> None:
    """Without the label the Service is nothing to the waypoint: no relay."""
    this = by_hand(lab)
    lab.api.patch(lab.api.get("v1", "Namespace", None, this.ns), {"metadata": {"labels": {"istio.io/use-waypoint": None}}})
    eventually("the Service is unknown", 15, lambda: this.status_of(f"{this.server}:80") == 404)


@test
def no_open_relay(lab: Lab) -> None:
    """A Service that is not behind this waypoint, a pod, the API server, loopback, the metadata address, itself: refused."""
    this = by_hand(lab)
    other = lab.namespace("other")
    elsewhere = lab.tool_server(other)
    pod = lab.api.get("v1", "Pod", other, "notes")["status"]["podIP"]
    own = lab.api.get("v1", "Pod", this.ns, "notes")["status"]["podIP"]
    for authority in (f"{elsewhere}:80", f"{pod}:8080", f"{own}:8080", "10.96.0.1:443", "127.0.0.1:15000", "169.254.169.254:80", f"{this.waypoint}:15008"):
        status = this.status_of(authority)
        assert status in (400, 404), f"{authority}: {status}"
    assert not lab.seen(other)


@test
def istiod_killed_and_back(lab: Lab) -> None:
    """Traffic goes on without istiod; what went meanwhile is gone once it is back."""
    this = by_hand(lab)
    lab.cluster.kill("istiod")
    try:
        for _ in range(10):
            assert this.allowed() and this.refused("delete_note")
            time.sleep(0.1)
        lab.api.delete(lab.api.get("v1", "Service", this.ns, "notes"))
        assert this.allowed()
    finally:
        lab.cluster.start_istiod(lab.api)
    eventually("the Service that went is unknown", 60, lambda: this.status_of(f"{this.server}:80") == 404)


@test
def waypoint_stopped_stays_announced(lab: Lab) -> None:
    """With every waypoint pod gone istiod still announces the waypoint: calls are refused, never direct."""
    this = by_hand(lab)
    eventually("istiod says that the Service is bound", 15, lambda: bound(lab, this.ns))
    for pod in lab.api.list("v1", "Pod", this.ns, labelSelector=POD):
        lab.api.delete(pod, grace=0)
    for _ in range(20):
        time.sleep(0.2)
        assert bound(lab, this.ns), "istiod no longer announces the waypoint: ztunnel would go direct"
    eventually("nobody answers", 10, lambda: this.status_of(f"{this.server}:80") == 502)


@test
def new_pod_of_the_server(lab: Lab) -> None:
    """A server's pod that comes is called, one that goes is not; no call fails meanwhile."""
    this = by_hand(lab)
    lab.api.delete(lab.api.get("v1", "Pod", this.ns, "notes"))
    eventually("the pod is gone", 20, lambda: lab.api.find("v1", "Pod", this.ns, "notes") is None)
    lab.tool_server(this.ns)
    eventually("its successor is called", 20, this.allowed)
