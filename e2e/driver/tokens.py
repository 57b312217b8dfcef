"""Real clients and 401s: who has no token, a wrong one or one that has ended is told so in a way from which its SDK finds
the authorization server, gets a token and goes on. Once the server asks, once the waypoint does."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from .mesh import NAMESPACE, PATIENCE, Mesh, free_port, service, until
from .peers import E2E, PYTHONS, Client, Lines
from .report import Report
from .tap import Tap

# Those whose SDK has an OAuth client that is at work here. Go's asks its own caller for a flow.
CLIENTS = ("python1", "python2", "python2-legacy", "ts", "ts2", "ts2-legacy")
# What a client has at first, and who asks for a token.
TOKENS = ("none", "wrong", "expired", "good")
ASKING = ("server", "waypoint")


def policies(name: str, issuer: str, resource: str, jwks: str, when: str) -> str:
    return f"""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{group: "", kind: Service, name: {name}}}]
  jwtRules:
  - {{issuer: "{issuer}", audiences: ["{resource}"], forwardOriginalToken: true, jwks: '{jwks}'}}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: {name}}}]
  protocol: MCP
  allow:
  - name: readers
    from: [{{serviceAccounts: ["agents/researcher"]}}]
    to: [{{tools: ["get_*"]}}]
{when}"""


class Protected:
    """One server that wants tokens, and who asks for them first."""

    def __init__(self, name: str, issuer: str, log: Path) -> None:
        self.name, self.issuer = name, issuer
        self.port = free_port()
        self.resource = f"http://127.0.0.1:{self.port}/mcp"
        command = [str(PYTHONS["python2"]), str(E2E / "servers/protected_server.py"), self.resource, issuer]
        self.process = Lines(command, log)
        self.tap = Tap(self.process.listening())


def mint(issuer: str, audience: str, kind: str) -> str:
    if kind == "none":
        return ""
    with urllib.request.urlopen(f"{issuer}/mint?aud={audience}&kind={kind}", timeout=PATIENCE) as answer:
        return str(json.load(answer)["token"])


def goes_on(report: Report, client: str, server: Protected, kind: str, issuer: Lines, log: Path) -> None:
    """A client with an OAuth client in it: it gets its token where it has no good one, and then has a session as any."""
    token = mint(server.issuer, server.resource, kind)
    server.process.drain()
    issuer.drain()
    session = Client(client, server.resource, log, environment={"E2E_TOKEN": token})
    fault = None
    try:
        steps = [("open", "open", None), ("read", "call", "get_note"), ("delete", "call", "delete_note")]
        for step, do, tool in [*steps, ("read-again", "call", "get_note"), ("close", "close", None)]:
            outcome = session.do(step, do, tool, {"id": "n1"})
            wanted = ("error", "tool_error") if step == "delete" else ("ok",)
            if outcome["outcome"] not in wanted:
                fault = fault or f"{step}: {outcome}"
    except (RuntimeError, TimeoutError) as error:
        fault = fault or str(error)
    finally:
        session.end()
    server.tap.settled()
    lines: list[dict[str, Any]] = []
    asked: list[str] = []
    way = [] if kind == "good" else ["/register", "/authorize", "/token"]

    def said(what: str) -> list[str]:
        lines.extend(server.process.drain())
        asked.extend(line["asked"] for line in issuer.drain())
        return [line[what] for line in lines if what in line]

    # What they print is read beside; they may say more than they should.
    with suppress(TimeoutError):
        until("both have told", lambda: len(said("ran")) >= 2 and len(asked) >= len(way), 20)
    time.sleep(0.1)
    ran, shown = said("ran"), said("token")
    if ran != ["get_note", "get_note"]:
        fault = fault or f"the server ran {ran}"
    if "bad" in shown or "good" not in shown:
        fault = fault or f"tokens that the server was shown: {shown}"
    if asked != way:
        fault = fault or f"the way to a token was {asked}"
    report.check(f"{server.name} asks, {client} begins with {kind}", fault)


def challenged(report: Report, server: Protected, kind: str) -> None:
    """What a 401 says, as it arrives: the server's own word as it is, ours where the token is at fault or a rule wants one."""
    token = mint(server.issuer, server.resource, kind)
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}
    before = server.tap.settled()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("POST", "/mcp", json.dumps(message), headers)
    answer = connection.getresponse()
    said = answer.getheader("www-authenticate", "")
    connection.close()
    wanted = 'Bearer error="invalid_token"' if token else "resource_metadata=" if server.name == "server" else "Bearer"
    fault = None if answer.status == 401 and wanted in said else f"{answer.status} {said!r}"
    seen = server.tap.settled() - before
    if bool(seen) != (server.name == "server" and not token):
        fault = fault or f"the server saw {seen} bytes"
    report.check(f"{server.name} asks, 401 for {kind}", fault)


def stays_out(report: Report, client: str, server: Protected, log: Path) -> None:
    """A client that knows nothing of tokens: no session; where the waypoint asks, the server sees nothing of it."""
    before = server.tap.settled()
    session = Client(client, server.resource, log)
    try:
        outcome = session.do("open", "open")
    finally:
        session.end()
    seen = server.tap.settled() - before
    fault = f"got a session: {outcome}" if outcome["outcome"] == "ok" else None
    if server.name == "waypoint" and seen:
        fault = fault or f"the server saw {seen} bytes"
    report.check(f"{server.name} asks, {client} knows nothing of tokens", fault)


def run(report: Report, bin_dir: Path, directory: Path) -> None:
    log = directory / "peers.log"
    ends: list[Lines] = []
    servers: dict[str, Protected] = {}
    try:
        with report.section("clients without a good token, through the waypoint"):
            issuer = Lines([str(PYTHONS["python2"]), str(E2E / "servers/issuer.py")], log)
            ends.append(issuer)
            address = f"http://{issuer.next(timeout=PATIENCE)['listening']}"
            with urllib.request.urlopen(f"{address}/jwks", timeout=PATIENCE) as answer:
                jwks = answer.read().decode()
            for name in ASKING:
                servers[name] = Protected(name, address, log)
                ends.append(servers[name].process)
            documents = {}
            for number, (name, server) in enumerate(servers.items(), start=1):
                when = '    when: jwt.sub == "alice"\n' if name == "waypoint" else ""
                documents[name] = service(name, f"127.0.9.{number}", server.tap.address, None)
                documents[f"{name}-policies"] = policies(name, address, server.resource, jwks, when)
            with Mesh(bin_dir / "agent-waypoint", directory / "tokens", documents) as mesh:
                for name, server in servers.items():
                    mesh.connect("agents/researcher", name, server.port)
                for server in servers.values():
                    for kind in ("none", "wrong", "expired"):
                        challenged(report, server, kind)
                    for client in CLIENTS:
                        stays_out(report, client, server, log)
                        for kind in TOKENS:
                            goes_on(report, client, server, kind, issuer, log)
    finally:
        for server in servers.values():
            server.tap.close()
        for process in ends:
            process.end()
