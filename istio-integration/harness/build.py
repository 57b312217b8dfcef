"""What the tests run, built once: the control plane from its Go module, the waypoint's image and the mesh's ends by cargo."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

from .cluster import Binaries

KUBERNETES = "v1.36.1"
VERSION = "k8s.io/component-base/version"
PROGRAMS = {
    "pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "etcd": "go.etcd.io/etcd/server/v3",
}


# Where there is no Go: the toolchain as the Go module proxy serves it (the `go` command itself would take it there).
GO = "1.26.8"
GO_SHA256 = {
    "x86_64": ("amd64", "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7"),
    "aarch64": ("arm64", "02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99"),
}


def cache() -> Path:
    """Outside the tree: binaries are never committed."""
    return Path(os.environ.get("AGENT_WAYPOINT_CACHE") or Path.home() / ".cache" / "agent-waypoint")


def go() -> str:
    """The `go` to use: the machine's if it is new enough, else one in the cache."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        numbers = re.match(r"go(\d+)\.(\d+)", said)
        if numbers and (int(numbers[1]), int(numbers[2])) >= (1, 26):
            return found
    arch, digest = GO_SHA256[platform.machine()]
    there = cache() / f"golang.org/toolchain@v0.0.1-go{GO}.linux-{arch}"
    if not there.exists():
        url = f"https://proxy.golang.org/golang.org/toolchain/@v/v0.0.1-go{GO}.linux-{arch}.zip"
        print(f"no go 1.26 here: taking {url}", flush=True)
        with urllib.request.urlopen(url, timeout=300) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit(f"{url} is not what it was when it was pinned")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(cache() / "new")
        for program in [*(cache() / "new").rglob("bin/*"), *(cache() / "new").rglob("pkg/tool/*/*")]:
            program.chmod(0o755)
        there.parent.mkdir(parents=True, exist_ok=True)
        (cache() / "new" / there.relative_to(cache())).rename(there)
    return str(there / "bin" / "go")


def control_plane(module: Path) -> Binaries:
    """etcd, kube-apiserver, istiod and our `kit`, cached by what go.mod pins."""
    pins = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()[:12]
    sources = sorted(module.glob("cmd/kit/*.go"))
    kit = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = cache() / f"istio-{pins}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Two runs at once build once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        major, minor = KUBERNETES.lstrip("v").split(".")[:2]
        flags = f"-s -w -X {VERSION}.gitVersion={KUBERNETES} -X {VERSION}.gitMajor={major} -X {VERSION}.gitMinor={minor}"
        for name, package in PROGRAMS.items():
            build(module, folder / name, package, flags)
        build(module, folder / f"kit-{kit}", "./cmd/kit", "-s -w")
        crds = folder / "gateway-api"
        if not crds.exists():
            found = subprocess.run([go(), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api"], cwd=module, capture_output=True, text=True, check=True)
            shutil.copytree(Path(found.stdout.strip()) / "config/crd/experimental", crds / "config/crd/experimental")
    os.environ["GATEWAY_API"] = str(crds)
    pilot = istiod(module.parent / "istiod") or folder / "pilot-discovery"
    return Binaries(folder / "etcd", folder / "kube-apiserver", pilot, folder / f"kit-{kit}")


def istiod(modules: Path) -> Path | None:
    """The istiod that `PILOT` names, if it does: a release that has a module there (`1.30`), which is built once, or a binary."""
    wanted = os.environ.get("PILOT")
    if not wanted:
        return None
    module = modules / wanted
    if "/" in wanted or not module.is_dir():
        return Path(wanted).resolve()
    pins = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()[:12]
    folder = cache() / f"istiod-{wanted}-{pins}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(module, folder / "pilot-discovery", PROGRAMS["pilot-discovery"], "-s -w")
    return folder / "pilot-discovery"


def build(module: Path, to: Path, package: str, flags: str) -> None:
    if to.exists():
        return
    started = time.monotonic()
    beside = to.with_name(f".{to.name}.new")
    subprocess.run([go(), "build", "-ldflags", flags, "-o", str(beside), package], cwd=module, check=True)
    beside.rename(to)
    print(f"built {to.name} in {time.monotonic() - started:.0f} s", flush=True)


def images(root: Path) -> dict[str, Path]:
    """The waypoint's binary as its image holds it (static), and the ends of the mesh. `WAYPOINT` names another binary."""
    subprocess.run(["cargo", "build", "-q", "--locked", "-p", "istio-integration", "-p", "tool-server", "--bins"], cwd=root, check=True)
    if given := os.environ.get("WAYPOINT"):
        return {"agent-waypoint": named(Path(given)), **ends(root / "target" / "debug")}
    # Only the last link is static: libraries are the same as everywhere, so that nothing is built twice.
    command = ["cargo", "rustc", "-q", "--locked", "--bin", "agent-waypoint", "--message-format=json", "--", "-C", "target-feature=+crt-static"]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    built = next(Path(one["executable"]) for one in artifacts if one.get("executable") and one["target"]["name"] == "agent-waypoint")
    # Beside the dynamic one, which the next `cargo build` puts back in its place.
    image = built.parent / "image" / "agent-waypoint"
    image.parent.mkdir(exist_ok=True)
    shutil.copy2(built, image)
    return {"agent-waypoint": image, **ends(built.parent)}


def ends(folder: Path) -> dict[str, Path]:
    """What is not ours in a mesh: a tool server, an agent, and both their ztunnels."""
    return {name: folder / name for name in ("tool-server", "agent", "peer")}


def named(binary: Path) -> Path:
    """The binary under the name that it has in the image."""
    if binary.name == "agent-waypoint":
        return binary.resolve()
    copy = cache() / "given" / "agent-waypoint"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(binary, copy)
    return copy


def need(*programs: str) -> None:
    """Ends with what is missing and where to have it."""
    packages = {"cargo": "a Rust toolchain", "ip": "iproute2", "nft": "nftables", "openssl": "openssl",
                "unshare": "util-linux", "setpriv": "util-linux", "readelf": "binutils"}
    missing = [f"{program} ({packages[program]})" for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit("missing: " + ", ".join(missing))
