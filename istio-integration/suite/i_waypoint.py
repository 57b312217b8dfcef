"""A Gateway of class agent-waypoint in a stock mesh: provisioned, announced, decided, fed, and kept through outages."""

from __future__ import annotations

import time

from harness.api import ApiError, Object, condition, eventually, two_seconds
from harness.lab import Lab, Refused
from harness.tests import test

from .g_guarded import becomes, guards
from .mesh import GATEWAY, POLICY, Mesh, events, gateway

POLICIES = "agent-waypoint.dev/v1alpha1"

def provisioned(lab: Lab, ns: str, kind: str = "agent-waypoint", pods: int = 2, name: str = "waypoint") -> str:
    """Applies the Gateway, waits until it is programmed and its pods are ready; the Service's address."""
    lab.apply(GATEWAY.replace("name: waypoint", f"name: {name}"), **{"ns": ns, "class": kind})
    lab.pods_ready(ns, f"gateway.networking.k8s.io/gateway-name={name}", pods)
    eventually(f"Gateway {ns}/{name} has an address", 20, lambda: gateway(lab, ns, name).get("status", {}).get("addresses"))
    return lab.api.get("v1", "Service", ns, name)["spec"]["clusterIP"]


def mesh(lab: Lab, tools: str = "get_*", kind: str = "agent-waypoint", pods: int = 2) -> Mesh:
    ns = lab.namespace("mesh", labels={"istio.io/use-waypoint": "waypoint"})
    server = lab.tool_server(ns)
    waypoint = provisioned(lab, ns, kind, pods)
    reader = lab.client(ns, "reader")
    this = Mesh(lab, ns, waypoint, server, reader)
    this.policy(tools)
    eventually("the first call is allowed", 20, this.allowed)
    return this


def log_of(lab: Lab, ns: str) -> str:
    pods = lab.api.list("v1", "Pod", ns, labelSelector="gateway.networking.k8s.io/gateway-name=waypoint")
    return "\n".join(lab.log(ns, pod["metadata"]["name"]) for pod in pods)


@test
def gateway_is_provisioned(lab: Lab) -> None:
    """Deployment, Service, ServiceAccount and PDB appear; status says so; the address comes with the first ready pod."""
    ns = lab.namespace("prov")
    provisioned(lab, ns)
    status = gateway(lab, ns)
    for kind in ("Accepted", "Programmed"):
        said = condition(status, kind)
        assert said and said["status"] == "True", status["status"]
    deployment = lab.api.get("apps/v1", "Deployment", ns, "waypoint")
    assert deployment["spec"]["replicas"] == 2 and deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"], container
    service = lab.api.get("v1", "Service", ns, "waypoint")
    assert service["metadata"]["labels"]["istio.io/use-waypoint"] == "none"
    assert {port["port"] for port in service["spec"]["ports"]} == {15008, 15021}
    lab.api.get("policy/v1", "PodDisruptionBudget", ns, "waypoint")
    owner = deployment["metadata"]["ownerReferences"][0]
    assert owner["kind"] == "Gateway" and owner["uid"] == status["metadata"]["uid"], owner


@test
def wrong_listener_is_said(lab: Lab) -> None:
    """A Gateway without the HBONE listener is not accepted, says what it needs, and gets no pods."""
    ns = lab.namespace("prov")
    lab.apply(GATEWAY.replace("15008", "8080"), **{"ns": ns, "class": "agent-waypoint"})
    said = eventually("Accepted is False", 20, lambda: (c := condition(gateway(lab, ns), "Accepted")) and c["status"] == "False" and c)
    assert "15008" in said["message"], said
    assert lab.api.find("apps/v1", "Deployment", ns, "waypoint") is None


@test
def gateway_deleted_is_cleared_up(lab: Lab) -> None:
    """Everything that was made for a Gateway goes with it."""
    ns = lab.namespace("prov")
    provisioned(lab, ns)
    lab.api.delete(gateway(lab, ns))
    for api_version, kind in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ServiceAccount"), ("policy/v1", "PodDisruptionBudget")):
        eventually(f"{kind} is gone", 30, lambda a=api_version, k=kind: lab.api.find(a, k, ns, "waypoint") is None)


