"""The mesh, running: pods with their node proxies, waypoints, servers, and the world that all of them go by."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from driver.mesh import PATIENCE, until
from driver.peers import Lines

from . import guard, network
from .mesh import Mesh, Pod, Port, Service, agent_policy

RESEARCHER: list[dict[str, Any]] = [{"name": "researchers", "from": [{"serviceAccounts": ["agents/researcher"]}]}]
ANYBODY: list[dict[str, Any]] = [{"name": "anybody"}]
MCP = "agent-waypoint.dev/mcp"
WAYPOINTS = ("waypoint", "waypoint-b")
# Ports that something listens on beside the servers' own.
RECORDER, STATS, ADMIN, ISTIOD = 9999, 15020, 15000, 15012
VIP, VIP_B, VIP_DIRECT, VIP_REPORTS = "10.96.0.10", "10.96.0.11", "10.96.0.12", "10.96.0.13"
NODE_PORT, HOST_PORT = 30080, 8085
NAME, NAME_INSIDE = "tools.dns.example", "inside.dns.example"


HELD = """
import socket, sys
held = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
held.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print('{"up": true}' if held.recv(4096) else '{"closed": true}', flush=True)
held.settimeout(600)
try:
    held.recv(1)
except ConnectionError:
    pass
print('{"down": true}', flush=True)
"""


def first_mesh() -> Mesh:
    """Two agents, an outsider, two waypoints, and servers; every server is an MCP server."""
    hbone = [Port("hbone", 15008, 15008)]
    app = {"mcp": 8080, "debug": 9000}
    pods = [
        Pod("client", "agents", "researcher", 11),
        Pod("other", "agents", "stranger", 12),
        Pod("outsider", "default", "outsider", 13, captured=False),
        Pod("waypoint", "mesh", "waypoint", 21, {"gateway": "waypoint"}, captured=False),
        Pod("waypoint-b", "mesh", "waypoint-b", 22, {"gateway": "waypoint-b"}, captured=False),
        Pod("server", "tools", "notes", 31, {"app": "notes", "tier": "tools"}, app),
        Pod("reports", "tools", "reports", 32, {"app": "reports"}, {"mcp": 8080}),
        Pod("bare", "tools", "bare", 33, {"app": "bare"}, {"mcp": 8080}, captured=False),
        Pod("by-hand", "tools", "by-hand", 34, {"app": "nobody-selects-it"}, {"mcp": 8080}),
        Pod(
            "hosted",
            "tools",
            "hosted",
            0,
            {"app": "hosted"},
            {"mcp": HOST_PORT},
            host_network=True,
            address=network.HOST,
        ),
    ]
    services = [Service(name, "mesh", [], hbone, {"gateway": name}) for name in WAYPOINTS]
    mcp = [Port("mcp", 80, "mcp", MCP)]
    services += [
        Service("notes", "tools", [VIP], mcp, {"app": "notes"}, "waypoint", node_port=NODE_PORT),
        # Of other labels, and the same pod: the second waypoint's.
        Service("notes-b", "tools", [VIP_B], mcp, {"tier": "tools"}, "waypoint-b"),
        # Of the same labels and the same port, and of no waypoint.
        Service("notes-direct", "tools", [VIP_DIRECT], [Port("web", 8888, 8080)], {"app": "notes"}),
        Service("reports", "tools", [VIP_REPORTS], mcp, {"app": "reports"}, "waypoint-b"),
    ]
    services += kinds_of_services(mcp)
    return Mesh(pods, services)


def external(name: str, vip: str, endpoint: str, resolution: str) -> Service:
    """A ServiceEntry for an MCP server."""
    ports, hosts = [Port("mcp", 80, 8080, MCP)], [f"{name}.example"]
    return Service(name, "tools", [vip], ports, {}, "waypoint", [(endpoint, 8080)], hosts=hosts, resolution=resolution)


def kinds_of_services(mcp: list[Port]) -> list[Service]:
    """One of each kind that is fronted."""
    notes, entry = {"app": "notes"}, [Port("mcp", 80, 8080, MCP)]
    return [
        Service("notes-6", "tools", ["fd00:10:96::14"], mcp, notes, "waypoint"),
        Service("notes-dual", "tools", ["10.96.0.15", "fd00:10:96::15"], mcp, notes, "waypoint"),
        Service("headless", "tools", [], mcp, notes, "waypoint"),
        Service("bare", "tools", ["10.96.0.16"], mcp, {"app": "bare"}, "waypoint"),
        Service("hosted", "tools", ["10.96.0.17"], mcp, {"app": "hosted"}, "waypoint"),
        Service("by-hand", "tools", ["10.96.0.18"], entry, {}, "waypoint", endpoints=[("10.244.0.34", 8080)]),
        external("static", "10.96.0.19", network.OUTSIDE, "STATIC"),
        external("dns", "10.96.0.20", NAME, "DNS"),
        external("inside", "10.96.0.21", NAME_INSIDE, "DNS"),
    ]


class Lab:
    """A context manager: everything ends with it, and the namespaces with the process."""

    def __init__(self, bin_dir: Path, directory: Path, files: bool = False) -> None:
        """`files`: the waypoints learn who and where from documents, and not from istiod."""
        self.bin, self.directory, self.files = bin_dir, directory, files
        self.mesh = first_mesh()
        self.guard = guard.plan(bin_dir, self.mesh)
        self.proxies: dict[str, Lines] = {}
        self.waypoints: dict[str, subprocess.Popen[bytes]] = {}
        self.servers: dict[str, Lines] = {}
        self.allow = RESEARCHER

    def __enter__(self) -> Lab:
        self.directory.chmod(0o755)
        network.make_node()
        network.names({NAME: [network.OUTSIDE, network.OUTSIDE6], NAME_INSIDE: ["10.244.0.31", "fd00:10:244::31"]})
        for pod in (pod for pod in self.mesh.pods if not pod.host_network):
            network.make_pod(pod.name, pod.number)
            if pod.captured:
                network.capture(pod.name)
        self._certify()
        self._write_world()
        self._start_istiod()
        for pod in self.mesh.pods:
            if pod.captured and not pod.host_network:
                self._start_proxy(pod)
        for name, address, port in (
            ("server", "[::]", 8080),
            ("server", "[::]", 9000),
            ("server", "[::]", 9090),
            ("reports", "[::]", 8080),
            ("bare", "[::]", 8080),
            ("by-hand", "[::]", 8080),
            (None, network.HOST, HOST_PORT),
            ("waypoint", "127.0.0.1", RECORDER),
            (None, network.METADATA, 80),
            (None, network.OUTSIDE, 8080),
            (None, f"[{network.OUTSIDE6}]", 8080),
        ):
            self._start_server(name, address, port)
        network.witness("server", (8080, 9000, 9090))
        network.witness("reports", (8080,))
        network.witness(None, (80,))
        # What the waypoint says to itself; others call it by right.
        network.witness("waypoint", (RECORDER, STATS, ADMIN, 15008), 'iifname "lo" ')
        self.publish_vips()
        for name in WAYPOINTS:
            self.start_waypoint(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.waypoints):
            self.stop_waypoint(name)
        for lines in [*self.proxies.values(), *self.servers.values(), self.istiod]:
            lines.end()

    # What runs.

    def _certify(self) -> None:
        accounts = sorted({f"{pod.namespace}/{pod.account}" for pod in self.mesh.pods})
        network.sh(str(self.bin / "node-proxy"), "certs", "--dir", str(self.directory / "certs"), *accounts)

    def certificate(self, account: str) -> list[str]:
        stem = self.directory / "certs" / account.replace("/", "-")
        roots = self.directory / "certs/root.pem"
        return ["--cert", f"{stem}.crt", "--key", f"{stem}.key", "--roots", str(roots)]

    def _start_proxy(self, pod: Pod) -> None:
        # By its group the redirection tells its connections from the application's.
        command = ["setpriv", f"--regid={network.PROXY_GROUP}", "--clear-groups", str(self.bin / "node-proxy"), "serve"]
        command += ["--world", str(self.directory / "world.json"), "--workload", pod.uid]
        command += self.certificate(f"{pod.namespace}/{pod.account}")
        lines = Lines([*network.inside(pod.name), *command], self.directory / f"proxy-{pod.name}.log")
        assert "ready" in lines.next(timeout=PATIENCE)
        self.proxies[pod.name] = lines

    def _start_istiod(self) -> None:
        command = [str(self.bin / "node-proxy"), "istiod", "--world", str(self.directory / "world.json")]
        command += ["--listen", f"{network.HOST}:{ISTIOD}", "--dir", str(self.directory)]
        self.istiod = Lines(command, self.directory / "istiod.log")
        assert "ready" in self.istiod.next(timeout=PATIENCE)

    def _start_server(self, pod: str | None, address: str, port: int) -> None:
        command = [*network.inside(pod), str(self.bin / "tool-server"), "--listen", f"{address}:{port}"]
        lines = Lines(command, self.directory / "servers.log")
        assert "listening" in lines.next(timeout=PATIENCE)
        self.servers[f"{pod or address}:{port}"] = lines

    def start_waypoint(self, name: str) -> None:
        """(Re)starts a waypoint over the documents of the moment, and waits until it is ready."""
        self.stop_waypoint(name)
        fronted = [s for s in self.mesh.services if s.waypoint == name]
        # A target that is no MCP port by its Service needs no policy; a policy for it would declare it.
        declared = [s for s in fronted if any(port.app_protocol for port in s.ports)]
        documents = self.mesh.documents(name) + [agent_policy("calls", declared, self.allow)]
        path = self.directory / f"documents-{name}"
        path.mkdir(exist_ok=True)
        (path / "all.yaml").write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents))
        command = [*network.inside(name), str(self.bin / "agent-waypoint"), "run", "-f", str(path)]
        identity = self.certificate(f"mesh/{name}")
        command += ["--identity-cert", identity[1], "--identity-key", identity[3], "--trust-bundle", identity[5]]
        command += ["--hbone-addr", "[::]:15008", "--stats-addr", f"0.0.0.0:{STATS}"]
        if not self.files:
            command += self._told_by_istiod(self.mesh.pod(name))
        command += ["--ready-addr", "127.0.0.1:15021", "--admin-addr", f"127.0.0.1:{ADMIN}"]
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.waypoints[name] = process
        ready = "GET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.directory / f'{name}.log').read_text()[-2000:]}")
            return self.probe(name, "127.0.0.1:15021", request=ready).get("status") == 200

        until(f"{name} is ready", is_ready)

    def _told_by_istiod(self, pod: Pod) -> list[str]:
        (self.directory / "token").write_text("t0ken")
        root, token = self.directory / "istiod-root.pem", self.directory / "token"
        return [
            *("--xds-address", f"{network.HOST}:{ISTIOD}", "--alt-xds-hostname", "istiod.istio-system.svc"),
            *("--xds-root-ca", str(root), "--auth-token", str(token), "--gateway", pod.name, "--pod-name", pod.name),
            *("--instance-ip", pod.v4, "--pod-namespace", pod.namespace, "--service-account", pod.account),
        ]

    def stop_waypoint(self, name: str) -> None:
        process = self.waypoints.pop(name, None)
        if process:
            process.kill()
            process.wait()

    # What they go by.

    def _write_world(self) -> None:
        world = {"addresses": self.mesh.addresses(self.guard.listed), "authorizations": self.guard.policies}
        draft = self.directory / "world.draft"
        draft.write_text(json.dumps(world, indent=1))
        os.replace(draft, self.directory / "world.json")

    def set_world(self) -> None:
        """Hands the world of the moment to every node proxy, and waits until all have it."""
        before = (self.directory / "world.json").read_text()
        self.events()
        self._write_world()
        if (self.directory / "world.json").read_text() == before:
            return
        for name, lines in [*self.proxies.items(), ("istiod", self.istiod)]:
            line: dict[str, Any] = {}
            while "world" not in line:
                line = lines.next(timeout=PATIENCE)
                if "badWorld" in line:
                    raise RuntimeError(f"{name}: {line}")

    def publish_vips(self) -> None:
        rows = []
        for service in self.mesh.services:
            for pod in (pod for pod in self.mesh.pods if service.selects(pod)):
                for port in service.ports:
                    target = self.mesh.target(port, pod)
                    rows += [(vip, port.number, pod.v6 if ":" in vip else pod.v4, target) for vip in service.vips]
                    if service.node_port:
                        rows.append((network.HOST, service.node_port, pod.v4, target))
        network.kube_proxy(rows)

    @contextmanager
    def changed(self, change: Callable[[Lab], None], restart: Sequence[str] = ()) -> Iterator[None]:
        """The lab with a change to what everybody goes by, and afterwards as before."""
        before = (copy.deepcopy(self.mesh), self.guard, self.allow)
        try:
            change(self)
            self._apply(restart)
            yield
        finally:
            self.mesh, self.guard, self.allow = before
            self._apply(restart)

    def _apply(self, restart: Sequence[str]) -> None:
        self.set_world()
        for name in restart:
            self.start_waypoint(name)

    # What is done and seen.

    def probe(self, where: str | None, to: str, **options: Any) -> dict[str, Any]:
        """One `node-proxy probe` in a pod: through=(address, account) for HBONE, headers, request."""
        command = [*network.inside(where), str(self.bin / "node-proxy"), "probe"]
        if "through" in options:
            address, account = options["through"]
            command += ["--through", address, *self.certificate(account)]
        for name, value in options.get("headers", {}).items():
            command += ["--header", f"{name}={value}"]
        if "request" in options:
            command += ["--request", options["request"]]
        done = subprocess.run([*command, to], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"probe: {done.stderr}")
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    @contextmanager
    def held(self, where: str, address: str, port: int) -> Iterator[Lines]:
        """A plaintext connection that stays; it says `up` once it was answered, and `down` when it ends."""
        command = [*network.inside(where), sys.executable, "-c", HELD, address, str(port)]
        lines = Lines(command, self.directory / "held.log")
        try:
            yield lines
        finally:
            lines.end()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What the node proxies said since the last time of asking: (pod, event)."""
        return [(name, event) for name, lines in self.proxies.items() for event in lines.drain() if "verdict" in event]

    def settled(self, where: str | None, quiet: float = 0.25) -> int:
        """The packets that a witness counted, once none came for `quiet` seconds: what came before is then over."""
        counts = [-1]

        def calm() -> bool:
            counts.append(network.witnessed(where))
            time.sleep(quiet)
            return network.witnessed(where) == counts[-1]

        until(f"calm at {where}", calm)
        return counts[-1]
