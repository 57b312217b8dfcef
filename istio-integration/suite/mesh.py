"""A namespace with a waypoint, a tool server behind it, and a caller: what most tests begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.api import Object
from harness.lab import Client, Lab, Refused

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


def gateway(lab: Lab, ns: str, name: str = "waypoint") -> Object:
    return lab.api.get("gateway.networking.k8s.io/v1", "Gateway", ns, name)
