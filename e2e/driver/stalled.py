"""500 tunnels with fast servers and readers that stopped: the waypoint's memory stays flat and others are served."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .bytes_kept import POLICY, exchange, status
from .corpus import call, http
from .mesh import PATIENCE, Mesh, resident_kib, service
from .recorder import Recorder
from .report import Report

# name -> (tunnels, appProtocol)
KINDS = {"download": (200, "tcp"), "upload": (150, "tcp"), "events": (150, None)}
# More than a copy's buffers and HTTP/2 send buffer per tunnel is somebody else's data.
PER_TUNNEL_KIB = 256
# What an allocator may still do while nothing moves.
FLAT_KIB = 8 * 1024
FILL_SECONDS = 400
# Seconds without growth that count as full: on a busy machine a filling pauses for some.
CALM = 15
WATCH_SECONDS = 20
FOREVER = asyncio.Event()
EVENT = b"event: message\ndata: " + (
    b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"' + b"x" * 900 + b'"}}\n\n'
)


class FastServers:
    """One endless sender of bytes, one endless sender of events, one that never reads; each on a port of its own."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[str, int]] = {}
        self.connections = dict.fromkeys(KINDS, 0)
        self.written = 0
        self._held: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        if not started.wait(PATIENCE):
            raise TimeoutError("the fast servers did not start")

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        handlers: dict[str, Callable[..., object]] = {
            "download": self._pour, "upload": _ignore, "events": self._events
        }
        servers = []
        for kind, handler in handlers.items():

            async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str = kind,
                              handler: Callable[..., object] = handler) -> None:
                self.connections[kind] += 1
                self._held.add(writer)  # nobody else holds a connection that waits for nothing: it would be collected
                try:
                    await handler(reader, writer)  # type: ignore[misc]
                except (OSError, asyncio.CancelledError):
                    pass
                finally:
                    writer.close()

            # A small limit: this process's own buffers are not what is measured.
            server = self._loop.run_until_complete(asyncio.start_server(counted, "127.0.0.1", 0, limit=1024, backlog=512))
            self.addresses[kind] = server.sockets[0].getsockname()
            servers.append(server)
        started.set()
        self._loop.run_forever()
        for server in servers:
            server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _pour(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._endless(writer, b"x" * 65536)

    async def _events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n")
        await self._endless(writer, EVENT * 32)

    async def _endless(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            self.written += len(piece)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


async def _ignore(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a reader that stopped
    await FOREVER.wait()


def open_tunnels(addresses: dict[str, tuple[str, int]]) -> list[socket.socket]:
    """Every tunnel's near end, none of which is ever read."""
    ends = []
    for kind, (count, _) in KINDS.items():
        for _ in range(count):
            end = socket.socket()
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            end.settimeout(PATIENCE)
            end.connect(addresses[kind])
            if kind == "events":
                end.sendall(http(call()))
            ends.append(end)
    return ends


def stuff(ends: list[socket.socket], seconds: float) -> None:
    """Writes into the uploads for as long as anything goes in."""
    first = KINDS["download"][0]
    uploads = ends[first : first + KINDS["upload"][0]]
    for end in uploads:
        end.setblocking(False)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        went = 0
        for end in uploads:
            try:
                went += end.send(b"y" * 65536)
            except BlockingIOError:
                continue
            except OSError:
                continue
        if not went:
            time.sleep(0.1)


def run(report: Report, bin_dir: Path, directory: Path) -> None:
    with report.section("stalled readers"):
        servers, recorder = FastServers(), Recorder()
        documents = {"policy": POLICY.replace("{kind: Service, name: notes}",
                                              "{kind: Service, name: notes}, {kind: Service, name: events}")}
        documents["notes"] = service("notes", "127.0.9.1", recorder.address, None)
        for number, (kind, (_, protocol)) in enumerate(KINDS.items(), start=2):
            documents[kind] = service(kind, f"127.0.9.{number}", servers.addresses[kind], protocol)
        ends: list[socket.socket] = []
        try:
            with Mesh(bin_dir / "agent-waypoint", directory / "stalled", documents) as mesh:
                clients = {kind: mesh.connect_process("agents/researcher", kind) for kind in KINDS}
                idle = resident_kib(mesh.waypoint)
                ends = open_tunnels({kind: address for kind, (address, _) in clients.items()})
                _measure(report, mesh.waypoint, idle, ends, {k: p for k, (_, p) in clients.items()})
                report.check("stalled: tunnels reached the servers", _reached(servers))
                report.check("stalled: tunnels stand", _standing(ends))
                report.check("stalled: another caller is served", _served(mesh))
        finally:
            for end in ends:
                end.close()
            servers.close()
            recorder.close()


def _reached(servers: FastServers) -> str | None:
    """Streams of HTTP ports dial when the request came; the connection window may hold some back, TCP tunnels not."""
    short = {k: n for k, n in servers.connections.items() if n < KINDS[k][0]}
    return f"connections at the servers: {servers.connections}" if short else None


def _standing(ends: list[socket.socket]) -> str | None:
    """Nobody ended a tunnel for being slow: what is held is held for streams that live."""
    ended = 0
    for end in ends:
        end.setblocking(False)
        try:
            ended += end.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            continue
        except OSError:
            ended += 1
    return f"{ended} of {len(ends)} tunnels were ended" if ended else None


def _measure(
    report: Report,
    waypoint: subprocess.Popen[bytes],
    idle: int,
    ends: list[socket.socket],
    clients: dict[str, subprocess.Popen[bytes]],
) -> None:
    # Filling ends when every buffer on the way is full, the kernel's included; then nothing may grow any more.
    filled = [resident_kib(waypoint)]
    deadline = time.monotonic() + FILL_SECONDS
    while len(filled) < CALM or filled[-1] - filled[-CALM] > 1024:
        if time.monotonic() > deadline:
            report.check("stalled: settles", f"still growing after {FILL_SECONDS} s: {filled[-CALM:]} KiB")
            return
        stuff(ends, seconds=1)
        filled.append(resident_kib(waypoint))
    full = highest = filled[-1]
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        stuff(ends, seconds=1)
        highest = max(highest, resident_kib(waypoint))
    tunnels = len(ends)
    report.line(f"{tunnels} tunnels: idle {idle} KiB, stalled {full} KiB after {len(filled)} s, highest in {WATCH_SECONDS} s {highest} KiB")
    report.line(f"connect processes: { {kind: resident_kib(process) for kind, process in clients.items()} } KiB")
    growth = full - idle
    bound = tunnels * PER_TUNNEL_KIB
    fault = f"{tunnels} stalled tunnels hold {growth} KiB, more than {bound} KiB" if growth > bound else None
    report.check("stalled: bounded", fault)
    fault = f"grew by {highest - full} KiB while nothing moved" if highest - full > FLAT_KIB else None
    report.check("stalled: flat", fault)


def _served(mesh: Mesh) -> str | None:
    """A caller on a connection of its own gets its answer while all the others stand."""
    answer = exchange(mesh.connect("agents/researcher", "notes"), http(call()), limit=PATIENCE)
    return None if status(answer) == 200 else f"{status(answer)}: {answer[:200]!r}"
