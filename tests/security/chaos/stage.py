"""What the faults happen to: gates in processes of their own, the upstream, Redis, and what each keeps."""

import asyncio
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from proxy.bootstrap.workshop import Workshop
from proxy.config.settings import Settings
from proxy.vocabulary import Limits
from tests.end_to_end.processes import environment
from tests.fakes.databases import Postgres
from tests.fakes.redis import RedisServer, free_port
from tests.fakes.redis_proxy import RedisProxy
from tests.security.chaos.upstream import Mood

START_SECONDS = 30.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.02
GENEROUS = Limits(requests_per_minute=10**6, tokens_per_day=10**9, concurrent=10**4)
LISTENS = re.compile(rb"listens on +https?://\S+")
MISTAKES = (
    b"Traceback",
    b"was never retrieved",
    b"was destroyed but it is pending",
    b"ResourceWarning",
    b"call_crashed",
)
"""What no gate may say in any fault."""


class TookTooLong(Exception):
    """What was waited for has not come."""


async def until(look: Callable[[], Any], seconds: float, awaited: str) -> Any:
    """What the look finds, once it is something true. Raises TookTooLong."""
    over = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > over:
            raise TookTooLong(f"{awaited}: not within {seconds:g} s")
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def got(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """The status and the body of a small answer that closes or has a length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split()[1]), body
    finally:
        writer.close()


def toml(told: Mapping[str, Any]) -> str:
    """Plain values first, then the tables, which may hold tables."""
    lines = [f"{name} = {json.dumps(one)}\n" for name, one in told.items() if not isinstance(one, Mapping)]

    def table(path: str, of: Mapping[str, Any]) -> None:
        lines.append(f"\n[{path}]\n")
        lines.extend(f"{name} = {json.dumps(one)}\n" for name, one in of.items() if not isinstance(one, Mapping))
        for name, one in of.items():
            if isinstance(one, Mapping):
                table(f"{path}.{name}", one)

    for name, one in told.items():
        if isinstance(one, Mapping):
            table(name, one)
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class Size:
    """What a process holds."""

    resident: int
    files: int
    tasks: int


@dataclass
class Gate:
    """One gate, which a fault may do anything to; ``told`` is its configuration."""

    name: str
    folder: Path
    told: dict[str, Any]
    key: str = field(default="", repr=False)
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    variables: Mapping[str, str] = field(default_factory=dict)
    descriptors: int | None = None
    stdout: int | None = None
    """A descriptor, where it is not its own file."""
    process: subprocess.Popen[bytes] | None = None
    _heard: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def configuration(self) -> Path:
        return self.folder / "llamagate.toml"

    @property
    def settings(self) -> Settings:
        return Settings.model_validate({"state_dir": self.state, **self.told})

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> bytes:
        return self._read("out.log")

    @property
    def complaints(self) -> bytes:
        """Its stderr."""
        return self._read("err.log")

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.exists() else b""

    def write(self, told: Mapping[str, Any] | None = None) -> None:
        own = {"listen": f"127.0.0.1:{self.port}", "admin_listen": f"127.0.0.1:{self.admin}", "log_format": "json"}
        self.configuration.write_text(toml({**own, **(self.told if told is None else told)}))

    def spawn(self) -> subprocess.Popen[bytes]:
        """The process, which may not come to listen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.configuration.exists():
            self.write()
        variables = {**environment(self.folder), "CHAOS_TASKS": str(self.folder / "tasks"), **self.variables}
        most = self.descriptors
        out: IO[bytes] | int
        with (self.folder / "out.log").open("ab") as own, (self.folder / "err.log").open("ab") as err:
            out = own if self.stdout is None else self.stdout
            self.process = subprocess.Popen(
                [sys.executable, "-W", "always::ResourceWarning", "-m", "tests.security.chaos.watched", "serve"],
                cwd=self.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        if most is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (most, most))
        return self.process

    async def start(self) -> None:
        """Return once it listens. Raises TookTooLong."""
        before = len(self.complaints)
        process = self.spawn()

        def look() -> bool:
            if process.poll() is not None:
                raise TookTooLong(f"{self.name} ended with {process.returncode}: {self.complaints[before:][-400:]!r}")
            return LISTENS.search(self.complaints[before:]) is not None

        await until(look, START_SECONDS, f"gate {self.name} listens")

    def kill(self) -> None:
        """As by the kernel."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def stop(self, patience: float = STOP_SECONDS) -> int:
        """As by its owner: its exit status."""
        assert self.process is not None
        if self.is_running:
            self.process.terminate()
        await until(lambda: self.process is not None and self.process.poll() is not None, patience, f"{self.name} ends")
        return self.process.returncode

    async def ended(self) -> None:
        """Return once the process is no more. Raises TookTooLong."""
        await until(lambda: not self.is_running, STOP_SECONDS, f"{self.name} ends")

    def journals(self) -> list[Path]:
        return list((self.state / "journal").glob("*"))

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def figures(self) -> dict[str, float]:
        """Its metrics, by name and label as they are written."""
        _, text = await got(self.admin, "/metrics")
        lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines if name}

    async def size(self) -> Size:
        """What it holds at the moment."""
        tasks = self.folder / "tasks"
        tasks.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        await until(tasks.exists, 5, "the number of tasks")
        process = psutil.Process(self.pid)
        return Size(process.memory_info().rss, process.num_fds(), len(tasks.read_text().splitlines()))

    def tasks(self) -> list[str]:
        """What they are, as told at the last look."""
        path = self.folder / "tasks"
        return path.read_text().splitlines() if path.exists() else []

    def mistakes(self) -> list[str]:
        """What it has said since it was asked last that no gate should."""
        found: list[str] = []
        for name in ("out.log", "err.log"):
            told = self._read(name)
            news, self._heard[name] = told[self._heard.get(name, 0) :], len(told)
            lines = [line for line in news.splitlines() if any(one in line for one in MISTAKES)]
            found += [f"{self.name} says {line[:200].decode(errors='replace')}" for line in lines]
        return found


@dataclass
class UpstreamProcess:
    """The scripted upstream, always at the same port."""

    folder: Path
    pause: float
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.security.chaos.upstream", str(self.port), str(self.pause)]
        self._spawn(command)

        def listens() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        await until(listens, START_SECONDS, "the upstream")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()
        self.process = None

    def _spawn(self, command: Sequence[str]) -> None:
        with (self.folder / "upstream.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment(self.folder), stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def be(self, mood: Mood) -> None:
        await got(self.port, f"/mood/{mood}", "PUT")


@dataclass
class Stage:
    """Two gates that share a database and a Redis, and whoever comes for a while."""

    folder: Path
    upstream: UpstreamProcess
    redis: RedisServer
    wire: RedisProxy
    """Between the gates and Redis."""
    database_url: str
    postgres: Postgres | None = None
    """Where the database is in one."""
    gates: list[Gate] = field(default_factory=list)
    guests: list[Gate] = field(default_factory=list)
    pepper: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    def told(self, **more: Any) -> dict[str, Any]:
        """The configuration of a gate of the house."""
        return {
            "upstream": self.upstream.url,
            "database_url": self.database_url,
            "pepper": self.pepper,
            "redis_url": self.wire.url,
            "replicas": 2,
            "connect_timeout": "1s",
            "first_byte_timeout": "2s",
            "idle_timeout": "2s",
            "stall_timeout": "4s",
            "body_timeout": "10s",
            "drain_timeout": "3s",
            "door": {"connections_per_address": 200, "head_timeout": "3s"},
            **more,
        }

    async def open(self, names: str = "AB") -> None:
        for name in names:
            gate = Gate(name, self.folder / name, self.told())
            gate.folder.mkdir()
            self.gates.append(gate)
        key = await new_key(self.gates[0])
        for gate in self.gates:
            gate.key = key
            await gate.start()

    @asynccontextmanager
    async def guest(
        self,
        name: str,
        told: Mapping[str, Any] | None = None,
        *,
        state: Path | None = None,
        begins: bool = True,
        **more: Any,
    ) -> AsyncIterator[Gate]:
        """A gate with a database of its own, which ends with the block."""
        folder = self.folder / f"{name}-{len(self.guests)}"
        folder.mkdir()
        if state is not None:
            (folder / "state").symlink_to(state)
        own = {**self.told(), "database_url": f"sqlite:///{folder}/state/book.db", "redis_url": None, "replicas": 1}
        settings = {name: one for name, one in {**own, **(told or {})}.items() if one is not None}
        gate = Gate(name, folder, settings, **more)
        self.guests.append(gate)
        gate.key = await new_key(gate)
        try:
            if begins:
                await gate.start()
            yield gate
        finally:
            if gate.is_running:
                with suppress(TookTooLong):
                    await gate.stop()
            gate.kill()

    async def close(self) -> None:
        for gate in (*self.gates, *self.guests):
            gate.kill()
        self.upstream.kill()
        await self.wire.close()


async def new_key(gate: Gate) -> str:
    """For somebody with limits that nobody reaches, so that whatever counts is asked at every call."""
    async with Workshop(dict(os.environ)).desk(gate.settings) as desk:
        return (await desk.create_key("alice", limits=GENEROUS)).secret
