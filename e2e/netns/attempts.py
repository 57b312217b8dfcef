"""Every way round that we know, each tried twice: as things are, and with what should stop it taken away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import guard, network
from .lab import ANYBODY, NODE_PORT, RECORDER, STATS, VIP, VIP_DIRECT, VIP_REPORTS, Lab
from .mesh import Port, Service

SERVER, SERVER6, WAYPOINT = "10.244.0.31", "fd00:10:244::31", "10.244.0.21:15008"
AT_SERVER, AT_WAYPOINT, AT_CLIENT = "server's node proxy", "waypoint", "client's node proxy"
STRANGER, RESEARCHER = "agents/stranger", "agents/researcher"

INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "probe", "version": "1"},
        },
    }
)
FORGED = {
    "x-forwarded-client-cert": "By=spiffe://cluster.local/ns/tools/sa/notes;URI=spiffe://cluster.local/ns/agents/sa/researcher",
    "baggage": "k8s.namespace.name=agents,k8s.pod.name=client,service.name=researcher",
    "forwarded": 'for="10.244.0.11:4000";host=notes.tools.svc.cluster.local',
    "x-istio-source": "waypoint",
}
AS_WAYPOINT = {
    "baggage": "k8s.namespace.name=mesh,k8s.pod.name=waypoint,service.name=waypoint",
    "forwarded": 'for="10.244.0.21:4000";host=notes.tools.svc.cluster.local',
}


def post(body: str, headers: dict[str, str]) -> str:
    lines = ["POST /mcp HTTP/1.1", "Host: notes", "Content-Type: application/json"]
    lines += ["Accept: application/json, text/event-stream", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body])


@dataclass
class Attempt:
    """`try_it` probes; `take_away` removes what should stop it, which `guard` names."""

    name: str
    guard: str
    dies: str
    try_it: Callable[[Lab], dict[str, Any]]
    take_away: Callable[[Lab], None]
    # How the controller reports the port once the guard is away; None where it is not about a guard.
    reported: str | None = None
    # Something else than the world that differs while it is tried as things are.
    given: Callable[[Lab], None] = field(default=lambda lab: None)
    witness: str | None = "server"
    restart: Sequence[str] = ()
    stopped: Sequence[str] = ()
    # What only istiod can say.
    in_files: bool = True
    # In a mesh a second thing stands behind what is taken away: no address is called that nobody answers for.
    held: bool = False


def no_guard(lab: Lab) -> None:
    lab.guard = guard.none()


def plain(where: str | None, to: str) -> Callable[[Lab], dict[str, Any]]:
    return lambda lab: lab.probe(where, to)


def hbone(through: str, to: str, account: str, **options: Any) -> Callable[[Lab], dict[str, Any]]:
    """From the pod that nobody captures, so that nothing of ours stands before it."""
    return lambda lab: lab.probe("outsider", to, through=(through, account), **options)


def named(address: str, port: int, endpoint: tuple[str, int]) -> Callable[[Lab], None]:
    """A Service that names a destination and uses this waypoint, as if somebody had made it: then it goes there."""

    def change(lab: Lab) -> None:
        ports = [Port("tcp", port, endpoint[1])]
        lab.mesh.services.append(Service("named", "tools", [address], ports, {}, "waypoint", [endpoint]))

    return change


def handed_over(lab: Lab) -> None:
    """Without the guard too, which lets in the waypoint of `reports` and no other."""
    lab.mesh.service("reports").waypoint = "waypoint"
    no_guard(lab)


def for_workloads(lab: Lab) -> None:
    """Its waypoint is for workloads too."""
    lab.mesh.pod("server").waypoint = "waypoint"


def anybody_may(lab: Lab) -> None:
    lab.allow = ANYBODY


def not_announced(lab: Lab) -> None:
    lab.mesh.service("notes").waypoint = None


def neither_announced_nor_guarded(lab: Lab) -> None:
    not_announced(lab)
    no_guard(lab)


def port_moved(lab: Lab) -> None:
    """The pod's port `mcp` is another number now, and the guard was planned for that."""
    lab.mesh.pod("server").ports["mcp"] = 9090
    lab.guard = guard.plan(lab.bin, lab.mesh)


def guard_is_late(lab: Lab) -> None:
    lab.mesh.pod("server").ports["mcp"] = 9090


def whole_workload(lab: Lab) -> None:
    lab.guard = guard.plan(lab.bin, lab.mesh, whole_workload=True)


def only_ports(lab: Lab) -> None:
    lab.guard = guard.plan(lab.bin, lab.mesh)


def redirect_ipv4_only(lab: Lab) -> None:
    network.capture("server", ipv6=False)


def redirect_both(lab: Lab) -> None:
    network.capture("server")


def link_local(lab: Lab) -> dict[str, Any]:
    zone = network.link_index("outsider")
    return lab.probe("outsider", f"[{network.link_local('server')}%{zone}]:8080")


