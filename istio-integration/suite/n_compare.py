"""What istiod compiles of a policy for its own waypoint, in an Envoy, and what ours makes of it: the same answer."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness import envoy
from harness.api import eventually
from harness.lab import Client, Lab, Refused
from harness.net import ISTIOD
from harness.tests import test
from harness.tokens import Issuer

from .corpus import CALLERS, CASES, GATEWAY, UNDER_A_GATEWAY, Case, Request
from .i_waypoint import provisioned

PAGE = "docs/envoy-comparison.md"
# Time in which a policy is in force on either side.
SETTLED = 45


def answer(status: int) -> str:
    """Whether and how a request was refused."""
    return {401: "401", 403: "403", 400: "400"}.get(status, "passed")


def minted(folder: Path) -> dict[str, str]:
    """Key sets and tokens by the names that the corpus has for them."""
    idp, other, forger = Issuer(folder), Issuer(folder, "other"), Issuer(folder, "forger")
    forger.name, forger.kid = idp.name, idp.kid
    tokens = {
        "good": idp.token(), "expired": idp.token(-3600), "wrong": forger.token(), "elsewhere": other.token(), "aud": idp.token(aud="tools"),
        "auds": idp.token(aud=["x", "tools"]), "groups": idp.token(groups=["users", "admins"]), "nested": idp.token(org={"team": "red"}),
        "scope": idp.token(scope="read write"), "bob": idp.token(sub="bob"), "presented": idp.token(azp="app", aud="tools"), "no-sub": idp.token(sub=None),
        "early": idp.token(nbf=int(time.time()) + 3600), "rubbish": "a.b.c",
        "number": idp.token(level=7), "truth": idp.token(admin=True), "teams": idp.token(org={"teams": ["red", "blue"]}),
        "dotted": idp.token(**{"a.b": "c", "a": {"b": "d"}}),
    }
    return {"jwks": idp.jwks, "other_jwks": other.jwks, **tokens}


def filled(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\{([a-z_-]+)\}", lambda found: names.get(found[1], found[0]), text)


class Both:
    """The same documents behind the same Services, and both to ask."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.ns = lab.namespace("judged", labels={"istio.io/use-waypoint": "waypoint"})
        elsewhere = lab.namespace("elsewhere")
        lab.tool_server(self.ns)
        self.waypoint = provisioned(lab, self.ns)
        self.names = {"ns": self.ns, **minted(lab.folder)}
        accounts = {"reader": self.ns, "writer": self.ns, "stranger": elsewhere}
        self.clients: dict[str, Client] = {account: lab.client(ns, account) for account, ns in accounts.items()}
        self.identities = {account: f"spiffe://cluster.local/ns/{ns}/sa/{account}" for account, ns in accounts.items()}
        self.addresses: dict[str, str] = {}

    def service(self, number: int) -> str:
        return f"c{number:03}"

    def host(self, number: int) -> str:
        return f"{self.service(number)}.{self.ns}.svc.cluster.local"

    def apply(self, cases: list[Case], beside: list[str]) -> None:
        objects = [filled(document, self.names) for document in beside]
        for number, one in enumerate(cases):
            name = self.service(number)
            ports = [{"name": kind, "port": port, "targetPort": 8080, "appProtocol": kind} for kind, port in (("http", envoy.HTTP), ("tcp", envoy.BYTES))]
            service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": self.ns}, "spec": {"selector": {"app": "notes"}, "ports": ports}}
            self.addresses[name] = self.lab.api.apply(service)["spec"]["clusterIP"]
            objects += [filled(document, {**self.names, "svc": name}) for document in one.documents]
        for one in self.lab.parse("---\n".join(objects)):
            self.lab.api.apply(one)

    def judge(self, count: int) -> dict[str, envoy.Judged]:
        """What istiod sends for the Services, once each has what decides and nothing changes any more."""
        last: list[str] = [""]

        def whole() -> dict[str, envoy.Judged] | None:
            text = self.lab.cluster.kit("listeners", f"{ISTIOD}:15010", self.ns, "waypoint")
            before, last[0] = last[0], text
            found = {host: one for host, one in envoy.judged(json.loads(text)).items() if host.startswith("c")}
            decided = sum(1 for one in found.values() if one.deciding)
            return found if before == text and len(found) == count and decided >= count * 9 // 10 else None

        return eventually(f"istiod has sent {count} Services with their policies", 60, whole, pause=1)

    def bytes_of_ours(self, number: int, caller: str) -> str:
        try:
            self.clients[caller].open(self.waypoint, f"{self.addresses[self.service(number)]}:{envoy.BYTES}").close()
        except Refused as refused:
            return answer(refused.status)
        return "passed"

    def ours(self, number: int, one: Request) -> str:
        connection = self.clients[one.caller].open(self.waypoint, f"{self.addresses[self.service(number)]}:80")
        try:
            envoy.send(connection, one.method, filled(one.path, self.names), self.headers(number, one))
            return answer(connection.getresponse().status)
        except ConnectionError:
            return "closed"
        finally:
            connection.close()

    def theirs(self, judge: envoy.Envoy, number: int, one: Request) -> str:
        return answer(judge.ask(self.host(number), one.method, filled(one.path, self.names), self.headers(number, one), self.identities[one.caller]))

    def headers(self, number: int, one: Request) -> dict[str, str]:
        return {"host": self.host(number), **{name: filled(value, self.names) for name, value in one.headers}}


