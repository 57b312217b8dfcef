"""What is installed: the rendered file is the chart, and the rights in it are enough."""

from __future__ import annotations

from harness.lab import Lab
from harness.render import FILE, rendered
from harness.tests import test


@test
def install_yaml_is_the_chart(lab: Lab) -> None:
    """`manifests/install.yaml` is what the chart gives; `istio-integration/run --render` writes it."""
    assert (lab.root / FILE).read_text() == rendered(lab.cluster.kit, lab.root), f"{FILE} is not what the chart gives: run istio-integration/run --render"


@test
def controller_has_the_rights_that_it_uses(lab: Lab) -> None:
    """After everything above no request of the controller was forbidden, and it was never started again."""
    for pod in lab.pods_ready("agent-waypoint-system", "app.kubernetes.io/component=controller", 2):
        log = lab.logged("agent-waypoint-system", pod["metadata"]["name"], "controller")
        lines = [line for line in log.splitlines() if "forbidden" in line.lower()]
        assert not lines, "\n".join(lines[:10])
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, log[-2000:]
