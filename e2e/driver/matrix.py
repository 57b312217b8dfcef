"""Each real client against each real server: once directly, as the baseline, then through the waypoint."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .mesh import Mesh, notes_policy, service
from .peers import CLIENTS, SERVERS, Client, Server
from .report import Report
from .tap import Tap

ACME = {"owner": "acme", "text": "written by e2e"}
GLOBEX = {"owner": "globex", "text": "never to be written"}


@dataclass
class Step:
    """One order to the client. `refused` is what the waypoint must do with it; directly everything is done."""

    name: str
    do: str
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    refused: bool = False


STEPS = [
    Step("initialize", "open"),
    Step("list", "list"),
    Step("read", "call", "get_note", {"id": "n1"}),
    Step("delete", "call", "delete_note", {"id": "n2"}, refused=True),
    Step("read-again", "call", "get_note", {"id": "n1"}),
    Step("write-other", "call", "create_note", GLOBEX, refused=True),
    Step("write-own", "call", "create_note", ACME),
    Step("close", "close"),
]


class Cell:
    """One client against one server, one way."""

    def __init__(self, report: Report, name: str, client: str, server: Server, tap: Tap, log: Path) -> None:
        self.report, self.name, self.client_name = report, name, client
        self.server, self.tap, self.log = server, tap, log

    def run(self, address: tuple[str, int], through: bool) -> bool:
        """Takes the steps at `address`; says whether all of them came out as they should."""
        self.server.ran()
        client = Client(self.client_name, f"http://{address[0]}:{address[1]}/mcp", self.log)
        good = True
        try:
            for step in STEPS:
                fault = self._step(client, step, through and step.refused, through)
                good &= self.report.check(f"{self.name} {step.name}", fault)
            self.tap.settled()
            expected = [s.tool for s in STEPS if s.do == "call" and not (through and s.refused)]
            ran = self.server.ran(len(expected))
            fault = None if ran == expected else f"the server ran {ran}, not {expected}"
            good &= self.report.check(f"{self.name} ran", fault)
        except (RuntimeError, TimeoutError) as error:
            good = self.report.check(f"{self.name} session", str(error))
        finally:
            client.end()
        return good

    def _step(self, client: Client, step: Step, refused: bool, through: bool) -> str | None:
        before = self.tap.settled() if refused else 0
        outcome = client.do(step.name, step.do, step.tool, step.arguments)
        if refused:
            seen = self.tap.settled() - before
            if seen:
                return f"the server saw {seen} bytes of a refused call ({outcome})"
            # A call that is refused costs the caller one error that its SDK can read, never the session.
            return None if outcome["outcome"] in ("error", "tool_error") else f"not an error of the call: {outcome}"
        # Directly, a second deletion of one note is the tool's own error: what ran is compared at the end.
        if outcome["outcome"] != "ok" and not (step.refused and outcome["outcome"] == "tool_error"):
            return f"{outcome}"
        if step.do == "list":
            shown = "delete_note" in outcome["tools"]
            if shown == through or "get_note" not in outcome["tools"]:
                return f"lists {outcome['tools']}"
        return None


def stranger(report: Report, client: str, address: tuple[str, int], tap: Tap, log: Path) -> None:
    """A caller whom no rule can ever let through does not get as far as a session."""
    before = tap.settled()
    session = Client(client, f"http://{address[0]}:{address[1]}/mcp", log)
    try:
        outcome = session.do("initialize", "open")
    finally:
        session.end()
    seen = tap.settled() - before
    fault = f"got a session: {outcome}" if outcome["outcome"] == "ok" else None
    report.check(f"stranger {client} initialize", fault or (f"the server saw {seen} bytes" if seen else None))


def run(report: Report, bin_dir: Path, directory: Path, direct_only: bool) -> None:
    """The whole matrix; servers side by side, the clients of one server one after the other."""
    log = directory / "peers.log"
    servers: dict[str, Server] = {}
    taps: dict[str, Tap] = {}
    try:
        for name in SERVERS:
            servers[name] = Server(name, bin_dir, log)
            taps[name] = Tap(servers[name].address)

        def column(name: str, way: str, address: tuple[str, int]) -> None:
            for client in CLIENTS:
                started = time.monotonic()
                cell = Cell(report, f"{way} {client}->{name}", client, servers[name], taps[name], log)
                good = cell.run(address, way == "waypoint")
                seconds = time.monotonic() - started
                report.line(f"{way:9} {client:>15} -> {name:8} {'ok' if good else 'FAILED':7} {seconds:5.1f} s")

        def all_columns(way: str, addresses: dict[str, tuple[str, int]]) -> None:
            with ThreadPoolExecutor(len(SERVERS)) as pool:
                for done in [pool.submit(column, name, way, addresses[name]) for name in SERVERS]:
                    done.result()

        with report.section("clients and servers, directly"):
            all_columns("direct", {name: tap.address for name, tap in taps.items()})
        if direct_only:
            return
        with report.section("clients and servers, through the waypoint"):
            documents = {
                name: service(name, f"127.0.9.{number}", taps[name].address, None)
                for number, name in enumerate(SERVERS, start=1)
            }
            documents["policy"] = notes_policy(list(SERVERS))
            with Mesh(bin_dir / "agent-waypoint", directory / "matrix", documents) as mesh:
                all_columns("waypoint", {name: mesh.connect("agents/researcher", name) for name in SERVERS})
                nobody = mesh.connect("agents/stranger", "python1")
                for client in CLIENTS:
                    stranger(report, client, nobody, taps["python1"], log)
    finally:
        for tap in taps.values():
            tap.close()
        for server in servers.values():
            server.end()
