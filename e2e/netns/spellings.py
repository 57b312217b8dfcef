"""CONNECT to what is not served, in other words."""

from __future__ import annotations

from driver.report import Report

from . import network
from .attempts import RESEARCHER, WAYPOINT, hbone
from .lab import ADMIN, RECORDER, VIP, VIP_REPORTS, Lab

# Other ways to write what a waypoint must not serve; none may be read as something that it does.
SPELLINGS = [
    f"0.0.0.0:{RECORDER}",
    f"[::]:{RECORDER}",
    f"[::ffff:127.0.0.1]:{RECORDER}",
    f"127.1:{RECORDER}",
    f"2130706433:{RECORDER}",
    f"0x7f000001:{RECORDER}",
    f"localhost:{RECORDER}",
    f"waypoint.mesh.svc.cluster.local:{RECORDER}",
    f"127.0.0.1:{ADMIN}",
    f"10.244.0.21:{ADMIN}",
    f"[::ffff:{network.METADATA}]:80",
    "metadata.google.internal:80",
    f"[::ffff:{VIP_REPORTS}]:80",
    "reports.tools.svc.cluster.local:80",
    "reports.tools.svc.cluster.local.:80",
    "reports.tools:80",
    f"{VIP}:{RECORDER}",
    f"{VIP}:15008",
    f"{VIP}:0",
    f"{VIP}:080",
    f"user@{VIP}:80",
    VIP,
]


def spellings(report: Report, lab: Lab) -> None:
    """Each is refused at the CONNECT, and nothing arrives anywhere."""
    places: tuple[str | None, ...] = ("waypoint", "reports", "server", None)
    before = [lab.settled(place) for place in places]
    for authority in SPELLINGS:
        outcome = hbone(WAYPOINT, authority, RESEARCHER)(lab)
        refused = outcome["outcome"] == "connect" and outcome["status"] in (400, 404)
        # What our own client already refuses to write never leaves it.
        unsaid = outcome["outcome"] == "failed" and "authority" in outcome["why"]
        report.check(f"CONNECT {authority}", None if refused or unsaid else f"{outcome}")
    after = [lab.settled(place) for place in places]
    report.check("nothing arrived of any of them", None if after == before else f"{before} -> {after}")
