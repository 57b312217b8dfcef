"""What was checked and how it came out. Every check counts; nothing is skipped silently."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Report:
    """Collects checks from any thread and prints them in order of arrival."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.passed = 0
        self.failed: list[str] = []
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)

    def check(self, name: str, fault: str | None) -> bool:
        """One check: `fault` says what is wrong, None that nothing is."""
        with self._lock:
            if fault is None:
                self.passed += 1
            else:
                self.failed.append(name)
                if not self.quiet:
                    print(f"FAILED  {name}\n        {fault[:4000]}", flush=True)
        return fault is None

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """A part of the run with its seconds. An exception in it is a failure of the part, not the end of the run."""
        self.line(f"\n== {title}")
        started, passed, failed = time.monotonic(), self.passed, len(self.failed)
        try:
            yield
        except Exception as error:  # the rest of the run still says what it can
            self.check(title, f"{type(error).__name__}: {error}")
        seconds = time.monotonic() - started
        self.line(f"-- {title}: {self.passed - passed} passed, {len(self.failed) - failed} failed, {seconds:.1f} s")

    def close(self) -> int:
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed")
        sys.stdout.flush()
        return 1 if self.failed or not self.passed else 0
