"""Who vouches for a call besides its certificate: tokens by Istio's RequestAuthentication, as the API server stores it and our
controller brings it."""

from __future__ import annotations

import json
from typing import Any

from harness.api import eventually
from harness.lab import Lab, Session
from harness.tests import refused, test
from harness.tokens import Issuer

from .i_waypoint import mesh
from .mesh import Mesh

TOKENS = """\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: idp, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  jwtRules: [{issuer: "https://idp.example", audiences: [notes], jwks: '{jwks}'}]
"""

ALICE = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  allow:
  - name: alice-reads
    from: [{serviceAccounts: ["{ns}/reader"]}]
    to: [{tools: ["get_*"]}]
    when: jwt.sub == "alice"
"""

# Istio's own word for the same, which narrows what an AgentPolicy allows.
VERIFIED = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: verified, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  action: ALLOW
  rules: [{from: [{source: {requestPrincipals: ["https://idp.example/alice"]}}]}]
"""

def session(this: Mesh, token: str = "") -> Session | None:
    """A session with this token; none where it cannot begin."""
    try:
        return this.reader.session(this.waypoint, f"{this.server}:80", {"Authorization": f"Bearer {token}"} if token else None)
    except AssertionError:
        return None


def said(this: Mesh, token: str, tool: str = "get_note") -> Any:
    """What becomes of a call in a session of its own with this token."""
    opened = session(this, token)
    if opened is None:
        return None
    try:
        return opened.call(tool, {"id": "n1"})
    finally:
        opened.close()


def passes(answer: Any) -> bool:
    return bool(answer) and "result" in answer


def begun(this: Mesh, token: str) -> tuple[int, str]:
    """Status and challenge where a session is begun."""
    info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "lab", "version": "1"}}
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": info}).encode()
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = this.reader.http(this.waypoint, f"{this.server}:80", "POST", "/mcp", message, headers)
    return answer.status, answer.headers.get("www-authenticate", "")


@test
def tokens_are_verified_on_decoded_calls(lab: Lab) -> None:
    """RequestAuthentication with inline keys through the API server: a tool is for whom the token says, and nobody else gets a byte through."""
    this = mesh(lab)
    idp, forger = Issuer(lab.folder, f"idp-{this.ns}"), Issuer(lab.folder, f"forger-{this.ns}")
    idp.name = forger.name = "https://idp.example"
    forger.kid = idp.kid
    lab.apply(TOKENS, ns=this.ns, jwks=idp.jwks)
    lab.apply(ALICE, ns=this.ns)
    alice = idp.token(aud="notes")
    eventually("alice may", 20, lambda: passes(said(this, alice)))
    eventually("nobody begins without a token", 20, lambda: begun(this, "") == (401, "Bearer"))
    before = len(lab.seen(this.ns))
    assert not passes(said(this, idp.token(aud="notes", sub="bob")))
    for bad in (idp.token(-3600, aud="notes"), forger.token(aud="notes"), idp.token(aud="other"), idp.token(), "x.y.z"):
        status, challenge = begun(this, bad)
        assert status == 401 and 'error="invalid_token"' in challenge, (status, challenge)
    called = [line for line in lab.seen(this.ns)[before:] if line.get("tool") or line.get("method") == "tools/call"]
    assert not called, called
    assert passes(said(this, alice)) and not passes(said(this, alice, "delete_note"))
    refused(422, lambda: lab.apply(TOKENS.replace("jwks:", "jwksUri: https://x/, jwks:"), ns=this.ns, jwks="{}"), "jwks")


@test
def an_authorization_policy_narrows_by_token(lab: Lab) -> None:
    """Istio's requestPrincipals beside an AgentPolicy that knows nothing of tokens: both must permit; another key in the document and the old tokens are over."""
    this = mesh(lab)
    idp = Issuer(lab.folder, f"narrow-{this.ns}")
    idp.name = "https://idp.example"
    lab.apply(TOKENS, ns=this.ns, jwks=idp.jwks)
    lab.apply(VERIFIED, ns=this.ns)
    alice, bob = idp.token(aud="notes"), idp.token(aud="notes", sub="bob")
    eventually("alice may, nobody else", 20, lambda: passes(said(this, alice)) and not passes(said(this, bob)) and not passes(said(this, "")))
    later = Issuer(lab.folder, f"later-{this.ns}")
    later.name = "https://idp.example"
    lab.apply(TOKENS, ns=this.ns, jwks=later.jwks)
    eventually("her token is over with its key", 10, lambda: begun(this, alice)[0] == 401)
    assert passes(said(this, later.token(aud="notes")))
