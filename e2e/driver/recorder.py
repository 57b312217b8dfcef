"""An upstream that records every byte it gets and answers each JSON-RPC message politely."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field


@dataclass
class Exchange:
    """One request as it arrived: raw head lines and body."""

    head: list[bytes]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        wanted = name.encode().lower()
        split = (line.split(b":", 1) for line in self.head[1:])
        return [pair[1].strip().decode() for pair in split if len(pair) == 2 and pair[0].strip().lower() == wanted]


@dataclass
class Recorder:
    """Listens on loopback; `received` counts bytes, `exchanges` the requests that arrived whole."""

    received: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> list[Exchange]:
        with self._lock:
            taken, self.exchanges = self.exchanges, []
        return taken

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""

        def more() -> None:
            nonlocal buffer
            data = connection.recv(65536)
            if not data:
                raise EOFError
            with self._lock:
                self.received += len(data)
            buffer += data

        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    more()
                head, buffer = buffer.split(b"\r\n\r\n", 1)
                exchange = Exchange(head.split(b"\r\n"), b"")
                if exchange.values("expect"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if exchange.values("transfer-encoding"):
                    exchange.body, buffer = self._chunks(buffer, more, lambda: buffer)
                else:
                    length = int((exchange.values("content-length") or ["0"])[0])
                    while len(buffer) < length:
                        more()
                    exchange.body, buffer = buffer[:length], buffer[length:]
                with self._lock:
                    self.exchanges.append(exchange)
                connection.sendall(answer(exchange.body))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            connection.close()

    @staticmethod
    def _chunks(rest: bytes, more: object, current: object) -> tuple[bytes, bytes]:
        body, used = b"", 0
        while True:
            while b"\r\n" not in rest[used:]:
                more()  # type: ignore[operator]
                rest = current()  # type: ignore[operator]
            end = rest.index(b"\r\n", used)
            size = int(rest[used:end].split(b";")[0], 16)
            if size == 0:
                while b"\r\n\r\n" not in rest[end:]:
                    more()  # type: ignore[operator]
                    rest = current()  # type: ignore[operator]
                return body, rest[rest.index(b"\r\n\r\n", end) + 4 :]
            while len(rest) < end + 2 + size + 2:
                more()  # type: ignore[operator]
                rest = current()  # type: ignore[operator]
            body += rest[end + 2 : end + 2 + size]
            used = end + 2 + size + 2


def answer(body: bytes) -> bytes:
    """A result with the message's id; 202 for what has none; 400 for what is no JSON."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
    if not isinstance(message, dict) or "id" not in message:
        return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
    result = {"tools/list": {"tools": []}, "tools/call": {"content": []}}.get(str(message.get("method")), {})
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text)
    return head + text
