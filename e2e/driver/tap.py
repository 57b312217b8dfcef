"""A byte-counting relay in front of a server: from the waypoint's side it *is* the server, so it is the witness of
whether a refused call was seen at all, whatever the server's own stack would log."""

from __future__ import annotations

import socket
import threading
import time


class Tap:
    """Relays each connection to `target` and counts the bytes that went towards it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.received = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def settled(self, quiet: float = 0.3, limit: float = 60) -> int:
        """The bytes received, once none came for `quiet` seconds: what an earlier step started is then over."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            before = self.received
            time.sleep(quiet)
            if before == self.received:
                return before
        raise TimeoutError(f"bytes kept arriving for {limit} s with nobody calling")

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            try:
                far = socket.create_connection(self.target, timeout=60)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for source, sink, counted in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._copy, args=(source, sink, counted), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(65536):
                if counted:
                    with self._lock:
                        self.received += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()
