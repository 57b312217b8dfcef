"""What kube-controller-manager and kube-proxy would do: pods of Deployments, EndpointSlices, `default` ServiceAccounts,
removal of what lost its owner, and Services' addresses."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import math
import threading
from typing import Any

from .api import Api, ApiError, Object, ready, selected
from .kubelet import NODE_NAME
from .net import ISTIOD, Names, Services

MANAGED = "endpointslice.kubernetes.io/managed-by"
HASH = "pod-template-hash"
# Kinds that are collected with their owner.
OWNED = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ServiceAccount"), ("policy/v1", "PodDisruptionBudget"),
         ("v1", "Pod"), ("v1", "ConfigMap"))
ISTIOD_PORTS = {15010, 15012, 15014, 443}
log = logging.getLogger("controllers")


class Controllers:
    """One loop over everything; at this size nothing has to be watched."""

    def __init__(self, api: Api, services: Services, names: Names) -> None:
        self.api, self.services, self.names = api, services, names
        self._slices: dict[tuple[str, str], Any] = {}
        self._told: dict[str, Object] = {}
        self._turns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.turn()
            except (ApiError, OSError, http.client.HTTPException) as error:
                log.debug("turn: %r", error)
            except Exception:
                log.exception("turn")

    def turn(self) -> None:
        pods = self.api.list("v1", "Pod")
        services = self.api.list("v1", "Service")
        self._accounts()
        deployments = self.api.list("apps/v1", "Deployment")
        for deployment in deployments:
            self._deployment(deployment, [pod for pod in pods if _owner(pod) == deployment["metadata"]["uid"]])
        table, names = [], {}
        for service in services:
            table += self._service(service, pods)
            self._name(service, pods, names)
        # What EndpointSlices written by hand say counts as well.
        self.services.put(table)
        self.names.put(names)
        self._turns += 1
        if self._turns % 5 == 0:
            self._collect()

    def _accounts(self) -> None:
        there = {one["metadata"]["namespace"] for one in self.api.list("v1", "ServiceAccount") if one["metadata"]["name"] == "default"}
        for namespace in self.api.list("v1", "Namespace"):
            name = namespace["metadata"]["name"]
            if name not in there and not namespace["metadata"].get("deletionTimestamp"):
                self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}})
                config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": name}}
                self.api.apply({**config, "data": {"ca.crt": self.api.ca.read_text()}})

    # -- Deployments

    def _deployment(self, deployment: Object, pods: list[Object]) -> None:
        spec = deployment["spec"]
        wanted = spec.get("replicas", 1)
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
        live = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        new = [pod for pod in live if pod["metadata"]["labels"].get(HASH) == digest]
        old = [pod for pod in live if pod not in new]
        rolling = spec.get("strategy", {}).get("rollingUpdate", {})
        surge = _part(rolling.get("maxSurge", "25%"), wanted, math.ceil)
        spare = _part(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
        for _ in range(min(wanted - len(new), wanted + surge - len(live))):
            self._pod(deployment, digest)
        good = [pod for pod in live if ready(pod)]
        # Old pods that are not ready go first; ready ones as far as enough others are.
        for pod in [pod for pod in old if pod not in good]:
            self.api.delete(pod)
        for pod in [pod for pod in old if pod in good][: max(0, len(good) - (wanted - spare))]:
            self.api.delete(pod)
        for pod in sorted(new, key=ready)[: max(0, len(new) - wanted)]:
            self.api.delete(pod)
        self._tell(deployment, live, new, wanted)

    def _pod(self, deployment: Object, digest: str) -> None:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        labels = {**template.get("metadata", {}).get("labels", {}), HASH: digest}
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"], "controller": True}
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "generateName": f"{meta['name']}-{digest}-", "namespace": meta["namespace"], "labels": labels,
                "annotations": template.get("metadata", {}).get("annotations", {}), "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "nodeName": NODE_NAME},
        }
        self.api.create(pod)

    def _tell(self, deployment: Object, live: list[Object], new: list[Object], wanted: int) -> None:
        good = [pod for pod in live if ready(pod)]
        available = len(good) >= wanted
        status = {
            "observedGeneration": deployment["metadata"]["generation"], "replicas": len(live), "updatedReplicas": len(new),
            "readyReplicas": len(good), "availableReplicas": len(good), "unavailableReplicas": max(0, wanted - len(good)),
            "conditions": [{"type": "Available", "status": "True" if available else "False", "reason": "Lab", "message": ""}],
        }
        uid = deployment["metadata"]["uid"]
        if self._told.get(uid) != status:
            self.api.patch(deployment, {"status": status}, "/status")
            self._told[uid] = status

    # -- Services

    def _service(self, service: Object, pods: list[Object]) -> list[tuple[str, int, list[tuple[str, int]]]]:
        meta, spec = service["metadata"], service["spec"]
        if meta["namespace"] == "istio-system" and meta["name"] == "istiod":
            return self._istiod(service)
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return []
        chosen = [pod for pod in pods if pod["metadata"]["namespace"] == meta["namespace"]
                  and selected(pod["metadata"].get("labels"), spec["selector"]) and pod.get("status", {}).get("podIP")]
        groups: dict[tuple[tuple[str, int], ...], list[Object]] = {}
        for pod in chosen:
            ports = tuple((port.get("name", ""), target) for port in spec.get("ports", []) if (target := _target(port, pod)))
            groups.setdefault(ports, []).append(pod)
        self._write(service, groups)
        if spec.get("clusterIP") in (None, "None", ""):
            return []
        table = []
        for port in spec.get("ports", []):
            ends = [(pod["status"]["podIP"], target) for pod in chosen if _serving(pod, spec) and (target := _target(port, pod))]
            table.append((spec["clusterIP"], port["port"], ends))
        return table

    def _istiod(self, service: Object) -> list[tuple[str, int, list[tuple[str, int]]]]:
        """istiod is no pod here: it runs on the node, under an address of its own."""
        ports = [(port["port"], 15017 if port["port"] == 443 else port["port"]) for port in service["spec"]["ports"]]
        return [(service["spec"]["clusterIP"], port, [(ISTIOD, target)]) for port, target in ports if port in ISTIOD_PORTS]

    def _write(self, service: Object, groups: dict[tuple[tuple[str, int], ...], list[Object]]) -> None:
        meta, spec = service["metadata"], service["spec"]
        for number, (ports, pods) in enumerate(sorted(groups.items())):
            endpoints = [
                {"addresses": [pod["status"]["podIP"]], "nodeName": NODE_NAME,
                 "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": meta["namespace"], "uid": pod["metadata"]["uid"]},
                 "conditions": {"ready": _serving(pod, spec), "serving": ready(pod), "terminating": "deletionTimestamp" in pod["metadata"]}}
                for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"])
            ]
            self._slice(service, number, endpoints, ports)
        for key in [key for key in self._slices if key[0] == meta["uid"] and int(key[1]) >= len(groups)]:
            self.api.delete({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                             "metadata": {"namespace": meta["namespace"], "name": f"{meta['name']}-lab{key[1]}"}})
            del self._slices[key]

    def _slice(self, service: Object, number: int, endpoints: list[Object], ports: tuple[tuple[str, int], ...]) -> None:
        meta = service["metadata"]
        appears = {port.get("name", ""): port.get("appProtocol") for port in service["spec"].get("ports", [])}
        listed = [{"name": name, "port": target, "protocol": "TCP", **({"appProtocol": appears[name]} if appears.get(name) else {})} for name, target in ports]
        key, now = (meta["uid"], str(number)), (endpoints, listed)
        if self._slices.get(key) == now:
            return
        self.api.apply({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{meta['name']}-lab{number}", "namespace": meta["namespace"],
                         "labels": {"kubernetes.io/service-name": meta["name"], MANAGED: "lab"},
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": meta["name"], "uid": meta["uid"]}]},
            "endpoints": endpoints, "ports": listed,
        })
        self._slices[key] = now

    @staticmethod
    def _name(service: Object, pods: list[Object], names: dict[str, list[str]]) -> None:
        meta, spec = service["metadata"], service["spec"]
        full = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
        if spec.get("clusterIP") not in (None, "None", ""):
            names[full] = [spec["clusterIP"]]
        else:
            names[full] = [pod["status"]["podIP"] for pod in pods if pod["metadata"]["namespace"] == meta["namespace"]
                           and selected(pod["metadata"].get("labels"), spec.get("selector")) and ready(pod)]

    # -- owners

    def _collect(self) -> None:
        """Garbage collection, with uids as they are now."""
        alive: dict[tuple[str, str, str, str], str | None] = {}
        for api_version, kind in OWNED:
            for one in self.api.list(api_version, kind):
                owners = one["metadata"].get("ownerReferences", [])
                if owners and all(self._gone(one["metadata"]["namespace"], owner, alive) for owner in owners):
                    self.api.delete(one)

    def _gone(self, namespace: str, owner: Object, alive: dict[tuple[str, str, str, str], str | None]) -> bool:
        key = (owner["apiVersion"], owner["kind"], namespace, owner["name"])
        if key not in alive:
            found = self.api.find(*key)
            alive[key] = found["metadata"]["uid"] if found else None
        return alive[key] != owner["uid"]


def _owner(pod: Object) -> str | None:
    return next((o["uid"] for o in pod["metadata"].get("ownerReferences", []) if o["kind"] == "Deployment"), None)


def _serving(pod: Object, spec: Object) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return ready(pod) or bool(spec.get("publishNotReadyAddresses"))


def _part(value: int | str, of: int, rounded: Any) -> int:
    return int(rounded(of * int(value[:-1]) / 100)) if isinstance(value, str) else value


def _target(port: Object, pod: Object) -> int | None:
    """A Service port's number on one pod."""
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    for container in pod["spec"]["containers"]:
        for one in container.get("ports", []):
            if one.get("name") == wanted:
                return int(one["containerPort"])
    return None
