"""Routes as the API server gives them back: they lead calls of tools by weight, copy plain requests, and say what leads nowhere."""

from __future__ import annotations

from harness.api import eventually
from harness.lab import Lab
from harness.tests import test

from .i_waypoint import mesh
from .mesh import POLICY, Mesh, gateway

WEIGHTS = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: split, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: notes, port: 80}]
  rules: [{backendRefs: [{name: one, port: 80, weight: {one}}, {name: two, port: 80, weight: {two}}]}]
"""

# A route of plain requests; its rules follow.
WEB = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
"""
FINE = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}


def split(lab: Lab) -> Mesh:
    this = mesh(lab)
    for name in ("one", "two"):
        lab.tool_server(this.ns, name)
        lab.apply(POLICY.replace("name: notes", f"name: {name}"), ns=this.ns, tools="get_*")
    return this


def conditions(lab: Lab, kind: str, ns: str, name: str, version: str = "v1") -> dict[str, tuple[str, str]]:
    """What our controller says of a route for its first parent."""
    route = lab.api.get(f"gateway.networking.k8s.io/{version}", kind, ns, name)
    ours = [one for one in route.get("status", {}).get("parents", []) if one["controllerName"] == "agent-waypoint.dev/controller"]
    return {one["type"]: (one["status"], one["reason"]) for one in ours[0]["conditions"]} if ours else {}


def used_from(this: Mesh, name: str) -> str:
    """Another namespace, which uses the waypoint and is let to."""
    other = this.lab.namespace(name, labels={"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": this.ns})
    listener = {"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": {"namespaces": {"from": "All"}}}
    this.lab.api.patch(gateway(this.lab, this.ns), {"spec": {"listeners": [listener]}})
    return other


@test
def calls_of_tools_go_by_weight(lab: Lab) -> None:
    """A route of an MCP port moves what begins to other Services, whose policies decide too; sessions stay."""
    this = split(lab)
    calls = {name: 0 for name in ("notes", "one", "two")}

    def called(name: str) -> int:
        return sum(1 for one in lab.seen(this.ns, name) if one.get("tool") == "get_note")

    before = called("notes")
    lab.apply(WEIGHTS, ns=this.ns, one="1", two="0")
    eventually("calls go to the one", 20, lambda: this.allowed() and called("one") > 0)
    session = this.reader.session(this.waypoint, f"{this.server}:80")
    lab.apply(WEIGHTS, ns=this.ns, one="0", two="1")
    eventually("calls go to the other", 20, lambda: this.allowed() and called("two") > 0)
    calls = {name: called(name) for name in calls}
    assert "result" in session.call("get_note", {"id": 1}), "the session goes on"
    assert called("one") == calls["one"] + 1 and called("two") == calls["two"], "where it began"
    assert this.refused("delete_note")
    lab.apply(POLICY.replace("name: notes", "name: two"), ns=this.ns, tools="search_*")
    eventually("what the other's policy refuses is refused", 20, this.refused)
    said = eventually("the route is accepted", 20, lambda: conditions(lab, "HTTPRoute", this.ns, "split"))
    assert said == FINE, said
    assert called("notes") >= before


@test
def a_route_that_changes_calls_is_told(lab: Lab) -> None:
    """A rewrite on an MCP port closes it and the route says so; taken away, calls go on."""
    this = mesh(lab)
    rewrite = WEIGHTS.replace("rules: [{", "rules: [{filters: [{type: URLRewrite, urlRewrite: {hostname: x.example}}], ")
    lab.apply(rewrite.replace("name: one", "name: notes").replace(", {name: two, port: 80, weight: {two}}", ""), ns=this.ns, one="1")
    eventually("the port is closed", 20, lambda: not this.opens(this.reader))
    eventually("the route says so", 20, lambda: conditions(lab, "HTTPRoute", this.ns, "split").get("Accepted") == ("False", "UnsupportedValue"))
    lab.api.delete(lab.api.get("gateway.networking.k8s.io/v1", "HTTPRoute", this.ns, "split"))
    eventually("calls go on", 20, this.allowed)


@test
def mirrors_grants_and_what_leads_nowhere(lab: Lab) -> None:
    """On plain ports: a copy of each request, a backend of another namespace once it is granted, 500 where there is none."""
    this = mesh(lab)
    web = lab.tool_server(this.ns, "web", app_protocol="http")
    lab.tool_server(this.ns, "copy", app_protocol="http")
    other = used_from(this, "granting")
    lab.tool_server(other, "far", app_protocol="http")
    lab.apply(WEB + """\
  rules:
  - matches: [{path: {value: /copied}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /far}}]
    backendRefs: [{name: far, namespace: {other}, port: 80}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
""", ns=this.ns, other=other)

    def status(path: str) -> int:
        return this.http(web, path).status

    eventually("the missing backend is 500", 20, lambda: status("/gone") == 500)
    assert status("/far") == 500, "not granted"
    assert status("/other") == 404, "no rule matches"

    def resolved() -> bool:
        said = conditions(lab, "HTTPRoute", this.ns, "web").get("ResolvedRefs")
        return bool(said) and said[0] == "False"

    eventually("the route says that a backend is not there", 20, resolved)
    lab.apply("""\
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: web, namespace: {other}}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {ns}}], to: [{group: "", kind: Service}]}
""", ns=this.ns, other=other)
    eventually("granted, it is led there", 20, lambda: status("/far") != 500)
    copies = len(lab.seen(this.ns, "copy"))
    answered = status("/copied/x")
    assert answered not in (500, 503), answered
    eventually("the copy arrives", 20, lambda: len(lab.seen(this.ns, "copy")) > copies)


@test
def connections_go_where_a_tcproute_leads(lab: Lab) -> None:
    """A TCPRoute of a TCP port moves its connections; on a port of requests that it names it says that it cannot."""
    this = mesh(lab)
    database = lab.tool_server(this.ns, "database", app_protocol="tcp")
    lab.tool_server(this.ns, "other", app_protocol="tcp")
    lab.tool_server(this.ns, "web", app_protocol="http")
    lab.apply("""\
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: bytes, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: database, port: 80}]
  rules: [{backendRefs: [{name: other, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: wrong, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: other, port: 80}]}]
""", ns=this.ns)
    eventually("the route is accepted", 20, lambda: conditions(lab, "TCPRoute", this.ns, "bytes") == FINE)
    eventually("the other is not", 20, lambda: conditions(lab, "TCPRoute", this.ns, "wrong").get("Accepted") == ("False", "UnsupportedValue"))

    def led() -> bool:
        before = len(lab.seen(this.ns, "other")), len(lab.seen(this.ns, "database"))
        this.http(database, "/x")
        return len(lab.seen(this.ns, "other")) > before[0] and len(lab.seen(this.ns, "database")) == before[1]
    eventually("its connections go there", 20, led)