@test
def call_is_decided(lab: Lab) -> None:
    """Through HBONE with istiod's certificates: allowed by tool and caller, refused otherwise, and the server sees no byte of that."""
    this = mesh(lab)
    assert this.reader.session(this.waypoint, f"{this.server}:80").tools() == ["get_note"]
    before = len(lab.seen(this.ns))
    assert this.refused("delete_note")
    stranger = lab.client(this.ns, "stranger")
    assert not this.opens(stranger)
    tools = [one for one in lab.seen(this.ns)[before:] if one.get("tool") == "delete_note"]
    assert not tools, tools


@test
def announced_with_every_pod_stopped(lab: Lab) -> None:
    """istiod reports the Service bound, and still does when no waypoint pod is left: refused, never open."""
    this = mesh(lab)

    def bound() -> bool:
        said = condition(lab.api.get("v1", "Service", this.ns, "notes"), "istio.io/WaypointBound")
        return bool(said) and said["status"] == "True"

    eventually("istiod says that the Service is bound", 15, bound)
    deployment = lab.api.get("apps/v1", "Deployment", this.ns, "waypoint")
    # Faster than the controller puts the number back, or it lets it be: pods that crash do the same.
    for _ in range(20):
        for pod in lab.api.list("v1", "Pod", this.ns, labelSelector="gateway.networking.k8s.io/gateway-name=waypoint"):
            lab.api.delete(pod, grace=0)
        time.sleep(0.2)
        assert gateway(lab, this.ns)["status"].get("addresses"), "the address was withdrawn"
        assert bound(), "istiod no longer announces the waypoint: ztunnel would go direct"
    assert deployment["metadata"]["uid"] == lab.api.get("apps/v1", "Deployment", this.ns, "waypoint")["metadata"]["uid"]
    lab.pods_ready(this.ns, "gateway.networking.k8s.io/gateway-name=waypoint", 2)
    eventually("calls are allowed again", 20, this.allowed)


@test
def edit_is_in_force_within_two_seconds(lab: Lab) -> None:
    """From the API server's answer to the refused call, and back (on a machine of its own); `Enforced` follows."""
    this = mesh(lab)
    for tools, becomes in (("search_*", this.refused), ("get_*", this.allowed)):
        this.policy(tools)
        at = time.monotonic()
        eventually(f"{tools} is in force", 10, becomes, pause=0.02)
        took = time.monotonic() - at
        assert took < two_seconds(lab.api), f"in force after {took:.1f} s"
    policy = eventually("the policy is Enforced", 20, lambda: enforced(lab, this.ns))
    assert condition(policy, "Accepted")["status"] == "True", policy["status"]


def enforced(lab: Lab, ns: str) -> Object | None:
    policy = lab.api.get(POLICIES, "AgentPolicy", ns, "notes")
    said = condition(policy, "Enforced")
    return policy if said and said["status"] == "True" and said.get("observedGeneration") == policy["metadata"]["generation"] else None


@test
def unknown_targets_are_refused(lab: Lab) -> None:
    """No open relay: a Service that is not behind this waypoint, a pod, the API server, itself."""
    this = mesh(lab)
    other = lab.namespace("other")
    elsewhere = lab.tool_server(other)
    pod = lab.api.get("v1", "Pod", other, "notes")["status"]["podIP"]
    for authority in (f"{elsewhere}:80", f"{pod}:8080", "10.96.0.1:443", "127.0.0.1:15000", "169.254.169.254:80", f"{this.waypoint}:15008"):
        status = this.status_of(authority)
        assert status in (400, 404), f"{authority}: {status}"
    assert not lab.seen(other)


