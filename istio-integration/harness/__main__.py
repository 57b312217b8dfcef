"""`istio-integration/run [PATTERN..]`: builds, starts, runs the tests, ends with `N passed, N failed`.

Runs in its own network, mount and PID namespaces: nothing outlives it, and several can run beside each other.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import build, net, render
from .api import Api
from .cluster import ADMIN_TOKEN, Binaries, Cluster
from .controllers import Controllers
from .kubelet import Kubelet
from .lab import Lab
from .tests import TESTS

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="istio-integration/run", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="run tests whose FILE.NAME contains one of these; all where none is given")
    parser.add_argument("--list", action="store_true", help="print the tests")
    parser.add_argument("--build", action="store_true", help="build and end")
    parser.add_argument("--render", action="store_true", help=f"write {render.FILE} from the chart and end")
    parser.add_argument("--shell", action="store_true", help="after the tests, a shell in the cluster's network; KUBECONFIG is set")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    parser.add_argument("-x", "--exit-first", action="store_true", help="end at the first test that fails")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for module in pkgutil.iter_modules([str(HERE / "suite")]):
        importlib.import_module(f"suite.{module.name}")
    if args.list:
        for name, test in TESTS.items():
            print(f"{name:60} {test.about}")
        return 0
    if args.inside:
        return inside(args)
    if os.geteuid() != 0:
        sys.exit("needs root: it makes network and mount namespaces (sudo istio-integration/run)")
    build.need("cargo", "ip", "nft", "openssl", "unshare", "setpriv", "readelf")
    started = time.monotonic()
    binaries = build.control_plane(HERE / "control-plane")
    step("control plane", started)
    if args.render:
        kit = Cluster.kit_of(binaries)
        (ROOT / render.FILE).write_text(render.rendered(kit, ROOT))
        return 0
    started = time.monotonic()
    images = build.images(ROOT)
    step("images", started)
    if args.build:
        return 0
    folder = Path(tempfile.mkdtemp(prefix="agent-waypoint-lab-"))
    folder.chmod(0o755)
    handed = {"folder": str(folder), "images": {k: str(v) for k, v in images.items()}, "binaries": {k: str(v) for k, v in vars(binaries).items()}}
    command = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", "harness", "--inside", json.dumps(handed)]
    command += [flag for flag, on in (("--shell", args.shell), ("--keep", args.keep), ("-x", args.exit_first)) if on]
    try:
        return subprocess.run([*command, *args.patterns], cwd=HERE, check=False).returncode
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def step(name: str, since: float) -> None:
    print(f"{name:60} {time.monotonic() - since:6.1f} s", flush=True)


def inside(args: argparse.Namespace) -> int:
    handed = json.loads(args.inside)
    folder = Path(handed["folder"])
    images = {name: Path(path) for name, path in handed["images"].items()}
    binaries = Binaries(**{name: Path(path) for name, path in handed["binaries"].items()})
    logging.basicConfig(filename=folder / "harness.log", level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logs = folder / "logs"
    logs.mkdir()
    net.set_up()
    started = time.monotonic()
    cluster = Cluster(binaries, folder, logs)
    cluster.start_etcd()
    api = cluster.start_apiserver()
    step("etcd, kube-apiserver", started)
    started = time.monotonic()
    cluster.install_istio(api)
    step("Istio's objects", started)
    started = time.monotonic()
    kubelet = Kubelet(api, images, folder)
    controllers = Controllers(api, net.Services(), net.Names())
    cluster.start_istiod(api)
    step("istiod", started)
    started = time.monotonic()
    lab = Lab(api, cluster, kubelet, folder, ROOT)
    lab.install()
    step("manifests/install.yaml", started)
    failed = run(lab, args.patterns, args.exit_first)
    if args.shell:
        shell(api, folder)
    controllers.stop()
    kubelet.stop()
    cluster.stop()
    return 1 if failed else 0


def run(lab: Lab, patterns: list[str], exit_first: bool) -> int:
    """Runs the chosen tests, one after the other, and counts."""
    chosen = {name: test for name, test in TESTS.items() if not patterns or any(pattern in name for pattern in patterns)}
    failed, started = [], time.monotonic()
    for name, test in chosen.items():
        since = time.monotonic()
        try:
            test.body(lab)
            step(f"ok      {name}", since)
        except Exception as error:
            failed.append(name)
            step(f"FAILED  {name}", since)
            frame = traceback.extract_tb(error.__traceback__)
            place = next((f for f in reversed(frame) if "/suite/" in f.filename), frame[-1])
            print(f"    {Path(place.filename).name}:{place.lineno}: {place.line}\n    {type(error).__name__}: {error}", flush=True)
            if exit_first:
                chosen = dict(list(chosen.items())[: list(chosen).index(name) + 1])
                break
    if not chosen:
        print(f"no test matches {' '.join(patterns)}")
    for name in failed:
        print(f"FAILED {name}")
    step("tests", started)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed", flush=True)
    return len(failed) + (not chosen)


def shell(api: Api, folder: Path) -> None:
    config = folder / "admin.kubeconfig"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab", "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [{"name": "lab", "cluster": {"server": f"https://{api.host}:{api.port}", "certificate-authority": str(api.ca)}}],
        "users": [{"name": "lab", "user": {"token": ADMIN_TOKEN}}],
    }))
    print(f"logs: {folder}/logs, {folder}/pods; exit ends everything", flush=True)
    subprocess.run(["bash"], env={**os.environ, "KUBECONFIG": str(config)}, cwd=folder, check=False)


if __name__ == "__main__":
    sys.exit(main())
