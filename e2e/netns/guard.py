"""The guard of a mesh: planned by the controller's own planner (`node-proxy guard`), handed to pods as istiod does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .mesh import TRUST_DOMAIN, Mesh
from .network import sh


@dataclass
class Guard:
    """What ztunnel is sent: policies, and which of them each pod lists, by its name."""

    policies: list[dict[str, Any]]
    listed: dict[str, list[str]]


def none() -> Guard:
    return Guard([], {})


def plan(binary: Path, mesh: Mesh, whole_workload: bool = False) -> Guard:
    """The guard that the controller would write, as istiod would send it."""
    guard = none()
    for policy in _ask(binary, mesh, None, whole_workload)["policies"]:
        sent = policy["sent"]
        guard.policies.append(sent)
        for pod in mesh.pods:
            labels = policy["selector"].items()
            if pod.namespace == sent["namespace"] and all(pod.labels.get(key) == value for key, value in labels):
                guard.listed.setdefault(pod.name, []).append(f"{sent['namespace']}/{sent['name']}")
    return guard


def verify(binary: Path, mesh: Mesh, guard: Guard, whole_workload: bool = False) -> dict[str, dict[str, Any]]:
    """What the controller says of each fronted Service once ztunnel is sent `guard`: by the Service's name."""
    plan = _ask(binary, mesh, guard, whole_workload)["plan"]
    said = {subject["service"].split("/")[1]: subject for subject in plan["subjects"]}
    return said | {name.split("/")[1]: {"external": endpoints} for name, endpoints in plan["external"]}


def _ask(binary: Path, mesh: Mesh, guard: Guard | None, whole_workload: bool) -> dict[str, Any]:
    waypoints = [pod for pod in mesh.pods if pod.namespace == "mesh"]
    cluster: dict[str, Any] = {
        "trust_domain": TRUST_DOMAIN,
        "waypoints": [
            {"namespace": pod.namespace, "name": pod.name, "accounts": [pod.account], "addresses": pod.addresses}
            for pod in waypoints
        ],
        "services": [
            {
                "namespace": service.namespace,
                "name": service.name,
                "kind": service.kind,
                "selector": service.selector,
                "ports": [{"port": port.number, "target": port.target} for port in service.ports],
                "waypoints": [f"mesh/{service.waypoint}"] if service.waypoint else [],
                "whole_workload": whole_workload,
            }
            for service in mesh.services
            if not service.hosts
        ],
        "pods": [
            {
                "namespace": pod.namespace,
                "name": pod.name,
                "labels": pod.labels,
                "ports": pod.ports,
                "capture": "HostNetwork" if pod.host_network else "Captured" if pod.captured else "Uncaptured",
            }
            for pod in mesh.pods
        ],
        "externals": [
            {"namespace": service.namespace, "name": service.name, "endpoints": max(1, len(service.endpoints))}
            for service in mesh.services
            if service.hosts
        ],
        "sent": None,
    }
    if guard:
        workloads = [
            {"namespace": p.namespace, "name": p.name, "addresses": p.addresses, "listed": guard.listed.get(p.name, [])}
            for p in mesh.pods
        ]
        cluster["sent"] = {"authorizations": guard.policies, "workloads": workloads}
    answer: dict[str, Any] = json.loads(sh(str(binary / "node-proxy"), "guard", stdin=json.dumps(cluster)))
    return answer