@test
def istiod_killed_and_back(lab: Lab) -> None:
    """Traffic goes on without istiod; what went meanwhile is gone once it is back."""
    this = mesh(lab)
    second = lab.tool_server(this.ns, "second")
    lab.apply(POLICY.replace("name: notes", "name: second"), ns=this.ns, tools="get_*")

    def second_allowed() -> bool:
        return "result" in this.reader.call(this.waypoint, f"{second}:80", "get_note", {"id": 1})

    eventually("the second server is reached", 20, second_allowed)
    lab.cluster.kill("istiod")
    for _ in range(5):
        assert this.allowed()
        time.sleep(0.2)
    lab.api.delete(lab.api.get("v1", "Service", this.ns, "second"))
    assert this.allowed()
    lab.cluster.start_istiod(lab.api)

    eventually("the Service that went is unknown", 60, lambda: this.status_of(f"{second}:80") == 404)
    eventually("calls go on", 20, this.allowed)


@test
def api_server_down(lab: Lab) -> None:
    """Without an API server calls are decided as before, and edits come through once it is back."""
    this = mesh(lab)
    lab.cluster.kill("kube-apiserver")
    try:
        for _ in range(10):
            assert this.allowed() and this.refused("delete_note")
            time.sleep(0.2)
    finally:
        lab.cluster.start_apiserver()
    this.policy("search_*")
    eventually("the edit is in force", 40, this.refused)


@test
def controllers_down_and_a_pod_restarted(lab: Lab) -> None:
    """All controllers gone: the pod that lives decides; one that starts has no documents, is not ready, and lets nothing through."""
    this = mesh(lab)
    scale(lab, 0)
    try:
        assert this.allowed() and this.refused("delete_note")
        first, second = lab.api.list("v1", "Pod", this.ns, labelSelector="gateway.networking.k8s.io/gateway-name=waypoint")
        lab.api.delete(first, grace=0)
        survivor = second["status"]["podIP"]
        for _ in range(10):
            assert "result" in this.reader.call(survivor, f"{this.server}:80", "get_note", {"id": 1})
            time.sleep(0.3)

        def started() -> list[Object] | None:
            pods = lab.api.list("v1", "Pod", this.ns, labelSelector="gateway.networking.k8s.io/gateway-name=waypoint")
            others = [pod for pod in pods if pod["metadata"]["name"] not in (first["metadata"]["name"], second["metadata"]["name"])]
            return others if others and others[0].get("status", {}).get("podIP") else None

        fresh = eventually("another pod starts", 10, started)
        assert len(fresh) == 1 and not (condition(fresh[0], "Ready") or {}).get("status") == "True", fresh
        try:
            answer = this.reader.call(fresh[0]["status"]["podIP"], f"{this.server}:80", "get_note", {"id": 1})
            assert "error" in answer, answer
        except (Refused, OSError, AssertionError) as closed:
            assert "result" not in str(closed), closed
    finally:
        scale(lab, 2)
    lab.pods_ready(this.ns, "gateway.networking.k8s.io/gateway-name=waypoint", 2, 90)
    eventually("calls are allowed", 20, this.allowed)


def scale(lab: Lab, replicas: int) -> None:
    deployment = lab.api.get("apps/v1", "Deployment", "agent-waypoint-system", "agent-waypoint")
    lab.api.patch(deployment, {"spec": {"replicas": replicas}})
    selector = "app.kubernetes.io/component=controller"
    if replicas == 0:
        eventually("controllers are gone", 60, lambda: not lab.api.list("v1", "Pod", "agent-waypoint-system", labelSelector=selector))
    else:
        lab.pods_ready("agent-waypoint-system", selector, replicas)


