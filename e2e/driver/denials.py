"""Every form of a refusal, told to every real client: it costs one error that the SDK can read, and the session goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .mesh import NAMESPACE, Mesh, service
from .peers import CLIENTS, Client, Server
from .report import Report
from .tap import Tap

# How `denial` words it, or what refuses; and what a client makes of it.
FORMS = {"hidden": "error", "disclosed": "error", "tool-error": "tool_error", "limit": "error", "provider": "error"}
DENIAL = {"hidden": "Hidden", "disclosed": "Disclosed", "tool-error": "ToolError", "limit": "Auto", "provider": "Auto"}
ONCE = """\
  limits:
  - name: once
    to: [{tools: ["delete_*"]}]
    calls: 1
    per: 1h
    key: principal+tool
"""
# Of nobody: it cannot be asked, so what it is to be asked about is refused.
ASKED = """\
  external:
  - name: asked
    to: [{tools: ["delete_*"]}]
    provider: nobody
"""


def policy(form: str) -> str:
    allowed = '"get_*", "delete_*"' if form in ("limit", "provider") else '"get_*"'
    more = {"limit": ONCE, "provider": ASKED}.get(form, "")
    return f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: {form}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: {form}}}]
  protocol: MCP
  denial: {DENIAL[form]}
  allow:
  - name: readers
    from: [{{namespaces: [agents]}}]
    to: [{{tools: [{allowed}]}}]
{more}"""


def told(report: Report, form: str, name: str, address: tuple[str, int], tap: Tap, log: Path) -> None:
    """A session in which the second call is refused, twice: a client that goes on after one refusal goes on after two."""
    client = Client(name, f"http://{address[0]}:{address[1]}/mcp", log)
    faults: list[str] = []

    def does(step: str, do: str, tool: str | None = None, wanted: str = "ok") -> None:
        before = tap.settled() if wanted != "ok" else 0
        outcome = client.do(step, do, tool, {"id": step})
        if outcome["outcome"] != wanted:
            faults.append(f"{step}: {outcome}")
        if wanted != "ok" and (seen := tap.settled() - before):
            faults.append(f"{step}: the server saw {seen} bytes")

    try:
        does("open", "open")
        does("read", "call", "get_note")
        if form == "limit":
            does("delete-once", "call", "delete_note")
        does("delete", "call", "delete_note", FORMS[form])
        does("read-again", "call", "get_note")
        does("delete-again", "call", "delete_note", FORMS[form])
        does("list", "list")
        does("close", "close")
    except (RuntimeError, TimeoutError) as error:
        faults.append(str(error))
    finally:
        client.end()
    report.check(f"{form} told to {name}", "; ".join(faults) or None)


def run(report: Report, bin_dir: Path, directory: Path) -> None:
    log = directory / "peers.log"
    server = Server("python2", bin_dir, log)
    taps = {form: Tap(server.address) for form in FORMS}
    try:
        with report.section("forms of refusals, told to every client"):
            documents = {}
            for number, form in enumerate(FORMS, start=1):
                documents[form] = service(form, f"127.0.9.{number}", taps[form].address, None)
                documents[f"{form}-policy"] = policy(form)
            with Mesh(bin_dir / "agent-waypoint", directory / "denials", documents) as mesh:

                def column(form: str) -> None:
                    for name in CLIENTS:
                        # Each as somebody of its own, as limits are of callers.
                        address = mesh.connect(f"agents/{name}", form)
                        told(report, form, name, address, taps[form], log)

                with ThreadPoolExecutor(len(FORMS)) as pool:
                    for done in [pool.submit(column, form) for form in FORMS]:
                        done.result()
    finally:
        for tap in taps.values():
            tap.close()
        server.end()
