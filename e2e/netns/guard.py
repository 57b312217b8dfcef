"""The guard of a mesh, as the Authorization resources that istiod would make of its policies for ztunnel."""

from __future__ import annotations

from typing import Any

from .mesh import TRUST_DOMAIN, Mesh, Pod, Service


def principal(waypoint: str) -> str:
    return f"{TRUST_DOMAIN}/ns/mesh/sa/{waypoint}"


def plan(mesh: Mesh, whole_workload: bool = False, union: bool = True) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Guards, one per selector, and which of them each pod lists. `union`: whoever fronts a port of a pod may call it,
    by whichever Service; without, each guard knows its own waypoint only."""
    policies, listed = [], {}
    for number, service in enumerate(s for s in mesh.services if s.waypoint and s.selector):
        name = f"agent-waypoint-guard-{number}"
        pods = [pod for pod in mesh.pods if service.selects(pod)]
        groups = []
        for port in [None] if whole_workload else sorted({mesh.target(p, pod) for p in service.ports for pod in pods}):
            exempt = sorted({principal(w) for pod in pods for w in _fronting(mesh, pod, port)})
            if not union:
                exempt = [principal(service.waypoint or "")]
            rules: list[dict[str, Any]] = [{"matches": [{"notPrincipals": [{"exact": one} for one in exempt]}]}]
            if port is not None:
                rules.append({"matches": [{"destinationPorts": [port]}]})
            groups.append({"rules": rules})
        policies.append(
            {"name": name, "namespace": service.namespace, "scope": "WORKLOAD_SELECTOR", "action": "DENY", "groups": groups}
        )
        for pod in pods:
            listed.setdefault(pod.name, []).append(f"{service.namespace}/{name}")
    return policies, listed


def _fronting(mesh: Mesh, pod: Pod, port: int | None) -> list[str]:
    def serves(service: Service) -> bool:
        return service.selects(pod) and (port is None or any(mesh.target(p, pod) == port for p in service.ports))

    return [service.waypoint for service in mesh.services if service.waypoint and serves(service)]
