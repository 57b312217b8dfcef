"""Certificates that end while calls go on, and whose documents the feed sends to whom."""

from __future__ import annotations

import select
import threading
import time

from harness.api import eventually
from harness.lab import PROXY_PORT, Client, Lab
from harness.tests import test

from .i_waypoint import enforced, provisioned
from .mesh import GATEWAY, POLICY, Mesh, gauge

# The shortest that may be asked for, and much less than the two minutes that istiod dates certificates back.
LIFE = 10
PARAMETERS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: waypoint, namespace: {ns}}
data:
  waypoint.yaml: |
    replicas: 1
    env: {SECRET_TTL: {life}s}
"""
SHORT_LIVED = GATEWAY + "  infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: waypoint}}\n"
POD = "gateway.networking.k8s.io/gateway-name=waypoint"


def expiry(address: str) -> float:
    """When the waypoint says that its certificate ends."""
    return gauge(address, "agent_waypoint_certificate_expiry_timestamp_seconds")


def caller(lab: Lab, ns: str, name: str, *, short: bool = False) -> Client:
    """One more pod that calls as NS/reader; `short`: with certificates that live as long as the waypoint's."""
    env = [{"name": "SECRET_TTL", "value": f"{LIFE}s"}] if short else []
    lab.pod(ns, name, "peer", ["proxy", "--listen", f"0.0.0.0:{PROXY_PORT}"], account="reader", env=env, probe={"tcpSocket": {"port": PROXY_PORT}})
    return Client(lab.ready_pod(ns, name)["status"]["podIP"])


class Calls(threading.Thread):
    """Tool calls on one session, ten a second, until told to stop. `failed` says what was not answered with a result.

    A connection that the other side has closed since the last answer is opened anew, as HTTP clients do; one that ends
    after a call was written is a call that failed.
    """

    def __init__(self, mesh: Mesh, client: Client) -> None:
        super().__init__(daemon=True)
        self.session = client.session(mesh.waypoint, f"{mesh.server}:80")
        self.stop = threading.Event()
        self.mesh, self.client = mesh, client
        self.good, self.opened, self.slowest = 0, 1, 0.0
        self.failed: list[str] = []
        self.start()

    def run(self) -> None:
        while not self.stop.wait(0.1):
            self.once()

    def once(self) -> None:
        started = time.monotonic()
        try:
            self.connect()
            answer = self.session.call("get_note", {"id": 1})
        except Exception as error:  # Whatever it is, it is a call that failed.
            self.failed.append(f"{time.strftime('%X')} {type(error).__name__}: {error}")
            self.session.connection.close()
            return
        if "result" in answer:
            self.good += 1
        else:
            self.failed.append(f"{time.strftime('%X')} {answer}")
        self.slowest = max(self.slowest, time.monotonic() - started)

    def connect(self) -> None:
        sock = self.session.connection.sock
        # Readable between two answers: it has ended.
        if sock is None or select.select([sock], [], [], 0)[0]:
            self.session.connection.close()
            self.session.connection = self.client.open(self.mesh.waypoint, self.session.authority)
            self.opened += 1

    def end(self) -> int:
        self.stop.set()
        self.join(200)
        assert not self.failed, f"{len(self.failed)} beside {self.good} good calls: {self.failed[:4]}"
        return self.good


@test
def renewed_under_traffic(lab: Lab) -> None:
    """Certificates of 10 s on a waypoint: sessions outlive three of them, no call fails, and new callers are served."""
    ns = lab.namespace("renew", labels={"istio.io/use-waypoint": "waypoint"})
    server = lab.tool_server(ns)
    lab.apply(PARAMETERS, ns=ns, life=str(LIFE))
    lab.apply(SHORT_LIVED, **{"ns": ns, "class": "agent-waypoint"})
    (pod,) = lab.pods_ready(ns, POD, 1)
    at = pod["status"]["podIP"]
    address = lab.api.get("v1", "Service", ns, "waypoint")["spec"]["clusterIP"]
    this = Mesh(lab, ns, address, server, lab.client(ns, "reader"))
    this.policy("get_*")
    eventually("the first call is allowed", 20, this.allowed)
    calls = [Calls(this, this.reader), Calls(this, caller(lab, ns, "reader-short", short=True))]

    started = time.time()
    served: dict[str, float] = {}
    ends: set[float] = set()
    while time.time() < started + 2.5 * LIFE:
        shown = lab.certificate(at)
        assert shown["uri"] == f"spiffe://cluster.local/ns/{ns}/sa/waypoint", shown
        served.setdefault(shown["serial"], time.time())
        ends.add(expiry(at))
        assert max(ends) > time.time(), "the certificate in force has ended"
        time.sleep(0.5)
    # Renewed between 4 and 5 s after the last: more often would mean that it renews without pause.
    assert 4 <= len(served) <= 8, served
    assert len(ends) >= 3 and max(ends) - started < 4 * LIFE, (sorted(ends), started)
    late = caller(lab, ns, "reader-late")
    assert "result" in this.call(client=late)
    assert "error" in this.call("delete_note", client=late)
    good = sum(one.end() for one in calls)
    restarts = [one["restartCount"] for one in lab.api.list("v1", "Pod", ns, labelSelector=POD)[0]["status"]["containerStatuses"]]
    assert restarts == [0], restarts
    slowest = max(one.slowest for one in calls)
    print(f"    {good} calls on two sessions, none failed, the slowest {slowest * 1000:.0f} ms; "
          f"{len(served)} certificates served, {[one.opened for one in calls]} connections")


