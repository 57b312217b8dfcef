"""One container: an empty root with the image's one binary and the pod's mounts, its user, and nothing else."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

# What every image of ours says: `USER 65532:65532`.
IMAGE_USER = 65532


@dataclass
class Spec:
    """What is to run, with everything resolved to files on this machine."""

    binary: Path
    argv: list[str]
    env: dict[str, str]
    uid: int
    gid: int
    read_only: bool
    # (where on this machine, where in the container, whether read-only)
    mounts: list[tuple[Path, str, bool]] = field(default_factory=list)


def interpreted(binary: Path) -> bool:
    """Whether the binary needs a dynamic loader, which an empty root does not have."""
    head = subprocess.run(["readelf", "-lW", str(binary)], capture_output=True, text=True, check=False)
    return "INTERP" in head.stdout


def script(spec: Spec, root: Path) -> str:
    """A shell script that makes the root in its own mount namespace and becomes the program."""
    q = shlex.quote
    lines = [
        "set -e",
        f"mount -t tmpfs -o mode=755 root {q(str(root))}",
        f"cd {q(str(root))}",
        "mkdir -p proc dev etc tmp && chmod 1777 tmp",
        "mount -t proc proc proc",
        "for d in null zero urandom random; do touch dev/$d; mount --bind /dev/$d dev/$d; done",
        f"touch .{q('/' + spec.binary.name)} && mount --bind {q(str(spec.binary))} .{q('/' + spec.binary.name)}",
    ]
    if interpreted(spec.binary):
        for directory in ("/lib", "/lib64", "/usr/lib"):
            lines.append(f"if [ -d {directory} ]; then mkdir -p .{directory}; mount --rbind -o ro {directory} .{directory}; fi")
    for source, target, read_only in spec.mounts:
        at = f".{q(target)}"
        make = f"mkdir -p {at}" if source.is_dir() else f'mkdir -p "$(dirname {at})" && touch {at}'
        lines.append(f"{make} && mount --bind {q(str(source))} {at}")
        if read_only:
            lines.append(f"mount -o remount,bind,ro {at}")
    if spec.read_only:
        lines.append("mount -o remount,ro .")
    run = " ".join(q(part) for part in spec.argv)
    # No privilege can come back: not by setuid files, not by what the user's id had.
    lines.append(
        f"exec {shutil.which('setpriv')} --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid"
        f" {shutil.which('chroot')} --userspec={spec.uid}:{spec.gid} --groups={spec.gid} . {run}"
    )
    return "\n".join(lines)


class Container:
    """A running container."""

    def __init__(self, spec: Spec, enter: list[str], root: Path, log: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._out = log.open("ab")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*enter, "unshare", "--mount", "--propagation", "private", "sh", "-c", script(spec, root)],
            env=spec.env, stdin=subprocess.DEVNULL, stdout=self._out, stderr=subprocess.STDOUT, start_new_session=True,
        )

    def exit_code(self) -> int | None:
        return self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._out.close()
