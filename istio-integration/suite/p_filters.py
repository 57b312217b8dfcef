"""What routes do on the way, and what they say: providers that they ask, tries, time, gRPC, TLS to backends, who may be referred to."""

from __future__ import annotations

import time

from harness.api import Object, eventually
from harness.lab import Lab
from harness.tests import test

from .i_waypoint import mesh
from .n_routes import FINE, WEB, conditions, used_from

GATEWAY_API = "gateway.networking.k8s.io/v1"

ASKS = WEB + """\
  rules:
  - matches: [{path: {value: /http}}]
    filters:
    - type: ExternalAuth
      externalAuth:
        protocol: HTTP
        backendRef: {name: door, port: 80}
        http: {path: /check, allowedHeaders: [x-key], allowedResponseHeaders: [x-user]}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /grpc}}]
    filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: rpc, port: 80}, grpc: {}}}]
    backendRefs: [{name: web, port: 80}]
"""


@test
def a_route_asks_providers_over_http_and_grpc(lab: Lab) -> None:
    """ExternalAuth as the API server gives it back: its no is the answer, its yes changes headers, and without it nothing passes."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web")
    lab.origin(this.ns, "door", "--deny", "x-key: bad")
    lab.origin(this.ns, "rpc", "--grpc", "--deny", "x-key: bad", app_protocol="kubernetes.io/h2c")
    lab.apply(ASKS, ns=this.ns)
    eventually("the route is accepted", 20, lambda: conditions(lab, "HTTPRoute", this.ns, "web") == FINE)
    for path, asked in (("/http", "door"), ("/grpc", "rpc")):
        eventually(f"{asked} says yes", 20, lambda path=path: this.http(web, path).status == 200)
        reached = len(lab.heads(this.ns, "web"))
        assert this.http(web, path, {"x-key": "bad"}).status == 403
        assert len(lab.heads(this.ns, "web")) == reached, "what was denied reached nobody"
        assert this.http(web, f"{path}/x", {"x-user": "mallory", "x-private": "p"}).status == 200
        head = lab.heads(this.ns, "web")[-1]
        assert "x-user: told" in head and "mallory" not in head, head
        question = lab.heads(this.ns, asked)[-1]
        assert (f"/check{path}/x" if asked == "door" else f"{path}/x") in question, question
        assert ("x-private" in question) == (asked == "rpc"), question
    for name in ("door", "rpc"):
        lab.api.delete(lab.api.get("v1", "Service", this.ns, name))
    eventually("who is asked is gone", 20, lambda: conditions(lab, "HTTPRoute", this.ns, "web").get("ResolvedRefs") == ("False", "BackendNotFound"))
    for path in ("/http", "/grpc"):
        eventually("and nothing passes", 20, lambda path=path: this.http(web, path).status == 500)


@test
def requests_are_tried_again_and_given_up(lab: Lab) -> None:
    """`retry` and `timeouts`: a GET that fails once is sent again, a POST is not, and what takes too long is 504."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web", "--flaky", "/flaky", "--hold", "/slow")
    lab.apply(WEB + """\
  rules:
  - matches: [{path: {value: /flaky}}]
    retry: {codes: [503], attempts: 2, backoff: 10ms}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /slow}}]
    timeouts: {request: 500ms}
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /once}}]
    backendRefs: [{name: web, port: 80}]
""", ns=this.ns)
    eventually("the route is accepted", 20, lambda: conditions(lab, "HTTPRoute", this.ns, "web") == FINE)
    eventually("it leads", 20, lambda: this.http(web, "/none").status == 404 and this.http(web, "/once").status == 200)

    def seen(path: str) -> int:
        return sum(1 for head in lab.heads(this.ns, "web") if f" {path}" in head)

    for tried in (2, 4):
        assert this.http(web, "/flaky").status == 200
        assert seen("/flaky") == tried, lab.heads(this.ns, "web")
    assert this.http(web, "/flaky", method="POST").status == 503 and seen("/flaky") == 5
    began = time.monotonic()
    assert this.http(web, "/slow").status == 504 and seen("/slow") == 1
    assert time.monotonic() - began >= 0.5


@test
def calls_of_grpc_go_where_a_grpcroute_leads(lab: Lab) -> None:
    """By service and method; what no rule names is 404, what leads nowhere 500, and the status says which."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web")
    lab.origin(this.ns, "other")
    lab.apply("""\
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{method: {service: shop.Notes, method: Get}}]
    backendRefs: [{name: other, port: 80}]
  - matches: [{method: {service: shop.Notes}}]
    backendRefs: [{name: web, port: 80}]
