"""What the API server does with our documents, by the CRDs that are installed."""

from __future__ import annotations

import subprocess

import json

from harness.lab import Lab
from harness.tests import refused, test

POLICY = """\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: {ns}}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  allow:
  - name: readers
    from: [{serviceAccounts: ["agents/reader"]}]
    to: [{tools: ["get_*"]}]
"""


@test
def policy_is_stored(lab: Lab) -> None:
    """A policy is taken, with defaults, and `check` takes what the server gives back."""
    namespace = lab.namespace()
    (stored,) = lab.apply(POLICY, ns=namespace)
    assert stored["spec"]["mode"] == "Enforce", stored
    file = lab.folder / "stored.yaml"
    file.write_text(json.dumps(lab.api.get("agent-waypoint.dev/v1alpha1", "AgentPolicy", namespace, "notes")))
    checked = subprocess.run([str(lab.kubelet.images["agent-waypoint"]), "check", "-f", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@test
def policy_that_cannot_be_one_is_refused(lab: Lab) -> None:
    """The CRD's schema and rules refuse, and name the field."""
    namespace = lab.namespace()
    cases = [
        ("kind: Service", "kind: Gateway", "protocol"),
        ("protocol: MCP", "protocol: HTTP", "spec.protocol"),
        ("targetRefs: [{kind: Service, name: notes}]", "targetRefs: []", "spec.targetRefs"),
        ("protocol: MCP", "protocol: MCP\\n  mode: Never", "spec.mode"),
    ]
    for old, new, word in cases:
        assert old in POLICY, old
        text = POLICY.replace(old, new.replace("\\n", "\n"))
        refused(422, lambda text=text: lab.apply(text, ns=namespace), word)


@test
def fixtures_are_stored(lab: Lab) -> None:
    """What `fixtures/stored` holds is what this server would store: it takes each of them."""
    namespace = lab.namespace("stored")
    for file in sorted((lab.root / "istio-integration" / "fixtures" / "stored").glob("*.yaml")):
        documents = json.loads(lab.cluster.kit("json", str(file)))
        for one in [item for document in documents for item in document.get("items", [document])]:
            meta = one["metadata"]
            one["metadata"] = {"name": meta["name"], "namespace": namespace, "labels": meta.get("labels", {}), "annotations": meta.get("annotations", {})}
            one.pop("status", None)
            if one["kind"] == "Service":
                for field in ("clusterIP", "clusterIPs"):
                    one["spec"].pop(field, None)
            lab.api.apply(one)
