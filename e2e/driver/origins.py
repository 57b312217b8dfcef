"""The file that an origin opens is the path that was decided on: real file servers behind the waypoint, whose files say
where they are, and paths in every spelling that leads two readers to two places."""

from __future__ import annotations

import json
import shutil
import sys
import time
import urllib.parse
from pathlib import Path

from .bytes_kept import exchange, status
from .mesh import NAMESPACE, Mesh, free_port, service
from .peers import E2E, Lines
from .report import Report

FILES = ("/public/a.txt", "/public/b/c.txt", "/private/a.txt", "/private/b/c.txt")
# Where a path leads to `/private` in some reading, or from it to `/public`.
TARGETS = [
    "/public/a.txt", "/public/b/c.txt", "/private/a.txt", "/public/../private/a.txt", "/public/%2e%2e/private/a.txt",
    "/public/%2E%2E/private/a.txt", "/public/.%2e/private/a.txt", "/public/..%2fprivate/a.txt", "/public/..%2Fprivate/a.txt",
    "/public%2f..%2fprivate/a.txt", "/public/%2e%2e%2fprivate%2fa.txt", "//private/a.txt", "///private//a.txt", "/public//../private/a.txt",
    "/public/..//private/a.txt", "/public/b/../../private/a.txt", "/public/b/%2e%2e/%2e%2e/private/a.txt", "/./private/a.txt", "/%2e/private/a.txt",
    "/private/./a.txt", "/private//a.txt", "/private/b/../a.txt", "/%70rivate/a.txt", "/priv%61te/a.txt", "/%50rivate/a.txt", "/PRIVATE/a.txt",
    "/private%2fa.txt", "/private%2Fa.txt", "/private%5ca.txt", "/private\\a.txt", "/public\\..\\private\\a.txt", "/public/..\\private/a.txt",
    "/public/..%5cprivate/a.txt", "/public/..;/private/a.txt", "/..;/private/a.txt", "/private;x/a.txt", "/private/a.txt;x", "/public/a.txt;/../../private/a.txt",
    "/private/a.txt%00", "/private%00/a.txt", "/public/.%00./private/a.txt", "/private/a.txt#/public", "/public#/../private/a.txt", "/private/a.txt?x=/public/a.txt",
    "/public/a.txt?/../../private/a.txt", "/public?/../private/a.txt", "/private/a.txt/", "/private/a.txt%20", "/private/%61.txt", "/public/%252e%252e/private/a.txt",
    "/%2570rivate/a.txt", "/%c0%ae%c0%ae/private/a.txt", "/public/%uff0e%uff0e/private/a.txt", "/../private/a.txt", "/../../private/a.txt", "/%2e%2e/private/a.txt",
    "http://web/private/a.txt", "http://web//private/a.txt", "http://web/public/../private/a.txt", "private/a.txt", "/public/a.txt/../../private/a.txt", "*",
]
# `pathNormalization` of Istio's meshConfig; none of it: no meshConfig among the documents. Not NONE, which leaves what a path
# means to the origin.
MODES = ("", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
# What a mode leaves to the origin, by Istio's definition, and these three read as a slash: who has such origins takes
# DECODE_AND_MERGE_SLASHES, or no meshConfig.
LEFT = {"BASE": ("%2f", "%5c", "//"), "MERGE_SLASHES": ("%2f", "%5c")}
RULES = {"deny": ("DENY", "/private*"), "allow": ("ALLOW", "/public*"), "not": ("DENY", "/public*")}


def documents(mode: str, origins: dict[str, Origin]) -> dict[str, str]:
    found = {}
    for number, (name, origin) in enumerate(origins.items()):
        for offset, (rule, (action, paths)) in enumerate(RULES.items(), start=1):
            field = "notPaths" if rule == "not" else "paths"
            target = f"{name}-{rule}"
            policy = f"""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {target}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, group: "", name: {target}}}]
  action: {action}
  rules: [{{to: [{{operation: {{{field}: ["{paths}"]}}}}]}}]
"""
            found[target] = service(target, f"127.0.9.{number * 10 + offset}", origin.address, "http") + "---\n" + policy
    if mode:
        mesh = json.dumps({"pathNormalization": {"normalization": mode}})
        found["mesh"] = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{mesh}'}}\n"
    return found


class Origin(Lines):
    """A file server, running; `address` is where it listens."""

    def __init__(self, command: list[str], log: Path, address: tuple[str, int] | None = None) -> None:
        super().__init__(command, log)
        self.address = address or self.listening()


class Nginx(Origin):
    """Debian's nginx as it comes, over one directory."""

    def __init__(self, directory: Path, files: Path, log: Path) -> None:
        if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
            raise RuntimeError("nginx is missing: apt-get install nginx-light")
        port = free_port()
        places = " ".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = f"""\
user root; daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {log};
events {{}}
http {{ access_log off; {places} server {{ listen 127.0.0.1:{port}; root {files}; }} }}
"""
        config = directory / "nginx.conf"
        config.write_text(text)
        super().__init__(["/usr/sbin/nginx", "-c", str(config)], log, ("127.0.0.1", port))
        for _ in range(1200):
            try:
                exchange(self.address, request("/public/a.txt"))
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError(f"nginx does not listen: {log.read_text(errors='replace')[-2000:]}")


def request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: web\r\n\r\n".encode()


def opened(answer: bytes) -> str | None:
    """The file that the origin opened, by what is in it."""
    body = answer.partition(b"\r\n\r\n")[2].decode(errors="replace")
    return next((file for file in FILES if f"file {file} " in body), None) if status(answer) == 200 else None


def started(directory: Path, log: Path) -> dict[str, Origin]:
    files = directory / "files"
    for file in FILES:
        path = files / file[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {file} \n")
    origins: dict[str, Origin] = {}
    commands = {"python": [sys.executable, str(E2E / "servers/file_origin.py")], "node": ["node", str(E2E / "servers/file_origin.mjs")]}
    for name, command in commands.items():
        origins[name] = Origin([*command, str(files)], log)
    origins["nginx"] = Nginx(directory, files, log)
    return origins


def decided(mesh: Mesh, target: str, count: int) -> str | None:
    """The path in the `count`th record of a request to `target` that was answered with a file, or with what there is."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        records = [json.loads(line) for line in mesh.log().splitlines() if line.startswith('{"time"') and line.endswith("}")]
        allowed = [one for one in records if one.get("decision") == "allow" and one.get("status") == 200 and target in one.get("target", "")]
        if len(allowed) >= count:
            return str(allowed[count - 1]["path"])
        time.sleep(0.02)
    return None


def through(report: Report, mesh: Mesh, mode: str, name: str) -> None:
    """Every target at one origin under each rule."""
    for rule in RULES:
        address, count = mesh.connect("agents/researcher", f"{name}-{rule}"), 0
        for target in TARGETS:
            if any(left in target.lower().removeprefix("http://") for left in LEFT.get(mode, ())):
                continue
            answer = exchange(address, request(target))
            file = opened(answer)
            count += status(answer) == 200
            if file is None:
                report.check(f"{mode or 'strict'} {name} {rule} {target}", None)
                continue
            path = decided(mesh, f"/{name}-{rule}:", count)
            fault = None
            if file.startswith("/private"):
                fault = f"opened {file}, decided on {path}"
            elif path is None or urllib.parse.unquote(path) != file:
                fault = f"opened {file}, decided on {path}"
            report.check(f"{mode or 'strict'} {name} {rule} {target}", fault)


def run(report: Report, bin_dir: Path, directory: Path) -> None:
    log = directory / "origins.log"
    directory = directory / "origins"
    directory.mkdir()
    origins: dict[str, Origin] = {}
    try:
        with report.section("files of origins, directly"):
            origins = started(directory, log)
            for name, origin in origins.items():
                ways = [target for target in TARGETS if (opened(exchange(origin.address, request(target))) or "").startswith("/private")]
                # Else nothing here could fail.
                report.check(f"{name} opens what is private", None if len(ways) > 8 else f"only by {ways}")
                report.line(f"{name} opens what is private by {len(ways)} of {len(TARGETS)} spellings")
        for mode in MODES:
            with report.section(f"files of origins, through the waypoint, {mode or 'no meshConfig'}"):
                with Mesh(bin_dir / "agent-waypoint", directory / (mode or "strict"), documents(mode, origins)) as mesh:
                    for name in origins:
                        through(report, mesh, mode, name)
    finally:
        for origin in origins.values():
            origin.end()
