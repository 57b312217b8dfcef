"""The guard as the controller keeps it: written, verified from what istiod sends to ztunnel, restored, removed."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from harness.api import Object, eventually
from harness.lab import Lab
from harness.tests import test

from .mesh import events

AUTHORIZATION = "security.istio.io/v1"
SYSTEM = "agent-waypoint-system"


def waypoint(lab: Lab, namespace: str) -> None:
    """A Gateway of our class, announced once its pods are ready."""
    lab.apply("""\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: {ns}}
spec:
  gatewayClassName: agent-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
""", ns=namespace)

    def announced() -> bool:
        gateway = lab.api.get("gateway.networking.k8s.io/v1", "Gateway", namespace, "waypoint")
        return bool(gateway.get("status", {}).get("addresses"))
    eventually(f"Gateway {namespace}/waypoint is announced", 60, announced)


def condition(lab: Lab, namespace: str, kind: str, name: str = "notes") -> tuple[str, str, str]:
    service = lab.api.get("v1", "Service", namespace, name)
    for one in service.get("status", {}).get("conditions", []):
        if one["type"] == f"agent-waypoint.dev/{kind}":
            return one["status"], one["reason"], one["message"]
    return "", "", ""


def becomes(lab: Lab, namespace: str, kind: str, status: str, reason: str) -> str:
    """The message of a condition, once it is so."""
    last: Any = None

    def so() -> bool:
        nonlocal last
        last = condition(lab, namespace, kind)
        return last[:2] == (status, reason)
    try:
        eventually(f"{kind} is {status} ({reason})", 40, so)
    except AssertionError as late:
        raise AssertionError(f"{late}; last: {last}") from late
    return last[2]


def guards(lab: Lab, namespace: str) -> list[Object]:
    found = lab.api.list(AUTHORIZATION, "AuthorizationPolicy", namespace)
    return [one for one in found if one["metadata"]["name"].startswith("agent-waypoint-guard-")]


def command(lab: Lab, *args: str) -> subprocess.CompletedProcess[str]:
    """`agent-waypoint guard ..` with an administrator's kubeconfig."""
    config = lab.folder / "guard-kubeconfig.json"
    cluster = {"server": f"https://{lab.api.host}:{lab.api.port}", "certificate-authority": str(lab.api.ca)}
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}], "users": [{"name": "lab", "user": {"token": lab.api.token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    }))
    env = {**os.environ, "KUBECONFIG": str(config)}
    return subprocess.run([str(lab.kubelet.images["agent-waypoint"]), "guard", *args], env=env, capture_output=True, text=True, timeout=600, check=False)


def guarded(lab: Lab) -> str:
    """A namespace whose Service `notes` is guarded, and known to be."""
    namespace = lab.namespace("kept", labels={"istio.io/use-waypoint": "waypoint"})
    waypoint(lab, namespace)
    lab.tool_server(namespace)
    becomes(lab, namespace, "Guarded", "True", "Guarded")
    return namespace


@test
def guard_is_written_and_verified(lab: Lab) -> None:
    """Guarded is True once istiod sends the guard to ztunnel and the pod lists it; who is cut off stands beside."""
    namespace = guarded(lab)
    (guard,) = guards(lab, namespace)
    rule = {"to": [{"operation": {"ports": ["8080"]}}], "from": [{"source": {"notPrincipals": [f"cluster.local/ns/{namespace}/sa/waypoint"]}}]}
    assert guard["spec"]["rules"] == [rule], guard["spec"]
    becomes(lab, namespace, "Reachable", "True", "Reachable")
    told = lab.api.get("v1", "ConfigMap", namespace, "agent-waypoint-cut-off-notes")
    assert told["metadata"]["creationTimestamp"] <= guard["metadata"]["creationTimestamp"], told["metadata"]
    assert "outside the mesh" in told["data"]["cut-off"], told
    exempt = lab.api.get("v1", "ConfigMap", namespace, "agent-waypoint-waypoints")
    assert exempt["data"] == {"waypoint": "waypoint"}, exempt
    said = events(lab, namespace, "Guarding")
    assert said and said[0]["involvedObject"]["name"] == "notes", said
    # Somebody else's policy beside it: the first thing that a new user meets.
    lab.apply("""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clients, namespace: {ns}}
spec: {rules: [{from: [{source: {principals: ["cluster.local/ns/agents/sa/reader"]}}]}]}
""", ns=namespace)
    message = becomes(lab, namespace, "Reachable", "False", "RefusedAtPod")
    assert f"{namespace}/clients" in message and f"/ns/{namespace}/sa/waypoint" in message, message


@test
def guard_that_is_taken_away_is_there_again(lab: Lab) -> None:
    """Deleted by an administrator, or changed: written anew; and it goes when the Service is set to Report."""
    namespace = guarded(lab)
    (guard,) = guards(lab, namespace)
    lab.api.delete(guard)
    eventually("the guard is there again", 10, lambda: guards(lab, namespace))
    lab.api.patch(guards(lab, namespace)[0], {"spec": {"rules": []}})
    eventually("the guard is whole again", 10, lambda: guards(lab, namespace)[0]["spec"].get("rules"))
    becomes(lab, namespace, "Guarded", "True", "Guarded")
    service = lab.api.get("v1", "Service", namespace, "notes")
    lab.api.patch(service, {"metadata": {"annotations": {"agent-waypoint.dev/guard": "Report"}}})
    eventually("the guard is gone", 10, lambda: not guards(lab, namespace))
    becomes(lab, namespace, "Guarded", "False", "Report")
    lab.api.patch(service, {"metadata": {"annotations": {"agent-waypoint.dev/guard": None}}})
    becomes(lab, namespace, "Guarded", "True", "Guarded")
    lab.api.patch(service, {"metadata": {"annotations": {"agent-waypoint.dev/guard-scope": "Workload"}}})
    eventually("every port is guarded", 10, lambda: len(guards(lab, namespace)[0]["spec"]["rules"]) == 2)


@test
def guard_command_lists_and_removes(lab: Lab) -> None:
    """`guard --list`, `--dry-run`; uninstalling is refused while there are guards; `--remove` and `--restore`."""
    namespace = guarded(lab)
    (guard,) = guards(lab, namespace)
    name = guard["metadata"]["name"]
    listed = command(lab, "--list", "-n", namespace)
    assert listed.returncode == 0 and "True (Guarded)" in listed.stdout and name in listed.stdout, listed
    rows = json.loads(command(lab, "--list", "--json").stdout)["services"]
    assert any(row["service"] == f"{namespace}/notes" and row["guarded"]["status"] == "True" for row in rows), rows
    dry = command(lab, "--dry-run", "-n", namespace)
    assert f"unchanged: AuthorizationPolicy {namespace}/{name}" in dry.stdout, dry
    hook = command(lab, "--list", "--none")
    assert hook.returncode == 1 and "guard --remove" in hook.stderr, hook
    try:
        removed = command(lab, "--remove")
        assert removed.returncode == 0 and " 0 left" in removed.stdout, removed
        assert not guards(lab, namespace)
        assert command(lab, "--list", "--none").returncode == 0
    finally:
        restored = command(lab, "--restore")
    assert restored.returncode == 0, restored
    becomes(lab, namespace, "Guarded", "True", "Guarded")
