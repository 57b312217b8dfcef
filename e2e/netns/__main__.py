"""Drives the mesh in network namespaces: `e2e/netns/run [--json] [--only PART] [--keep]`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from driver.report import Report

from . import attempts, sessions
from .lab import Lab

PARTS = ("sessions", "attempts")
PAGE = Path(__file__).resolve().parents[2] / "docs/ways-round.md"


def table(rows: list[attempts.Tried]) -> str:
    heads = ("attempt", "as things are", "died at", "without ..", ".. it comes to")
    cells = [(r.attempt.name, r.with_guard(), r.died or "-", r.attempt.guard, r.without_guard()) for r in rows]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *cells])


def markdown(rows: list[attempts.Tried]) -> list[str]:
    """The rows as docs/ways-round.md has them."""
    return [
        f"| {r.attempt.name} | {r.with_guard()} | {r.died} | {r.attempt.guard} | {r.without_guard()} |" for r in rows
    ]


def as_json(row: attempts.Tried) -> dict[str, object]:
    return {
        "attempt": row.attempt.name,
        "guard": row.attempt.guard,
        "withGuard": {**row.outcome, "packetsAtServer": row.packets, "diedAt": row.died, "why": row.why},
        "withoutGuard": {**row.open_outcome, "packetsAtServer": row.open_packets},
        "ok": row.fault() is None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e/netns/run")
    parser.add_argument("--only", choices=PARTS, action="append", help="only these parts")
    parser.add_argument("--json", action="store_true", help="one JSON line per attempt, and nothing else on standard output")
    parser.add_argument("--keep", action="store_true", help="keep documents and logs, also of a good run")
    parser.add_argument("--bin", type=Path, required=True, help="where the binaries are")
    arguments = parser.parse_args()
    parts = arguments.only or PARTS
    out, rows = sys.stdout, []
    if arguments.json:
        sys.stdout = sys.stderr
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="agent-waypoint-netns-"))
    with report.section("start"):
        lab = Lab(arguments.bin, directory)
        lab.__enter__()
    started = not report.failed
    try:
        if "sessions" in parts and started:
            with report.section("MCP clients and servers over the mesh"):
                sessions.run(report, lab)
        if "attempts" in parts and started:
            with report.section("ways round"):
                for attempt in attempts.ATTEMPTS:
                    tried = attempts.run(lab, attempt)
                    rows.append(tried)
                    report.check(attempt.name, tried.fault())
            report.line("\n" + table(rows))
            page = PAGE.read_text().splitlines()
            missing = [line for line in markdown(rows) if line not in page]
            report.check(f"{PAGE.name} says the same", "it lacks:\n" + "\n".join(missing) if missing else None)
    finally:
        lab.__exit__()
    if report.failed or arguments.keep:
        report.line(f"documents and logs: {directory}")
    else:
        shutil.rmtree(directory)
    for row in rows if arguments.json else []:
        print(json.dumps(as_json(row)), file=out)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
