"""The controller: a Gateway becomes a waypoint, documents reach it, and policies say what is in force."""

from __future__ import annotations

import time

from harness.api import ApiError, Object, eventually, two_seconds
from harness.lab import Lab
from harness.tests import refused, test

GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: {ns}}
spec:
  gatewayClassName: agent-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: {ns}, labels: {istio.io/use-waypoint: waypoint}}
spec: {selector: {app: notes}, ports: [{name: mcp, port: 80, targetPort: 8080, appProtocol: agent-waypoint.dev/mcp}]}
"""
POLICY = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: {target}}]
  protocol: MCP
  allow:
  - name: readers
    when: source.identity.serviceAccount == "{who}"
"""
API = "gateway.networking.k8s.io/v1"
POLICIES = "agent-waypoint.dev/v1alpha1"


def conditions(of: Object | None) -> dict[str, Object]:
    return {one["type"]: one for one in (of or {}).get("status", {}).get("conditions", [])}


def gateway(lab: Lab, ns: str) -> Object:
    return lab.api.get(API, "Gateway", ns, "waypoint")


def enforced(lab: Lab, ns: str, generation: int) -> bool:
    policy = lab.api.get(POLICIES, "AgentPolicy", ns, "notes")
    one = conditions(policy).get("Enforced", {})
    return one.get("status") == "True" and one.get("observedGeneration") == generation


def provisioned(lab: Lab) -> str:
    """A namespace with a waypoint that is ready."""
    ns = lab.namespace()
    lab.apply(GATEWAY, ns=ns)
    try:
        eventually("the Gateway is programmed", 60, lambda: conditions(gateway(lab, ns)).get("Programmed", {}).get("status") == "True")
    except AssertionError as late:
        pods = lab.api.list("v1", "Pod", ns)
        logs = [lab.log(ns, pod["metadata"]["name"]) for pod in pods]
        controllers = lab.api.list("v1", "Pod", "agent-waypoint-system")
        logs += [lab.log("agent-waypoint-system", pod["metadata"]["name"]) for pod in controllers]
        raise AssertionError("\n".join([str(late), str(gateway(lab, ns).get("status")), *logs])) from late
    return ns


@test
def gateway_becomes_a_waypoint(lab: Lab) -> None:
    """Deployment, Service, ServiceAccount and budget are made; the address comes with the first ready pod."""
    ns = provisioned(lab)
    status = gateway(lab, ns)["status"]
    service = lab.api.get("v1", "Service", ns, "waypoint")
    values = [one["value"] for one in status["addresses"]]
    assert values == [f"waypoint.{ns}.svc.cluster.local", *service["spec"]["clusterIPs"]], status
    assert service["metadata"]["labels"]["istio.io/use-waypoint"] == "none", service["metadata"]
    assert service["metadata"]["ownerReferences"][0]["uid"] == gateway(lab, ns)["metadata"]["uid"]
    pods = lab.pods_ready(ns, "gateway.networking.k8s.io/gateway-name=waypoint", 2)
    shown = lab.certificate(pods[0]["status"]["podIP"])
    assert shown["uri"] == f"spiffe://cluster.local/ns/{ns}/sa/waypoint", shown
    assert lab.api.get("policy/v1", "PodDisruptionBudget", ns, "waypoint")["spec"]["maxUnavailable"] == 1
    # What the API server adds to what was applied is not applied again and again.
    before = lab.api.get("apps/v1", "Deployment", ns, "waypoint")["metadata"]["generation"]
    time.sleep(12)
    assert lab.api.get("apps/v1", "Deployment", ns, "waypoint")["metadata"]["generation"] == before


@test
def wrong_gateway_is_told(lab: Lab) -> None:
    """A Gateway with a wrong listener gets no pods and a condition that names the remedy."""
    ns = lab.namespace()
    lab.apply(GATEWAY.replace("15008", "80"), ns=ns)
    accepted = eventually("the Gateway is not accepted", 20, lambda: conditions(gateway(lab, ns)).get("Accepted"))
    told = eventually("it says why", 20, lambda: conditions(gateway(lab, ns))["Accepted"]["status"] == "False" and conditions(gateway(lab, ns))["Accepted"])
    assert told["reason"] == "ListenersNotValid" and "port: 15008" in told["message"], (accepted, told)
    assert lab.api.find("apps/v1", "Deployment", ns, "waypoint") is None


@test
def policy_says_when_it_is_in_force(lab: Lab) -> None:
    """Every ready replica has a policy in force within 2 s of an edit (of a machine of its own), and only then it says so."""
    ns = provisioned(lab)
    lab.pods_ready(ns, "gateway.networking.k8s.io/gateway-name=waypoint", 2)
    lab.apply(SERVICE, ns=ns)
    (policy,) = lab.apply(POLICY, ns=ns, target="notes", who="reader")
    eventually("the policy is enforced", 20, lambda: enforced(lab, ns, policy["metadata"]["generation"]))
    slowest = 0.0
    for round in range(3):
        (policy,) = lab.apply(POLICY, ns=ns, target="notes", who=f"reader-{round}")
        started = time.monotonic()
        eventually("the edit is enforced", 10, lambda: enforced(lab, ns, policy["metadata"]["generation"]))
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < two_seconds(lab.api), f"an edit took {slowest:.1f} s"
    found = conditions(lab.api.get(POLICIES, "AgentPolicy", ns, "notes"))
    assert found["Accepted"]["status"] == "True" and found["Conflicted"]["status"] == "False", found
    assert "2 of 2" in found["Enforced"]["message"], found


@test
def policy_for_nobody_says_what_to_label(lab: Lab) -> None:
    """A policy for a Service that uses no waypoint is told so."""
    ns = lab.namespace()
    lab.apply(SERVICE.replace(", labels: {istio.io/use-waypoint: waypoint}", ""), ns=ns)
    lab.apply(POLICY, ns=ns, target="notes", who="reader")

    def told() -> Object | None:
        one = conditions(lab.api.get(POLICIES, "AgentPolicy", ns, "notes"))["Enforced"]
        return one if one["reason"] == "NoWaypoint" else None

    one = eventually("the policy says NoWaypoint", 20, told)
    assert "istio.io/use-waypoint" in one["message"], one


@test
def wrong_policy_is_refused_at_admission(lab: Lab) -> None:
    """What `check` would say comes from the API server, before anything is stored."""
    ns = lab.namespace()
    eventually("the webhook is trusted", 30, lambda: "caBundle" in lab.api.get(
        "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "agent-waypoint")["webhooks"][0]["clientConfig"])
    wrong = POLICY.replace("source.identity.serviceAccount", "source.identiti.serviceAccount")

    def is_refused() -> bool:
        try:
            lab.apply(wrong, ns=ns, target="notes", who="reader")
        except ApiError as error:
            return "source.identity" in error.message
        lab.api.delete(lab.api.get(POLICIES, "AgentPolicy", ns, "notes"))
        return False

    eventually("a wrong policy is refused", 30, is_refused)
    refused(422, lambda: lab.apply(wrong, ns=ns, target="notes", who="reader"), "spec.allow[0].when")
    lab.apply(POLICY, ns=ns, target="notes", who="reader")