class Listener:
    """A pod with an identity of its choice that asks the feed for everything."""

    def __init__(self, lab: Lab, ns: str, account: str, name: str = "listener", labels: dict[str, str] | None = None) -> None:
        self.lab, self.ns, self.name = lab, ns, name
        lab.pod(ns, name, "peer", ["feed"], account=account, labels=labels)
        eventually(f"{ns}/{name} runs", 20, lambda: (lab.folder / "pods" / f"{ns}.{name}" / f"{name}.log").exists())

    def log(self) -> str:
        return self.lab.logged(self.ns, self.name)

    def sent(self) -> list[str]:
        """Names of the documents that came, GROUP/KIND/NAMESPACE/NAME."""
        return [line.removeprefix("sent ") for line in self.log().splitlines() if line.startswith("sent ") and line.count("/") == 3]

    def whole(self) -> bool:
        return "push type.googleapis.com/agent_waypoint.feed.v1.Document" in self.log()


@test
def feed_gives_each_waypoint_its_own(lab: Lab) -> None:
    """Two Gateways in two namespaces: neither's identity is sent a document of the other's, then or after an edit."""
    first, second = (lab.namespace("scope", labels={"istio.io/use-waypoint": "waypoint"}) for _ in range(2))
    for ns in (first, second):
        lab.tool_server(ns)
        provisioned(lab, ns)
        lab.apply(POLICY, ns=ns, tools="get_*")
        eventually(f"the policy of {ns} is in force", 20, lambda ns=ns: enforced(lab, ns))
    listeners = {ns: Listener(lab, ns, "waypoint") for ns in (first, second)}
    for ns, listener in listeners.items():
        eventually(f"{ns} is sent its documents", 20, listener.whole)
    for ns in (first, second):
        lab.apply(POLICY, ns=ns, tools="search_*")
        eventually(f"{ns} is sent the edit", 20, lambda ns=ns: listeners[ns].sent().count(f"agent-waypoint.dev/AgentPolicy/{ns}/notes") >= 2)
    for ns, other in ((first, second), (second, first)):
        sent = listeners[ns].sent()
        assert f"/Service/{ns}/notes" in sent and f"agent-waypoint.dev/AgentPolicy/{ns}/notes" in sent, sent
        assert other not in listeners[ns].log(), sent
        strangers = {name for name in sent if name.split("/")[2] not in (ns, "istio-system") and name.split("/")[1] != "GatewayClass"}
        assert not strangers, strangers


@test
def feed_refuses_who_runs_no_waypoint(lab: Lab) -> None:
    """A ServiceAccount beside the waypoint's, one of the waypoint's name elsewhere, one of a pod with its label: refused, sent nothing."""
    ns = lab.namespace("scope")
    provisioned(lab, ns)
    elsewhere = lab.namespace("scope")
    # A label makes nobody a waypoint of a Gateway that has an account of its own.
    labelled = Listener(lab, ns, "labelled", "labelled", {"gateway.networking.k8s.io/gateway-name": "waypoint"})
    strangers = [Listener(lab, ns, "stranger"), Listener(lab, elsewhere, "waypoint"), labelled]
    for one in strangers:
        eventually(f"{one.ns}/{one.name} is refused", 30, lambda one=one: "no Gateway's pods run as" in one.log())
    own = Listener(lab, ns, "waypoint", "own")
    eventually("the waypoint's own identity is not", 20, own.whole)
    time.sleep(2)
    for one in strangers:
        assert "sent " not in one.log() and "push " not in one.log(), one.log()