@test
def document_that_does_not_compile(lab: Lab) -> None:
    """With the webhook it is refused; without, its target is closed, others go on, and mending opens it again."""
    this = mesh(lab)
    other = lab.tool_server(this.ns, "other")
    lab.apply(POLICY.replace("name: notes", "name: other"), ns=this.ns, tools="get_*")

    def other_allowed() -> bool:
        return "result" in this.reader.call(this.waypoint, f"{other}:80", "get_note", {"id": 1})

    eventually("the other server is reached", 20, other_allowed)
    broken = POLICY.replace("tools: [\"{tools}\"]}]", "tools: [\"get_*\"]}]\n    when: mcp.tool.nmae == \"x\"")
    hooks = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"
    installed = [one for one in lab.api.list(*hooks) if "agent-waypoint" in one["metadata"]["name"]]
    for hook in installed:
        try:
            lab.apply(broken, ns=this.ns)
        except ApiError as error:
            assert "nmae" in error.message, error
        else:
            raise AssertionError("the webhook let it through")
        lab.api.delete(hook)
    assert installed, "no webhook is installed"
    scale(lab, 0)
    for hook in lab.api.list(*hooks):
        if "agent-waypoint" in hook["metadata"]["name"]:
            lab.api.delete(hook)
    lab.apply(broken, ns=this.ns)
    scale(lab, 2)
    eventually("the target is closed", 20, lambda: not this.opens(this.reader))
    assert other_allowed()
    this.policy("get_*")
    eventually("mended, it is open", 20, this.allowed)


@test
def pod_without_its_guard_gets_no_calls(lab: Lab) -> None:
    """Under Enforce a pod that starts while its guard is away is not called; with the guard back, or with Report, it is."""
    this = mesh(lab)
    becomes(lab, this.ns, "Guarded", "True", "Guarded")
    scale(lab, 0)
    try:
        (guard,) = guards(lab, this.ns)
        lab.api.delete(guard)
        assert this.allowed(), "a pod that got calls under its guard keeps them"
        lab.api.delete(lab.api.get("v1", "Pod", this.ns, "notes"), grace=0)
        eventually("the server is gone", 30, lambda: lab.api.find("v1", "Pod", this.ns, "notes") is None)
        before = len(lab.seen(this.ns))
        lab.tool_server(this.ns)
        eventually("the new pod gets no calls", 20, lambda: this.begin().status == 503)
        assert len(lab.seen(this.ns)) == before, "the new pod saw nothing"
    finally:
        scale(lab, 2)
    eventually("calls are allowed", 60, this.allowed)
    becomes(lab, this.ns, "Guarded", "True", "Guarded")
    # Without a guard by the Service's own word nobody waits for one.
    service = lab.api.get("v1", "Service", this.ns, "notes")
    lab.api.patch(service, {"metadata": {"annotations": {"agent-waypoint.dev/guard": "Report"}}})
    eventually("the guard is gone", 20, lambda: not guards(lab, this.ns))
    lab.api.delete(lab.api.get("v1", "Pod", this.ns, "notes"), grace=0)
    eventually("the server is gone", 30, lambda: lab.api.find("v1", "Pod", this.ns, "notes") is None)
    lab.tool_server(this.ns)
    eventually("calls are allowed", 30, this.allowed)


