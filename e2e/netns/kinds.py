"""Kinds of Services and of pods: what the waypoint does for each, whether there is a way round, and who says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from driver.report import Report

from . import guard, network
from .attempts import INITIALIZE, RESEARCHER, SERVER, SERVER6, WAYPOINT, describe, post
from .lab import HOST_PORT, NODE_PORT, VIP, Lab

HELLO = post(INITIALIZE, {})
BY_CHECK = "`check`"
INTO_THE_MESH = "the log: the name points .. into the mesh"


@dataclass
class Kind:
    """One row. `through` and `round_it` are probes; `said` is what must be said of it, and by whom."""

    name: str
    through: Callable[[Lab], str]
    expect_through: str
    round_it: Callable[[Lab], str]
    expect_round: str
    said: Callable[[Lab], str]
    expect_said: str
    # What only istiod can say.
    in_files: bool = True

    def cells(self, lab: Lab) -> tuple[str, str, str]:
        return self.through(lab), self.round_it(lab), self.said(lab)


def served(*addresses: str, where: str = "client") -> Callable[[Lab], str]:
    """An MCP session begun at each address, as the application in a captured pod does it."""

    def probe(lab: Lab) -> str:
        outcomes = [lab.probe(where, address, request=HELLO) for address in addresses]
        good = all(o.get("status") == 200 and '"serverInfo"' in o.get("body", "") for o in outcomes)
        return "served" if good else ", ".join(describe(outcome) for outcome in outcomes)

    return probe


def by_name(lab: Lab) -> str:
    outcome = lab.probe(
        "outsider", "headless.tools.svc.cluster.local:80", through=(WAYPOINT, RESEARCHER), request=HELLO
    )
    return "served by name" if '"serverInfo"' in outcome.get("body", "") else describe(outcome)


def open_or_shut(where: str, *addresses: str) -> Callable[[Lab], str]:
    def probe(lab: Lab) -> str:
        outcomes = {describe(lab.probe(where, address)) for address in addresses}
        return {frozenset({"reset"}): "refused", frozenset({"answered, 200"}): "open"}.get(
            frozenset(outcomes), f"{outcomes}"
        )

    return probe


def datagram(lab: Lab) -> str:
    """One to a port of the guarded pod, from outside the mesh."""
    listen = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5353))\n"
    listen += "s.settimeout(10); print('bound', flush=True)\ntry: print(s.recv(9).decode(), flush=True)\nexcept TimeoutError: pass"
    send = f"import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'round',('{SERVER}',5353))"
    inside = network.inside("server")
    with subprocess.Popen([*inside, "python3", "-c", listen], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stdout.readline() == "bound\n"
        network.sh(*network.inside("outsider"), "python3", "-c", send)
        return "open" if server.stdout.readline() == "round\n" else "refused"


def nothing(lab: Lab) -> str:
    return "–"


def condition(service: str) -> Callable[[Lab], str]:
    """The controller's own words, by what ztunnel is sent."""

    def ask(lab: Lab) -> str:
        said = guard.verify(lab.bin, lab.mesh, lab.guard)[service]
        if "external" in said:
            return f"unguarded endpoints: external {said['external']}"
        return f"Guarded={said['guarded']['status']} {said['guarded']['reason']}"

    return ask


def guarded(service: str) -> Callable[[Lab], str]:
    """The same with both scopes: the pods have a port beside the guarded one."""

    def ask(lab: Lab) -> str:
        whole = guard.plan(lab.bin, lab.mesh, whole_workload=True)
        said = guard.verify(lab.bin, lab.mesh, whole, whole_workload=True)[service]["guarded"]
        return f"{condition(service)(lab)}; scope Workload: {said['status']}"

    return ask


def cut_off(service: str) -> Callable[[Lab], str]:
    def ask(lab: Lab) -> str:
        listed = guard.verify(lab.bin, lab.mesh, lab.guard)[service]["cut_off"]
        kinds = sorted({one["kind"] for one in listed} - {"other-service"})
        return f"cut off: {', '.join(kinds)}"

    return ask


def checked(document: dict[str, Any], text: str) -> Callable[[Lab], str]:
    """What `check` says of a document; through the waypoint there is nothing to try."""

    def ask(lab: Lab) -> str:
        path = lab.directory / "check.yaml"
        path.write_text(json.dumps(document))
        done = subprocess.run(
            [str(lab.bin / "agent-waypoint"), "check", "-f", str(path)], capture_output=True, text=True
        )
        return f"{BY_CHECK}: {text}" if text in done.stdout + done.stderr else done.stdout + done.stderr

    return ask


def logged(text: str) -> Callable[[Lab], str]:
    def ask(lab: Lab) -> str:
        return INTO_THE_MESH if text in (lab.directory / "waypoint.log").read_text() else "nothing in the log"

    return ask


