"""`run --ca-address`: the waypoint's certificate from a real istiod."""

from __future__ import annotations

from harness.api import Object, eventually
from harness.lab import Lab
from harness.tests import test

DOCUMENTS = """\
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: tools}
spec:
  clusterIP: 10.96.200.1
  clusterIPs: [10.96.200.1]
  ports: [{name: mcp, port: 80, targetPort: 8080, protocol: TCP, appProtocol: agent-waypoint.dev/mcp}]
"""


def waypoint(lab: Lab, namespace: str, name: str = "files", env: list[Object] | None = None, **more: str) -> None:
    """A waypoint that takes its documents from a file and its identity from istiod."""
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "documents", "namespace": namespace}, "data": {"mesh.yaml": DOCUMENTS, **more}})
    lab.pod(
        namespace, name, "agent-waypoint", ["run", "--config", "{}", "-f", "/documents"],
        env=[{"name": "CA_ADDRESS", "value": "istiod.istio-system.svc:15012"}, *(env or [])],
        volumes=[{"name": "documents", "configMap": {"name": "documents"}}], mounts=[{"name": "documents", "mountPath": "/documents"}],
        probe={"httpGet": {"path": "/healthz/ready", "port": 15021}},
    )


@test
def certificate_from_istiod(lab: Lab) -> None:
    """The certificate names the pod's ServiceAccount and nobody else."""
    namespace = lab.namespace()
    waypoint(lab, namespace)
    pod = lab.ready_pod(namespace, "files")
    shown = lab.certificate(pod["status"]["podIP"])
    assert shown["uri"] == f"spiffe://cluster.local/ns/{namespace}/sa/files", shown
    assert "cluster.local" in shown["issuer"], shown


@test
def refused_token_is_waited_out(lab: Lab) -> None:
    """With a token for another audience the pod stays unready and says why; nothing crashes."""
    namespace = lab.namespace()
    token = lab.api.token_of("istio-system", "istiod", "")
    waypoint(lab, namespace, env=[{"name": "AUTH_TOKEN", "value": "/documents/token"}], token=token)
    eventually("the log names the remedy", 20, lambda: "check the token's audience" in lab.logged(namespace, "files"))
    pod = lab.api.get("v1", "Pod", namespace, "files")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, pod["status"]
    assert not pod["status"]["containerStatuses"][0]["ready"], pod["status"]
