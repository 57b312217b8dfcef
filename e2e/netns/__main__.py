"""Drives the mesh in network namespaces: `e2e/netns/run [--json] [--only PART] [--keep]`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from driver.report import Report

from . import attempts, kinds, rests, sessions, spellings
from .lab import Lab

PARTS = ("sessions", "attempts", "kinds")
PAGE = Path(__file__).resolve().parents[2] / "docs/ways-round.md"


def table(rows: list[attempts.Tried]) -> str:
    heads = ("attempt", "as things are", "died at", "without ..", ".. it comes to", "and is reported")
    cells = [
        (r.attempt.name, r.with_guard(), r.died or "-", r.attempt.guard, r.without_guard(), r.attempt.reported or "-")
        for r in rows
    ]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *cells]
    )


def markdown(rows: list[attempts.Tried]) -> list[str]:
    """The rows as docs/ways-round.md has them."""
    cells = [
        (r.attempt.name, r.with_guard(), r.died, r.attempt.guard, r.without_guard(), r.attempt.reported or "–")
        for r in rows
    ]
    return [f"| {' | '.join(map(str, row))} |" for row in cells]


def said_by_page(report: Report, head: str, lines: list[str], write: bool) -> None:
    """Holds the page's table that begins with `head` against what was seen, or writes it."""
    page = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(page) if line.startswith(head)) + 2
    end = next(number for number in range(start, len(page)) if not page[number].startswith("|"))
    if write:
        PAGE.write_text("\n".join([*page[:start], *lines, *page[end:]]) + "\n")
    differ = set(page[start:end]) ^ set(lines)
    report.check(
        f"{PAGE.name} says the same",
        f"run with --write; they differ in {sorted(differ)}" if differ and not write else None,
    )


def as_json(row: attempts.Tried) -> dict[str, object]:
    return {
        "attempt": row.attempt.name,
        "guard": row.attempt.guard,
        "withGuard": {**row.outcome, "packetsAtServer": row.packets, "diedAt": row.died, "why": row.why},
        "withoutGuard": {**row.open_outcome, "packetsAtServer": row.open_packets},
        "reported": row.gaps,
        "reportedWithoutGuard": row.open_gaps,
        "ok": row.fault() is None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e/netns/run")
    parser.add_argument("--only", choices=PARTS, action="append", help="only these parts")
    parser.add_argument(
        "--json", action="store_true", help="one JSON line per attempt, and nothing else on standard output"
    )
    parser.add_argument("--keep", action="store_true", help="keep documents and logs, also of a good run")
    parser.add_argument("--files", action="store_true", help="waypoints told who and where by documents, not by istiod")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/ways-round.md")
    parser.add_argument("--bin", type=Path, required=True, help="where the binaries are")
    arguments = parser.parse_args()
    parts = arguments.only or PARTS
    out, rows = sys.stdout, []
    if arguments.json:
        sys.stdout = sys.stderr
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="agent-waypoint-netns-"))
    with report.section("start"):
        lab = Lab(arguments.bin, directory, arguments.files)
        lab.__enter__()
    started = not report.failed
    try:
        if "sessions" in parts and started:
            with report.section("MCP clients and servers over the mesh"):
                sessions.run(report, lab)
        if "attempts" in parts and started:
            with report.section("ways round"):
                for attempt in (a for a in attempts.ATTEMPTS if a.in_files or not arguments.files):
                    # Documents may say any address.
                    tried = attempts.run(lab, replace(attempt, held=attempt.held and not arguments.files))
                    rows.append(tried)
                    report.check(attempt.name, tried.fault())
            report.line("\n" + table(rows))
            if not arguments.files:
                said_by_page(report, "| attempt |", markdown(rows), arguments.write)
            with report.section("other spellings of what is not served"):
                spellings.spellings(report, lab)
            with report.section("what it rests on"):
                rests.what_stays(report, lab)
            with report.section("NetworkPolicy"):
                rests.network_policy(report, lab)
        if "kinds" in parts and started:
            with report.section("kinds of Services and pods"):
                lines = kinds.run(report, lab)
            report.line("\n" + "\n".join(lines))
            if not arguments.files:
                said_by_page(report, "| kind |", lines, arguments.write)
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
