"""From a waypoint of istiod's own class to ours and back: at every moment one of the two is announced."""

from __future__ import annotations

import threading
import time

from harness.api import condition, eventually
from harness.lab import Lab
from harness.tests import test

from .g_guarded import becomes, guards
from .i_waypoint import provisioned
from .mesh import GATEWAY, POLICY, Mesh, gateway

GUARD = "agent-waypoint.dev/guard"


class Announced:
    """What istiod says that it announces for a Service, looked at all the time."""

    def __init__(self, lab: Lab, ns: str) -> None:
        self.lab, self.ns = lab, ns
        self.seen: list[str] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def now(self) -> str:
        said = condition(self.lab.api.get("v1", "Service", self.ns, "notes"), "istio.io/WaypointBound")
        return said["message"] if said and said["status"] == "True" else "none"

    def by(self, name: str) -> None:
        eventually(f"istiod announces {name}", 20, lambda: f"{self.ns}/{name}" in self.now())

    def watch(self) -> None:
        while not self.over.is_set():
            now = self.now()
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)
            time.sleep(0.02)

    def __enter__(self) -> Announced:
        self.thread.start()
        eventually("what is announced at first is seen", 20, lambda: self.seen)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


@test
def migration_there_and_back_is_never_open(lab: Lab) -> None:
    """docs/migration.md step by step: istiod announces the old waypoint or ours, never none; the guard cuts off neither."""
    ns = lab.namespace("moved", labels={"istio.io/use-waypoint": "old"})
    namespace = lab.api.get("v1", "Namespace", None, ns)
    server = lab.tool_server(ns)
    lab.apply(GATEWAY.replace("name: waypoint", "name: old"), **{"ns": ns, "class": "istio-waypoint"})
    announced = Announced(lab, ns)
    announced.by("old")

    lab.api.patch(namespace, {"metadata": {"annotations": {GUARD: "Report"}}})
    this = Mesh(lab, ns, provisioned(lab, ns, name="agents"), server, lab.client(ns, "reader"))
    lab.apply(POLICY, ns=ns, tools="get_*")
    with announced:
        service = lab.api.get("v1", "Service", ns, "notes")
        lab.api.patch(service, {"metadata": {"labels": {"istio.io/use-waypoint": "agents"}}})
        announced.by("agents")
        eventually("a call passes ours", 20, this.allowed)
        assert this.refused("delete_note")
        assert not guards(lab, ns), "the old waypoint's connections would end"
        lab.api.patch(namespace, {"metadata": {"labels": {"istio.io/use-waypoint": "agents"}}})
        lab.api.patch(service, {"metadata": {"labels": {"istio.io/use-waypoint": None}}})
        lab.api.patch(namespace, {"metadata": {"annotations": {GUARD: None}}})
        becomes(lab, ns, "Guarded", "True", "Guarded")
        (guard,) = guards(lab, ns)
        assert guard["spec"]["rules"][0]["from"] == [{"source": {"notPrincipals": [f"cluster.local/ns/{ns}/sa/agents"]}}], guard["spec"]

        lab.api.patch(namespace, {"metadata": {"annotations": {GUARD: "Report"}}})
        eventually("the guard is gone", 10, lambda: not guards(lab, ns))
        assert this.allowed(), "ours still serves"
        lab.api.patch(namespace, {"metadata": {"labels": {"istio.io/use-waypoint": "old"}}})
        announced.by("old")
        lab.api.delete(gateway(lab, ns, "agents"))
        eventually("ours is gone", 30, lambda: lab.api.find("apps/v1", "Deployment", ns, "agents") is None)
        announced.by("old")
    assert len(announced.seen) >= 3 and "none" not in announced.seen, announced.seen
