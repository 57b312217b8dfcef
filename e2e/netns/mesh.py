"""The mesh as a small model, and what is made of it: istiod's addresses for the node proxies, Kubernetes-shaped
documents for a waypoint, the cluster that the guard's planner looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRUST_DOMAIN = "cluster.local"


@dataclass
class Pod:
    """A workload. `ports` are the container's, by name."""

    name: str
    namespace: str
    account: str
    number: int
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    captured: bool = True
    host_network: bool = False
    address: str | None = None
    # Of its own, where the waypoint is for workloads too.
    waypoint: str | None = None

    @property
    def v4(self) -> str:
        return self.address or f"10.244.0.{self.number}"

    @property
    def v6(self) -> str:
        return f"fd00:10:244::{self.number}"

    @property
    def addresses(self) -> list[str]:
        return [self.v4] if self.host_network else [self.v4, self.v6]

    @property
    def uid(self) -> str:
        return f"Kubernetes//Pod/{self.namespace}/{self.name}"

    @property
    def principal(self) -> str:
        return f"{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.account}"


@dataclass
class Port:
    """A Service's port; `target` is a number or the name of a container's port."""

    name: str
    number: int
    target: int | str
    app_protocol: str | None = None


@dataclass
class Service:
    """A Service, or with `hosts` a ServiceEntry. `endpoints` are written by hand where there is no selector; those of a
    ServiceEntry with `resolution` DNS are names."""

    name: str
    namespace: str
    vips: list[str]
    ports: list[Port]
    selector: dict[str, str] = field(default_factory=dict)
    waypoint: str | None = None
    endpoints: list[tuple[str, int]] = field(default_factory=list)
    node_port: int | None = None
    hosts: list[str] = field(default_factory=list)
    resolution: str = "STATIC"

    @property
    def hostname(self) -> str:
        return self.hosts[0] if self.hosts else f"{self.name}.{self.namespace}.svc.cluster.local"

    @property
    def kind(self) -> str:
        return "Published" if self.node_port else "ClusterIp" if self.vips else "Headless"

    def selects(self, pod: Pod) -> bool:
        same = all(pod.labels.get(key) == value for key, value in self.selector.items())
        return bool(self.selector) and pod.namespace == self.namespace and same


