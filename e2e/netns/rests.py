"""What the guard rests on, and what it takes from whom."""

from __future__ import annotations

import json

from driver.report import Report

from . import guard
from .attempts import INITIALIZE, SERVER, hbone, no_guard, only_ports, post
from .lab import VIP_B, Lab


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
        first = connection.next(timeout=5)
        report.check("a connection from before the guard", None if "up" in first else f"{first}")
        with lab.changed(only_ports):
            last = connection.next(timeout=5)
            report.check("ends when the guard comes", None if "down" in last else f"{last}")
