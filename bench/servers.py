"""The processes that are measured: each is started as it is in earnest, and none outlives the measurement."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

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

    @classmethod
    def made(cls, folder: Path, before: Plan) -> tuple["Gate", Plan]:
        port = free_port()
        config = folder / "llamagate.toml"
        told = {"listen": f"127.0.0.1:{port}", "upstream": f"http://127.0.0.1:{before.port}", "state_dir": str(folder)}
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items()))
        gate = cls(config)
        key = json.loads(gate.said("keys", "create", "--user", "bench", "--json"))["key"]
        return gate, Plan("gate", port, gate.command("serve"), clean_environment(), key)

    def command(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "proxy", *words, "--config", str(self.config))

    def said(self, *words: str) -> str:
        """What a command of the gate prints."""
        return subprocess.run(
            self.command(*words), env=clean_environment(), capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def counted(self) -> tuple[int, int]:
        """Calls in the ledger, and how many of them without exact counts."""
        (total,) = json.loads(self.said("usage", "--json"))
        return int(total["calls"]), int(total["floors"])


@contextmanager
def running(plan: Plan) -> Iterator[Running]:
    """The server, from its first answer on. Leaving it ends the process, whatever has happened."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            plan.command, env=dict(plan.environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while not _answers(plan):
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    said.seek(0)
                    raise DidNotStart(f"{plan.name}: {said.read()[-2000:].decode(errors='replace')}")
                time.sleep(LOOK_EVERY_SECONDS)
            yield Running(plan, psutil.Process(process.pid), time.perf_counter() - began)
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
    return True
