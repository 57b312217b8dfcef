"""What the guard rests on, and what it takes from whom."""

from __future__ import annotations

import json
from pathlib import Path

from driver.mesh import PATIENCE
from driver.report import Report

from . import guard, kinds, network
from .attempts import INITIALIZE, SERVER, STRANGER, hbone, no_guard, only_ports, plain, post
from .lab import VIP, VIP_B, Lab

POLICIES = Path(__file__).resolve().parents[2] / "manifests/network/policies.yaml"


def network_policy(report: Report, lab: Lab) -> None:
    """`only-hbone` of manifests/network beside the guard and in its place: by address it closes what no ztunnel sees, and
    whoever has a certificate passes it."""
    (only,) = [one for one in POLICIES.read_text().split("\n---\n") if "name: only-hbone" in one]
    assert "ports: [{port: 15008, protocol: TCP}]" in only, only
    with network.policy("server", 15008):
        outcome = lab.probe("client", f"{VIP}:80", request=post(INITIALIZE, {}))
        served = '"serverInfo"' in outcome.get("body", "")
        report.check("under NetworkPolicy only-hbone calls go on", None if served else f"{outcome}")
        udp = kinds.datagram(lab)
        report.check("it refuses UDP", None if udp == "refused" else udp)
    with lab.changed(no_guard):
        got = plain("outsider", f"{SERVER}:8080")(lab)
        report.check("without it and the guard plaintext gets in", None if got["outcome"] == "answered" else f"{got}")
        with network.policy("server", 15008):
            got = plain("outsider", f"{SERVER}:8080")(lab)
            report.check("it refuses plaintext", None if got["outcome"] != "answered" else "it got in")
            peer = hbone(f"{SERVER}:15008", f"{SERVER}:8080", STRANGER)(lab)
            report.check("a mesh peer passes it: the guard is needed", None if peer["outcome"] == "answered" else f"{peer}")


def what_stays(report: Report, lab: Lab) -> None:
    """What the guard rests on, and what it cannot know: shown, so that nobody believes otherwise."""
    key = hbone(f"{SERVER}:15008", f"{SERVER}:8080", "mesh/waypoint")(lab)
    report.check("whoever holds the waypoint's certificate gets in", None if key["outcome"] == "answered" else f"{key}")

    def forgetful(lab: Lab) -> None:
        text = json.dumps(lab.guard.policies).replace("sa/waypoint-b", "sa/nobody")
        lab.guard = guard.Guard(json.loads(text), lab.guard.listed)

    def second(lab: Lab) -> bool:
        outcome = lab.probe("client", f"{VIP_B}:80", request=post(INITIALIZE, {}))
        return '"serverInfo"' in outcome.get("body", "")

    report.check("a second waypoint over the pod keeps working", None if second(lab) else "it is cut off")
    with lab.changed(forgetful):
        report.check("a guard that forgot it would cut it off", "it is not" if second(lab) else None)

    with lab.changed(no_guard), lab.held("outsider", SERVER, 8080) as connection:
        first = connection.next(timeout=PATIENCE)
        report.check("a connection from before the guard", None if "up" in first else f"{first}")
        with lab.changed(only_ports):
            last = connection.next(timeout=PATIENCE)
            report.check("ends when the guard comes", None if "down" in last else f"{last}")