@test
def what_a_waypoint_closed_is_not_enforced(lab: Lab) -> None:
    """Keys from a host that nobody listed close the target: `Enforced` says TargetClosed and why, on both policies; a port that goes away says so too."""
    this = mesh(lab)
    eventually("the policy is Enforced", 20, lambda: enforced(lab, this.ns))
    lab.apply("""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: token, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  jwtRules: [{issuer: "https://idp.example", jwksUri: "https://idp.example/keys"}]
""", ns=this.ns)

    def told(api: str, kind: str, name: str, condition_type: str) -> str | None:
        said = condition(lab.api.get(api, kind, this.ns, name), condition_type)
        return said["message"] if said and (said["status"], said["reason"]) == ("False", "TargetClosed") else None

    token = "security.istio.io/v1", "RequestAuthentication", "token", "agent-waypoint.dev/Enforced"
    policy = POLICIES, "AgentPolicy", "notes", "Enforced"
    why = eventually("the RequestAuthentication is enforced on neither replica", 20, lambda: (said := told(*token)) and "2 of 2" in said and said)
    assert "idp.example" in why and "--jwks-hosts" in why, why
    why = eventually("nor is the policy beside it", 20, lambda: told(*policy))
    assert f"Service {this.ns}/notes:80 is closed" in why and "idp.example" in why, why
    assert not this.opens(this.reader)

    def closed() -> set[str]:
        return {one["involvedObject"]["name"] for one in events(lab, this.ns, "TargetClosed")}

    eventually("events of both say it", 10, lambda: closed() == {"token", "notes"})
    lab.api.delete(lab.api.get("security.istio.io/v1", "RequestAuthentication", this.ns, "token"))
    eventually("without it the policy is enforced", 20, lambda: enforced(lab, this.ns))
    eventually("and calls go on", 20, this.allowed)
    # The policy stays as it is; what it names goes away.
    policy_now = lab.api.get(POLICIES, "AgentPolicy", this.ns, "notes")
    port = lab.api.get("v1", "Service", this.ns, "notes")["spec"]["ports"][0]
    lab.api.patch(policy_now, {"spec": {"targetRefs": [{"kind": "Service", "name": "notes", "sectionName": port["name"]}]}})
    eventually("the policy is Enforced on the port by its name", 20, lambda: enforced(lab, this.ns))
    lab.api.patch(lab.api.get("v1", "Service", this.ns, "notes"), {"spec": {"ports": [{**port, "name": "renamed"}]}})
    why = eventually("the port is gone, and so is what it enforces", 20, lambda: told(*policy))
    assert port["name"] in why, why
    lab.api.patch(lab.api.get("v1", "Service", this.ns, "notes"), {"spec": {"ports": [port]}})
    eventually("with the port the policy is enforced again", 20, lambda: enforced(lab, this.ns))


@test
def policies_and_routes_say_what_became_of_them(lab: Lab) -> None:
    """On Istio's policies our condition stands beside istiod's, and neither takes the other's away; routes name their parents."""
    this = mesh(lab)
    istio = "security.istio.io/v1"
    lab.apply("""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  rules: [{from: [{source: {serviceAccounts: ["{ns}/reader"]}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: {ns}}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: nowhere, namespace: {ns}}
spec:
  parentRefs: [{group: "", kind: Service, name: plain, port: 80}]
  rules: [{backendRefs: [{name: not-there, port: 80}]}]
""", ns=this.ns)

    def policy() -> Object:
        return lab.api.get(istio, "AuthorizationPolicy", this.ns, "readers")

    def both(generation: int) -> bool:
        found = policy()
        ours, theirs = condition(found, "agent-waypoint.dev/Enforced"), condition(found, "WaypointAccepted")
        return bool(ours and theirs and ours["status"] == "True" and int(ours["observedGeneration"]) == generation)
    eventually("both say it", 20, lambda: both(1))
    settled = policy()["metadata"]["resourceVersion"]
    time.sleep(3)
    assert policy()["metadata"]["resourceVersion"] == settled, "nobody writes over the other"
    lab.api.patch(policy(), {"spec": {"rules": [{"from": [{"source": {"serviceAccounts": [f"{this.ns}/reader", f"{this.ns}/other"]}}]}]}})
    eventually("both say it of the edit", 20, lambda: both(2))
    assert this.allowed()

    def parent() -> Object | None:
        route = lab.api.get("gateway.networking.k8s.io/v1", "HTTPRoute", this.ns, "nowhere")
        parents = route.get("status", {}).get("parents", [])
        return next((one for one in parents if one["controllerName"] == "agent-waypoint.dev/controller"), None)
    told = eventually("the route says so", 20, parent)
    said = {one["type"]: (one["status"], one["reason"]) for one in told["conditions"]}
    assert said == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}, told
    found = eventually("an event says it", 10, lambda: events(lab, this.ns, "BackendNotFound"))
    assert len(found) == 1 and found[0]["involvedObject"]["name"] == "nowhere", found

