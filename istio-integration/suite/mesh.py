"""A namespace with a waypoint, a tool server behind it, and a caller: what most tests begin with."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from harness.api import Object
from harness.lab import Answer, Client, Lab, Refused

GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: {ns}}
spec:
  gatewayClassName: {class}
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
"""

POLICY = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  allow:
  - name: readers
    from: [{serviceAccounts: ["{ns}/reader"]}]
    to: [{tools: ["{tools}"]}]
"""


@dataclass
class Mesh:
    """The waypoint's and the server's Service addresses, and who may call."""

    lab: Lab
    ns: str
    waypoint: str
    server: str
    reader: Client

    def call(self, tool: str = "get_note", client: Client | None = None) -> Any:
        return (client or self.reader).call(self.waypoint, f"{self.server}:80", tool, {"id": 1})

    def allowed(self, tool: str = "get_note") -> bool:
        return "result" in self.call(tool)

    def refused(self, tool: str = "get_note") -> bool:
        """A JSON-RPC error, within the session."""
        return "error" in self.call(tool)

    def begin(self, headers: dict[str, str] | None = None) -> Answer:
        """The answer to an initialize in a tunnel of its own, with these headers beside the usual ones."""
        info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "lab", "version": "1"}}
        message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}).encode()
        usual = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        return self.reader.http(self.waypoint, f"{self.server}:80", "POST", "/mcp", message, {**usual, **(headers or {})})

    def http(self, at: str, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """The answer to a request without a body to port 80 of another Service, by its address."""
        return self.reader.http(self.waypoint, f"{at}:80", method, path, headers=headers)

    def opens(self, client: Client) -> bool:
        """Whether a caller gets as far as a session."""
        try:
            return "result" in client.session(self.waypoint, f"{self.server}:80").initialized
        except AssertionError:
            return False

    def status_of(self, authority: str) -> int:
        """What a CONNECT to it is answered with; 502 where no waypoint answers."""
        try:
            self.reader.open(self.waypoint, authority).close()
        except Refused as refused:
            return refused.status
        return 200

    def policy(self, tools: str) -> None:
        self.lab.apply(POLICY, ns=self.ns, tools=tools)


def gauge(address: str, name: str) -> float:
    """What a waypoint's page of metrics says of it."""
    with urllib.request.urlopen(f"http://{address}:15020/stats/prometheus", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def events(lab: Lab, ns: str, reason: str) -> list[Object]:
    """What was said of anything in a namespace for that reason."""
    return [one for one in lab.api.list("v1", "Event", ns) if one["reason"] == reason]


def gateway(lab: Lab, ns: str, name: str = "waypoint") -> Object:
    return lab.api.get("gateway.networking.k8s.io/v1", "Gateway", ns, name)
