"""Replicas of one waypoint: found by istiod's rows, linked under the identity that istiod gave them, one memory of owners."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable
from typing import Any

from harness.api import Object, eventually, ready
from harness.lab import Client, Lab, Session
from harness.tests import test

from .i_waypoint import provisioned
from .j_renewal import POD
from .mesh import gauge

POLICY = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: agent, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: agent}]
  protocol: A2A
  a2a: {ownership: Enforce}
  allow:
  - from: [{serviceAccounts: ["{ns}/owner", "{ns}/other"]}]
"""
LABELS = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  denial: Disclosed
  results:
    labels: [{name: saw-acme, to: [{tools: [get_note]}], when: 'mcp.result.text.contains("acme")'}]
  deny: [{name: nothing-leaves, to: [{tools: [create_note]}], when: '"saw-acme" in session.labels'}]
  allow: [{from: [{serviceAccounts: ["{ns}/reader"]}]}]
"""
STATE = "/var/lib/agent-waypoint"
NOT_FOUND = -32001
# How long an answer waits for the other replicas, seconds: `owners_settle`.
SETTLE = 0.5


class Agent:
    """Calls to one agent, each through the replica that is said."""

    def __init__(self, lab: Lab, ns: str, address: str) -> None:
        self.lab, self.ns, self.authority = lab, ns, f"{address}:80"
        self.owner, self.other = lab.client(ns, "owner"), lab.client(ns, "other")

    def ask(self, who: Client, replica: str, method: str, params: Object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        fields = {"Content-Type": "application/json", "A2A-Version": "1.0", "Host": self.authority}
        answer = who.http(replica, self.authority, "POST", "/", body, fields)
        assert answer.status == 200, (answer.status, answer.body[:300])
        return answer.json()

    def begin(self, replica: str) -> str:
        """Of a new task of the owner's."""
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        return self.ask(self.owner, replica, "SendMessage", {"message": message})["result"]["task"]["id"]

    def is_owners(self, replica: str, task: str) -> None:
        """The owner finds its task there; another finds none, and the agent is not asked."""
        found = self.ask(self.owner, replica, "GetTask", {"id": task})
        assert found.get("result", {}).get("id") == task, found
        before = len(self.seen())
        found = self.ask(self.other, replica, "GetTask", {"id": task})
        assert found.get("error", {}).get("code") == NOT_FOUND, found
        assert len(self.seen()) == before, self.seen()[before:]

    def seen(self) -> list[Object]:
        return self.lab.seen(self.ns, "agent")


def pods(lab: Lab, ns: str) -> list[Object]:
    return lab.pods_ready(ns, POD, 2, 90)


def address(pod: Object) -> str:
    return pod["status"]["podIP"]


def linked(replica: str) -> float:
    """To how many others it says that it is linked."""
    return gauge(replica, "agent_waypoint_a2a_linked_replicas")


def kill(lab: Lab, pod: Object) -> None:
    """`kill -9` of its waypoint, which its kubelet starts again in the same pod."""
    lab.kubelet.pods[pod["metadata"]["uid"]].containers["waypoint"].signal(signal.SIGKILL)


def restarted(lab: Lab, ns: str, pod: Object, times: int) -> None:
    def look() -> bool:
        now = lab.api.get("v1", "Pod", ns, pod["metadata"]["name"])
        return ready(now) and now["status"]["containerStatuses"][0]["restartCount"] == times

    eventually(f"{pod['metadata']['name']} is ready after {times} restarts", 60, look)


