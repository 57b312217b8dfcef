"""Real MCP clients, unchanged, in the client's pod: they dial the Service's address, and the mesh does the rest."""

from __future__ import annotations

from driver.peers import Client
from driver.report import Report

from . import network
from .lab import VIP, VIP_B, Lab

CLIENTS = ("python1", "python2")


def session(report: Report, lab: Lab, client: str, pod: str, vip: str) -> None:
    """Lists, reads, is refused, and reads again on the same session."""
    name = f"{client} in {pod} -> {vip}"
    peer = Client(client, f"http://{vip}/mcp", lab.directory / "peers.log", network.inside(pod))
    try:
        opened = peer.do("open", "open")
        report.check(f"{name} open", None if opened["outcome"] == "ok" else f"{opened}")
        listed = peer.do("list", "list")
        tools = listed.get("tools", [])
        fault = None if "get_note" in tools and not any(t.startswith("delete") for t in tools) else f"{listed}"
        report.check(f"{name} list", fault)
        for step, tool, arguments, expected in (
            ("read", "get_note", {"id": "n1"}, ("ok",)),
            ("delete", "delete_note", {"id": "n1"}, ("error", "tool_error")),
            ("read again", "get_note", {"id": "n1"}, ("ok",)),
        ):
            before = network.witnessed("server")
            outcome = peer.do(step, "call", tool, arguments)
            report.check(f"{name} {step}", None if outcome["outcome"] in expected else f"{outcome}")
            if step == "delete":
                lab.settled("server")
                calls = [line for line in lab.servers["server:8080"].drain() if line.get("tool") == "delete_note"]
                report.check(f"{name} delete not seen", f"{calls}" if calls else None)
            elif network.witnessed("server") == before:
                report.check(f"{name} {step} witnessed", "no packet reached the server's port")
    finally:
        peer.end()


def stranger(report: Report, lab: Lab, client: str) -> None:
    """A caller of the mesh whom no rule lets in gets no session."""
    before = lab.settled("server")
    peer = Client(client, f"http://{VIP}/mcp", lab.directory / "peers.log", network.inside("other"))
    try:
        outcome = peer.do("open", "open")
    finally:
        peer.end()
    packets = lab.settled("server") - before
    fault = f"got a session: {outcome}" if outcome["outcome"] == "ok" else None
    report.check(f"{client} in other -> {VIP} refused", fault or (f"{packets} packets" if packets else None))


def run(report: Report, lab: Lab) -> None:
    for client in CLIENTS:
        session(report, lab, client, "client", VIP)
        # The second waypoint over the same pod and port: both keep working behind one guard.
        session(report, lab, client, "client", VIP_B)
        stranger(report, lab, client)
