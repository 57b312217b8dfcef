"""Who else is in front: a second waypoint that gets a share of connections, and gateways that take calls from outside."""

from __future__ import annotations

import json
import random
import re

from harness.api import Object, eventually
from harness.lab import Lab, Session, ask
from harness.net import ISTIOD
from harness.tests import test

from .g_guarded import guards
from .i_waypoint import mesh, provisioned
from .mesh import Mesh

ADDRESS = "type.googleapis.com/istio.workload.Address"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
SHARE, CONNECTIONS = 30, 100


def told(lab: Lab, proxy: str, ns: str, kind: str, name: str) -> list[Object]:
    """What istiod tells a proxy of that kind of one resource."""
    return json.loads(lab.cluster.kit("told", f"{ISTIOD}:15010", proxy, ns, kind, name))


@test
def a_canary_takes_its_share_and_sessions_go_on(lab: Lab) -> None:
    """Two Gateways in front of a Service: istiod tells the weights, both decide, the guard lets both through, and a session begun at one goes on at the other."""
    this = mesh(lab, tools='get_*", "search_*')
    canary = provisioned(lab, this.ns, name="canary")
    service = lab.api.get("v1", "Service", this.ns, "notes")
    labels, annotations = {"istio.io/use-waypoint-canary": "canary"}, {"istio.io/use-waypoint-canary-weight": str(SHARE)}
    lab.api.patch(service, {"metadata": {"labels": labels, "annotations": annotations}})

    def weights() -> dict[str, int]:
        found = told(lab, "ztunnel", this.ns, ADDRESS, f"{this.ns}/notes.{this.ns}.svc.cluster.local")
        all_of = found[0].get("service", {}).get("weighted_waypoints", []) if found else []
        return {one["destination"]["hostname"]["hostname"].split(".")[0]: one.get("weight", 0) for one in all_of}

    eventually("istiod tells ztunnel of both", 30, lambda: weights() == {"waypoint": 100 - SHARE, "canary": SHARE})
    at = {"waypoint": this.waypoint, "canary": canary}
    authority = f"{this.server}:80"
    for name, address in at.items():
        eventually(f"{name} lets calls through", 30, lambda address=address: "result" in this.reader.call(address, authority, "get_note", {"id": 1}))
        assert "error" in this.reader.call(address, authority, "delete_note", {"id": 1}), name

    def exempt() -> set[str]:
        sources = [one["source"] for guard in guards(lab, this.ns) for rule in guard["spec"]["rules"] for one in rule["from"]]
        return {name for source in sources for name in source["notPrincipals"]}
    both = {f"cluster.local/ns/{this.ns}/sa/{name}" for name in at}
    eventually("the guard lets both through", 30, lambda: both <= exempt())

    # As ztunnel draws, for each connection.
    draw, drawn, share = random.Random(SHARE), {name: 0 for name in at}, weights()
    for _ in range(CONNECTIONS):
        (name,) = draw.choices(list(share), list(share.values()))
        drawn[name] += 1
        assert "result" in this.reader.call(at[name], authority, "search_notes", {"query": "x"}), name
    # Four standard deviations of 100 draws.
    assert abs(drawn["canary"] - SHARE) <= 18, drawn
    eventually("each decided on its share", 20, lambda: {name: decided(lab, this.ns, name) for name in at} == drawn)

    for begun, goes_on in (("waypoint", "canary"), ("canary", "waypoint")):
        session = this.reader.session(at[begun], authority)
        assert "result" in session.call("get_note", {"id": 1})
        eventually(f"what began at {begun} goes on at {goes_on}", 30, lambda s=session, to=at[goes_on]: elsewhere(this, s, to) == 200)
        assert "result" in session.call("get_note", {"id": 1})
        stranger = lab.client(this.ns, f"stranger-{begun}")
        connection = stranger.open(at[goes_on], authority)
        assert ask(connection, "POST", "/mcp", CALL, {**session.headers, "Host": authority}).status == 404, "of nobody else"


CALL = json.dumps({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": {"name": "get_note", "arguments": {"id": 1}}}).encode()


def elsewhere(this: Mesh, session: Session, waypoint: str) -> int:
    """A call in a session through another waypoint."""
    connection = this.reader.open(waypoint, session.authority)
    try:
        return ask(connection, "POST", "/mcp", CALL, {**session.headers, "Host": session.authority}).status
    finally:
        connection.close()


def decided(lab: Lab, ns: str, gateway: str) -> int:
    """How many searches the pods of a Gateway let through, by their access logs."""
    pods = lab.api.list("v1", "Pod", ns, labelSelector=f"gateway.networking.k8s.io/gateway-name={gateway}")
    lines = [line for pod in pods for line in lab.logged(ns, pod["metadata"]["name"], "waypoint").splitlines() if line.startswith("{")]
    calls = [json.loads(line) for line in lines]
    return sum(1 for call in calls if call.get("tool") == "search_notes" and call.get("decision") == "allow")


@test
def an_ingress_is_sent_through_the_waypoint(lab: Lab) -> None:
    """With `istio.io/ingress-use-waypoint` istiod gives a gateway the waypoint's addresses for the Service; its calls are decided on as the gateway's."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web")
    pod = lab.ready_pod(this.ns, "web")["status"]["podIP"]
    waypoints = {one["status"]["podIP"] for one in lab.api.list("v1", "Pod", this.ns, labelSelector="gateway.networking.k8s.io/gateway-name=waypoint")}
    edge = lab.namespace("edge")
    lab.apply("""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: web}]
  rules: [{from: [{source: {serviceAccounts: ["{edge}/gateway"]}}], to: [{operation: {paths: ["/open*"]}}]}]
""", ns=this.ns, edge=edge)

    def sent_to(*addresses: str) -> bool:
        """Whether what istiod tells the gateway to call has one of these in it."""
        said = json.dumps(told(lab, "router", edge, ENDPOINTS, f"outbound|80||web.{this.ns}.svc.cluster.local"))
        return any(re.search(rf"(?<![\d.]){re.escape(one)}(?!\d)", said) for one in addresses)

    eventually("without the label a gateway is sent to the pod", 20, lambda: sent_to(pod))
    assert not sent_to(*waypoints)
    lab.api.patch(lab.api.get("v1", "Service", this.ns, "web"), {"metadata": {"labels": {"istio.io/ingress-use-waypoint": "true"}}})
    eventually("with it to the waypoint", 30, lambda: sent_to(*waypoints) and not sent_to(pod))
    assert sent_to(web), "for the Service's address, within HBONE"
    # What the gateway does with that: HBONE to the waypoint, for the Service's address, as itself.
    gateway = lab.client(edge, "gateway")
    forged = {"x-forwarded-client-cert": f"URI=spiffe://cluster.local/ns/{this.ns}/sa/reader", "x-forwarded-for": "203.0.113.9"}
    for path, status in (("/open/x", 200), ("/closed", 403)):
        eventually(f"{path} is {status}", 20, lambda path=path, status=status: gateway.http(this.waypoint, f"{web}:80", "GET", path, headers=forged).status == status)
    assert this.http(web, "/open/x").status == 403, "the gateway's right is nobody else's"
    heads = [head for head in lab.heads(this.ns, "web") if " /open/x" in head]
    assert heads and all("x-forwarded-client-cert" not in head and "203.0.113.9" in head for head in heads), heads
    assert not [head for head in lab.heads(this.ns, "web") if "/closed" in head]
