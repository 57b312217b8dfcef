"""What a test gets: the cluster, and the words to say what should be in it."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api import Api, Object, eventually, ready
from .cluster import Cluster
from .kubelet import NODE_NAME, Kubelet

PROXY_PORT = 3128
ISTIO_VOLUMES = [
    {"name": "istio-token", "projected": {"sources": [
        {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}},
    {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
]
ISTIO_MOUNTS = [
    {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": True},
    {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio", "readOnly": True},
]
DOWNWARD = [
    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for name, path in (("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"), ("INSTANCE_IP", "status.podIP"),
                       ("SERVICE_ACCOUNT", "spec.serviceAccountName"))
]


class Refused(OSError):
    """The waypoint opened no tunnel. `status` is what it answered to the CONNECT; 502 where it did not answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The JSON-RPC message in it, as JSON or as the first event of a stream."""
        text = self.body.decode()
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:") and line[5:].strip())
        return json.loads(text)


class Lab:
    """One running cluster, shared by all tests; each takes namespaces of its own."""

    def __init__(self, api: Api, cluster: Cluster, kubelet: Kubelet, folder: Path, root: Path) -> None:
        self.api, self.cluster, self.kubelet, self.folder, self.root = api, cluster, kubelet, folder, root
        self._numbers = itertools.count(1)
        # When a test took a right of the controller away, and when it was told that the right was back; seconds since the epoch.
        self.without_rights: list[tuple[float, float]] = []

    def install(self) -> None:
        """What `kubectl apply -f manifests/install.yaml` gives; only the CRDs as long as there is no such file."""
        file = self.root / "manifests" / "install.yaml"
        files = [file] if file.exists() else sorted((self.root / "manifests" / "crds").glob("*.yaml"))
        self.cluster.install(self.api, json.loads(self.cluster.kit("json", *map(str, files))))

    # -- objects

    def namespace(self, name: str = "t", labels: dict[str, str] | None = None) -> str:
        """A fresh namespace, with what Istio puts in it."""
        name = f"{name}-{next(self._numbers)}"
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
        for config in ("istio-ca-root-cert", "kube-root-ca.crt"):
            eventually(f"ConfigMap {name}/{config}", 20, lambda config=config: self.api.find("v1", "ConfigMap", name, config))
        return name

    def apply(self, text: str, **names: str) -> list[Object]:
        """YAML documents, `{name}` replaced, applied."""
        return [self.api.apply(one) for one in self.parse(text, **names)]

    def parse(self, text: str, **names: str) -> list[Object]:
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        file = self.folder / f"applied-{next(self._numbers)}.yaml"
        file.write_text(text)
        return json.loads(self.cluster.kit("json", str(file)))

    def pod(self, namespace: str, name: str, image: str, args: list[str], *, account: str = "", labels: dict[str, str] | None = None,
            env: list[Object] | None = None, annotations: dict[str, str] | None = None, istio: bool = True,
            volumes: list[Object] | None = None, mounts: list[Object] | None = None, probe: Object | None = None,
            more: list[Object] | None = None) -> Object:
        """A bare pod on the node, with Istio's token and root where `istio`."""
        account = account or name
        self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}})
        container: Object = {
            "name": name, "image": image, "args": args, "env": [*DOWNWARD, *(env or [])],
            "volumeMounts": [*(ISTIO_MOUNTS if istio else []), *(mounts or [])],
        }
        if probe:
            container["readinessProbe"] = {"periodSeconds": 1, **probe}
        return self.api.create({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}, "annotations": annotations or {}},
            "spec": {"nodeName": NODE_NAME, "serviceAccountName": account, "automountServiceAccountToken": False, "containers": [container, *(more or [])],
                     "volumes": [*(ISTIO_VOLUMES if istio else []), *(volumes or [])], "terminationGracePeriodSeconds": 2},
        })

    def ready_pod(self, namespace: str, name: str, seconds: float = 30) -> Object:
        def look() -> Object | None:
            pod = self.api.get("v1", "Pod", namespace, name)
            return pod if ready(pod) else None
        try:
            return eventually(f"pod {namespace}/{name} is ready", seconds, look)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.log(namespace, name)}") from late

    def pods_ready(self, namespace: str, selector: str, count: int, seconds: float = 60) -> list[Object]:
        def look() -> list[Object] | None:
            found = self.api.list("v1", "Pod", namespace, labelSelector=selector)
            return found if len(found) == count and all(ready(pod) for pod in found) else None
        try:
            return eventually(f"{count} pods of {namespace} with {selector} are ready", seconds, look)
        except AssertionError as late:
            names = [pod["metadata"]["name"] for pod in self.api.list("v1", "Pod", namespace, labelSelector=selector)]
            raise AssertionError("\n".join([str(late), *(self.log(namespace, name) for name in names)])) from late

    def log(self, namespace: str, pod: str, lines: int = 25) -> str:
        """The last lines of a pod's containers, and why it does not start."""
        folder = self.folder / "pods" / f"{namespace}.{pod}"
        parts = []
        if found := self.api.find("v1", "Pod", namespace, pod):
            states = found.get("status", {}).get("containerStatuses", [])
            parts += [state["state"]["waiting"]["message"] for state in states if "waiting" in state.get("state", {})]
        for log in sorted(folder.glob("*.log")):
            parts.append(f"--- {namespace}/{pod}/{log.stem}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(parts)

    def logged(self, namespace: str, pod: str, container: str = "") -> str:
        """The whole log of one container."""
        return (self.folder / "pods" / f"{namespace}.{pod}" / f"{container or pod}.log").read_text(errors="replace")

    # -- the mesh

    def tool_server(self, namespace: str, name: str = "notes", *, captured: bool = True, app_protocol: str = "agent-waypoint.dev/mcp",
                    labels: dict[str, str] | None = None) -> str:
        """An MCP server with its Service on port 80; captured, it has an HBONE end. Returns the Service's address."""
        program = ("tool-server", ["--listen", "0.0.0.0:8080"])
        return self._server(namespace, name, program, ("mcp", app_protocol), captured=captured, labels=labels)

    def agent(self, namespace: str, name: str = "agent") -> str:
        """An A2A agent with its Service on port 80 and an HBONE end. Returns the Service's address."""
        return self._server(namespace, name, ("agent", ["0.0.0.0:8080"]), ("a2a", "agent-waypoint.dev/a2a"))

    def origin(self, namespace: str, name: str, *args: str, app_protocol: str = "http", labels: dict[str, str] | None = None) -> str:
        """A plain server that answers by words in heads, or an authorization provider (`peer provider --help`), with its Service on
        port 80 and an HBONE end. Returns the Service's address."""
        program = ("peer", ["provider", "--listen", "0.0.0.0:8080", *args])
        return self._server(namespace, name, program, ("http", app_protocol), labels=labels)

    def heads(self, namespace: str, name: str) -> list[str]:
        """The heads of what reached an origin, in small letters."""
        return [json.loads(line) for line in self.logged(namespace, name).splitlines() if line.startswith('"')]

    def _server(self, namespace: str, name: str, program: tuple[str, list[str]], port: tuple[str, str], *, captured: bool = True,
                labels: dict[str, str] | None = None) -> str:
        (image, args), (port_name, app_protocol) = program, port
        service = self.api.apply({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"selector": {"app": name}, "ports": [
                {"name": port_name, "port": 80, "targetPort": 8080, **({"appProtocol": app_protocol} if app_protocol else {})}]},
        })
        annotations = {"ambient.istio.io/redirection": "enabled"} if captured else {}
        end = {"name": "ztunnel", "image": "peer", "args": ["serve", "--listen", "$(INSTANCE_IP):15008"], "env": DOWNWARD, "volumeMounts": ISTIO_MOUNTS,
               "readinessProbe": {"tcpSocket": {"port": 15008}, "periodSeconds": 1}}
        self.pod(namespace, name, image, args, annotations=annotations, probe={"tcpSocket": {"port": 8080}}, more=[end] if captured else [])
        self.ready_pod(namespace, name)
        return service["spec"]["clusterIP"]

    def seen(self, namespace: str, name: str = "notes") -> list[Object]:
        """The requests that reached a server."""
        lines = [json.loads(line) for line in self.logged(namespace, name).splitlines() if line.startswith("{")]
        return [line for line in lines if "listening" not in line]

    def client(self, namespace: str, account: str) -> Client:
        """A pod that calls as `namespace/account`."""
        self.pod(namespace, account, "peer", ["proxy", "--listen", f"0.0.0.0:{PROXY_PORT}"], probe={"tcpSocket": {"port": PROXY_PORT}})
        return Client(self.ready_pod(namespace, account)["status"]["podIP"])

    def certificate(self, address: str, port: int = 15008) -> dict[str, str]:
        """What a server presents: its URI names, issuer, and validity."""
        asked = ["openssl", "s_client", "-connect", f"{address}:{port}", "-alpn", "h2", "-showcerts"]
        shown = subprocess.run(asked, input="", capture_output=True, text=True, timeout=120, check=False).stdout
        read = ["openssl", "x509", "-noout", "-serial", "-dates", "-issuer", "-ext", "subjectAltName"]
        text = subprocess.run(read, input=shown, capture_output=True, text=True, timeout=120, check=False).stdout
        pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return {**pairs, "uri": next((line.strip()[4:] for line in text.splitlines() if "URI:" in line), "")}


