"""The processes that are measured: each is started as it is in earnest, and none outlives the measurement."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bench import limits
from bench.load import UNARY

START_SECONDS = 20.0
STOP_SECONDS = 3.0
LOOK_EVERY_SECONDS = 0.002


class DidNotStart(Exception):
    """With the last that it said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a server is started, and asked."""

    name: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str]
    key: str = "none"
    tells: bytes = b""
    """What its first answer has among its header fields, in small letters."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server at work."""

    plan: Plan
    process: psutil.Process
    first_answer_seconds: float

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and what it has started. Linux counts in steps of 10 ms."""
        times = [one.cpu_times() for one in self._tree()]
        return float(sum(each.user + each.system for each in times))

    def resident_bytes(self) -> int:
        return sum(int(one.memory_info().rss) for one in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Without settings of whoever runs the measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LLAMAGATE_")}


def upstream() -> Plan:
    port = free_port()
    return Plan("upstream", port, (sys.executable, "-m", "bench.upstream", str(port)), clean_environment())


def bare(before: Plan) -> Plan:
    port = free_port()
    command = (sys.executable, "-m", "bench.bare", str(port), f"http://127.0.0.1:{before.port}")
    return Plan("bare", port, command, clean_environment())


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate's own folder, with its settings and a key."""

    config: Path
    plan: Plan

    @classmethod
    def made(cls, name: str, folder: Path, before: Plan) -> "Gate":
        """Without limits."""
        folder.mkdir()
        port, config = _configured(folder, before)
        create = _command(config, "keys", "create", "--user", "bench", "--team", limits.TEAM, "--json")
        return cls(config, _plan(name, port, config, json.loads(_said(create))["key"]))

    def limited(self, name: str, folder: Path, before: Plan, *, redis: str | None = None) -> "Gate":
        """The same with limits, which it keeps in process or in the Redis with this URL. This one is still as made."""
        shutil.copytree(self.config.parent, folder)  # Much sooner done than another key is created.
        port, config = _configured(folder, before, limits.written(), **({"redis_url": redis} if redis else {}))
        return Gate(config, replace(_plan(name, port, config, self.plan.key), tells=b"\r\nratelimit:"))

    def counted(self) -> tuple[int, int]:
        """Calls in the ledger, and how many of them without exact counts."""
        (total,) = json.loads(_said(_command(self.config, "usage", "--json")))
        return int(total["calls"]), int(total["estimated"])


def _configured(folder: Path, before: Plan, tables: str = "", **more: str) -> tuple[int, Path]:
    """The port that the gate will listen on, and its file of settings."""
    port, config = free_port(), folder / "llamagate.toml"
    own = {"listen": f"127.0.0.1:{port}", "upstream": f"http://127.0.0.1:{before.port}", "state_dir": str(folder)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in (own | more).items()]
    config.write_text("\n".join([*lines, tables, ""]))
    return port, config


def _plan(name: str, port: int, config: Path, key: str) -> Plan:
    return Plan(name, port, _command(config, "serve"), clean_environment(), key)


def _command(config: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "proxy", *words, "--config", str(config))


def _said(command: Sequence[str]) -> str:
    """What a command of the gate prints."""
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout


@contextmanager
def running(plan: Plan) -> Iterator[Running]:
    """The server, from its first answer on. Leaving it ends the process, whatever has happened."""
    began = time.perf_counter()
    with started(plan.name, plan.command, plan.environment, lambda: _answers(plan)) as process:
        yield Running(plan, psutil.Process(process.pid), time.perf_counter() - began)


@contextmanager
def started(
    name: str, command: Sequence[str], environment: Mapping[str, str], answers: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it answers. Leaving it ends the process, whatever has happened."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while not answers():
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    said.seek(0)
                    raise DidNotStart(f"{name}: {said.read()[-2000:].decode(errors='replace')}")
                time.sleep(LOOK_EVERY_SECONDS)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(plan: Plan) -> bool:
    """Whether a whole call is served; nobody listening yet is no answer."""
    try:
        with socket.create_connection(("127.0.0.1", plan.port), timeout=START_SECONDS) as connection:
            connection.sendall(UNARY.request(plan.port, plan.key))
            heard = b""
            while UNARY.ends not in heard:
                piece = connection.recv(65536)
                if not piece:
                    raise DidNotStart(f"{plan.name} answered {heard!r}")
                heard += piece
    except ConnectionRefusedError:
        return False
    if plan.tells not in heard.lower():
        raise DidNotStart(f"{plan.name} says nothing of {plan.tells!r}, but answered {heard!r}")
    return True
