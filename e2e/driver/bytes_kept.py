"""What reaches the upstream is what was decided on: every row of the corpus, sent raw through the waypoint to a
recording upstream, whose bytes are then read by the official SDKs' own parsers."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from pathlib import Path

from .corpus import ROWS, Fate, Row
from .mesh import NAMESPACE, PATIENCE, Mesh, service, until
from .peers import PARSERS
from .recorder import Exchange, Recorder
from .report import Report

POLICY = f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: notes, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: notes}}]
  protocol: MCP
  require:
  - name: own-org-only
    to: [{{tools: ["*"]}}]
    that: '!has(mcp.tool.arguments.owner) || mcp.tool.arguments.owner == "acme"'
  allow:
  - name: safe-tools
    from: [{{serviceAccounts: ["agents/researcher"]}}]
    to: [{{tools: ["safe", "søk_日本"]}}]
"""

# Never in what the upstream gets: connection-level headers, and claims about the message that the body contradicts.
NEVER = ("upgrade", "http2-settings", "expect", "te", "trailer", "x-secret", "x-http-method-override", "x-method-override")


def exchange(address: tuple[str, int], request: bytes, limit: float = 40) -> bytes:
    """Sends one request on a connection of its own and reads what comes until the answer is whole or it ends."""
    answer = b""
    with socket.create_connection(address, timeout=limit) as connection:
        try:
            connection.sendall(request)
            deadline = time.monotonic() + limit
            while not whole(answer):
                connection.settimeout(max(0.05, deadline - time.monotonic()))
                if not (data := connection.recv(65536)):
                    break
                answer += data
        except (ConnectionError, BrokenPipeError):
            pass  # refused while we still sent: what was read until then is the answer
    return answer


def whole(answer: bytes) -> bool:
    """Whether a final answer is complete, as far as its own Content-Length or last chunk says so."""
    while answer.startswith(b"HTTP/1.1 100"):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    head = head.lower()
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


def status(answer: bytes) -> int | None:
    """The final status, None if the connection ended without one."""
    while answer.startswith(b"HTTP/1.1 100"):
        answer = answer.partition(b"\r\n\r\n")[2]
    words = answer.split(b" ", 2)
    return int(words[1]) if answer.startswith(b"HTTP/1.") and len(words) > 1 else None


def refusal_fault(row: Row, answer: bytes, seen: int) -> str | None:
    """What is wrong with a refusal: bytes that the upstream saw, or an answer a client could take for a result."""
    if seen:
        return f"the upstream saw {seen} bytes; answer {answer[:200]!r}"
    code = status(answer)
    if code is None:
        # An answer is owed to what was an HTTP request; what was none may just be ended.
        return None if row.statuses <= {400} and not row.request[:4].isalpha() or not row.statuses else "no answer"
    if row.statuses and code not in row.statuses:
        return f"status {code}, not {sorted(row.statuses)}: {answer[:300]!r}"
    if code == 200 and b'"error"' not in answer and b'"isError":true' not in answer:
        return f"200 without an error: {answer[:300]!r}"
    return None


def head_fault(got: Exchange) -> str | None:
    """What is wrong with the head that the upstream got."""
    if present := [name for name in NEVER if got.values(name)]:
        return f"the upstream got {present}"
    if got.values("content-type") != ["application/json"]:
        return f"content-type {got.values('content-type')}"
    lengths, codings = got.values("content-length"), got.values("transfer-encoding")
    if len(lengths) + len(codings) != 1:
        return f"content-length {lengths}, transfer-encoding {codings}"
    for name in ("mcp-method", "mcp-name"):
        message = json.loads(got.body)
        true = message["method"] if name == "mcp-method" else message.get("params", {}).get("name")
        if any(value != true for value in got.values(name)):
            return f"{name} says {got.values(name)}, the body {true}"
    return None


