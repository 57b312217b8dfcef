"""Programs of the official Go SDK, built at the versions of e2e/go/go.mod."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .peers import CACHE, E2E


def has() -> bool:
    """Whether there is a Go toolchain."""
    return shutil.which("go") is not None


def build(package: str, name: str) -> Path:
    """Builds one package of the module in e2e/go, or of what it requires; Go's own cache says what is to be done."""
    out = CACHE / "go" / name
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(out), package], cwd=E2E / "go", check=True)
    return out
