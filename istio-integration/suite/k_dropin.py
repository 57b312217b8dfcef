"""Under istiod's own class: its Deployment, its files and probes, our binary by annotation."""

from __future__ import annotations

from harness.api import eventually
from harness.lab import Lab
from harness.tests import test

from .i_waypoint import scale
from .mesh import GATEWAY, POLICY, Mesh, gateway

CLASS = "istio-agentgateway-waypoint"
POD = "gateway.networking.k8s.io/gateway-name=waypoint"


# With a slash: else istiod takes the annotation for a variant of its own image.
def dropped_in(lab: Lab) -> Mesh:
    ns = lab.namespace("dropin", labels={"istio.io/use-waypoint": "waypoint"})
    server = lab.tool_server(ns)
    annotated = GATEWAY.replace("namespace: {ns}}", "namespace: {ns}, annotations: {gateway.istio.io/agentgatewayImage: \"registry.example/agent-waypoint:0.1.0\"}}")
    lab.apply(annotated, **{"ns": ns, "class": CLASS})
    lab.apply(POLICY, ns=ns, tools="get_*")
    lab.pods_ready(ns, POD, 1, 60)
    eventually("istiod has programmed the Gateway", 20, lambda: gateway(lab, ns).get("status", {}).get("addresses"))
    return Mesh(lab, ns, lab.api.get("v1", "Service", ns, "waypoint")["spec"]["clusterIP"], server, lab.client(ns, "reader"))


@test
def decides_with_our_controller(lab: Lab) -> None:
    """istiod's template runs our image unchanged; the controller's documents are in force."""
    this = dropped_in(lab)
    eventually("a call is allowed", 20, this.allowed)
    assert this.refused("delete_note")
    pod = lab.api.list("v1", "Pod", this.ns, labelSelector=POD)[0]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, pod["status"]


@test
def refuses_without_our_controller(lab: Lab) -> None:
    """No controller, no documents: ready in time for the template's startup probe, and every call refused."""
    scale(lab, 0)
    try:
        this = dropped_in(lab)
        answer = this.reader.http(this.waypoint, f"{this.server}:80", "POST", "/mcp", b"{}", {"Content-Type": "application/json"})
        assert answer.status >= 400 or b"error" in answer.body, answer
        assert not lab.seen(this.ns)
        pod = lab.api.list("v1", "Pod", this.ns, labelSelector=POD)[0]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, pod["status"]
    finally:
        scale(lab, 2)