class Client:
    """A caller with an identity of its own, on its own pod."""

    def __init__(self, address: str) -> None:
        self.address = address

    def open(self, waypoint: str, authority: str, timeout: float = 90, **headers: str) -> http.client.HTTPConnection:
        """A tunnel through a waypoint (address, or address:port) to what is asked for.

        Raises Refused where the waypoint opens none.
        """
        host, _, port = authority.rpartition(":")
        connection = http.client.HTTPConnection(self.address, PROXY_PORT, timeout=timeout)
        named = waypoint if ":" in waypoint else f"{waypoint}:15008"
        connection.set_tunnel(host, int(port), {"waypoint": named, **headers})
        try:
            connection.connect()
        except OSError as error:
            words = str(error).split("Tunnel connection failed: ")
            if len(words) == 2:
                status, _, reason = words[1].partition(" ")
                raise Refused(int(status), reason) from error
            raise
        return connection

    def http(self, waypoint: str, authority: str, method: str = "GET", path: str = "/", body: bytes | None = None,
             headers: dict[str, str] | None = None, **claims: str) -> Answer:
        """One HTTP request in a tunnel of its own."""
        connection = self.open(waypoint, authority, **claims)
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def session(self, waypoint: str, authority: str, headers: dict[str, str] | None = None) -> Session:
        return Session(self, waypoint, authority, headers)

    def call(self, waypoint: str, authority: str, tool: str, arguments: Object | None = None) -> Any:
        """initialize and one tools/call; the JSON-RPC answer."""
        session = Session(self, waypoint, authority)
        try:
            return session.call(tool, arguments)
        finally:
            session.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str] | None) -> Answer:
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


