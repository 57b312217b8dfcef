"""What is installed: the rendered file is the chart, and the rights in it are enough."""

from __future__ import annotations

import json
from datetime import datetime

from harness.api import Object, eventually
from harness.kubelet import NODE_NAME
from harness.lab import Lab
from harness.render import FILE, NAMESPACE, rendered
from harness.tests import test

from .g_guarded import becomes, command, guarded, guards

# The longest that a watch of the replica that does not lead waits before it asks again (kube's backoff: 30 s), and some more, in seconds.
AGAIN = 90


@test
def install_yaml_is_the_chart(lab: Lab) -> None:
    """`manifests/install.yaml` is what the chart gives; `istio-integration/run --render` writes it."""
    assert (lab.root / FILE).read_text() == rendered(lab.cluster.kit, lab.root), f"{FILE} is not what the chart gives: run istio-integration/run --render"


def uninstall_hook(lab: Lab, *settings: str) -> tuple[str, str]:
    """Runs what `helm uninstall` runs first, as its Job says it; the pod's phase at the end, and its log."""
    chart = lab.cluster.kit("chart", str(lab.root / "manifests" / "charts" / "agent-waypoint"), NAMESPACE, *settings)
    (job,) = [one for one in lab.parse(chart) if one["kind"] == "Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete", job
    assert job["spec"]["backoffLimit"] == 0, "it is asked once: a Job that fails ends the uninstall"
    template = job["spec"]["template"]
    pod = lab.api.create({
        "apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": job["metadata"]["name"], "namespace": NAMESPACE},
        "spec": {**template["spec"], "nodeName": NODE_NAME},
    })

    def ended() -> Object | None:
        now = lab.api.get("v1", "Pod", NAMESPACE, pod["metadata"]["name"])
        return now if now.get("status", {}).get("phase") in ("Succeeded", "Failed") else None
    phase = eventually("the hook's pod ends", 90, ended)["status"]["phase"]
    said = lab.logged(NAMESPACE, pod["metadata"]["name"], "guard")
    lab.api.delete(pod, grace=0)
    eventually("the hook's pod is gone", 30, lambda: lab.api.find("v1", "Pod", NAMESPACE, pod["metadata"]["name"]) is None)
    return phase, said


@test
def uninstalling_refuses_while_guards_exist(lab: Lab) -> None:
    """The chart's pre-delete hook with the rights that the chart gives it: it fails while there are guards; told to, it removes them."""
    namespace = guarded(lab)
    phase, said = uninstall_hook(lab)
    assert phase == "Failed" and "guard --remove" in said, (phase, said)
    assert guards(lab, namespace), "and nothing was touched"
    try:
        phase, said = uninstall_hook(lab, "uninstall.guards=Remove")
        assert phase == "Succeeded" and " 0 left" in said, (phase, said)
        assert not guards(lab, namespace)
        phase, said = uninstall_hook(lab)
        assert phase == "Succeeded", said
    finally:
        restored = command(lab, "--restore")
    assert restored.returncode == 0, restored
    becomes(lab, namespace, "Guarded", "True", "Guarded")


@test
def controller_has_the_rights_that_it_uses(lab: Lab) -> None:
    """After everything above no request of the controller was forbidden but where a test took a right away; and it was never started again."""
    def meant(line: str) -> bool:
        at = datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
        # An API server that has just started knows no roles yet.
        away = [(began, ended) for began, ended in (*lab.without_rights, *lab.cluster.outages[1:])]
        return any(began <= at <= ended + AGAIN for began, ended in away)

    for pod in lab.pods_ready("agent-waypoint-system", "app.kubernetes.io/component=controller", 2):
        log = lab.logged("agent-waypoint-system", pod["metadata"]["name"], "controller")
        lines = [line for line in log.splitlines() if "forbidden" in line.lower() and not meant(line)]
        assert not lines, "\n".join(lines[:10])
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, log[-2000:]