def connect(
    name: str,
    authority: str,
    take_away: Callable[[Lab], None],
    witness: str | None,
    request: str = "",
    held: bool = False,
) -> Attempt:
    """A CONNECT by a caller whom the policy lets in, to something that is not this waypoint's."""
    try_it = hbone(WAYPOINT, authority, RESEARCHER, **({"request": request} if request else {}))
    guard_text = "what it fronts is all it knows"
    return Attempt(
        f"CONNECT to {name}",
        guard_text,
        AT_WAYPOINT,
        try_it,
        take_away,
        witness=witness,
        restart=["waypoint"],
        held=held,
    )


GUARD, PENDING = "guard", "pending (8080)"
ATTEMPTS = [
    Attempt("plaintext to the pod", GUARD, AT_SERVER, plain("outsider", f"{SERVER}:8080"), no_guard, PENDING),
    Attempt(
        "plaintext to the pod over IPv6", GUARD, AT_SERVER, plain("outsider", f"[{SERVER6}]:8080"), no_guard, PENDING
    ),
    Attempt("plaintext to the pod from its node", GUARD, AT_SERVER, plain(None, f"{SERVER}:8080"), no_guard, PENDING),
    Attempt("the Service's address, not captured", GUARD, AT_SERVER, plain("outsider", f"{VIP}:80"), no_guard, PENDING),
    Attempt(
        "the Service's node port", GUARD, AT_SERVER, plain("outsider", f"{network.HOST}:{NODE_PORT}"), no_guard, PENDING
    ),
    Attempt(
        "the pod's address by a mesh peer (HBONE)",
        GUARD,
        AT_SERVER,
        plain("other", f"{SERVER}:8080"),
        no_guard,
        PENDING,
    ),
    Attempt(
        "the pod's port 15008 with an own valid certificate",
        GUARD,
        AT_SERVER,
        hbone(f"{SERVER}:15008", f"{SERVER}:8080", STRANGER),
        no_guard,
        PENDING,
    ),
    Attempt(
        "the same by the Service's name",
        GUARD,
        AT_SERVER,
        hbone(f"{SERVER}:15008", "notes.tools.svc.cluster.local:80", STRANGER),
        no_guard,
        PENDING,
    ),
    Attempt(
        "the same with forged baggage and forwarded",
        GUARD,
        AT_SERVER,
        hbone(f"{SERVER}:15008", f"{SERVER}:8080", STRANGER, headers=AS_WAYPOINT),
        no_guard,
        PENDING,
    ),
    Attempt(
        "another Service on the same port", GUARD, AT_SERVER, plain("other", f"{VIP_DIRECT}:8888"), no_guard, PENDING
    ),
    Attempt(
        "IPv6 link-local",
        "redirection of IPv6 too",
        AT_SERVER,
        link_local,
        redirect_ipv4_only,
        given=redirect_both,
    ),
    Attempt(
        "a named port that changed its number",
        "guard planned anew",
        AT_SERVER,
        plain("other", f"{SERVER}:9090"),
        guard_is_late,
        "pending (9090)",
        given=port_moved,
    ),
    Attempt(
        "a sibling port",
        "guard-scope: Workload",
        AT_SERVER,
        plain("other", f"{SERVER}:9000"),
        only_ports,
        "sibling_port (9000)",
        given=whole_workload,
    ),
    Attempt(
        "forged identity in headers, through the waypoint",
        "identity by certificate alone",
        AT_WAYPOINT,
        hbone(WAYPOINT, f"{VIP}:80", STRANGER, headers=FORGED, request=post(INITIALIZE, FORGED)),
        anybody_may,
        restart=["waypoint"],
    ),
    replace(
        connect("the pod's address", f"{SERVER}:8080", for_workloads, "server", post(INITIALIZE, {})), in_files=False
    ),
    connect("a Service of another waypoint", f"{VIP_REPORTS}:80", handed_over, "reports", post(INITIALIZE, {})),
    connect("loopback", f"127.0.0.1:{RECORDER}", named("127.0.0.1", RECORDER, ("127.0.0.1", RECORDER)), "waypoint", held=True),
    connect("IPv6 loopback", f"[::1]:{RECORDER}", named("::1", RECORDER, ("127.0.0.1", RECORDER)), "waypoint", held=True),
    connect("link-local", f"[fe80::1]:{RECORDER}", named("fe80::1", RECORDER, ("127.0.0.1", RECORDER)), "waypoint", held=True),
    connect(
        "the metadata address", f"{network.METADATA}:80", named(network.METADATA, 80, (network.METADATA, 80)), None, held=True
    ),
    connect(
        "the waypoint's metrics",
        f"10.244.0.21:{STATS}",
        named("10.244.0.21", STATS, ("10.244.0.21", STATS)),
        "waypoint",
        "GET /stats/prometheus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        held=True,
    ),
    connect("the waypoint itself", WAYPOINT, named("10.244.0.21", 15008, ("10.244.0.21", 15008)), "waypoint", held=True),
    Attempt(
        "the waypoint is stopped",
        "an announced waypoint is the only way",
        AT_CLIENT,
        plain("client", f"{VIP}:80"),
        neither_announced_nor_guarded,
        stopped=["waypoint"],
    ),
    Attempt(
        "the waypoint is not announced any more",
        GUARD,
        AT_SERVER,
        plain("client", f"{VIP}:80"),
        neither_announced_nor_guarded,
        given=not_announced,
    ),
]


