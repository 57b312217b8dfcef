"""The node's network: one namespace per pod, routed as a CNI routes; Services by nftables; names by a small DNS.

Everything happens in the network namespace that `run` has made, so nothing of the machine is touched.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

API = "10.96.0.1"
DNS = "10.96.0.10"
SERVICES = "10.96.0.0/16"
NODE = "10.244.0.1"
ISTIOD = "10.244.0.2"
# Where pods send what is not local. On every interface, so that ARP finds it.
GATEWAY = "169.254.1.1"


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def set_up() -> None:
    """The node itself."""
    ip("link", "set", "lo", "up")
    for address in (API, DNS, NODE, ISTIOD, GATEWAY):
        ip("addr", "add", f"{address}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    nft("table ip lab {}")


def nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, check=True, capture_output=True, text=True)


class PodNet:
    """A pod's network namespace, held open by a process that does nothing."""

    def __init__(self, number: int) -> None:
        self.ip = f"10.244.{1 + number // 250}.{1 + number % 250}"
        self.link = f"pod{number}"
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._wait()
        pid = str(self.holder.pid)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        inside = (
            "link set lo up",
            f"addr add {self.ip}/32 dev eth0",
            "link set eth0 up",
            f"route add {GATEWAY} dev eth0",
            f"route add default via {GATEWAY}",
        )
        for line in inside:
            subprocess.run([*self.enter(), "ip", *line.split()], check=True, capture_output=True)
        ip("link", "set", self.link, "up")
        ip("route", "add", f"{self.ip}/32", "dev", self.link)

    def _wait(self) -> None:
        """Until `unshare` has made its namespace: before that it shares ours."""
        ours = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self.holder.pid}/ns/net").readlink() == ours:
            if self.holder.poll() is not None:
                raise RuntimeError("cannot make a network namespace")

    def enter(self) -> list[str]:
        """The start of a command line that runs in the namespace."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self.link], check=False, capture_output=True)
        self.holder.kill()
        self.holder.wait()


class Services:
    """kube-proxy's part: a Service's address goes to one of its ready endpoints, chosen anew per connection."""

    def __init__(self) -> None:
        self._last = ""

    def put(self, table: Sequence[tuple[str, int, list[tuple[str, int]]]]) -> None:
        """`(VIP, port, [(pod, port)])`. A port without endpoints is refused, not left unanswered."""
        rules, refused = [], []
        for vip, port, endpoints in sorted(table):
            if not endpoints:
                refused.append(f"    ip daddr {vip} tcp dport {port} reject with tcp reset")
            elif len(endpoints) == 1:
                (address, target) = endpoints[0]
                rules.append(f"    ip daddr {vip} tcp dport {port} dnat to {address}:{target}")
            else:
                turns = ", ".join(f"{i} : {a} . {p}" for i, (a, p) in enumerate(sorted(endpoints)))
                chosen = f"numgen inc mod {len(endpoints)} map {{ {turns} }}"
                rules.append(f"    ip daddr {vip} tcp dport {port} dnat ip to {chosen}")
        nat = "\n".join(rules)
        text = "flush table ip lab\n" if self._last else ""
        text += "table ip lab {\n"
        for hook in ("prerouting", "output"):
            text += f"  chain {hook} {{\n    type nat hook {hook} priority -100;\n{nat}\n  }}\n"
        for hook in ("forward", "output"):
            reject = "\n".join(refused)
            text += f"  chain refuse-{hook} {{\n    type filter hook {hook} priority 0;\n{reject}\n  }}\n"
        text += "}\n"
        if text != self._last:
            nft(text)
            self._last = text


class Names:
    """The cluster's DNS: A records of Services, everything else does not exist."""

    def __init__(self) -> None:
        self._table: dict[str, list[str]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((DNS, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def put(self, table: dict[str, list[str]]) -> None:
        """Full names without the last dot."""
        self._table = table

    def _serve(self) -> None:
        while True:
            query, peer = self._socket.recvfrom(4096)
            try:
                answer = reply(query, lambda name: self._table.get(name))
            except (IndexError, struct.error, UnicodeDecodeError):
                continue
            self._socket.sendto(answer, peer)


def reply(query: bytes, lookup: Callable[[str], list[str] | None]) -> bytes:
    """One answer (RFC 1035, section 4): NXDOMAIN for an unknown name, no data for other types than A."""
    (number,) = struct.unpack("!H", query[:2])
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii"))
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    addresses = lookup(".".join(labels).lower())
    records = addresses or [] if kind == 1 else []
    flags = 0x8580 | (0 if addresses is not None else 3)
    head = struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0)
    packed = (ipaddress.IPv4Address(one).packed for one in records)
    return head + question + b"".join(struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + one for one in packed)
