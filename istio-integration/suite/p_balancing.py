"""DestinationRules as the API server gives them back: what they say is in force, and what has no effect is said on them."""

from __future__ import annotations

from harness.api import condition, eventually
from harness.lab import Lab
from harness.tests import test

from .i_waypoint import mesh

RULE = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: {ns}}
spec: {host: {host}, trafficPolicy: {policy}}
"""


def said(lab: Lab, ns: str) -> tuple[str, str]:
    """What our controller says of the rule."""
    ours = condition(lab.api.get("networking.istio.io/v1", "DestinationRule", ns, "web"), "agent-waypoint.dev/Honoured")
    return (ours["status"], ours["reason"]) if ours else ("", "")


@test
def destination_rules_are_honoured(lab: Lab) -> None:
    """Calls go in turn to two pods; TLS that would be lost closes the host; what has no effect is told, and calls go on."""
    this = mesh(lab)
    web = lab.tool_server(this.ns, "web", app_protocol="http")
    lab.tool_server(this.ns, "more", app_protocol="http")
    # A second pod behind the first Service.
    lab.api.patch(lab.api.get("v1", "Pod", this.ns, "more"), {"metadata": {"labels": {"app": "web"}}})

    def status() -> int:
        return this.http(web, "/x").status

    def seen() -> tuple[int, int]:
        return len(lab.seen(this.ns, "web")), len(lab.seen(this.ns, "more"))

    lab.apply(RULE, ns=this.ns, host="web", policy="{loadBalancer: {simple: ROUND_ROBIN}}")

    def in_turn() -> bool:
        before = seen()
        answered = [status() for _ in range(8)]
        after = seen()
        return 503 not in answered and (after[0] - before[0], after[1] - before[1]) == (4, 4)

    eventually("calls go in turn", 30, in_turn)
    eventually("the rule says that it is honoured", 20, lambda: said(lab, this.ns) == ("True", "Honoured"))
    lab.apply(RULE, ns=this.ns, host=f"web.{this.ns}.svc.cluster.local", policy="{tls: {mode: SIMPLE}}")
    eventually("nothing is called in plaintext", 20, lambda: status() in (403, 503))
    before = seen()
    assert status() in (403, 503) and seen() == before
    eventually("the rule says so", 20, lambda: said(lab, this.ns) == ("False", "TlsNotOriginated"))
    lab.apply(RULE, ns=this.ns, host="web", policy="{loadBalancer: {localityLbSetting: {enabled: true}, simple: RANDOM}}")
    eventually("calls go on", 20, lambda: status() not in (403, 503))
    eventually("what has no effect is said", 20, lambda: said(lab, this.ns) == ("False", "NotSupported"))
    lab.apply(RULE, ns=this.ns, host="elsewhere", policy="{loadBalancer: {simple: RANDOM}}")
    eventually("nothing is said of what is not ours", 20, lambda: said(lab, this.ns) == ("", ""))