@test
def owners_are_known_to_every_replica(lab: Lab) -> None:
    """A task that one replica saw begin is its caller's at the other, after kill -9 of one and of both, and at a pod that is new."""
    ns = lab.namespace("replicas", labels={"istio.io/use-waypoint": "waypoint"})
    agent_at = lab.agent(ns)
    provisioned(lab, ns)
    lab.apply(POLICY, ns=ns)
    deployment = lab.api.get("apps/v1", "Deployment", ns, "waypoint")["spec"]["template"]["spec"]
    mounts = [one["mountPath"] for one in deployment["containers"][0]["volumeMounts"] if one["name"] == "state"]
    assert mounts == [STATE], mounts
    assert any(one["name"] == "state" and "emptyDir" in one for one in deployment["volumes"]), deployment["volumes"]

    agent = Agent(lab, ns, agent_at)
    first, second = pods(lab, ns)
    one, two = address(first), address(second)
    for replica in (one, two):
        eventually(f"{replica} is linked to the other", 20, lambda replica=replica: linked(replica) == 1)
        eventually(f"the policy is in force at {replica}", 20, lambda replica=replica: began(agent, replica))
    tasks = []
    for learns, knows in ((one, two), (two, one)) * 5:
        started = time.monotonic()
        tasks.append(agent.begin(learns))
        # At once: the answer went out when the other replica knew, unless that one was too slow to be waited for.
        if time.monotonic() - started < SETTLE:
            agent.is_owners(knows, tasks[-1])
        else:
            eventually("the other replica knows", 5, lambda: agent.is_owners(knows, tasks[-1]) or True)

    kill(lab, first)
    restarted(lab, ns, first, 1)
    for task in tasks:
        agent.is_owners(one, task)
    # Nobody is left to tell: what is known is in the pods' own files.
    kill(lab, first)
    kill(lab, second)
    restarted(lab, ns, first, 2)
    restarted(lab, ns, second, 1)
    for task in (tasks[0], tasks[-1]):
        agent.is_owners(one, task)
        agent.is_owners(two, task)

    # A pod that is new has no file: it is ready once the other one has told it.
    lab.api.delete(first, grace=0)

    def replaced() -> Object | None:
        found = [pod for pod in lab.api.list("v1", "Pod", ns, labelSelector=POD) if pod["metadata"]["uid"] not in
                 (first["metadata"]["uid"], second["metadata"]["uid"]) and ready(pod)]
        return found[0] if found else None

    three = address(eventually("a new pod is ready", 60, replaced))
    for task in (*tasks, agent.begin(two)):
        agent.is_owners(three, task)
    for replica in (two, three):
        eventually(f"{replica} is linked to the other", 20, lambda replica=replica: linked(replica) == 1)


def began(agent: Agent, replica: str) -> bool:
    return works(lambda: agent.begin(replica))


@test
def nobody_else_is_a_replica(lab: Lab) -> None:
    """The authority of links is served to the waypoint's own identity alone: to others it is a name that nobody knows."""
    ns = lab.namespace("replicas")
    waypoint = provisioned(lab, ns)
    stranger = lab.client(ns, "stranger")
    status = 200
    try:
        stranger.open(waypoint, "replicas.agent-waypoint.internal:15008").close()
    except OSError as error:
        status = getattr(error, "status", 0)
    assert status == 404, status


@test
def a_label_is_known_to_every_replica(lab: Lab) -> None:
    """What a session was shown at one replica it is refused for at both from then on; another session of the caller is not."""
    ns = lab.namespace("labels", labels={"istio.io/use-waypoint": "waypoint"})
    authority = f"{lab.tool_server(ns)}:80"
    provisioned(lab, ns)
    lab.apply(LABELS, ns=ns)
    one, two = (address(pod) for pod in pods(lab, ns))
    reader = lab.client(ns, "reader")

    def at(replica: str, begun: Session) -> Session:
        """The same session through another replica."""
        session = reader.session(replica, authority)
        session.headers["Mcp-Session-Id"] = begun.headers["Mcp-Session-Id"]
        return session

    def leaves(session: Session) -> Any:
        return session.call("create_note", {"owner": "globex", "text": "x"})

    def both(shows: str, other: str) -> tuple[Session, Session]:
        first = reader.session(shows, authority)
        second = at(other, first)
        assert "result" in leaves(first) and "result" in leaves(second)
        return first, second

    def knows(replica: str) -> bool:
        return gauge(replica, "agent_waypoint_replicas_whole") == 1 and works(lambda: both(replica, two if replica == one else one))

    for replica in (one, two):
        eventually(f"labels are known at {replica}", 30, lambda replica=replica: knows(replica))
    for shows, other in ((one, two), (two, one)):
        first, second = both(shows, other)
        assert "result" in first.call("get_note", {"id": "n2"}) and "result" in leaves(second)
        # A replica that is too slow to be waited for has the answer withheld: then again.
        eventually("the note is shown", 30, lambda first=first: "acme" in json.dumps(first.call("get_note", {"id": "n1"})))
        before = len(lab.seen(ns))
        for session in (second, first):
            answer = leaves(session)
            assert answer.get("error", {}).get("data", {}).get("reason") == "denied_by_rule", answer
            assert "create_note" not in session.tools()
        assert not [one for one in lab.seen(ns)[before:] if "create_note" in json.dumps(one)], lab.seen(ns)[before:]
        both(shows, other)


def works(does: Callable[[], object]) -> bool:
    try:
        return bool(does())
    except (AssertionError, KeyError, OSError, http.client.HTTPException):
        return False