class Sent:
    """The rows that went through, to be read by the SDKs' parsers."""

    def __init__(self, report: Report, way: str) -> None:
        self.report, self.way = report, way
        self.rows: list[tuple[Row, Exchange]] = []

    def one(self, row: Row, address: tuple[str, int], recorder: Recorder) -> None:
        before = recorder.received
        try:
            answer = exchange(address, row.request, PATIENCE if row.fate is Fate.ACCEPT else 8)
        except (TimeoutError, OSError) as error:
            answer = b""
            if row.fate is Fate.ACCEPT:
                self.report.check(f"{self.way} {row.name}", f"{type(error).__name__}: {error}")
                return
        if row.fate is Fate.REFUSE or (row.fate is Fate.EITHER and recorder.received == before):
            time.sleep(0.02)  # what was to leak, leaks after the answer too
            fault = refusal_fault(row, answer, recorder.received - before)
            self.report.check(f"{self.way} {row.name}", fault)
            recorder.take()
            return
        got = recorder.take()
        if len(got) != 1 or status(answer) not in (200, 202):
            self.report.check(f"{self.way} {row.name}", f"{len(got)} requests arrived; answer {answer[:300]!r}")
            return
        self.rows.append((row, got[0]))

    def parse(self, check_heads: bool) -> None:
        """Reads every body with every parser; a row counts once, with all that is wrong with it."""
        faults: dict[str, list[str]] = {row.name: [] for row, _ in self.rows}
        lines = "".join(
            json.dumps(
                {
                    "body": base64.b64encode(got.body).decode(),
                    "method": row.method,
                    "tool": row.tool,
                    "arguments": row.arguments,
                }
            )
            + "\n"
            for row, got in self.rows
        )
        for parser, command in PARSERS.items():
            done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
            for (row, _), line in zip(self.rows, done.stdout.splitlines(), strict=True):
                if fault := json.loads(line)["fault"]:
                    faults[row.name].append(f"{parser}: {fault}")
        for row, got in self.rows:
            if check_heads and (fault := head_fault(got)):
                faults[row.name].append(fault)
            self.report.check(f"{self.way} {row.name}", "; ".join(faults[row.name]) or None)


def baseline(report: Report) -> None:
    """The harness can fail: directly, the recorder sees the refused rows, and the parsers tell right from wrong."""
    recorder = Recorder()
    sent = Sent(report, "direct")
    # What a parser of the corpus' own would call malformed, the SDKs need not read: rows whose body JSON can be read.
    unread = {"chunked, lying trailer", "arguments null"}
    for row in ROWS:
        if row.fate is Fate.ACCEPT and row.name not in unread:
            sent.one(row, recorder.address, recorder)
    sent.parse(check_heads=False)
    for row in ROWS:
        if row.fate is Fate.REFUSE:
            before = recorder.received
            try:
                exchange(recorder.address, row.request, limit=0.3)
            except OSError:
                pass
            try:
                until("it arrives", lambda before=before: recorder.received > before, 20)
                fault = None
            except TimeoutError:
                fault = "nothing arrived: the row cannot fail"
            report.check(f"direct {row.name}", fault)
    wrong = Exchange([b"POST /mcp HTTP/1.1"], b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"danger"}}')
    planted = Sent(Report(quiet=True), "planted")
    planted.rows.append((ROWS[0], wrong))
    planted.parse(check_heads=False)
    report.check("direct planted difference", None if planted.report.failed else "the parsers did not see it")
    recorder.close()


def run(report: Report, bin_dir: Path, directory: Path, direct_only: bool) -> None:
    with report.section("bytes, directly"):
        baseline(report)
    if direct_only:
        return
    with report.section("bytes, through the waypoint"):
        recorder = Recorder()
        documents = {"notes": service("notes", "127.0.9.1", recorder.address, None), "policy": POLICY}
        with Mesh(bin_dir / "agent-waypoint", directory / "bytes", documents) as mesh:
            address = mesh.connect("agents/researcher", "notes")
            sent = Sent(report, "waypoint")
            for row in ROWS:
                sent.one(row, address, recorder)
            sent.parse(check_heads=True)
        recorder.close()
