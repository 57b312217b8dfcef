"""The kubelet's part: runs the pods that the API server stores, obeys their probes, and keeps their status."""

from __future__ import annotations

import http.client
import logging
import shutil
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .api import Api, ApiError, Object
from .container import IMAGE_USER, Container, Spec
from .net import DNS, NODE, PodNet
from .volumes import SA_MOUNT, Missing, environment, expand, fill

NODE_NAME = "node-1"
# Tokens and ConfigMaps are written anew this often; the kubelet takes about a minute for the latter.
REFRESH = 2.0
log = logging.getLogger("kubelet")


@dataclass
class Running:
    """A pod on this node."""

    uid: str
    net: PodNet
    folder: Path
    containers: dict[str, Container] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    ready: dict[str, bool] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    probed: dict[tuple[str, str], float] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)
    waiting: str = ""
    refreshed: float = 0.0
    ending: float | None = None
    told: object = None


class Kubelet:
    """One node. `images` maps the last part of an image's name to the binary that it would hold."""

    def __init__(self, api: Api, images: dict[str, Path], folder: Path) -> None:
        self.api, self.images, self.folder = api, images, folder
        self.pods: dict[str, Running] = {}
        self._number = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        api.apply({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": NODE_NAME, "labels": {"topology.kubernetes.io/region": "lab", "topology.kubernetes.io/zone": "a"}},
        })
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for running in self.pods.values():
            self._end(running)

    def _loop(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.turn()
            except (ApiError, OSError, http.client.HTTPException) as error:
                # The API server may be down: pods go on, as they do on a node.
                log.debug("turn: %r", error)
                self._probe_all()
            except Exception:
                log.exception("turn")

    def turn(self) -> None:
        """One look at everything."""
        wanted = {pod["metadata"]["uid"]: pod for pod in self.api.list("v1", "Pod") if pod["spec"].get("nodeName") == NODE_NAME}
        for uid in [uid for uid in self.pods if uid not in wanted]:
            self._end(self.pods.pop(uid))
        for uid, pod in wanted.items():
            try:
                self._pod(uid, pod)
            except Missing as missing:
                self.pods[uid].waiting = f"CreateContainerConfigError: {missing}"
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
            if uid in self.pods:
                self._tell(self.pods[uid], pod)

    # -- one pod

    def _pod(self, uid: str, pod: Object) -> None:
        running = self.pods.get(uid)
        if pod["metadata"].get("deletionTimestamp"):
            self._terminate(uid, running, pod)
            return
        if running is None:
            self._number += 1
            name = f"{pod['metadata']['namespace']}.{pod['metadata']['name']}"
            running = self.pods[uid] = Running(uid, PodNet(self._number), self.folder / "pods" / name)
            # Of a pod of the same name before it: its tokens are bound to that one.
            shutil.rmtree(running.folder / "volumes", ignore_errors=True)
            # The address is known before the containers start: their variables name it.
            self._tell(running, pod)
            pod.setdefault("status", {}).update(podIP=running.net.ip, hostIP=NODE)
        now = time.monotonic()
        fresh = now - running.refreshed > REFRESH
        if fresh:
            for volume in self._volumes(pod):
                fill(self.api, pod, volume, running.folder / "volumes" / volume["name"], False)
            running.refreshed = now
        running.waiting = ""
        for container in pod["spec"]["containers"]:
            self._container(running, pod, container)
        self._probe(running, pod)

    def _volumes(self, pod: Object) -> list[Object]:
        volumes = list(pod["spec"].get("volumes", []))
        if self._automount(pod):
            sources = [
                {"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
            volumes.append({"name": "kube-api-access", "projected": {"sources": sources}})
        return volumes

    def _automount(self, pod: Object) -> bool:
        said = pod["spec"].get("automountServiceAccountToken")
        if said is None:
            account = self.api.get("v1", "ServiceAccount", pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default"))
            said = account.get("automountServiceAccountToken", True)
        return bool(said)

    def _container(self, running: Running, pod: Object, container: Object) -> None:
        name = container["name"]
        known = running.containers.get(name)
        if known is not None and (known.exit_code() is None or pod["spec"].get("restartPolicy") == "Never"):
            return
        now = time.monotonic()
        if known is not None:
            if now < running.again.setdefault(name, now + min(10.0, 0.5 * 2 ** running.restarts.get(name, 0))):
                running.ready[name] = False
                running.waiting = f"CrashLoopBackOff: {name} ended with {known.exit_code()}"
                return
            known.close()
            running.restarts[name] = running.restarts.get(name, 0) + 1
        running.again.pop(name, None)
        running.started.discard(name)
        running.ready[name] = False
        for key in [key for key in running.failures if key[0] == name]:
            del running.failures[key]
        binary = self.images.get(container["image"].split("@")[0].rsplit("/", 1)[-1].split(":")[0])
        if binary is None:
            running.waiting = f"ErrImagePull: no image {container['image']}"
            return
        spec = self._spec(running, pod, container, binary)
        root = running.folder / "root" / name
        running.containers[name] = Container(spec, running.net.enter(), root, running.folder / f"{name}.log")
        running.probed = {key: at for key, at in running.probed.items() if key[0] != name}

    def _spec(self, running: Running, pod: Object, container: Object, binary: Path) -> Spec:
        env = environment(self.api, pod, container)
        env["HOSTNAME"] = pod["metadata"]["name"]
        security = {**pod["spec"].get("securityContext", {}), **container.get("securityContext", {})}
        uid = security.get("runAsUser", IMAGE_USER)
        mounts = [(running.folder / "volumes" / one["name"], one["mountPath"], one.get("readOnly", False) or not self._written(pod, one["name"]))
                  for one in container.get("volumeMounts", [])]
        if self._automount(pod):
            mounts.append((running.folder / "volumes" / "kube-api-access", SA_MOUNT, True))
        mounts += [(path, f"/etc/{path.name}", True) for path in self._etc(running, pod)]
        command = container.get("command") or [f"/{binary.name}"]
        argv = [expand(part, env) for part in [*command, *container.get("args", [])]]
        return Spec(binary, argv, env, uid, security.get("runAsGroup", uid), security.get("readOnlyRootFilesystem", False), mounts)

    @staticmethod
    def _written(pod: Object, volume: str) -> bool:
        return any(one["name"] == volume and "emptyDir" in one for one in pod["spec"].get("volumes", []))

    @staticmethod
    def _etc(running: Running, pod: Object) -> list[Path]:
        etc = running.folder / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        namespace = pod["metadata"]["namespace"]
        files = {
            "hosts": f"127.0.0.1 localhost\n::1 localhost\n{running.net.ip} {pod['metadata']['name']}\n",
            "hostname": pod["metadata"]["name"] + "\n",
            "resolv.conf": f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {DNS}\noptions ndots:5\n",
        }
        for name, text in files.items():
            (etc / name).write_text(text)
        return [etc / name for name in files]

    # -- probes

    def _probe_all(self) -> None:
        """Without an API server nothing is written, and crashed containers wait; whoever runs, runs."""

    def _probe(self, running: Running, pod: Object) -> None:
        for container in pod["spec"]["containers"]:
            name = container["name"]
            process = running.containers.get(name)
            if process is None or process.exit_code() is not None:
                continue
            if name not in running.started:
                good = self._ask(running, process, container, "startupProbe", 3)
                if good is False:
                    log.info("%s: startup probe failed, ended", pod["metadata"]["name"])
                    process.signal(signal.SIGKILL)
                if good is not True:
                    continue
                running.started.add(name)
            if self._ask(running, process, container, "livenessProbe", 3) is False:
                process.signal(signal.SIGKILL)
            good = self._ask(running, process, container, "readinessProbe", 3)
            if good is not None:
                running.ready[name] = good

    def _ask(self, running: Running, process: Container, container: Object, which: str, failures: int) -> bool | None:
        """True or False once the thresholds are reached, None while nothing changes."""
        probe = container.get(which)
        if probe is None:
            return True
        key, now = (container["name"], which), time.monotonic()
        due = running.probed.get(key, process.started + probe.get("initialDelaySeconds", 0))
        if now < due:
            return None
        running.probed[key] = now + probe.get("periodSeconds", 10)
        if probed(running.net.ip, probe, container):
            running.failures[key] = 0
            return True
        running.failures[key] = running.failures.get(key, 0) + 1
        return False if running.failures[key] >= probe.get("failureThreshold", failures) else None

    # -- status

    def _tell(self, running: Running, pod: Object) -> None:
        """Writes the status if it has changed."""
        if pod["metadata"].get("deletionTimestamp"):
            all_ready = False
        else:
            names = [container["name"] for container in pod["spec"]["containers"]]
            all_ready = all(running.ready.get(name) for name in names)
        restarts = sum(running.restarts.values())
        phase = self._phase(running, pod)
        now = (all_ready, running.waiting, restarts, phase)
        if now == running.told:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        word = "True" if all_ready else "False"
        statuses = [
            {"name": c["name"], "image": c["image"], "imageID": "", "ready": running.ready.get(c["name"], False),
             "restartCount": running.restarts.get(c["name"], 0), "started": c["name"] in running.started,
             "state": {"waiting": {"reason": running.waiting.split(":")[0], "message": running.waiting}} if running.waiting
             else {"running": {"startedAt": at}}}
            for c in pod["spec"]["containers"]
        ]
        status = {
            "phase": phase,
            "podIP": running.net.ip, "podIPs": [{"ip": running.net.ip}], "hostIP": NODE, "hostIPs": [{"ip": NODE}],
            "startTime": pod.get("status", {}).get("startTime", at), "containerStatuses": statuses,
            "conditions": [{"type": kind, "status": word, "lastTransitionTime": at} for kind in ("Ready", "ContainersReady")]
            + [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}],
        }
        try:
            self.api.patch(pod, {"status": status}, "/status")
            running.told = now
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    @staticmethod
    def _phase(running: Running, pod: Object) -> str:
        """What never starts again has succeeded or failed once all of it ended."""
        if not running.containers:
            return "Pending"
        codes = [container.exit_code() for container in running.containers.values()]
        if pod["spec"].get("restartPolicy") != "Never" or None in codes:
            return "Running"
        return "Failed" if any(codes) else "Succeeded"

    # -- the end

    def _terminate(self, uid: str, running: Running | None, pod: Object) -> None:
        """SIGTERM, the grace period, SIGKILL; then the object goes."""
        if running is None:
            self.api.delete(pod, grace=0)
            return
        now = time.monotonic()
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
        if running.ending is None:
            running.ending = now
            for container in running.containers.values():
                container.signal(signal.SIGTERM)
        if now - running.ending < grace and any(c.exit_code() is None for c in running.containers.values()):
            return
        self._end(self.pods.pop(uid))
        self.api.delete(pod, grace=0)

    @staticmethod
    def _end(running: Running) -> None:
        for container in running.containers.values():
            container.close()
        running.net.close()


def probed(address: str, probe: Object, container: Object) -> bool:
    """One httpGet or tcpSocket probe; other kinds are not played and pass."""
    # All pods are probed in turn: one that does not answer keeps the others waiting for so long, too.
    seconds = 2 * probe.get("timeoutSeconds", 1)
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
    action = probe.get("httpGet") or probe.get("tcpSocket")
    if action is None:
        return True
    port = ports.get(action["port"], action["port"])
    try:
        if "tcpSocket" in probe:
            socket.create_connection((address, int(port)), seconds).close()
            return True
        connection = http.client.HTTPConnection(address, int(port), timeout=seconds)
        try:
            connection.request("GET", action.get("path", "/"))
            return 200 <= connection.getresponse().status < 400
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False
