"""Drives the end-to-end tests: `e2e/run [--direct] [--only matrix|bytes|denials|tokens|pins|origins|stalled]`."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

from . import bytes_kept, denials, matrix, origins, peers, pins, stalled, tokens
from .report import Report

PARTS = ("matrix", "bytes", "denials", "tokens", "pins", "origins", "stalled")


def main() -> int:
    parser = argparse.ArgumentParser(prog="e2e/run")
    parser.add_argument("--direct", action="store_true", help="only the baseline, without the waypoint")
    parser.add_argument("--only", choices=PARTS, action="append", help="only these parts")
    parser.add_argument("--keep", action="store_true", help="keep documents and logs, also of a good run")
    parser.add_argument("--bin", type=Path, default=peers.ROOT / "target/debug", help="where the binaries are")
    arguments = parser.parse_args()
    parts = arguments.only or PARTS

    # 500 tunnels are a few thousand descriptors here, in the waypoint and in connect, which inherit this.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    report = Report()
    with report.section("install"):
        peers.install()
    directory = Path(tempfile.mkdtemp(prefix="agent-waypoint-e2e-"))
    if "matrix" in parts:
        matrix.run(report, arguments.bin, directory, arguments.direct)
    if "bytes" in parts:
        bytes_kept.run(report, arguments.bin, directory, arguments.direct)
    if "denials" in parts and not arguments.direct:
        denials.run(report, arguments.bin, directory)
    if "tokens" in parts and not arguments.direct:
        tokens.run(report, arguments.bin, directory)
    if "pins" in parts and not arguments.direct:
        pins.run(report, arguments.bin, directory)
    if "origins" in parts and not arguments.direct:
        origins.run(report, arguments.bin, directory)
    if "stalled" in parts and not arguments.direct:
        stalled.run(report, arguments.bin, directory)
    if report.failed or arguments.keep:
        print(f"documents and logs: {directory}")
    else:
        import shutil

        shutil.rmtree(directory)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
