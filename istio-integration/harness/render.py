"""`manifests/install.yaml`: the chart with its defaults, for `kubectl apply`, and the namespace that Helm would make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

FILE = "manifests/install.yaml"
NAMESPACE = "agent-waypoint-system"
HEAD = f"""\
# Rendered from manifests/charts/agent-waypoint by `istio-integration/run --render`; a test holds the two equal.
#   kubectl apply --server-side -f manifests/install.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""


def rendered(kit: Callable[..., str], root: Path) -> str:
    # kubectl knows no hooks: who uninstalls with it runs `agent-waypoint guard --list --none` first.
    return HEAD + kit("chart", str(root / "manifests" / "charts" / "agent-waypoint"), NAMESPACE, "uninstall.guards=Keep")