@dataclass
class Tried:
    """What became of one attempt."""

    attempt: Attempt
    outcome: dict[str, Any]
    packets: int
    died: str | None
    why: str
    open_outcome: dict[str, Any]
    open_packets: int
    # What the controller reports of the Service, as things are and without.
    gaps: list[str]
    open_gaps: list[str]

    def fault(self) -> str | None:
        if self.packets:
            return f"{self.packets} packets reached the application ({self.outcome})"
        if self.outcome["outcome"] == "answered" and self.died != AT_WAYPOINT:
            return f"answered: {self.outcome}"
        if self.died != self.attempt.dies:
            return f"died at {self.died} ({self.why}), not at {self.attempt.dies}: {self.outcome}"
        if self.attempt.guard == GUARD and "agent-waypoint-guard" not in self.why:
            return f"refused by {self.why}, not by the guard"
        if self.attempt.reported in self.gaps:
            return f"reported as {self.gaps} though it is refused"
        if self.attempt.reported and self.attempt.reported not in self.open_gaps:
            return f"open and not reported: {self.open_gaps}"
        if self.attempt.held:
            # It comes as far as a tunnel, and no further.
            held = self.open_outcome.get("status") == 503 and not self.open_packets
            return None if held else f"not held: without {self.attempt.guard} it came to {self.open_outcome}"
        if not self.open_packets or self.open_outcome["outcome"] != "answered":
            return (
                f"cannot fail: without {self.attempt.guard} it came to {self.open_outcome}, {self.open_packets} packets"
            )
        return None

    def with_guard(self) -> str:
        return describe(self.outcome)

    def without_guard(self) -> str:
        return describe(self.open_outcome)


def describe(outcome: dict[str, Any]) -> str:
    match outcome["outcome"]:
        case "answered":
            status = outcome.get("status")
            if '"error"' in outcome.get("body", ""):
                return "JSON-RPC error"
            return f"answered, {status}" if status else "answered"
        case "connect":
            return f"CONNECT {outcome['status']}"
        case "failed":
            return str(outcome["why"])
        case other:
            return str(other)


def where_died(lab: Lab, outcome: dict[str, Any], expected: str | None) -> tuple[str | None, str]:
    """The last place that refused, by what the proxies said; where it is not the expected one, what they say is waited for."""
    events: list[tuple[str, dict[str, Any]]] = []
    deadline = time.monotonic() + (20 if expected else 0)
    while True:
        events += [(pod, event) for pod, event in lab.events() if event["verdict"] in ("refused", "failed")]
        found = by_events(events, outcome)
        if found[0] == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def by_events(events: list[tuple[str, dict[str, Any]]], outcome: dict[str, Any]) -> tuple[str | None, str]:
    """The same of what was said so far; a waypoint's word is its answer."""
    for servers, place in ((("server", "reports"), AT_SERVER), (("client", "other"), AT_CLIENT)):
        for pod, event in events:
            if pod in servers:
                return place, f"{event['way']}: {event['why']}"
    if outcome["outcome"] == "connect":
        return AT_WAYPOINT, describe(outcome)
    if outcome["outcome"] == "answered" and '"error"' in outcome["body"]:
        return AT_WAYPOINT, describe(outcome)
    return None, ""


def gaps(lab: Lab, whole_workload: bool) -> list[str]:
    """The ways round `notes` that the controller finds by what ztunnel is sent: reason and port."""
    subject = guard.verify(lab.bin, lab.mesh, lab.guard, whole_workload).get("notes", {})
    return [f"{gap['reason']} ({gap.get('port', '-')})" for gap in subject.get("gaps", [])]


def seen(lab: Lab, attempt: Attempt, dies: str | None) -> tuple[dict[str, Any], int, str | None, str]:
    lab.events()
    before = lab.settled(attempt.witness)
    outcome = attempt.try_it(lab)
    packets = lab.settled(attempt.witness) - before
    died, why = where_died(lab, outcome, dies)
    return outcome, packets, died, why


def run(lab: Lab, attempt: Attempt) -> Tried:
    """Tries it as things are, then with its guard taken away, and leaves the lab as it was."""
    for name in attempt.stopped:
        lab.stop_waypoint(name)
    with lab.changed(attempt.given):
        outcome, packets, died, why = seen(lab, attempt, attempt.dies)
        reported = gaps(lab, attempt.given is whole_workload) if attempt.reported else []
    with lab.changed(attempt.take_away, attempt.restart):
        open_outcome, open_packets, _, _ = seen(lab, attempt, None)
        open_reported = gaps(lab, False) if attempt.reported else []
    if attempt.name == "IPv6 link-local":
        redirect_both(lab)
    for name in attempt.stopped:
        lab.start_waypoint(name)
    return Tried(attempt, outcome, packets, died, why, open_outcome, open_packets, reported, open_reported)
