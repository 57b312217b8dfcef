"""Who vouches for a call besides its certificate: tokens by Istio's RequestAuthentication, and providers that its meshConfig
declares, each as the API server stores it and our controller brings it."""

from __future__ import annotations

import json
from typing import Any

from harness.api import Object, eventually
from harness.lab import DOWNWARD, ISTIO_MOUNTS, Lab, Session
from harness.tests import refused, test
from harness.tokens import Issuer

from .i_waypoint import mesh
from .mesh import POLICY, Mesh

TOKENS = """\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: idp, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  jwtRules: [{issuer: "https://idp.example", audiences: [notes], jwks: '{jwks}'}]
"""

ALICE = POLICY + '    when: jwt.sub == "alice"\n'

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

CUSTOM = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, group: "", name: notes}]
  action: CUSTOM
  provider: {name: lab-authz}
  rules: [{to: [{operation: {paths: ["/mcp"]}}]}]
"""

EXTERNAL = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  external:
  - name: writers-are-asked-about
    to: [{tools: ["update_*", "create_*"]}]
    provider: lab-authz
  allow:
  - name: readers
    from: [{serviceAccounts: ["{ns}/reader"]}]
    to: [{tools: ["*"]}]
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
    answer = this.begin({"Authorization": f"Bearer {token}"} if token else None)
    return answer.status, answer.headers.get("www-authenticate", "")


@test
def tokens_are_verified_on_decoded_calls(lab: Lab) -> None:
    """RequestAuthentication with inline keys through the API server: a tool is for whom the token says, and nobody else gets a byte through."""
    this = mesh(lab)
    idp, forger = Issuer(lab.folder, f"idp-{this.ns}"), Issuer(lab.folder, f"forger-{this.ns}")
    idp.name = forger.name = "https://idp.example"
    forger.kid = idp.kid
    lab.apply(TOKENS, ns=this.ns, jwks=idp.jwks)
    lab.apply(ALICE, ns=this.ns, tools="get_*")
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


def provider(lab: Lab, deny: list[str]) -> str:
    """An authorization provider in the mesh, behind no waypoint; its namespace."""
    ns = lab.namespace("authz")
    lab.api.apply({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "authz", "namespace": ns},
        "spec": {"selector": {"app": "authz"}, "ports": [{"name": "http", "port": 9000, "targetPort": 9000}]},
    })
    end = {"name": "ztunnel", "image": "peer", "args": ["serve", "--listen", "$(INSTANCE_IP):15008"], "env": DOWNWARD, "volumeMounts": ISTIO_MOUNTS,
           "readinessProbe": {"tcpSocket": {"port": 15008}, "periodSeconds": 1}}
    args = ["provider", "--listen", "0.0.0.0:9000", *(word for each in deny for word in ("--deny", each))]
    lab.pod(ns, "authz", "peer", args, annotations={"ambient.istio.io/redirection": "enabled"}, probe={"tcpSocket": {"port": 9000}}, more=[end])
    lab.ready_pod(ns, "authz")
    return ns


def declared(lab: Lab, ns: str) -> Object:
    """The ConfigMap of Istio's meshConfig as it was, before it declares the provider."""
    config = lab.api.get("v1", "ConfigMap", "istio-system", "istio")
    (settings,) = lab.parse(config["data"]["mesh"])
    authz = {"service": f"authz.{ns}.svc.cluster.local", "port": 9000, "timeout": "10s", "headersToUpstreamOnAllow": ["x-user"]}
    settings["extensionProviders"] = [*settings.get("extensionProviders", []), {"name": "lab-authz", "envoyExtAuthzHttp": authz}]
    lab.api.patch(config, {"data": {"mesh": json.dumps(settings)}})
    return config


def heads(lab: Lab, ns: str) -> list[str]:
    """What the provider was asked."""
    return [json.loads(line) for line in lab.logged(ns, "authz").splitlines() if line.startswith('"')]


@test
def providers_of_mesh_config_are_asked(lab: Lab) -> None:
    """CUSTOM and an AgentPolicy's `external` with a provider Service in the mesh: told what the call is, its no is a refusal, and its end lets nothing through."""
    ns = provider(lab, ["mcp-name: search_notes", "mcp-name: update_note"])
    before = declared(lab, ns)
    try:
        this = mesh(lab, tools="*")
        lab.apply(CUSTOM, ns=this.ns)
        eventually("the provider is asked, and says yes", 30, lambda: passes(said(this, "")) and any("mcp-name: get_note" in head for head in heads(lab, ns)))
        asked = next(head for head in heads(lab, ns) if "mcp-name: get_note" in head)
        assert f"spiffe://cluster.local/ns/{this.ns}/sa/reader" in asked, asked
        seen = len(lab.seen(this.ns))
        assert "error" in said(this, "", "search_notes")
        assert not [line for line in lab.seen(this.ns)[seen:] if line.get("tool") == "search_notes"]

        lab.api.delete(lab.api.get("security.istio.io/v1", "AuthorizationPolicy", this.ns, "asked"))
        eventually("it is asked no more", 20, lambda: "result" in said(this, "", "search_notes"))
        lab.apply(EXTERNAL, ns=this.ns)
        eventually("it is asked about writers, and says no", 20, lambda: "error" in said(this, "", "update_note"))
        count = len(heads(lab, ns))
        assert passes(said(this, "")) and len(heads(lab, ns)) == count, "about nobody else"

        lab.apply(CUSTOM, ns=this.ns)
        lab.api.delete(lab.api.get("v1", "Pod", ns, "authz"), grace=0)
        eventually("nothing passes without it", 20, lambda: not passes(said(this, "")))
    finally:
        lab.api.patch(before, {"data": before["data"]})