@dataclass(frozen=True)
class Difference:
    """One that the page has: of these cases and requests (`*` stands for anything), and what either answers."""

    cases: str
    request: str
    want: str
    got: str

    def covers(self, case: str, request: str, want: str, got: str) -> bool:
        return (self.want, self.got) == (want, got) and fnmatchcase(case, self.cases) and fnmatchcase(request, self.request)


def listed(root: Path) -> list[Difference]:
    """The rows of the page: cases, requests, what Istio's waypoint answers, what ours does, why."""
    rows = [line.strip("|").split(" | ") for line in (root / PAGE).read_text().splitlines() if line.startswith("| `")]
    return [Difference(*(cell.strip().strip("`") for cell in row[:4])) for row in rows]


def agreed(ask: Callable[[], str], want: str, until: float) -> str:
    """Our answer; where it is another than the judge's, once policies had their time to be in force."""
    while (got := ask()) != want and time.monotonic() < until:
        time.sleep(0.2)
    return got


def compared(lab: Lab, cases: list[Case], beside: list[str]) -> list[tuple[str, str, str, str]]:
    """Where the answers are not the same: case, request, the judge's answer, ours."""
    both = Both(lab)
    both.apply(cases, beside)
    until = time.monotonic() + SETTLED
    services = both.judge(len(cases))
    found, given = [], Counter()
    with envoy.Envoy(lab.folder, services, both.identities) as judge:
        for number, one in enumerate(cases):
            for request in one.requests:
                want = both.theirs(judge, number, request)
                given[want] += 1
                got = agreed(lambda n=number, r=request: both.ours(n, r), want, until)
                if got != want:
                    found.append((one.name, request.name, want, got))
            for caller in CALLERS:
                # That a connection ended is all that Envoy says here.
                want = "passed" if judge.lets_through(both.host(number), caller) else "403"
                given[f"bytes {want}"] += 1
                got = agreed(lambda n=number, c=caller: both.bytes_of_ours(n, c), want, until)
                if got != want:
                    found.append((one.name, f"{caller} bytes", want, got))
    print(f"    {len(cases)} cases, {given.total()} requests, {len(found)} differences; Istio's waypoint: {dict(given)}", flush=True)
    # A judge that says the same to everything would judge nothing.
    assert all(given[kind] > 5 for kind in ("passed", "401", "403")), given
    return found


@test
def ours_answers_as_istios_own_waypoint(lab: Lab) -> None:
    """A corpus of policies and requests: istiod's filters in a stock Envoy and our waypoint agree, but for what docs/envoy-comparison.md lists."""
    known = listed(lab.root)
    found = compared(lab, CASES, []) + compared(lab, UNDER_A_GATEWAY, [GATEWAY])
    new = [one for one in found if not any(row.covers(*one) for row in known)]
    gone = [row for row in known if not any(row.covers(*one) for one in found)]
    rows = "\n".join(f"| `{case}` | `{name}` | {want} | {got} |" for case, name, want, got in new)
    assert not new and not gone, f"not as {PAGE} has it:\n{rows}\nno longer: {gone}"