""", ns=this.ns)
    eventually("the route is accepted", 20, lambda: conditions(lab, "GRPCRoute", this.ns, "calls") == FINE)

    def led(path: str, to: str) -> bool:
        before = len(lab.heads(this.ns, to))
        return this.http(web, path, method="POST").status == 200 and len(lab.heads(this.ns, to)) > before

    eventually("the method goes to the other", 20, lambda: led("/shop.Notes/Get", "other"))
    assert led("/shop.Notes/List", "web")
    assert this.http(web, "/shop.Other/Get", method="POST").status == 404
    route = lab.api.get(GATEWAY_API, "GRPCRoute", this.ns, "calls")
    lab.api.patch(route, {"spec": {"rules": [{"backendRefs": [{"name": "gone", "port": 80}]}]}})
    eventually("its backend is missing", 20, lambda: this.http(web, "/shop.Notes/Get", method="POST").status == 500)
    missing = ("False", "BackendNotFound")
    eventually("and it says so", 20, lambda: conditions(lab, "GRPCRoute", this.ns, "calls").get("ResolvedRefs") == missing)


@test
def a_reference_to_another_namespace_is_granted_or_not(lab: Lab) -> None:
    """RefNotPermitted and 500 without a ReferenceGrant, both gone with it, and back without."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web")
    far = used_from(this, "far")
    lab.origin(far, "there")
    lab.apply(WEB + """\
  rules: [{backendRefs: [{name: there, namespace: {far}, port: 80}]}]
""", ns=this.ns, far=far)

    def resolved() -> tuple[str, str] | None:
        return conditions(lab, "HTTPRoute", this.ns, "web").get("ResolvedRefs")

    eventually("it is not permitted", 20, lambda: resolved() == ("False", "RefNotPermitted"))
    eventually("and 500", 20, lambda: this.http(web, "/").status == 500)
    assert not lab.heads(far, "there")
    grant = lab.apply("""\
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: web, namespace: {far}}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {ns}}], to: [{group: "", kind: Service, name: there}]}
""", ns=this.ns, far=far)[0]
    eventually("granted, it is resolved", 20, lambda: resolved() == ("True", "ResolvedRefs"))
    eventually("and led there", 20, lambda: this.http(web, "/").status == 200)
    lab.api.delete(grant)
    eventually("taken back, it is not permitted", 20, lambda: resolved() == ("False", "RefNotPermitted"))
    eventually("and 500 again", 20, lambda: this.http(web, "/").status == 500)


TLS = """\
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: {name}, namespace: {ns}}
spec:
  targetRefs: [{group: "", kind: Service, name: web, sectionName: http}]
  validation: {hostname: web.example.com, {roots}}
"""
ROOTS = "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: backends}]"


@test
def a_backend_tls_policy_says_what_became_of_it(lab: Lab) -> None:
    """`status.ancestors` names the Gateway; certificates that are not there, an older policy; and no server gets plaintext meanwhile."""
    this = mesh(lab)
    web = lab.origin(this.ns, "web")
    eventually("requests arrive", 20, lambda: this.http(web, "/").status == 200)
    first = lab.apply(TLS, ns=this.ns, name="first", roots=ROOTS)[0]

    def said(name: str) -> dict[str, tuple[str, str]]:
        policy: Object = lab.api.get(GATEWAY_API, "BackendTLSPolicy", this.ns, name)
        ours = [one for one in policy.get("status", {}).get("ancestors", []) if one["controllerName"] == "agent-waypoint.dev/controller"]
        assert len(ours) <= 1 and all((one["ancestorRef"]["kind"], one["ancestorRef"]["name"]) == ("Gateway", "waypoint") for one in ours), ours
        return {one["type"]: (one["status"], one["reason"]) for entry in ours for one in entry["conditions"]}

    missing = {"Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}
    eventually("the certificates are missing", 20, lambda: said("first") == missing)
    eventually("the port is closed", 20, lambda: this.http(web, "/closed").status == 403)
    root = lab.api.get("v1", "ConfigMap", this.ns, "istio-ca-root-cert")["data"]["root-cert.pem"]
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "backends", "namespace": this.ns}, "data": {"ca.crt": root}})
    eventually("they are there", 40, lambda: said("first") == FINE)
    # The server speaks no TLS: it is not called without.
    eventually("TLS is spoken to it", 20, lambda: this.http(web, "/private").status == 503)
    assert not [head for head in lab.heads(this.ns, "web") if "/private" in head or "/closed" in head]
    time.sleep(1)  # Creation times are whole seconds.
    lab.apply(TLS, ns=this.ns, name="second", roots="wellKnownCACertificates: System")
    eventually("the younger one is in conflict", 20, lambda: said("second").get("Accepted") == ("False", "Conflicted"))
    assert said("first") == FINE
    lab.api.delete(first)
    eventually("alone it is accepted", 20, lambda: said("second") == FINE)
    lab.api.delete(lab.api.get(GATEWAY_API, "BackendTLSPolicy", this.ns, "second"))
    eventually("without any, requests arrive", 20, lambda: this.http(web, "/").status == 200)
