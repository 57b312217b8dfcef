"""A waypoint that is rolled while its callers go on."""

from __future__ import annotations

import http.client
import threading
import time

from harness.api import Object, eventually, ready
from harness.lab import Client, Lab
from harness.tests import test

from .i_waypoint import provisioned
from .j_renewal import POD, Calls
from .mesh import Mesh

# 200 calls a second, each worker ten on a session of its own.
WORKERS, PERIOD = 20, 0.1
STREAMS = 50


class Load(Calls):
    """Tool calls on one session, one every PERIOD whatever the last one took."""

    def run(self) -> None:
        due = time.monotonic()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + PERIOD, time.monotonic())
            self.once()


class Stream(threading.Thread):
    """A session's own stream (GET), opened anew whenever it ends, after the last event that it brought."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(daemon=True)
        self.mesh = mesh
        self.session = mesh.reader.session(mesh.waypoint, f"{mesh.server}:80")
        self.stop = threading.Event()
        self.opened, self.ended, self.last = 0, 0, ""
        self.cut: list[str] = []
        self.connection: http.client.HTTPConnection | None = None
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.read(self.open())
                self.ended += 1
            except Exception as error:  # A stream that did not end as it should, or could not be opened anew.
                if not self.stop.is_set():
                    self.cut.append(f"{time.strftime('%X')} {type(error).__name__}: {error}")
                    time.sleep(0.5)

    def open(self) -> http.client.HTTPResponse:
        self.connection = self.mesh.reader.open(self.mesh.waypoint, self.session.authority, timeout=1200)
        headers = {**self.session.headers, "Accept": "text/event-stream", "Host": self.session.authority}
        headers.pop("Content-Type")
        if self.last:
            headers["Last-Event-ID"] = self.last
        self.connection.request("GET", "/mcp", headers=headers)
        answer = self.connection.getresponse()
        if answer.status != 200:
            raise AssertionError(f"GET: HTTP {answer.status} {answer.read(300)!r}")
        self.opened += 1
        return answer

    def read(self, answer: http.client.HTTPResponse) -> None:
        # At a whole end there is an empty line; one that is cut off raises.
        while line := answer.readline():
            if line.startswith(b"id:"):
                self.last = line[3:].strip().decode()
        answer.close()
        if self.connection:
            self.connection.close()

    def end(self) -> None:
        self.stop.set()
        if self.connection and (sock := self.connection.sock):
            sock.close()


def restart(lab: Lab, ns: str) -> None:
    """What `kubectl rollout restart` does."""
    deployment = lab.api.get("apps/v1", "Deployment", ns, "waypoint")
    annotations = {"kubectl.kubernetes.io/restartedAt": time.strftime("%FT%TZ", time.gmtime())}
    lab.api.patch(deployment, {"spec": {"template": {"metadata": {"annotations": annotations}}}})


def pods(lab: Lab, ns: str) -> list[Object]:
    return lab.api.list("v1", "Pod", ns, labelSelector=POD)


@test
def rolled_under_load(lab: Lab) -> None:
    """`kubectl rollout restart` under 200 calls/s and 50 streams: no call fails, streams end whole and go on, sessions are kept."""
    ns = lab.namespace("roll", labels={"istio.io/use-waypoint": "waypoint"})
    server = lab.tool_server(ns)
    address = provisioned(lab, ns)
    reader: Client = lab.client(ns, "reader")
    this = Mesh(lab, ns, address, server, reader)
    this.policy("get_*")
    eventually("the first call is allowed", 20, this.allowed)
    before = {pod["metadata"]["name"] for pod in pods(lab, ns)}
    streams = [Stream(this) for _ in range(STREAMS)]
    eventually("every stream is open", 30, lambda: all(one.opened for one in streams))
    calls = [Load(this, reader) for _ in range(WORKERS)]
    time.sleep(3)
    sessions = [one.session.headers["Mcp-Session-Id"] for one in (*streams, *calls)]

    started = time.monotonic()
    restart(lab, ns)

    def rolled() -> bool:
        now = pods(lab, ns)
        return len(now) == 2 and all(ready(pod) and pod["metadata"]["name"] not in before for pod in now)

    eventually("two new pods are ready and the old ones are gone", 180, rolled)
    took = time.monotonic() - started
    eventually("every stream is open again", 30, lambda: all(one.opened > one.ended for one in streams))
    time.sleep(3)
    whole = time.monotonic() - started + 3
    good = sum(one.end() for one in calls)
    cut = [line for one in streams for line in one.cut]
    assert not cut, f"{len(cut)} streams did not end whole: {cut[:4]}"
    assert all(one.ended for one in streams), "a stream went on at a pod that is gone"
    # A session that was begun at a pod that is gone is the same session.
    for one in streams:
        one.session.connection.close()
        one.session.connection = reader.open(address, one.session.authority)
        assert "result" in one.session.call("get_note", {"id": 1})
    assert sessions == [one.session.headers["Mcp-Session-Id"] for one in (*streams, *calls)], "a session began anew"
    for one in streams:
        one.end()
    slowest = max(one.slowest for one in calls)
    print(f"    rolled in {took:.0f} s; {good} calls ({good / whole:.0f}/s) on {WORKERS} sessions, none failed, the slowest {slowest * 1000:.0f} ms; "
          f"{STREAMS} streams ended whole {sum(one.ended for one in streams)} times and went on")
    assert good > 20 * WORKERS, f"only {good} calls: not a load"
