"""Namespaces, links and the rules that a node and its CNI plugin would make: one bridge as the node's pod network, pods
with an address of their own (routed by the node, one link layer), in-pod redirection as istio-cni's, and what
kube-proxy does for whoever is not captured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NODE4, NODE6 = "10.244.0.1", "fd00:10:244::1"
HOST = "172.18.0.2"
METADATA = "169.254.169.254"
OUTSIDE, OUTSIDE6 = "203.0.113.5", "2001:db8::5"
PROXY_GROUP = 1337

# What istio-cni's rules do in a captured pod's namespace. Everything but the proxy's own goes to it: by the group it
# runs as, where ztunnel marks its sockets. {family} is empty, or leaves IPv6 alone, as rules for IPv4 only would.
CAPTURE = """
table inet mesh {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport 15008 return
    {family}meta l4proto tcp redirect to :15006
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    meta skgid {group} return
    oifname "lo" return
    {family}meta l4proto tcp redirect to :15001
  }}
}}
"""

# Connections and bytes that arrive at the ports of an application, whichever way: the kernel is the witness that it saw
# nothing. What is shorter than 81 bytes and opens nothing has no request in it: what an older connection acknowledges.
WITNESS = """
table inet witness {{
  chain input {{
    type filter hook input priority 0; policy accept;
{counters}
  }}
}}
"""

# What a CNI plugin makes of a NetworkPolicy that lets in only {port} over TCP: before redirection, by address alone.
POLICY = """
table inet cni {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname "eth0" ct state new tcp dport != {port} drop
    iifname "eth0" ct state new meta l4proto udp drop
  }}
}}
"""


def sh(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def inside(namespace: str | None) -> list[str]:
    """What to put before a command so that it runs there; None is the node."""
    return ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []


def make_node() -> None:
    """The node's network, in the namespace that this process has for itself."""
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        Path("/proc/sys/net", *key.split(".")).write_text("1")
    # Pods are on one link and yet routed: without this the node would tell them of each other.
    Path("/proc/sys/net/ipv4/conf/all/send_redirects").write_text("0")
    Path("/proc/sys/net/ipv4/conf/default/send_redirects").write_text("0")
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "br0", "type", "bridge")
    sh("ip", "addr", "add", f"{NODE4}/32", "dev", "br0")
    sh("ip", "addr", "add", f"{NODE6}/128", "dev", "br0", "nodad")
    sh("ip", "link", "set", "br0", "up")
    sh("ip", "route", "add", "10.244.0.0/24", "dev", "br0")
    sh("ip", "-6", "route", "add", "fd00:10:244::/64", "dev", "br0")
    # The node's own address, where clouds have their metadata service, and somebody outside the mesh.
    for address in (HOST, METADATA, OUTSIDE):
        sh("ip", "addr", "add", f"{address}/32", "dev", "br0")
    sh("ip", "addr", "add", f"{OUTSIDE6}/128", "dev", "br0", "nodad")


def names(known: dict[str, list[str]]) -> None:
    """The names that can be resolved, in a hosts file over the machine's, for this run's processes alone."""
    lines = [f"{address} {name}" for name, addresses in known.items() for address in addresses]
    hosts = Path("/run/netns/hosts")
    hosts.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
    sh("mount", "--bind", str(hosts), "/etc/hosts")


def make_pod(name: str, number: int) -> None:
    """A pod's namespace with its two addresses."""
    sh("ip", "netns", "add", name)
    sh("ip", "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
    sh("ip", "link", "set", f"veth{number}", "master", "br0", "up")
    pod = ["ip", "-n", name]
    for device in ("lo", "eth0"):
        sh(*pod, "link", "set", device, "up")
    sh(*pod, "addr", "add", f"10.244.0.{number}/32", "dev", "eth0")
    sh(*pod, "addr", "add", f"fd00:10:244::{number}/128", "dev", "eth0", "nodad")
    sh(*pod, "route", "add", NODE4, "dev", "eth0")
    sh(*pod, "route", "add", "default", "via", NODE4)
    sh(*pod, "-6", "route", "add", NODE6, "dev", "eth0")
    sh(*pod, "-6", "route", "add", "default", "via", NODE6)


def link_local(name: str) -> str:
    """The address that a pod's link has by itself."""
    shown = sh("ip", "-n", name, "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
    return shown.split()[3].split("/")[0]


def link_index(name: str) -> int:
    """The number of eth0 in a pod, which a link-local address needs as its zone."""
    shown = sh("ip", "-n", name, "-j", "addr", "show", "dev", "eth0")
    return int(json.loads(shown[shown.index("[") :])[0]["ifindex"])


def rules(namespace: str | None, text: str) -> None:
    sh(*inside(namespace), "nft", "-f", "-", stdin=text)


def capture(name: str, ipv6: bool = True) -> None:
    """(Re)writes a pod's redirection."""
    family = "" if ipv6 else "meta nfproto ipv4 "
    rules(name, "table inet mesh\ndelete table inet mesh" + CAPTURE.format(family=family, group=PROXY_GROUP))


@contextmanager
def policy(name: str, port: int) -> Iterator[None]:
    """A pod under a NetworkPolicy, for as long as it is tried."""
    rules(name, POLICY.format(port=port))
    try:
        yield
    finally:
        rules(name, "delete table inet cni")


def witness(name: str | None, ports: Iterable[int], only: str = "") -> None:
    """Counts connections and requests to `ports`, from now on; of them what also matches `only`."""
    lines = [
        f"    {only}tcp dport {port} {kind} counter" for port in ports for kind in ("tcp flags syn", "meta length > 80")
    ]
    counters = "\n".join(lines)
    rules(name, "table inet witness\ndelete table inet witness" + WITNESS.format(counters=counters))


def witnessed(name: str | None) -> int:
    """Packets that arrived at the ports of `witness`."""
    shown = sh(*inside(name), "nft", "list", "chain", "inet", "witness", "input")
    return sum(int(line.split("packets ")[1].split()[0]) for line in shown.splitlines() if "packets " in line)


def kube_proxy(services: Iterable[tuple[str, int, str, int]]) -> None:
    """Addresses of Services and node ports to one pod each: (address, port, pod, target port)."""
    lines = []
    for address, port, pod, target in services:
        family, to = ("ip6", f"[{pod}]:{target}") if ":" in pod else ("ip", f"{pod}:{target}")
        lines.append(f"    {family} daddr {address} tcp dport {port} dnat {family} to {to}")
    chain = "\n".join(lines)
    text = f"""
table inet kube
delete table inet kube
table inet kube {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
{chain}
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
{chain}
  }}
}}
"""
    rules(None, text)