class Session:
    """An MCP session (2025-06-18, streamable HTTP) over one tunnel."""

    def __init__(self, client: Client, waypoint: str, authority: str, headers: dict[str, str] | None = None) -> None:
        self.connection = client.open(waypoint, authority)
        self.authority = authority
        self.number = itertools.count(1)
        self.headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **(headers or {})}
        self.initialized = self.rpc("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "lab", "version": "1"}})
        self.headers["MCP-Protocol-Version"] = "2025-06-18"
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def post(self, message: Object) -> Answer:
        answer = ask(self.connection, "POST", "/mcp", json.dumps(message).encode(), {**self.headers, "Host": self.authority})
        if session := answer.headers.get("mcp-session-id"):
            self.headers["Mcp-Session-Id"] = session
        return answer

    def rpc(self, method: str, params: Object | None = None) -> Any:
        answer = self.post({"jsonrpc": "2.0", "id": next(self.number), "method": method, "params": params or {}})
        if answer.status != 200:
            raise AssertionError(f"{method}: HTTP {answer.status} {answer.body[:300]!r}")
        return answer.json()

    def call(self, tool: str, arguments: Object | None = None) -> Any:
        return self.rpc("tools/call", {"name": tool, "arguments": arguments or {}})

    def tools(self) -> list[str]:
        return sorted(tool["name"] for tool in self.rpc("tools/list")["result"]["tools"])

    def close(self) -> None:
        self.connection.close()