@dataclass
class Mesh:
    """Everything. A Service's `waypoint` is the name of a waypoint's own Service in namespace `mesh`."""

    pods: list[Pod]
    services: list[Service]

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods if pod.name == name)

    def service(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)

    def target(self, port: Port, pod: Pod) -> int:
        return port.target if isinstance(port.target, int) else pod.ports.get(port.target, 0)

    # What istiod would send to ztunnel.

    def addresses(self, listed: dict[str, list[str]]) -> list[dict[str, Any]]:
        """`listed`: the policies that select a pod, by its name."""
        services = [{"service": self._service(service)} for service in self.services]
        pods = [{"workload": self._workload(pod, listed.get(pod.name, []))} for pod in self.pods]
        known = {address for pod in self.pods for address in pod.addresses}
        written = [(s, endpoint) for s in self.services for endpoint in s.endpoints if endpoint[0] not in known]
        return services + pods + [{"workload": _by_hand(service, endpoint)} for service, endpoint in written]

    def _service(self, service: Service) -> dict[str, Any]:
        out: dict[str, Any] = {
            "name": service.name,
            "namespace": service.namespace,
            "hostname": service.hostname,
            "addresses": [{"network": "", "address": vip} for vip in service.vips],
            "ports": [
                {"servicePort": port.number, "targetPort": port.target if isinstance(port.target, int) else 0}
                for port in service.ports
            ],
        }
        return out | _fronted_by(service.waypoint)

    def _workload(self, pod: Pod, policies: list[str]) -> dict[str, Any]:
        behind = {}
        for service in self.services:
            by_hand = [port for address, port in service.endpoints if address in pod.addresses]
            if service.selects(pod):
                ports = [{"servicePort": p.number, "targetPort": self.target(p, pod)} for p in service.ports]
            elif by_hand:
                ports = [{"servicePort": service.ports[0].number, "targetPort": by_hand[0]}]
            else:
                continue
            behind[f"{service.namespace}/{service.hostname}"] = {"ports": ports}
        return {
            "uid": pod.uid,
            "name": pod.name,
            "namespace": pod.namespace,
            "addresses": pod.addresses,
            "tunnelProtocol": "HBONE" if pod.captured and not pod.host_network else "NONE",
            "trustDomain": TRUST_DOMAIN,
            "serviceAccount": pod.account,
            "services": behind,
            "authorizationPolicies": policies,
            "networkMode": "HOST_NETWORK" if pod.host_network else "STANDARD",
        } | _fronted_by(pod.waypoint)

    # What a waypoint is told in files.

    def documents(self, waypoint: str) -> list[dict[str, Any]]:
        """Services that `waypoint` fronts and the workloads behind them. Others are there too, and said to be away."""
        out: list[dict[str, Any]] = []
        for service in self.services:
            away = service.waypoint != waypoint
            if service.hosts:
                out.append(_service_entry(service, away))
                continue
            out.append(self._service_document(service, away))
            for number, (address, port) in enumerate(service.endpoints):
                out.append(_slice(service, number, address, port))
        return out + [_workload_entry(pod) for pod in self.pods if pod.labels]

    def _service_document(self, service: Service, away: bool) -> dict[str, Any]:
        labels = {"istio.io/use-waypoint": "none"} if away else {}
        ports = []
        for port in service.ports:
            spec: dict[str, Any] = {
                "name": port.name,
                "port": port.number,
                "targetPort": port.target,
                "protocol": "TCP",
            }
            if port.app_protocol:
                spec["appProtocol"] = port.app_protocol
            if service.node_port:
                spec["nodePort"] = service.node_port
            ports.append(spec)
        spec = {
            "clusterIP": service.vips[0] if service.vips else "None",
            "clusterIPs": service.vips or ["None"],
            "selector": service.selector,
            "ports": ports,
            "type": "NodePort" if service.node_port else "ClusterIP",
        }
        meta = {"name": service.name, "namespace": service.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _fronted_by(waypoint: str | None) -> dict[str, Any]:
    if not waypoint:
        return {}
    name = {"namespace": "mesh", "hostname": f"{waypoint}.mesh.svc.cluster.local"}
    return {"waypoint": {"hostname": name, "hboneMtlsPort": 15008}}


def _by_hand(service: Service, endpoint: tuple[str, int]) -> dict[str, Any]:
    """An endpoint that no pod has, as istiod makes a workload of it; a name is resolved by whoever dials it."""
    address, port = endpoint
    named = any(letter.isalpha() for letter in address) and ":" not in address
    ports = {"ports": [{"servicePort": service.ports[0].number, "targetPort": port}]}
    return {
        "uid": f"Kubernetes/discovery.k8s.io/EndpointSlice/{service.namespace}/{service.name}/{address}",
        "name": f"{service.name}-{address}",
        "namespace": service.namespace,
        "addresses": [] if named else [address],
        "hostname": address if named else "",
        "services": {f"{service.namespace}/{service.hostname}": ports},
    }


def _service_entry(service: Service, away: bool) -> dict[str, Any]:
    spec = {
        "hosts": service.hosts,
        "addresses": service.vips,
        "location": "MESH_EXTERNAL",
        "resolution": service.resolution,
        "ports": [
            {"number": p.number, "name": p.name, "protocol": "HTTP", "targetPort": p.target} for p in service.ports
        ],
        "endpoints": [{"address": address} for address, _ in service.endpoints],
    }
    labels = {"istio.io/use-waypoint": "none"} if away else {}
    meta = {"name": service.name, "namespace": service.namespace, "labels": labels}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec}


def _slice(service: Service, number: int, address: str, port: int) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service.name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service.name}-{number}", "namespace": service.namespace, "labels": labels},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": service.ports[0].name, "port": port, "protocol": "TCP"}],
    }


def _workload_entry(pod: Pod) -> dict[str, Any]:
    labels = dict(pod.labels)
    if pod.captured and not pod.host_network:
        labels["networking.istio.io/tunnel"] = "http"
    spec = {"address": pod.v4, "serviceAccount": pod.account, "labels": labels, "ports": pod.ports}
    meta = {"name": pod.name, "namespace": pod.namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": meta, "spec": spec}


def agent_policy(name: str, services: list[Service], allow: list[dict[str, Any]]) -> dict[str, Any]:
    """Nobody deletes; the rest is what `allow` says."""
    return {
        "apiVersion": "agent-waypoint.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name, "namespace": "tools"},
        "spec": {
            "targetRefs": [{"kind": "ServiceEntry" if s.hosts else "Service", "name": s.name} for s in services],
            "protocol": "MCP",
            "deny": [{"name": "no-delete", "to": [{"tools": ["delete_*"]}]}],
            "allow": allow,
        },
    }
