"""The real peers: installs the official SDKs at the versions of their lock files, starts servers, drives clients."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

E2E = Path(__file__).resolve().parent.parent
ROOT = E2E.parent
CACHE = E2E / ".cache"
PYTHONS = {"python1": CACHE / "python1/bin/python", "python2": CACHE / "python2/bin/python"}

# name -> command; each prints {"listening": ADDRESS} first and then what ran, one JSON line each.
SERVERS: dict[str, list[str]] = {
    "python1": [str(PYTHONS["python1"]), str(E2E / "servers/python_server.py")],
    "python2": [str(PYTHONS["python2"]), str(E2E / "servers/python_server.py")],
    "ts": ["node", str(E2E / "servers/ts_server.mjs")],
    "ts2": ["node", str(E2E / "servers/ts2_server.mjs")],
    "rust": ["tool-server"],  # resolved to the built binary by `command`
}

# name -> command before and after the URL. python2 and ts2 speak 2026-07-28 where the server does, NAME-legacy never.
CLIENTS: dict[str, tuple[list[str], list[str]]] = {
    "python1": ([str(PYTHONS["python1"]), str(E2E / "clients/python_client.py")], ["legacy"]),
    "python2": ([str(PYTHONS["python2"]), str(E2E / "clients/python_client.py")], ["auto"]),
    "python2-legacy": ([str(PYTHONS["python2"]), str(E2E / "clients/python_client.py")], ["legacy"]),
    "ts": (["node", str(E2E / "clients/ts_client.mjs")], []),
    "ts2": (["node", str(E2E / "clients/ts2_client.mjs")], ["auto"]),
    "ts2-legacy": (["node", str(E2E / "clients/ts2_client.mjs")], ["legacy"]),
}

# What reads a request's body as a server of that SDK would. Go's client, server and parser join where there is Go.
PARSERS: dict[str, list[str]] = {
    "python1": [str(PYTHONS["python1"]), str(E2E / "parsers/python_parse.py")],
    "python2": [str(PYTHONS["python2"]), str(E2E / "parsers/python_parse.py")],
    "ts": ["node", str(E2E / "parsers/ts_parse.mjs"), "@modelcontextprotocol/sdk/types.js"],
    "ts2": ["node", str(E2E / "parsers/ts_parse.mjs"), "@modelcontextprotocol/core"],
}


def install(node: bool = True) -> None:
    """Makes both virtual environments and, with `node`, node_modules and what is in Go; nothing where the lock file has
    not changed."""
    for name, python in PYTHONS.items():
        lock = E2E / name / "requirements.txt"
        if _changed(lock, name):
            shutil.rmtree(python.parent.parent, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(python.parent.parent)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(lock)])
            _mark(lock, name)
    if not node:
        return
    lock = E2E / "package-lock.json"
    if _changed(lock, "node") or not (E2E / "node_modules").is_dir():
        _run(["npm", "ci", "--no-audit", "--no-fund", "--silent", "--prefix", str(E2E)])
        _mark(lock, "node")
    if shutil.which("go") is None:
        print("Go is not installed: its client, server and parser are left out")
        return
    from .go import build  # which needs the paths above

    SERVERS["go"] = [str(build("./server", "server"))]
    CLIENTS["go"] = ([str(build("./client", "client"))], [])
    PARSERS["go"] = [str(build("./parse", "parse"))]


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()


def _changed(lock: Path, name: str) -> bool:
    stamp = CACHE / f"{name}.installed"
    return not stamp.exists() or stamp.read_text() != _digest(lock)


def _mark(lock: Path, name: str) -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / f"{name}.installed").write_text(_digest(lock))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


class Lines:
    """A child process that speaks JSON lines on stdout; its stderr goes to a file beside."""

    def __init__(
        self, command: list[str], log: Path, stdin: bool = False, environment: dict[str, str] | None = None
    ) -> None:
        self.command = command
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                self._lines.put(json.loads(line))
            except ValueError:
                continue
        self._lines.put(None)

    def next(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{self.command[0]} said nothing for {timeout} s; see {self.log}") from None
        if line is None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(self.command)} ended with {self.process.wait()}: {tail}")
        return line

    def listening(self) -> tuple[str, int]:
        """Where it says first that it listens."""
        host, port = self.next(timeout=120)["listening"].rsplit(":", 1)
        return host, int(port)

    def drain(self) -> list[dict[str, Any]]:
        """The lines that came and were not taken yet."""
        taken = []
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                taken.append(line)
        return taken

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Lines):
    """One of SERVERS, running; `address` is where it listens."""

    def __init__(self, name: str, bin_dir: Path, log: Path, environment: dict[str, str] | None = None) -> None:
        command = list(SERVERS[name])
        if name == "rust":
            command[0] = str(bin_dir / command[0])
        super().__init__(command, log, environment=environment)
        self.address = self.listening()

    def ran(self, expected: int = 0) -> list[str]:
        """The tools that were run since the last time of asking, in order; waits until it has told of so many."""
        found: list[str] = []
        for _ in range(600):
            lines = self.drain()
            calls = [line.get("ran") or (line.get("method") == "tools/call" and line["tool"]) for line in lines]
            found += [call for call in calls if call]
            if len(found) >= expected:
                break
            time.sleep(0.05)
        return found


class Client(Lines):
    """One of CLIENTS, running against `url`; `where` is put before its command."""

    def __init__(
        self, name: str, url: str, log: Path, where: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> None:
        before, after = CLIENTS[name]
        super().__init__([*where, *before, url, *after], log, True, environment)

    def do(self, step: str, do: str, tool: str | None = None, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Gives one order and waits for its outcome."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"step": step, "do": do, "tool": tool, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        outcome = self.next(timeout=200)
        assert outcome.get("step") == step, outcome
        return outcome