def service(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": "tools"}, "spec": spec}


def wildcard() -> dict[str, Any]:
    spec = {"hosts": ["*.example"], "resolution": "DNS", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    meta = {"name": "x", "namespace": "tools"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec}


def prefix() -> dict[str, Any]:
    entry = wildcard()
    entry["spec"].update({"hosts": ["x.example"], "addresses": ["10.97.0.0/16"]})
    return entry


def not_supported(lab: Lab) -> str:
    return "not supported"


# Ports of the pod beside the guarded one are open with scope Ports, and said.
SIBLING = "Guarded=False SiblingPort; scope Workload: True"
KINDS = [
    Kind(
        "ClusterIP, IPv4",
        served(f"{VIP}:80"),
        "served",
        open_or_shut("outsider", f"{SERVER}:8080"),
        "refused",
        guarded("notes"),
        SIBLING,
    ),
    Kind(
        "ClusterIP, IPv6",
        served("[fd00:10:96::14]:80"),
        "served",
        open_or_shut("outsider", f"[{SERVER6}]:8080"),
        "refused",
        guarded("notes-6"),
        SIBLING,
    ),
    Kind(
        "ClusterIP, dual stack",
        served("10.96.0.15:80", "[fd00:10:96::15]:80"),
        "served",
        open_or_shut("outsider", f"{SERVER}:8080", f"[{SERVER6}]:8080"),
        "refused",
        guarded("notes-dual"),
        SIBLING,
    ),
    Kind(
        "headless",
        by_name,
        "served by name",
        open_or_shut("client", f"{SERVER}:8080"),
        "refused",
        cut_off("headless"),
        "cut off: headless",
    ),
    Kind(
        "NodePort",
        served(f"{VIP}:80"),
        "served",
        open_or_shut("outsider", f"{network.HOST}:{NODE_PORT}"),
        "refused",
        cut_off("notes"),
        "cut off: node-port",
    ),
    Kind(
        "EndpointSlices by hand",
        served("10.96.0.18:80"),
        "served",
        open_or_shut("outsider", "10.244.0.34:8080"),
        "open",
        condition("by-hand"),
        "Guarded=False NoSelector",
    ),
    Kind(
        "ServiceEntry, STATIC",
        served("10.96.0.19:80"),
        "served",
        open_or_shut("outsider", f"{network.OUTSIDE}:8080"),
        "open",
        condition("static"),
        "unguarded endpoints: external 1",
    ),
    Kind(
        "ServiceEntry, DNS",
        served("10.96.0.20:80"),
        "served",
        open_or_shut("outsider", f"{network.OUTSIDE}:8080"),
        "open",
        condition("dns"),
        "unguarded endpoints: external 1",
    ),
    Kind(
        "ServiceEntry, a name that points into the mesh",
        served("10.96.0.21:80"),
        "JSON-RPC error",
        open_or_shut("outsider", f"{SERVER}:8080"),
        "refused",
        logged("the name points at this host, its link, a metadata service or into the mesh"),
        INTO_THE_MESH,
        in_files=False,
    ),
    Kind(
        "ServiceEntry, wildcard host",
        not_supported,
        "not supported",
        nothing,
        "–",
        checked(wildcard(), "wildcard hosts are not served yet"),
        f"{BY_CHECK}: wildcard hosts are not served yet",
    ),
    Kind(
        "ServiceEntry, addresses by prefix",
        not_supported,
        "not supported",
        nothing,
        "–",
        checked(prefix(), "prefixes are not served yet"),
        f"{BY_CHECK}: prefixes are not served yet",
    ),
    Kind(
        "ExternalName",
        not_supported,
        "not supported",
        nothing,
        "–",
        checked(service({"type": "ExternalName", "externalName": "example"}), "ExternalName is not fronted"),
        f"{BY_CHECK}: ExternalName is not fronted",
    ),
    Kind(
        "UDP port",
        not_supported,
        "not supported",
        datagram,
        "open",
        checked(
            service({"clusterIP": "10.96.0.99", "ports": [{"port": 53, "protocol": "UDP"}]}), "only TCP is carried"
        ),
        f"{BY_CHECK}: only TCP is carried",
    ),
    Kind(
        "pods on the host's network",
        served("10.96.0.17:80"),
        "served",
        open_or_shut("outsider", f"{network.HOST}:{HOST_PORT}"),
        "open",
        condition("hosted"),
        "Guarded=False HostNetwork",
    ),
    Kind(
        "uncaptured pods",
        served("10.96.0.16:80"),
        "served",
        open_or_shut("outsider", "10.244.0.33:8080"),
        "open",
        condition("bare"),
        "Guarded=False UncapturedPod",
    ),
]


def run(report: Report, lab: Lab) -> list[str]:
    """Checks every row; returns them as docs/ways-round.md has them."""
    rows = []
    for kind in (kind for kind in KINDS if kind.in_files or not lab.files):
        cells = kind.cells(lab)
        expected = (kind.expect_through, kind.expect_round, kind.expect_said)
        report.check(kind.name, None if cells == expected else f"{cells}, not {expected}")
        rows.append(f"| {kind.name} | {cells[0]} | {cells[1]} | {cells[2]} |")
    return rows
