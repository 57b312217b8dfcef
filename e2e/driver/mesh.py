"""A small mesh on loopback: documents, `agent-waypoint run`, and `agent-waypoint connect` as any identity."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

NAMESPACE = "tools"
PORT = 8080


# Seconds that anything may take before it has failed: many, as CI shares a machine that may be slow.
PATIENCE = 120

_handed_out: set[int] = set()


def free_port() -> int:
    """One that nobody listens on, and that the kernel gives to no connection between now and when it is listened on."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10240, max(low, 20000)), 1000):
        if port not in _handed_out:
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            _handed_out.add(port)
            return port
    raise RuntimeError("no port is free")


def listens(port: int) -> bool:
    """Whether somebody does on loopback, read from the kernel's table: a probe by connecting would be a tunnel of its own."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    return any(wanted in line for line in Path("/proc/net/tcp").read_text().splitlines())


def until(what: str, holds: Callable[[], bool], limit: float = PATIENCE) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {limit} s: {what}")
        time.sleep(0.02)


def service(name: str, vip: str, endpoint: tuple[str, int], app_protocol: str | None) -> str:
    """A Service with one plaintext endpoint, as Kubernetes would store them (the VIP is a key; nobody dials it)."""
    protocol = f", appProtocol: {app_protocol}" if app_protocol else ""
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  clusterIP: {vip}
  clusterIPs: [{vip}]
  ports:
  - {{name: main, port: {PORT}, targetPort: {endpoint[1]}, protocol: TCP{protocol}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: {NAMESPACE}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
endpoints:
- addresses: ["{endpoint[0]}"]
  conditions: {{ready: true}}
ports:
- {{name: main, port: {endpoint[1]}, protocol: TCP}}
"""


def notes_policy(services: Sequence[str]) -> str:
    """Researchers read everything and write for acme; nobody deletes."""
    targets = "".join(f"  - {{kind: Service, name: {name}}}\n" for name in services)
    return f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: notes, namespace: {NAMESPACE}}}
spec:
  targetRefs:
{targets}\
  protocol: MCP
  deny:
  - name: no-delete
    to: [{{tools: ["delete_*"]}}]
  require:
  - name: own-org-only
    to: [{{tools: ["create_*", "update_*"]}}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  allow:
  - name: researchers
    from: [{{serviceAccounts: ["agents/researcher"]}}]
    to: [{{tools: ["get_*", "search_*", "create_*", "update_*"]}}]
"""


class Mesh:
    """The waypoint over `documents`, and its clients' ends. A context manager: everything ends with it."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        documents: dict[str, str],
        home: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """`home` holds the CA: waypoints that share it are replicas. `arguments` are more of `run`'s."""
        self.binary = binary
        self.directory = directory
        self.hbone = f"127.0.0.1:{free_port()}"
        self.stats = f"127.0.0.1:{free_port()}"
        self.ready = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.documents = directory / "documents"
        self.documents.mkdir(parents=True)
        for name, text in documents.items():
            (self.documents / f"{name}.yaml").write_text(text)
        self.arguments = list(arguments)
        state = home or directory / "state"
        state.mkdir(exist_ok=True)
        self.environment = {**os.environ, "XDG_STATE_HOME": str(state)}

    def __enter__(self) -> Mesh:
        try:
            self._run()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self) -> None:
        """Ends the waypoint as a crash would, and starts it again where it was."""
        self.waypoint.kill()
        self.waypoint.wait()
        self.processes.remove(self.waypoint)
        self._run()

    def _run(self) -> None:
        self.waypoint = self._start(
            ["run", "-f", str(self.documents), "--dev", "--hbone-addr", self.hbone, "--stats-addr", self.stats]
            + ["--ready-addr", self.ready, "--admin-addr", self.admin, *self.arguments],
            "waypoint",
        )
        self._wait(self.waypoint, "waypoint", self._is_ready)

    def connect(self, identity: str, service_name: str, port: int | None = None) -> tuple[str, int]:
        """Starts the client side for `identity` (NAMESPACE/SERVICEACCOUNT); returns the address to call."""
        return self.connect_process(identity, service_name, port)[0]

    def connect_process(
        self, identity: str, service_name: str, port: int | None = None
    ) -> tuple[tuple[str, int], subprocess.Popen[bytes]]:
        address = ("127.0.0.1", port or free_port())
        name = f"connect-{identity.replace('/', '-')}-{service_name}-{address[1]}"
        arguments = ["--as", identity, "--listen", f"{address[0]}:{address[1]}", "--waypoint", self.hbone]
        process = self._start(["connect", *arguments, f"{NAMESPACE}/{service_name}:{PORT}"], name)

        self._wait(process, name, lambda: listens(address[1]))
        return address, process

    def log(self, name: str = "waypoint") -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def _start(self, arguments: list[str], name: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
            )
        self.processes.append(process)
        return process

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.ready}/healthz/ready", timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _wait(self, process: subprocess.Popen[bytes], name: str, condition: object, limit: float = PATIENCE) -> None:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}: {self.log(name)[-2000:]}")
            if condition():  # type: ignore[operator]
                return
            time.sleep(0.05)
        raise TimeoutError(f"{name} is not ready after {limit} s: {self.log(name)[-2000:]}")


def resident_kib(process: subprocess.Popen[bytes]) -> int:
    """The process's resident memory in KiB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")
