"""The processes that are measured: each is started as it is in earnest, and none outlives the measurement."""

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from bench.load import UNARY
from bench.upstream import SAID

START_SECONDS = 20.0
STOP_SECONDS = 1.0
"""Nothing is lost with a server that takes longer."""
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
    key: str = field(default="none", repr=False)
    fields: Sequence[str] = ()
    """More header fields of what it is asked."""
    tells: bytes = b""
    """What its first answer has among its header fields, in small letters."""
    exact: bool = True
    """Whether an answer comes out as it went in; false for what writes it anew."""
    start_seconds: float = START_SECONDS
    note: str = ""
    """What whoever reads a figure of it should know."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server at work."""

    plan: Plan
    process: psutil.Process
    first_answer_seconds: float

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and what it has started: to the nanosecond on Linux, where
        other systems and the kernel's own tables count in steps of 10 ms."""
        return sum(map(_cpu_seconds, self._tree()))

    def cpu_of_each(self) -> list[float]:
        """The same of each process that was started by it, but not of itself."""
        return [_cpu_seconds(one) for one in self.process.children(recursive=True)]

    def resident_bytes(self) -> int:
        """Of the process and what it has started."""
        return sum(int(one.memory_info().rss) for one in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    if platform.system() == "Linux":
        # The number of another process's CPU clock, as clock_getcpuclockid(3) makes it: its threads, even those that
        # are over, are in it.
        return time.clock_gettime((~process.pid << 3) | 2)
    times = process.cpu_times()
    return float(times.user + times.system)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(**more: str) -> dict[str, str]:
    """Without settings of whoever runs the measurement."""
    ours = ("LLAMAGATE_", "PYTHONDONTWRITEBYTECODE")  # Without the latter modules are compiled once, as pip does it.
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def upstream() -> Plan:
    """The stand-in that all the others ask."""
    port = free_port()
    return Plan("upstream", port, (sys.executable, "-m", "bench.upstream", str(port)), clean_environment())


def bare(name: str, before: Plan) -> Plan:
    """A proxy of aiohttp that does nothing."""
    port = free_port()
    command = (sys.executable, "-m", "bench.bare", str(port), f"http://127.0.0.1:{before.port}")
    return Plan(name, port, command, clean_environment())


@contextmanager
def running(plan: Plan, *, niced: bool = False) -> Iterator[Running]:
    """The server, from its first answer on. Leaving it ends the process, whatever has happened."""
    began = time.perf_counter()
    command = ("nice", "-n", "19", *plan.command) if niced else plan.command
    answers = started(plan.name, command, plan.environment, lambda: _answers(plan), plan.start_seconds)
    with answers as process:
        yield Running(plan, psutil.Process(process.pid), time.perf_counter() - began)


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    answers: Callable[[], bool],
    start_seconds: float = START_SECONDS,
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it answers, its lines in a file. Leaving it ends it and what it has started."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as lines:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=said,
            start_new_session=True,
        )
        try:
            while not answers():
                if process.poll() is not None or time.perf_counter() - began > start_seconds:
                    said.seek(0)
                    raise DidNotStart(f"{name}: {said.read()[-2000:].decode(errors='replace')}")
                time.sleep(LOOK_EVERY_SECONDS)
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(plan: Plan) -> bool:
    """Whether a whole call is served; nobody listening yet is no answer."""
    try:
        with socket.create_connection(("127.0.0.1", plan.port), timeout=plan.start_seconds) as connection:
            connection.sendall(UNARY.request(plan.port, plan.key, plan.fields))
            heard = b""
            while SAID not in heard:
                piece = connection.recv(65536)
                if not piece:
                    raise DidNotStart(f"{plan.name} answered {heard!r}")
                heard += piece
                if not b"200".startswith(heard[9:12]):
                    raise DidNotStart(f"{plan.name} answered {heard!r}")
    except ConnectionRefusedError:
        return False
    except TimeoutError:
        raise DidNotStart(f"{plan.name} answered nothing") from None
    if plan.tells not in heard.lower():
        raise DidNotStart(f"{plan.name} says nothing of {plan.tells!r}, but answered {heard!r}")
    return True
